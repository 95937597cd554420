/* A file of numbered entries, appended to while a simulation goes on, so that it can be gone through again
 * without computing again what was computed: an interrupted simulation resumes by it (resume.c says what the
 * entries hold).
 *
 *     "TRIBKEPT" crc32c(4) bytes(4) identity      crc32c is of what follows it
 *     entries: crc32c(4) kind(4) number(8) bytes(8) content
 *
 * Nothing is synced: after a crash of the machine, or a process that was killed, the end may be missing or
 * torn; opening cuts the file behind the last entry that is whole. */
#ifndef TRIB_SIM_KEPT_H
#define TRIB_SIM_KEPT_H

#include "shared/base/buf.h"

enum trib_kept_kind { TRIB_KEPT_TRAINING, TRIB_KEPT_EVALUATION, TRIB_KEPT_KINDS };

struct trib_kept;

/* Opens a file that is there, of `identity` (lines of text), and reads all of it; TRIB_NOT_FOUND where there
 * is none, TRIB_INVALID for one of another identity, with the first lines that differ, TRIB_CORRUPT for a
 * file of something else. `limit`: the file's bytes, beyond which nothing is added. */
enum trib_status trib_kept_open(const char *path, const char *identity, uint64_t limit,
                                struct trib_kept **out, struct trib_error *err) TRIB_MUST_USE;
/* Makes it anew, empty. */
enum trib_status trib_kept_create(const char *path, const char *identity, uint64_t limit,
                                  struct trib_kept **out, struct trib_error *err) TRIB_MUST_USE;
/* What was added is written; the file stays. NULL is fine. */
void trib_kept_close(struct trib_kept **kept);

/* Was an entry of this number in the file when it was opened? */
bool trib_kept_has(const struct trib_kept *kept, enum trib_kept_kind kind, uint64_t number);
/* One more than the highest number that was in the file then. */
uint64_t trib_kept_end(const struct trib_kept *kept, enum trib_kept_kind kind);
/* Its content into `content`, in place of what is there. */
enum trib_status trib_kept_read(struct trib_kept *kept, enum trib_kept_kind kind, uint64_t number,
                                struct trib_buf *content, struct trib_error *err) TRIB_MUST_USE;
/* Does nothing where the entry would not fit below the limit, and nothing ever after. */
enum trib_status trib_kept_add(struct trib_kept *kept, enum trib_kept_kind kind, uint64_t number,
                               const struct trib_buf *content, struct trib_error *err) TRIB_MUST_USE;
bool trib_kept_full(const struct trib_kept *kept); /* the limit was reached */
/* Entries that the file holds, old and new. */
uint64_t trib_kept_count(const struct trib_kept *kept, enum trib_kept_kind kind);
/* To the operating system: what survives the end of the process. */
enum trib_status trib_kept_flush(struct trib_kept *kept, struct trib_error *err) TRIB_MUST_USE;

#endif
