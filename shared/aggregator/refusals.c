/* Refusals are written: each is a row of the journal and, for good, of the ledger. So that a child which is
 * refused again and again fills no disk with them, they are given at a bounded rate for each peer; beyond it
 * the number is not judged yet, and is asked for again later. A number still gets one verdict.
 *
 * The rate is a leaky bucket: `refusals_ms` is when it will have run dry. */
#include "shared/aggregator/internal.h"

#include <inttypes.h>

enum {
    EACH_MS = 250,           /* four a second, */
    BURST_MS = 20 * EACH_MS, /* ... after twenty at once */
    RETRY_MS = 1000,
    TELL_MS = 60 * 1000 /* an event for each peer at most so often */
};

static void tell(struct trib_aggregator *a, const struct session *s, struct presence *presence) {
    presence->held_back++;
    if (presence->told_ms != 0 && a->now_ms - presence->told_ms < TELL_MS) return;
    presence->told_ms = a->now_ms;
    trib_aggregator_event(a, TRIB_LOG_WARN, "refusals_held_back", "peer=%s count=%" PRIu64,
                          trib_session_peer(a, s)->identity, presence->held_back);
    presence->held_back = 0;
}

bool trib_aggregator_may_refuse(struct trib_aggregator *a, const struct session *s, uint64_t number) {
    struct presence *presence = &a->presence[s->peer];
    uint64_t dry_ms = presence->refusals_ms > a->now_ms ? presence->refusals_ms : a->now_ms;
    if (dry_ms - a->now_ms + EACH_MS <= BURST_MS) {
        presence->refusals_ms = dry_ms + EACH_MS;
        return true;
    }
    tell(a, s, presence);
    trib_aggregator_error(a, s->route, s->number, TRIB_CODE_CREDIT, number, RETRY_MS,
                          "too many updates that are refused: send it again later");
    return false;
}
