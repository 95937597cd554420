/* A growable byte buffer with a limit. Appending never fails loudly: the buffer remembers that something did
 * not fit
 * (`failed`), and the one who is done asks once. Not shared between threads. */
#ifndef TRIB_BASE_BUF_H
#define TRIB_BASE_BUF_H

#include "shared/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trib_buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t limit; /* 0: none */
    bool failed;  /* an append did not fit or memory ran out; the content is what came before */
};

void trib_buf_init(struct trib_buf *buf, size_t limit);
void trib_buf_release(struct trib_buf *buf);
void trib_buf_clear(struct trib_buf *buf); /* size 0, not failed; keeps the memory */
void trib_buf_append(struct trib_buf *buf, const void *data, size_t bytes);
void trib_buf_printf(struct trib_buf *buf, const char *fmt, ...) TRIB_PRINTF(2, 3);
/* Room for `bytes` more, counted as appended; NULL (and failed) if there is none. */
uint8_t *trib_buf_extend(struct trib_buf *buf, size_t bytes);
/* The content as a C string (a 0 is kept behind it); "" when nothing was ever appended. */
const char *trib_buf_text(struct trib_buf *buf);

#endif
