/* The schema of a model: its tensors in order, their shapes, how version 0 is drawn, and a fingerprint of all
 * this. Parameters of a model are one flat float vector, the tensors one behind the other. Aggregators know
 * nothing else of a model: layers are the trainer's business.
 *
 * As text, one line a tensor, which is what travels in WELCOME and what the fingerprint is taken of:
 *     NAME DIM[xDIM...] BOUND\n          e.g.  "fc1.weight 200x784 0x1.24924ap-5\n"
 * BOUND is the float b (printed with %a) such that version 0 is uniform in [-b, b); 0 for a tensor of zeros.
 *
 * An algorithm may keep numbers of its own beside the model, in tensors that stand behind the model's and
 * whose names begin with "control." (SCAFFOLD's c). They travel and are kept with the model, and are no part
 * of it: what is evaluated or exported ends at model_parameters.
 */
#ifndef TRIB_MODEL_SCHEMA_H
#define TRIB_MODEL_SCHEMA_H

#include "shared/base/buf.h"
#include "shared/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_SCHEMA_MAX_TENSORS = 512,
    TRIB_SCHEMA_MAX_RANK = 4,
    TRIB_SCHEMA_MAX_NAME = 63,
    TRIB_SCHEMA_MAX_TEXT = 32 * 1024,
    TRIB_DIGEST_BYTES = 32
};
#define TRIB_SCHEMA_MAX_PARAMETERS ((size_t)1 << 30)
#define TRIB_SCHEMA_CONTROL        "control."

struct trib_tensor {
    char name[TRIB_SCHEMA_MAX_NAME + 1]; /* [A-Za-z0-9_.-]+ */
    size_t rank;                         /* 1..4 */
    size_t dims[TRIB_SCHEMA_MAX_RANK];   /* each at least 1 */
    size_t offset;                       /* of its first parameter in the flat vector */
    size_t count;                        /* product of dims */
    float bound;                         /* version 0 is uniform in [-bound, bound) */
};

struct trib_schema {
    size_t tensor_count;
    struct trib_tensor *tensors; /* owned */
    size_t parameters;           /* sum of counts */
    size_t model_parameters;     /* of the model's own tensors; the control tensors begin there */
    uint8_t fingerprint[TRIB_DIGEST_BYTES];
};

void trib_schema_init(struct trib_schema *schema);
void trib_schema_release(struct trib_schema *schema);
/* Appends a tensor; refuses bad names, duplicates, shapes over the limits, a model's tensor behind a control
 * tensor. Call trib_schema_finish when done. */
enum trib_status trib_schema_add(struct trib_schema *schema, const char *name, const size_t *dims,
                                 size_t rank, float bound, struct trib_error *err) TRIB_MUST_USE;
/* Appends a control tensor for each of the model's, of its shape, zeros in version 0. */
enum trib_status trib_schema_add_control(struct trib_schema *schema, struct trib_error *err) TRIB_MUST_USE;
/* The model's own tensors alone: a view of `schema`, not to be released. Its fingerprint is that of the
 * whole.
 */
struct trib_schema trib_schema_own(const struct trib_schema *schema);
bool trib_schema_is_control(const char *name);
/* Computes the fingerprint: BLAKE2b-256 of the text. */
enum trib_status trib_schema_finish(struct trib_schema *schema, struct trib_error *err) TRIB_MUST_USE;
void trib_schema_text(const struct trib_schema *schema, struct trib_buf *out);
/* Reads the text form (from a peer: everything is checked before it is allocated) and finishes it. Accepted
 * is what trib_schema_text prints, to the byte. `schema` must hold nothing (initialised or released); it is
 * written in any case, and holds nothing after a failure. */
enum trib_status trib_schema_parse(struct trib_schema *schema, const char *text, size_t bytes,
                                   struct trib_error *err) TRIB_MUST_USE;

/* Version 0 from its seed, `parameters` floats, the same bits everywhere. Parameter i (from 0) of the tensor
 * with index t is the (i + 1)-th number of stream t of trib_rng_seed:
 *     x     = mix64(mix64(mix64(seed + GOLDEN) ^ (t * GOLDEN + 1)) + (i + 1) * GOLDEN)
 *     value = ((float)(int32_t)(x >> 40) - 8388608.0f) * 0x1p-23f * bound
 * with GOLDEN = 0x9E3779B97F4A7C15, integers modulo 2^64; the first two float operations are exact, the last
 * rounds once. A tensor of bound 0 is all +0. */
void trib_schema_draw(const struct trib_schema *schema, uint64_t seed, float *parameters);

#endif
