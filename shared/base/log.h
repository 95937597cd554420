/* Logs: one line an event on stderr, with a level, a stable event id and `key=value` fields, or the same as
 * JSON. Progress for people is not a log: it goes to stdout, by the programs.
 *
 *   trib_log(log, TRIB_LOG_WARN, "push_refused", "peer=%s number=%" PRIu64 " reason=%s", ...);
 *
 * Fields are given as one printf format of space-separated key=value; a value with spaces is written
 * key="...", and trib_log_quote helps with text from outside. Thread-safe: a line is one write. */
#ifndef TRIB_BASE_LOG_H
#define TRIB_BASE_LOG_H

#include "shared/base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum trib_level { TRIB_LOG_DEBUG, TRIB_LOG_INFO, TRIB_LOG_WARN, TRIB_LOG_ERROR };

struct trib_log {
    enum trib_level level; /* what is below is dropped */
    bool json;
    int fd;           /* where lines go; 2 by default */
    const char *node; /* name printed in each line; borrowed */
};

void trib_log(const struct trib_log *log, enum trib_level level, const char *event, const char *fmt, ...)
    TRIB_PRINTF(4, 5);
/* Writes `text` as a quoted value into out: control characters and quotes escaped, cut to fit. Returns out.
 */
const char *trib_log_quote(char *out, size_t out_bytes, const char *text);
enum trib_status trib_level_parse(const char *name, enum trib_level *out) TRIB_MUST_USE;

#endif
