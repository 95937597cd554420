/* The list of layers and losses. */
#include "shared/learn/layer.h"

#include <string.h>

static const struct trib_layer_kind *const kinds[] = {
    &trib_layer_dense, &trib_layer_conv,      &trib_layer_maxpool,
    &trib_layer_relu,  &trib_layer_embedding, &trib_layer_gru,
};
static const struct trib_loss_kind *const losses[] = {
    &trib_loss_cross_entropy,
    &trib_loss_mse,
};
enum { KINDS = sizeof kinds / sizeof kinds[0], LOSSES = sizeof losses / sizeof losses[0] };

const struct trib_layer_row *trib_layer_row(size_t i) {
    if (i < KINDS) return &kinds[i]->row;
    return i < KINDS + LOSSES ? &losses[i - KINDS]->row : NULL;
}

static bool is(const char *name, const char *word, size_t bytes) {
    return strlen(name) == bytes && memcmp(name, word, bytes) == 0;
}

const struct trib_layer_kind *trib_layer_find(const char *name, size_t bytes) {
    for (size_t i = 0; i < KINDS; i++)
        if (is(kinds[i]->row.name, name, bytes)) return kinds[i];
    return NULL;
}

const struct trib_loss_kind *trib_loss_find(const char *name, size_t bytes) {
    for (size_t i = 0; i < LOSSES; i++)
        if (is(losses[i]->row.name, name, bytes)) return losses[i];
    return NULL;
}

enum trib_status trib_layer_unknown(const char *name, size_t bytes, struct trib_error *err) {
    const char *names[KINDS + LOSSES];
    for (size_t i = 0; i < KINDS + LOSSES; i++) names[i] = trib_layer_row(i)->name;
    char word[64];
    size_t cut = bytes < sizeof word ? bytes : sizeof word - 1;
    memcpy(word, name, cut);
    word[cut] = '\0';
    const char *near = trib_nearest(word, names, KINDS + LOSSES);
    return trib_fail(err, TRIB_INVALID,
                     "unknown layer '%s'%s%s%s; there are dense, conv, maxpool, relu, embedding, gru, and as "
                     "last line a loss, "
                     "cross-entropy or mse",
                     word, near != NULL ? ", did you mean '" : "", near != NULL ? near : "",
                     near != NULL ? "'?" : "");
}

struct trib_strides trib_strides(const struct trib_shape *shape, enum trib_layout layout, size_t n) {
    if (layout == TRIB_ROWS)
        return (struct trib_strides){
            .channel = shape->height * shape->width, .row = shape->width, .sample = trib_shape_count(shape)};
    return (struct trib_strides){
        .channel = n * shape->width, .row = shape->channels * n * shape->width, .sample = shape->width};
}
