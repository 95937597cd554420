/* A few threads for work on vectors that is worth parting: a robust rule's commit, say. The threads belong to
 * a driver (a daemon, the simulator), which hands the pool to what computes; a NULL pool means that the
 * caller does everything itself. Results may not depend on how many threads there are: a part is a fixed
 * range of coordinates (or a row) that is computed the same by whoever takes it, and sums over parts are made
 * afterwards, in the order of the parts.
 *
 *   caller                    threads
 *   run: parts 0..n-1 are --> wait on a condition variable
 *   there; takes parts too    take parts by a counter until none is left
 *   waits for those that   <-- the last one to finish says so
 *   are still at work */
#ifndef TRIB_KERNELS_SHARDS_H
#define TRIB_KERNELS_SHARDS_H

#include "shared/base/error.h"

#include <stddef.h>

enum {
    TRIB_SHARDS_MAX = 16,
    TRIB_SHARDS_COMMIT = 4 /* for a commit: more would wait for memory */
};

struct trib_shards;

/* A pool of `width` workers, the caller of trib_shards_run being one of them: so width - 1 threads, with all
 * signals blocked. 1 <= width <= TRIB_SHARDS_MAX. TRIB_NOMEM; TRIB_IO when there can be no more threads. */
enum trib_status trib_shards_new(size_t width, struct trib_shards **out,
                                 struct trib_error *err) TRIB_MUST_USE;
/* Ends the threads. NULL is fine. Not while trib_shards_run runs. */
void trib_shards_free(struct trib_shards **shards);
/* How many workers there are: what is needed once for each is needed so often. 1 of NULL. */
size_t trib_shards_width(const struct trib_shards *shards);

/* Calls part(arg, i, worker) once for each i below `parts`, several at a time and in any order (of NULL: in
 * order), and returns when all have returned; what they wrote can be seen then. worker < width, and no two
 * calls at the same time have the same one. A part may not call this with the same pool, and one thread at a
 * time may. */
void trib_shards_run(struct trib_shards *shards, size_t parts,
                     void (*part)(void *arg, size_t i, size_t worker), void *arg);

#endif
