#include "shared/wire/pace.h"

#include "shared/base/error.h"

enum {
    TARGET_MIN_MS = 10, /* of queueing: what is granted beyond rate x round trip */
    TARGET_MAX_MS = 50,
    PIECES = 8,             /* in a window; few enough for the queues of sockets (shared/net), */
    PROBE_PIECES = 16,      /* and so are these */
    RATE_MS = 25,           /* a rate is measured over so long at least: times are in ms */
    PROBE_MS = 10 * 1000,   /* a round trip without a queue is measured so often */
    SLOW_RATE = 32 * 1024,  /* below it one chunk at a time: half a second of the line each */
    STEP = 4 * 1024,        /* chunks and windows are multiples */
    UNMEASURED = 64 * 1024, /* bytes: more are not under way before a rate is known, or the line is fast */
    MARGIN_MS = 1000,       /* of trib_drain_ms */
    RATE_MAX = 1 << 30      /* bytes/s: more is not told apart, and nothing overflows */
};

static size_t clamp(size_t value, size_t low, size_t high) {
    return value < low ? low : value > high ? high : value;
}

static uint64_t less(uint64_t a, uint64_t b) {
    return a > b ? a - b : 0;
}

static void set_window(struct trib_pace *p, size_t want) {
    size_t least = p->rate != 0 && p->rate < SLOW_RATE ? 1 : 2;
    if (want > p->limit) want = p->limit;
    p->chunk = clamp(want / PIECES, TRIB_CHUNK_MIN, TRIB_CHUNK_MAX) & ~(size_t)(STEP - 1);
    /* Of one or two chunks a part of another is much more queue, so it is not begun for the sake of a little.
     */
    size_t whole = (want + p->chunk * 3 / 5) / p->chunk;
    if (whole <= 2) want = whole * p->chunk;
    p->window = clamp(want & ~(size_t)(STEP - 1), least * p->chunk, p->limit);
}

void trib_pace_init(struct trib_pace *pace, size_t limit, bool cautious) {
    *pace = (struct trib_pace){.limit = limit < 2 * TRIB_CHUNK_MIN ? 2 * TRIB_CHUNK_MIN : limit,
                               .chunk = TRIB_CHUNK_MIN,
                               .window = (cautious ? 1 : 2) * (size_t)TRIB_CHUNK_MIN};
}

void trib_pace_start(struct trib_pace *pace, size_t have, size_t total) {
    pace->have = pace->end = have;
    pace->total = total;
    pace->round = pace->counting = false;
    pace->draining = true; /* nothing is on its way: as after a drain */
}

/* ---- measuring ---- */

/* The round trip of a smallest chunk without a queue. */
static uint64_t base_ms(const struct trib_pace *p) {
    return p->trips[1] != 0 && p->trips[1] < p->trips[0] ? p->trips[1] : p->trips[0];
}

/* What a piece takes beyond that because it is larger. */
static uint64_t longer_ms(const struct trib_pace *p, size_t bytes) {
    return p->rate != 0 && bytes > TRIB_CHUNK_MIN ? (bytes - TRIB_CHUNK_MIN) * (uint64_t)1000 / p->rate : 0;
}

static void measure_rate(struct trib_pace *p, uint64_t now_ms) {
    uint64_t elapsed = less(now_ms, p->rate_ms);
    if (p->counting && elapsed < RATE_MS) return;
    if (p->counting) {
        uint64_t sample = clamp((p->have - p->rate_have) * 1000 / elapsed, 1, RATE_MAX);
        p->rate = sample > p->last_rate ? sample : p->last_rate;
        p->last_rate = sample;
    }
    p->counting = true;
    p->rate_ms = now_ms;
    p->rate_have = p->have;
}

static void measure_trip(struct trib_pace *p, uint64_t now_ms, uint64_t trip_ms) {
    uint64_t ms = trip_ms > 0 ? trip_ms : 1;
    if (p->clean) {
        p->trips[1] = p->trips[0];
        p->trips[0] = ms;
        p->probed_ms = now_ms;
    } else if (ms < base_ms(p)) {
        p->trips[0] = ms;
    }
}

static void adapt(struct trib_pace *p, uint64_t trip_ms, size_t bytes) {
    uint64_t base = base_ms(p), queued = less(trip_ms, base + longer_ms(p, bytes));
    uint64_t target = clamp(base / 3, TARGET_MIN_MS, TARGET_MAX_MS);
    if (!p->settled && queued <= target / 2) {
        set_window(p, p->window + p->window / 2);
    } else if (p->rate != 0) {
        p->settled = true;
        set_window(p, (size_t)(p->rate * (base + target) / 1000) + p->chunk - TRIB_CHUNK_MIN);
    }
}

static void end_round(struct trib_pace *p, uint64_t now_ms, size_t bytes) {
    uint64_t trip_ms = less(now_ms, p->round_ms);
    if (p->probe) p->counting = false; /* the line was left idle */
    measure_rate(p, now_ms);
    measure_trip(p, now_ms, trip_ms);
    p->round = false;
    if (!p->probe && !p->narrow) adapt(p, trip_ms, bytes);
}

void trib_pace_arrived(struct trib_pace *pace, uint64_t now_ms, size_t have, size_t bytes) {
    TRIB_ASSERT(have >= pace->have);
    pace->have = have;
    if (pace->round && have > pace->round_end) end_round(pace, now_ms, bytes);
    if (pace->end > have && pace->trips[0] != 0 && less(now_ms, pace->probed_ms) >= PROBE_MS)
        pace->draining = true;
}

/* ---- granting ---- */

static size_t on_its_way(const struct trib_pace *p) {
    size_t end = p->end < p->total ? p->end : p->total;
    return end > p->have ? end - p->have : 0;
}

static size_t window_of(const struct trib_pace *p) {
    return p->narrow ? p->chunk : p->window;
}

bool trib_pace_due(const struct trib_pace *pace) {
    if (pace->end >= pace->total) return false;
    size_t end = pace->have + window_of(pace), quantum = window_of(pace) / 4;
    if (quantum < pace->chunk) quantum = pace->chunk;
    if (end <= pace->end) return false;
    /* Less than a chunk: a sender may wait for room for a whole one. */
    if (on_its_way(pace) < pace->chunk) return true;
    return !pace->draining && end - pace->end >= quantum;
}

size_t trib_pace_grant(struct trib_pace *pace, uint64_t now_ms, size_t *chunk) {
    size_t window = window_of(pace);
    bool idle = on_its_way(pace) < pace->chunk;
    *chunk = pace->chunk;
    if (idle || !pace->round) {
        pace->round = true;
        pace->clean = idle;
        pace->probe = idle && pace->draining;
        pace->round_ms = now_ms;
        pace->round_end = pace->end < pace->have ? pace->have : pace->end;
    }
    /* Measured with small ones, but no more of them than sockets have room for. */
    if (pace->probe) *chunk = clamp(window / PROBE_PIECES, TRIB_CHUNK_MIN, pace->chunk) & ~(size_t)(STEP - 1);
    if (idle) pace->draining = false;
    pace->end = pace->have + window;
    return window;
}

uint64_t trib_drain_ms(size_t bytes, uint64_t rate) {
    if (bytes == 0) return 0;
    if (rate != 0) return MARGIN_MS + 2 * (bytes * (uint64_t)1000 / rate);
    return (bytes < UNMEASURED ? bytes : UNMEASURED) * (uint64_t)1000 / TRIB_SLOWEST_RATE;
}

uint64_t trib_pace_drain_ms(const struct trib_pace *pace) {
    return trib_drain_ms(on_its_way(pace), pace->rate);
}
