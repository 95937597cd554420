/* Windows over simulated lines: how long a control message waits behind a transfer, and how much of the line
 * the transfer uses. */
#include "tests/support/cmocka.h"

#include "shared/base/rng.h"
#include "shared/wire/pace.h"

#include <stdlib.h>
#include <string.h>

enum { QUEUE = 4096, PROBE_US = 7000, SKIP_US = 3000000 };

struct line {
    double rate;                  /* bytes/s */
    uint64_t delay_us, jitter_us; /* one way; order is kept, as TCP keeps it */
    double stall;                 /* chance that a piece waits for a repetition: one more round trip */
    size_t other;                 /* transfers that share it, each with a pace of its own, beside this one */
};

struct piece {
    uint64_t at_us; /* arrives */
    size_t bytes, flow;
};

struct credit {
    uint64_t at_us;
    size_t end, chunk;
};

struct flow {
    struct trib_pace pace;
    size_t sent, granted, chunk, have;
    struct credit credits[QUEUE]; /* on their way, in order */
    size_t first, last;
};

struct result {
    double used;                       /* of the line, after SKIP_US or from the start if it is shorter */
    uint64_t wait_p99_us, wait_max_us; /* of control messages, beyond the line's own delay, after SKIP_US */
    uint64_t seconds_us;               /* until it was done */
    size_t window;                     /* at the end */
    uint64_t early_max_us;             /* the longest wait before SKIP_US */
};

struct sim {
    struct line line;
    struct trib_rng rng;
    uint64_t now_us, free_us, last_arrival_us, credit_arrival_us; /* free_us: the line has sent everything */
    struct piece pieces[QUEUE];
    size_t first, last;
    struct flow *flows;
    size_t flow_count;
    uint64_t *waits;
    size_t wait_count, wait_capacity;
};

static uint64_t jitter(struct sim *s) {
    return trib_rng_below(&s->rng, s->line.jitter_us + 1);
}

static void send_piece(struct sim *s, size_t flow, size_t bytes) {
    uint64_t start = s->free_us > s->now_us ? s->free_us : s->now_us;
    s->free_us = start + (uint64_t)((double)bytes * 1e6 / s->line.rate);
    uint64_t at = s->free_us + s->line.delay_us + jitter(s);
    if (trib_rng_unit(&s->rng) < s->line.stall) at += 2 * s->line.delay_us + 10000;
    if (at < s->last_arrival_us) at = s->last_arrival_us;
    s->last_arrival_us = at;
    assert_true(s->last - s->first < QUEUE);
    s->pieces[s->last++ % QUEUE] = (struct piece){at, bytes, flow};
}

static void send_allowed(struct sim *s, size_t index) {
    struct flow *f = &s->flows[index];
    size_t end = f->granted < f->pace.total ? f->granted : f->pace.total;
    while (f->sent < end) {
        size_t bytes = end - f->sent < f->chunk ? end - f->sent : f->chunk;
        send_piece(s, index, bytes);
        f->sent += bytes;
    }
}

static void grant(struct sim *s, struct flow *f) {
    uint64_t at = s->now_us + s->line.delay_us + jitter(s);
    if (f->last > f->first && at < f->credits[(f->last - 1) % QUEUE].at_us)
        at = f->credits[(f->last - 1) % QUEUE].at_us;
    size_t chunk, window = trib_pace_grant(&f->pace, s->now_us / 1000, &chunk);
    assert_true(chunk >= TRIB_CHUNK_MIN && chunk <= TRIB_CHUNK_MAX && window >= chunk);
    f->credits[f->last++ % QUEUE] = (struct credit){at, f->have + window, chunk};
}

static void arrive(struct sim *s) {
    struct piece piece = s->pieces[s->first++ % QUEUE];
    struct flow *f = &s->flows[piece.flow];
    f->have += piece.bytes;
    trib_pace_arrived(&f->pace, s->now_us / 1000, f->have, piece.bytes);
    if (trib_pace_due(&f->pace)) grant(s, f);
}

static void probe(struct sim *s) {
    uint64_t wait = s->free_us > s->now_us ? s->free_us - s->now_us : 0;
    if (s->wait_count == s->wait_capacity) {
        s->wait_capacity = s->wait_capacity > 0 ? 2 * s->wait_capacity : 1024;
        s->waits = realloc(s->waits, s->wait_capacity * sizeof *s->waits);
        assert_non_null(s->waits);
    }
    s->waits[s->wait_count++] = wait;
}

