/* layer(...): a codec for each tensor (layer.c). */
#ifndef TRIB_CODEC_LAYER_H
#define TRIB_CODEC_LAYER_H

#include "shared/codec/codec_row.h"

enum { TRIB_LAYER_ENTRIES = 8 };

struct trib_layer_entry {
    char prefix[TRIB_SCHEMA_MAX_NAME + 1]; /* "else": what no other entry is for */
    struct trib_codec *codec;              /* owned */
};

/* Tensors that stand behind each other and have one codec. */
struct trib_layer_run {
    const struct trib_codec *codec;
    struct trib_codec *own; /* owned: codec, where it looks at this run's tensors; else NULL */
    size_t first, count;    /* parameters */
    size_t first_tensor, tensor_count;
};

struct trib_layers {
    size_t entry_count, run_count;
    struct trib_layer_entry entries[TRIB_LAYER_ENTRIES];
    struct trib_layer_run *runs; /* owned; NULL: not bound to a schema */
};

void trib_layers_free(struct trib_layers **layers);
/* Finds the runs. Each tensor needs an entry, and each entry a tensor. */
enum trib_status trib_layers_bind(struct trib_layers *layers, const struct trib_schema *schema,
                                  struct trib_error *err);
size_t trib_layers_max_bytes(const struct trib_layers *layers);
bool trib_layers_are_slow(const struct trib_layers *layers);
enum trib_status trib_layers_encode(const struct trib_layers *layers, const struct trib_source *source,
                                    struct trib_blob **out, struct trib_error *err);
enum trib_status trib_layers_check(const struct trib_layers *layers, const uint8_t *data, size_t bytes,
                                   double *sum_squares, struct trib_error *err);
void trib_layers_add(struct trib_decoder *decoder, size_t n, float a, float *y);
void trib_layers_skip(struct trib_decoder *decoder, size_t n);

#endif
