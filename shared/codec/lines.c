#include "shared/codec/lines.h"

#include "shared/base/alloc.h"

enum trib_status trib_lines_new(const struct trib_tensor *tensors, size_t count, struct trib_lines **out,
                                struct trib_error *err) {
    struct trib_lines *lines = trib_alloc(sizeof *lines);
    struct trib_line *room = trib_alloc_array(count, sizeof *room);
    if (lines == NULL || room == NULL) {
        trib_free(lines);
        trib_free(room);
        return trib_fail(err, TRIB_NOMEM, "no memory for a codec");
    }
    *lines = (struct trib_lines){.count = count, .tensors = room};
    for (size_t i = 0; i < count; i++) {
        const struct trib_tensor *tensor = &tensors[i];
        const size_t rows = tensor->rank > 1 ? tensor->dims[0] : 1;
        room[i] = (struct trib_line){
            .first = lines->values, .first_row = lines->rows, .rows = rows, .length = tensor->count / rows};
        lines->rows += rows;
        lines->values += tensor->count;
    }
    *out = lines;
    return TRIB_OK;
}

void trib_lines_free(struct trib_lines **lines) {
    if (*lines == NULL) return;
    trib_free((*lines)->tensors);
    trib_free(*lines);
    *lines = NULL;
}

const struct trib_line *trib_lines_of_row(const struct trib_lines *lines, size_t row) {
    size_t low = 0, high = lines->count;
    TRIB_ASSERT(row < lines->rows);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (lines->tensors[middle].first_row <= row)
            low = middle;
        else
            high = middle;
    }
    return &lines->tensors[low];
}

void trib_source_copy(const struct trib_source *source, size_t first, size_t count, float *out) {
    for (size_t at = 0, n; at < count; at += n) {
        n = count - at < TRIB_CODEC_BLOCK ? count - at : TRIB_CODEC_BLOCK;
        source->read(source->ctx, first + at, n, out + at);
    }
}

float *trib_lines_room(const struct trib_lines *lines) {
    size_t most = 0;
    for (size_t i = 0; i < lines->count; i++) {
        const size_t values = lines->tensors[i].rows * lines->tensors[i].length;
        if (values > most) most = values;
    }
    return trib_alloc_floats(most);
}
