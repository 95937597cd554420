/* Small text files read line by line as words: key files and allow-lists. For this folder. */
#ifndef TRIB_NET_TEXT_FILE_H
#define TRIB_NET_TEXT_FILE_H

#include "shared/base/error.h"

#include <stddef.h>

enum { TEXT_WORDS = 3, TEXT_LINE_MAX = 1024 };

/* Called for each line that has a word. `count` is TEXT_WORDS too when there were more of them. */
typedef enum trib_status text_line_fn(void *ctx, size_t line, char *words[TEXT_WORDS], size_t count,
                                      struct trib_error *err);

/* TRIB_LIMIT: more than max_bytes; TRIB_INVALID: a line over TEXT_LINE_MAX or with a NUL byte; what opening
 * and reading fail with; what the callback fails with. What was read is wiped. */
enum trib_status text_file_read(const char *path, size_t max_bytes, text_line_fn *each, void *ctx,
                                struct trib_error *err) TRIB_MUST_USE;

#endif
