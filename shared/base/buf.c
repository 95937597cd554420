#include "shared/base/buf.h"

#include "shared/base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void trib_buf_init(struct trib_buf *buf, size_t limit) {
    *buf = (struct trib_buf){.limit = limit};
}

void trib_buf_release(struct trib_buf *buf) {
    trib_free(buf->data);
    *buf = (struct trib_buf){.limit = buf->limit};
}

void trib_buf_clear(struct trib_buf *buf) {
    buf->size = 0;
    buf->failed = false;
}

/* Makes room for `more` bytes and a final 0. */
static bool grow(struct trib_buf *buf, size_t more) {
    size_t need;
    if (buf->failed || __builtin_add_overflow(buf->size, more, &need) || need > SIZE_MAX / 2 ||
        (buf->limit != 0 && need > buf->limit)) {
        buf->failed = true;
        return false;
    }
    if (need + 1 <= buf->capacity) return true;
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity < need + 1) capacity *= 2;
    uint8_t *data = trib_realloc(buf->data, capacity);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

uint8_t *trib_buf_extend(struct trib_buf *buf, size_t bytes) {
    if (!grow(buf, bytes)) return NULL;
    uint8_t *at = buf->data + buf->size;
    buf->size += bytes;
    return at;
}

void trib_buf_append(struct trib_buf *buf, const void *data, size_t bytes) {
    uint8_t *at = trib_buf_extend(buf, bytes);
    if (at != NULL && bytes > 0) memcpy(at, data, bytes);
}

void trib_buf_printf(struct trib_buf *buf, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, fmt, args);
    if (length < 0 || !grow(buf, (size_t)length)) {
        buf->failed = true;
    } else {
        (void)vsnprintf((char *)buf->data + buf->size, (size_t)length + 1, fmt, again);
        buf->size += (size_t)length;
    }
    va_end(again);
    va_end(args);
}

const char *trib_buf_text(struct trib_buf *buf) {
    if (buf->data == NULL) return "";
    buf->data[buf->size] = 0;
    return (const char *)buf->data;
}
