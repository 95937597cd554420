#include "tests/support/memory_file.h"

#include <string.h>

static enum trib_status append(void *ctx, const void *data, size_t bytes, struct trib_error *err) {
    struct memory_file *file = ctx;
    (void)err;
    trib_buf_append(&file->buf, data, bytes);
    return file->buf.failed ? TRIB_NOMEM : TRIB_OK;
}

static enum trib_status take(void *ctx, void *data, size_t bytes, struct trib_error *err) {
    struct memory_file *file = ctx;
    if (bytes > file->buf.size - file->at) return trib_fail(err, TRIB_CORRUPT, "too short");
    memcpy(data, file->buf.data + file->at, bytes);
    file->at += bytes;
    return TRIB_OK;
}

struct trib_sink memory_file_sink(struct memory_file *file) {
    return (struct trib_sink){.write = append, .ctx = file};
}

struct trib_feed memory_file_feed(struct memory_file *file) {
    return (struct trib_feed){.read = take, .ctx = file};
}
