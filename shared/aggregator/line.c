/* What an aggregator knows of the lines to its children, for the codec of what it publishes (plan:
 * auto(...)).
 *
 * One publication is for all of them, so it goes by the child in the middle: of two the slower one. Neither a
 * single slow line nor a child that says nonsense decides for the rest. */
#include "shared/aggregator/internal.h"

#include "shared/base/alloc.h"

#include <stdlib.h>

struct child {
    double bytes_per_s;
    uint64_t waiting;
};

static double speed(const struct child *child) {
    return child->bytes_per_s / (1 + (double)child->waiting);
}

static int by_speed(const void *a, const void *b) {
    const double x = speed(a), y = speed(b);
    return (x > y) - (x < y);
}

/* The codec of the newest increment. */
static size_t rung_before(const struct trib_state *s) {
    const struct trib_base *newest = s->base_count > 0 ? &s->bases[s->base_count - 1] : NULL;
    return newest != NULL && newest->increment != NULL ? newest->rung : SIZE_MAX;
}

struct trib_ladder_line trib_aggregator_line(const struct trib_aggregator *a) {
    struct trib_ladder_line line = {.before = rung_before(a->state)};
    if (trib_ladder_count(a->state->ladder_pub) == 1 || a->session_count == 0) return line;
    struct child *children = trib_alloc_array(a->session_count, sizeof *children);
    size_t count = 0;
    for (size_t i = 0; children != NULL && i < a->session_count; i++) {
        const struct session *s = &a->sessions[i];
        if (s->number == 0 || s->rate == 0) continue;
        children[count++] = (struct child){(double)s->rate, s->before + s->sending};
    }
    if (count > 0) {
        qsort(children, count, sizeof *children, by_speed);
        line.bytes_per_s = children[(count - 1) / 2].bytes_per_s;
        line.waiting = children[(count - 1) / 2].waiting;
    }
    trib_free(children);
    return line;
}