/* The next thing that happens, or UINT64_MAX when every transfer is done. */
static uint64_t next_us(const struct sim *s, uint64_t probe_us) {
    uint64_t next = s->last > s->first ? s->pieces[s->first % QUEUE].at_us : UINT64_MAX;
    for (size_t i = 0; i < s->flow_count; i++) {
        const struct flow *f = &s->flows[i];
        if (f->last > f->first && f->credits[f->first % QUEUE].at_us < next)
            next = f->credits[f->first % QUEUE].at_us;
    }
    return next != UINT64_MAX && probe_us < next ? probe_us : next;
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* PACE_LOG=1 shows the figures. */
static void say(const struct sim *s, const struct result *r) {
    if (getenv("PACE_LOG") == NULL) return;
    print_message(
        "rate %.0f delay %d us: used %.3f, waits p99 %.1f ms, max %.1f, early %.1f, window %zu, %.1f s\n",
        s->line.rate, (int)s->line.delay_us, r->used, (double)r->wait_p99_us / 1e3,
        (double)r->wait_max_us / 1e3, (double)r->early_max_us / 1e3, r->window, (double)r->seconds_us / 1e6);
}

/* Sends `total` bytes of each flow over the line. */
static struct result transfer(struct sim *s, size_t total) {
    struct result result = {0};
    uint64_t probe_us = s->now_us + PROBE_US, began_us = s->now_us, counted_us = s->now_us;
    size_t early = 0, counted = 0;
    s->wait_count = 0;
    for (size_t i = 0; i < s->flow_count; i++) {
        struct flow *f = &s->flows[i];
        f->sent = f->granted = f->have = 0;
        trib_pace_start(&f->pace, 0, total);
        grant(s, f);
    }
    for (uint64_t next; (next = next_us(s, probe_us)) != UINT64_MAX;) {
        s->now_us = next;
        if (early == 0 && next - began_us > SKIP_US) {
            early = s->wait_count;
            counted_us = next;
            for (size_t i = 0; i < s->flow_count; i++) counted += s->flows[i].have;
        }
        if (next == probe_us) {
            probe(s);
            probe_us += PROBE_US;
        } else if (s->last > s->first && s->pieces[s->first % QUEUE].at_us == next) {
            arrive(s);
        } else {
            for (size_t i = 0; i < s->flow_count; i++) {
                struct flow *f = &s->flows[i];
                if (f->last == f->first || f->credits[f->first % QUEUE].at_us != next) continue;
                struct credit credit = f->credits[f->first++ % QUEUE];
                f->granted = credit.end;
                f->chunk = credit.chunk;
                send_allowed(s, i);
                break;
            }
        }
    }
    for (size_t i = 0; i < s->flow_count; i++) assert_int_equal(s->flows[i].have, total);
    for (size_t i = 0; i < early; i++)
        if (s->waits[i] > result.early_max_us) result.early_max_us = s->waits[i];
    if (s->wait_count > early) {
        size_t count = s->wait_count - early;
        qsort(s->waits + early, count, sizeof *s->waits, ascending);
        result.wait_p99_us = s->waits[early + count * 99 / 100];
        result.wait_max_us = s->waits[early + count - 1];
    }
    result.seconds_us = s->now_us - began_us;
    result.used =
        (double)(total * s->flow_count - counted) / ((double)(s->now_us - counted_us) * 1e-6) / s->line.rate;
    result.window = s->flows[0].pace.window;
    say(s, &result);
    return result;
}

static struct sim *new_sim(struct line line, size_t limit) {
    struct sim *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->line = line;
    s->rng = trib_rng_seed(7, 1);
    s->flow_count = 1 + line.other;
    s->flows = calloc(s->flow_count, sizeof *s->flows);
    assert_non_null(s->flows);
    for (size_t i = 0; i < s->flow_count; i++) trib_pace_init(&s->flows[i].pace, limit, false);
    return s;
}

static void free_sim(struct sim *s) {
    free(s->flows);
    free(s->waits);
    free(s);
}

static struct result over(struct line line, size_t total) {
    struct sim *s = new_sim(line, 4 << 20);
    struct result result = transfer(s, total);
    free_sim(s);
    return result;
}
#define MBIT 125000.0

static void test_10_mbit(void **unused) {
    (void)unused;
    static const struct line lines[] = {{10 * MBIT, 200, 100, 0, 0},
                                        {10 * MBIT, 2000, 1000, 0, 0},
                                        {10 * MBIT, 10000, 2000, 0, 0},
                                        {10 * MBIT, 25000, 5000, 0, 0}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct result r = over(lines[i], 40 << 20);
        assert_true(r.used > 0.93);
        assert_true(r.wait_p99_us < 45000);
        assert_true(r.early_max_us < 120000);
    }
}

static void test_long_fat_pipe(void **unused) {
    (void)unused;
    struct result r = over((struct line){100 * MBIT, 50000, 0, 0, 0}, 200 << 20);
    assert_true(r.used > 0.93); /* the window has grown to fill it, */
    assert_true(r.window > 1250000);
    assert_true(r.wait_p99_us < 70000); /* and no further */
    r = over((struct line){100 * MBIT, 50000, 10000, 0.001, 0}, 200 << 20);
    assert_true(r.used > 0.75);
    assert_true(r.wait_p99_us < 120000);
}

static void test_fast(void **unused) {
    (void)unused;
    assert_true(over((struct line){100 * MBIT, 150, 100, 0, 0}, 100 << 20).used > 0.93);
    struct result r = over((struct line){1000 * MBIT, 100, 50, 0, 0}, 400 << 20);
    assert_true(r.used > 0.93);
    assert_true(r.wait_p99_us < 40000);
    assert_true(over((struct line){16000 * MBIT, 20, 20, 0, 0}, 400 << 20).used > 0.8);
}

static void test_slow(void **unused) {
    (void)unused;
    struct result r = over((struct line){1 * MBIT, 20000, 5000, 0, 0}, 4 << 20);
    assert_true(r.used > 0.9);
    assert_true(r.wait_p99_us < 300000);                        /* two chunks */
    r = over((struct line){1250, 50000, 10000, 0, 0}, 1 << 20); /* 10 kbit/s */
    assert_true(r.used > 0.97);
    assert_int_equal(r.window, TRIB_CHUNK_MIN);
    r = over((struct line){125, 50000, 10000, 0, 0}, 256 << 10);
    assert_true(r.used > 0.97);
    assert_int_equal(r.window, TRIB_CHUNK_MIN);
}

static void test_losses(void **unused) {
    (void)unused;
    struct result r = over((struct line){10 * MBIT, 20000, 5000, 0.02, 0}, 40 << 20);
    assert_true(r.used > 0.7);
    assert_true(r.wait_p99_us < 80000);
}

/* Eight transfers over one line: a control message waits for as many pairs of chunks. */
static void test_shared(void **unused) {
    (void)unused;
    struct result r = over((struct line){100 * MBIT, 5000, 1000, 0, 7}, 20 << 20);
    assert_true(r.used > 0.9);
    assert_true((double)r.wait_p99_us < 8 * 2 * 16384 * 1000000.0 / (100 * MBIT) + 50000);
}

/* The line becomes ten times slower, then fifty times faster, and its round trip longer. */
static void test_changes(void **unused) {
    (void)unused;
    struct sim *s = new_sim((struct line){100 * MBIT, 5000, 500, 0, 0}, 4 << 20);
    struct result r = transfer(s, 60 << 20);
    assert_true(r.used > 0.9);
    s->line.rate = 10 * MBIT;
    r = transfer(s, 20 << 20);
    assert_true(r.used > 0.9);
    assert_true(r.wait_p99_us < 50000);
    s->line.rate = 500 * MBIT;
    r = transfer(s, 600 << 20);
    assert_true(r.used > 0.9);
    s->line.delay_us = 20000;
    r = transfer(s, 3000u << 20);
    assert_true(r.used > 0.8);
    free_sim(s);
}

/* One measurement that took long by chance must not fill the queue for ever. */
static void test_one_late_start(void **unused) {
    (void)unused;
    size_t chunk;
    struct trib_pace pace;
    trib_pace_init(&pace, 4 << 20, false);
    trib_pace_start(&pace, 0, 100 << 20);
    (void)trib_pace_grant(&pace, 1000, &chunk);
    trib_pace_arrived(&pace, 3000, TRIB_CHUNK_MIN, TRIB_CHUNK_MIN); /* 2 s instead of 15 ms */
    uint64_t now_ms = 3000;
    size_t have = TRIB_CHUNK_MIN;
    for (int i = 0; i < 1000; i++) { /* then 10 Mbit/s */
        if (trib_pace_due(&pace)) (void)trib_pace_grant(&pace, now_ms, &chunk);
        now_ms += 13;
        have += TRIB_CHUNK_MIN;
        trib_pace_arrived(&pace, now_ms, have, TRIB_CHUNK_MIN);
    }
    assert_true(pace.window <= 4 * TRIB_CHUNK_MIN);
}

/* However wide the window has grown, another transfer begins with no more pieces than sockets have room for.
 */
static void test_wide_beginnings(void **unused) {
    (void)unused;
    struct sim *s = new_sim((struct line){8000 * MBIT, 50, 20, 0, 0}, 4 << 20);
    (void)transfer(s, 100 << 20);
    struct trib_pace pace = s->flows[0].pace;
    assert_true(pace.window > 1 << 20);
    size_t chunk;
    trib_pace_start(&pace, 0, 100 << 20);
    size_t window = trib_pace_grant(&pace, s->now_us / 1000 + 1000, &chunk);
    assert_true(window <= 17 * chunk);
    free_sim(s);
}

/* A sender that never cuts a piece short is never left with a rest that it cannot use. */
static void test_pieces_of_odd_size(void **unused) {
    (void)unused;
    size_t chunk;
    for (size_t bytes = 1000; bytes <= TRIB_CHUNK_MIN; bytes += 1711) {
        struct trib_pace pace;
        trib_pace_init(&pace, 1 << 20, true);
        size_t have = 0, total = 3 << 20;
        uint64_t now_ms = 0;
        trib_pace_start(&pace, 0, total);
        size_t end = trib_pace_grant(&pace, 0, &chunk);
        while (have + bytes <= total) {
            if (have + bytes > end) fail_msg("it would wait for ever at %zu of %zu", have, end);
            have += bytes;
            now_ms += 5;
            trib_pace_arrived(&pace, now_ms, have, bytes);
            if (trib_pace_due(&pace)) end = have + trib_pace_grant(&pace, now_ms, &chunk);
        }
    }
}

static void test_narrow(void **unused) {
    (void)unused;
    size_t chunk;
    struct trib_pace pace;
    trib_pace_init(&pace, 1 << 20, false);
    trib_pace_start(&pace, 0, 1 << 20);
    pace.narrow = true;
    assert_int_equal(trib_pace_grant(&pace, 0, &chunk), TRIB_CHUNK_MIN);
    assert_false(trib_pace_due(&pace));
    trib_pace_arrived(&pace, 10, TRIB_CHUNK_MIN, TRIB_CHUNK_MIN);
    assert_true(trib_pace_due(&pace));
    assert_int_equal(trib_pace_grant(&pace, 10, &chunk), TRIB_CHUNK_MIN);
}

static void test_drain(void **unused) {
    (void)unused;
    size_t chunk;
    assert_int_equal(trib_drain_ms(0, 5), 0);
    assert_true(trib_drain_ms(32768, 0) >= 26000); /* before anything is known: 10 kbit/s */
    assert_true(trib_drain_ms(16384, 125) >= 131000);
    assert_true(trib_drain_ms(1 << 20, 100000000) < 2000);
    struct trib_pace pace;
    trib_pace_init(&pace, 1 << 20, false);
    trib_pace_start(&pace, 0, 20000);
    assert_int_equal(trib_pace_drain_ms(&pace), 0);
    (void)trib_pace_grant(&pace, 0, &chunk);
    assert_int_equal(trib_pace_drain_ms(&pace), 20000);
    assert_false(trib_pace_due(&pace)); /* all of it is granted */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_10_mbit),
        cmocka_unit_test(test_long_fat_pipe),
        cmocka_unit_test(test_fast),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_one_late_start),
        cmocka_unit_test(test_wide_beginnings),
        cmocka_unit_test(test_pieces_of_odd_size),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
