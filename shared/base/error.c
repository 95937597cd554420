#include "shared/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the header tells the static analyser about these is not for their definitions. */
#undef trib_fail
#undef trib_fail_errno

static void fill(struct trib_error *err, enum trib_status status, const char *fmt, va_list args) {
    err->status = status;
    (void)vsnprintf(err->text, sizeof err->text, fmt, args);
}

enum trib_status trib_fail(struct trib_error *err, enum trib_status status, const char *fmt, ...) {
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        fill(err, status, fmt, args);
        va_end(args);
    }
    return status;
}

enum trib_status trib_fail_errno(struct trib_error *err, const char *fmt, ...) {
    int saved = errno;
    enum trib_status status = saved == ENOENT                     ? TRIB_NOT_FOUND
                              : saved == EACCES || saved == EROFS ? TRIB_DENIED
                                                                  : TRIB_IO;
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        fill(err, status, fmt, args);
        va_end(args);
        size_t used = strlen(err->text);
        (void)snprintf(err->text + used, sizeof err->text - used, ": %s", strerror(saved));
    }
    return status;
}

const char *trib_status_name(enum trib_status status) {
    static const char *const names[TRIB_STATUS_COUNT] = {
        "ok",    "nomem",     "invalid", "limit",  "io",          "corrupt",
        "newer", "not_found", "again",   "denied", "unsupported",
    };
    return status < TRIB_STATUS_COUNT ? names[status] : "unknown";
}

noreturn void trib_assert_failed(const char *condition, const char *file, int line) {
    (void)fprintf(stderr, "tributary: internal error at %s:%d: %s is not true; please report this line\n",
                  file, line, condition);
    abort();
}
