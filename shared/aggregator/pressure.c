/* When more is asked for than this node can do: it says so, and spreads those that it turns away. */
#include "shared/aggregator/internal.h"

#include <inttypes.h>

#define TURN_FIRST_MS   5.0 /* before anybody was served */
#define TURN_LEAST_MS   1.0
#define TURN_SLOWEST_MS 1000.0

/* Updates wait for room, or the disk does not keep up. */
static bool pressed(const struct trib_aggregator *a) {
    return a->status.offers_waiting > 0 || a->unwritten_bytes >= a->options.budget_bytes;
}

void trib_aggregator_look_at_pressure(struct trib_aggregator *a) {
    struct trib_aggregator_status *status = &a->status;
    if (!pressed(a)) {
        if (!status->behind) {
            a->pressed_ms = 0;
        } else if (a->calm_ms == 0) {
            a->calm_ms = a->now_ms;
        } else if (a->now_ms - a->calm_ms >= CAUGHT_UP_MS) {
            trib_aggregator_event(a, TRIB_LOG_INFO, "caught_up", "after_ms=%" PRIu64,
                                  a->calm_ms - a->pressed_ms);
            status->behind = false;
            a->pressed_ms = 0;
        }
        return;
    }
    a->calm_ms = 0;
    if (a->pressed_ms == 0) a->pressed_ms = a->now_ms;
    if (status->behind || a->now_ms - a->pressed_ms < BEHIND_MS) return;
    status->behind = true;
    status->behind_count++;
    trib_aggregator_event(a, TRIB_LOG_WARN, "behind",
                          "reason=%s waiting=%" PRIu64 " in_flight_bytes=%" PRIu64
                          " unwritten_bytes=%" PRIu64,
                          a->unwritten_bytes > status->in_flight_bytes ? "storage" : "budget",
                          status->offers_waiting, status->in_flight_bytes, a->unwritten_bytes);
}

void trib_aggregator_unwritten(struct trib_aggregator *a, uint64_t bytes) {
    a->unwritten_bytes = bytes;
    a->unwritten_told = true;
}

uint64_t trib_aggregator_next_turn(struct trib_aggregator *a, uint64_t least_ms) {
    double each = a->turn_each_ms > 0 ? a->turn_each_ms : TURN_FIRST_MS;
    uint64_t at = a->now_ms + least_ms;
    if (a->turn_at_ms > at) at = a->turn_at_ms;
    if (at > a->now_ms + TURN_MAX_MS) /* who is asked to come that late may come a little earlier */
        at = a->now_ms + TURN_MAX_MS / 2 + trib_rng_below(&a->rng, TURN_MAX_MS / 2);
    else
        a->turn_at_ms = at + (uint64_t)(each < TURN_LEAST_MS ? TURN_LEAST_MS : each);
    return at - a->now_ms;
}

void trib_aggregator_turn_done(struct trib_aggregator *a) {
    double took = a->served_ms != 0 ? (double)(a->now_ms - a->served_ms) : TURN_FIRST_MS;
    if (took > TURN_SLOWEST_MS) took = TURN_SLOWEST_MS;
    a->turn_each_ms += (took - a->turn_each_ms) / 8;
    a->served_ms = a->now_ms;
}
