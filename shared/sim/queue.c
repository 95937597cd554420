#include "shared/sim/queue.h"

#include "shared/base/alloc.h"

#include <string.h>

enum { BATCH = 64, LEAST = 16 }; /* events that are sorted at a time; room in a bucket */

static size_t held(const struct trib_sim_bucket *bucket) {
    return bucket->end - bucket->first;
}

/* Room for `more` events at the end. */
static bool reserve(struct trib_sim_bucket *bucket, size_t more) {
    if (more <= bucket->capacity - bucket->end) return true;
    size_t count = held(bucket);
    if (count + more > bucket->capacity / 2) {
        size_t capacity = bucket->capacity > 0 ? bucket->capacity : LEAST;
        while (capacity < bucket->end + more) capacity *= 2;
        struct trib_sim_event *events = trib_realloc(bucket->events, capacity * sizeof *events);
        if (events == NULL) return false;
        bucket->events = events;
        bucket->capacity = capacity;
        return true;
    }
    memmove(bucket->events, bucket->events + bucket->first, count * sizeof *bucket->events);
    bucket->first = 0;
    bucket->end = count;
    return true;
}

static size_t bucket_of(const struct trib_sim_queue *q, uint64_t at_us) {
    if (at_us <= q->from_us) return 0;
    return 64 - (size_t)__builtin_clzll(at_us ^ q->from_us);
}

/* Behind all that are not later. There is room. */
static void insert(struct trib_sim_bucket *bucket, struct trib_sim_event event) {
    size_t i = bucket->end++;
    for (; i > bucket->first && bucket->events[i - 1].at_us > event.at_us; i--)
        bucket->events[i] = bucket->events[i - 1];
    bucket->events[i] = event;
}

static size_t first_from(const struct trib_sim_queue *q, size_t b) {
    while (b < TRIB_SIM_BUCKETS && held(&q->buckets[b]) == 0) b++;
    return b;
}

/* Its events go to the buckets before it, which are empty; what others joined may stay. False: there is no
 * memory for that. */
static bool split(struct trib_sim_queue *q, size_t b) {
    struct trib_sim_bucket *bucket = &q->buckets[b];
    uint64_t from_us = UINT64_MAX;
    for (size_t i = bucket->first; i < bucket->end; i++)
        if (bucket->events[i].at_us < from_us) from_us = bucket->events[i].at_us;
    size_t counts[TRIB_SIM_BUCKETS] = {0};
    uint64_t before_us = q->from_us;
    q->from_us = from_us;
    for (size_t i = bucket->first; i < bucket->end; i++) counts[bucket_of(q, bucket->events[i].at_us)]++;
    for (size_t i = 0; i < b; i++) {
        if (counts[i] == 0 || reserve(&q->buckets[i], counts[i])) continue;
        q->from_us = before_us;
        return false;
    }
    size_t end = bucket->end;
    bucket->end = bucket->first;
    for (size_t i = bucket->first; i < end; i++) {
        struct trib_sim_bucket *to = &q->buckets[bucket_of(q, bucket->events[i].at_us)];
        to->events[to->end++] = bucket->events[i];
    }
    if (held(bucket) == 0) bucket->first = bucket->end = 0;
    return true;
}

static void sort(struct trib_sim_bucket *bucket) {
    size_t end = bucket->end;
    bucket->end = bucket->first;
    while (bucket->end < end) insert(bucket, bucket->events[bucket->end]);
}

/* Where the next events are. */
static void activate(struct trib_sim_queue *q) {
    size_t b = first_from(q, q->active);
    while (b > 0 && held(&q->buckets[b]) > BATCH && split(q, b)) b = first_from(q, 0);
    /* Small ones join the next, as long as that stays small: what is sorted reaches far ahead. */
    for (size_t next; b > 0 && (next = first_from(q, b + 1)) < TRIB_SIM_BUCKETS; b = next) {
        struct trib_sim_bucket *small = &q->buckets[b], *large = &q->buckets[next];
        if (held(small) + held(large) > BATCH || !reserve(large, held(small))) break;
        for (size_t i = small->first; i < small->end; i++) large->events[large->end++] = small->events[i];
        small->first = small->end = 0;
    }
    if (b > 0) sort(&q->buckets[b]);
    q->active = b;
}

bool trib_sim_queue_put(struct trib_sim_queue *q, struct trib_sim_event event) {
    size_t b = bucket_of(q, event.at_us);
    if (b < q->active) b = q->active;
    struct trib_sim_bucket *bucket = &q->buckets[b];
    if (!reserve(bucket, 1)) return false;
    if (b == q->active)
        insert(bucket, event);
    else
        bucket->events[bucket->end++] = event;
    q->count++;
    /* It would be slow to sort many in one by one. */
    if (b == q->active && b > 0 && held(bucket) > 4 * BATCH && split(q, b)) q->active = 0;
    return true;
}

bool trib_sim_queue_take(struct trib_sim_queue *q, struct trib_sim_event *out) {
    if (q->count == 0) return false;
    if (held(&q->buckets[q->active]) == 0) activate(q);
    struct trib_sim_bucket *bucket = &q->buckets[q->active];
    *out = bucket->events[bucket->first++];
    if (bucket->first == bucket->end) bucket->first = bucket->end = 0;
    q->count--;
    return true;
}

void trib_sim_queue_release(struct trib_sim_queue *q) {
    for (size_t i = 0; i < TRIB_SIM_BUCKETS; i++) trib_free(q->buckets[i].events);
    *q = (struct trib_sim_queue){0};
}
