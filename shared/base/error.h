/* Errors: one enum for every function that can fail, and a text for the person who has to mend it.
 *
 * A function that can fail returns `enum trib_status` and takes, last, a `struct trib_error *` (may be NULL)
 * that it fills with what was found, what was expected and what to do. The error is logged once, by whoever
 * decides upon it, never on the way. */
#ifndef TRIB_BASE_ERROR_H
#define TRIB_BASE_ERROR_H

#include <stdnoreturn.h>

enum trib_status {
    TRIB_OK = 0,
    TRIB_NOMEM,       /* an allocation failed */
    TRIB_INVALID,     /* bytes, a config or an argument from outside is not of the form that is allowed */
    TRIB_LIMIT,       /* it is well-formed, but over a limit */
    TRIB_IO,          /* a read, write or sync failed; errno text is in the error */
    TRIB_CORRUPT,     /* a checksum or digest does not match */
    TRIB_NEWER,       /* made by a newer version of this program */
    TRIB_NOT_FOUND,   /* no such file, key, version, name */
    TRIB_AGAIN,       /* not now: would block, queue full */
    TRIB_DENIED,      /* not allowed: key not listed, read-only */
    TRIB_UNSUPPORTED, /* known, but not possible here */
    TRIB_STATUS_COUNT
};

struct trib_error {
    enum trib_status status;
    char text[500];
};

#define TRIB_MUST_USE          __attribute__((warn_unused_result))
#define TRIB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Fills `err` (if not NULL) and returns `status`, so that a failing line reads `return trib_fail(err, ...)`.
 */
enum trib_status trib_fail(struct trib_error *err, enum trib_status status, const char *fmt, ...)
    TRIB_PRINTF(3, 4);
/* The same with `: <strerror(errno)>` added; the status is TRIB_NOT_FOUND for ENOENT, TRIB_DENIED for EACCES
 * and EROFS, TRIB_IO otherwise. */
enum trib_status trib_fail_errno(struct trib_error *err, const char *fmt, ...) TRIB_PRINTF(2, 3);
#ifdef __clang_analyzer__
/* The static analyser sees one file at a time: here it learns that these never return TRIB_OK. */
#define trib_fail(err, status, ...) ((void)trib_fail(err, status, __VA_ARGS__), (status))
#define trib_fail_errno(err, ...)   ((void)trib_fail_errno(err, __VA_ARGS__), TRIB_IO)
#endif
/* "invalid", "limit", ...: the stable name of a status. */
const char *trib_status_name(enum trib_status status);

/* Guards our own logic, in release builds too. Never used on bytes from a peer, a file or a config. */
#define TRIB_ASSERT(cond)                                                                                    \
    do {                                                                                                     \
        if (__builtin_expect(!(cond), 0)) trib_assert_failed(#cond, __FILE__, __LINE__);                     \
    } while (0)
noreturn void trib_assert_failed(const char *condition, const char *file, int line);

#endif
