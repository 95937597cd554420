/* The simulator's calendar: events in order of time, and of what was put in first among those of one time.
 * So the order depends on nothing but what happened.
 *
 * A radix heap: time only goes on, so that an event's bucket is the highest bit in which its time differs
 * from one that has passed, and an event moves down a few times in its life, each time with its neighbours.
 * The bucket that is taken from is sorted, and shows which events are next. */
#ifndef TRIB_SIM_QUEUE_H
#define TRIB_SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trib_sim_event {
    uint64_t at_us;
    void *what; /* by kind; the queue does not look at it */
    uint32_t node;
    uint32_t kind;
};

struct trib_sim_bucket {
    size_t first, end, capacity; /* events[first] to events[end - 1] */
    struct trib_sim_event *events;
};

enum { TRIB_SIM_BUCKETS = 65 }; /* one a bit, and bucket 0 for events at `from_us` */

struct trib_sim_queue {
    size_t count;
    uint64_t from_us; /* nothing is earlier; buckets are counted from here */
    size_t active;    /* the bucket that is taken from: sorted; those before it are empty */
    struct trib_sim_bucket buckets[TRIB_SIM_BUCKETS];
};

/* Not before the event that was taken last: that counts as its time. False: out of memory, nothing was put
 * in. */
bool trib_sim_queue_put(struct trib_sim_queue *queue, struct trib_sim_event event);
/* The first one; false: there is none. */
bool trib_sim_queue_take(struct trib_sim_queue *queue, struct trib_sim_event *out);
/* The i-th of those that will be taken next, as far as it is known; else NULL. */
static inline const struct trib_sim_event *trib_sim_queue_peek(const struct trib_sim_queue *queue, size_t i) {
    const struct trib_sim_bucket *bucket = &queue->buckets[queue->active];
    return i < bucket->end - bucket->first ? &bucket->events[bucket->first + i] : NULL;
}
/* Its memory; what the events point to is the caller's, who takes them out before. */
void trib_sim_queue_release(struct trib_sim_queue *queue);

#endif
