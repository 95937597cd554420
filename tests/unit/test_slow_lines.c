/* The shipped roles over lines that are slow, or cut again and again: everything arrives, nothing is sent for
 * nothing but what a cut costs, and nobody is given up while bytes move. */
#include "tests/support/cmocka.h"

#include "shared/wire/pace.h"
#include "tests/support/federation.h"

#include <stdlib.h>
#include <string.h>

enum { PARAMETERS = 50000, MODEL = PARAMETERS * (int)sizeof(float), EVENTS = 64 };

static const char *const schema = "a.weight 250x200 0x1p-3\n";
static const char *const plan = "codec.up: f32\ncodec.down: f32\ncodec.forward: f32\ncodec.global: f32\n"
                                "cloud.rule: fedasync\npublish.global_interval: 0\n";

struct watch {
    size_t silences, quiets, reconnects;
    struct federation *fed;
    uint64_t cut_every_ms; /* the connection ends so often */
};

static uint64_t train(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission) {
    (void)ctx;
    (void)device;
    (void)version;
    (void)G;
    for (size_t i = 0; i < n; i++) difference[i] = 0.001f * (float)(i % 7);
    submission->samples = submission->weight = 10;
    submission->steps = 1;
    return 1000;
}

static bool is(const struct trib_text *text, const char *name) {
    return text->size == strlen(name) && memcmp(text->data, name, text->size) == 0;
}

static void logged(void *ctx, size_t node, const struct trib_record *record) {
    struct watch *w = ctx;
    (void)node;
    if (is(&record->event, "uplink_closed")) {
        w->reconnects++;
        w->silences += record->text.size > 14 && memcmp(record->text.data, "reason=silence", 14) == 0;
    }
    w->quiets += is(&record->event, "peer_quiet");
}

/* The line goes for a moment, and the parent's side forgets the connection: the child hears of it. */
static void cut(void *ctx, uint64_t what) {
    struct watch *w = ctx;
    (void)what;
    federation_break(w->fed, federation_device(w->fed, 0));
    federation_at(w->fed, federation_now(w->fed) + w->cut_every_ms, 0);
}

static struct federation *over(struct watch *w, uint64_t rate, uint64_t latency_ms) {
    struct federation_options options = {.seed = 7,
                                         .plan = plan,
                                         .schema = schema,
                                         .devices = 1,
                                         .latency_ms = latency_ms,
                                         .commit_ms = 2,
                                         .keep_journal = true,
                                         .train = train,
                                         .hooks = {.ctx = w, .logged = logged, .alarm = cut}};
    struct federation *fed = federation_new(&options);
    w->fed = fed;
    federation_link(fed, federation_device(fed, 0))->rate = rate;
    if (w->cut_every_ms > 0) federation_at(fed, federation_now(fed) + w->cut_every_ms, 0);
    return fed;
}

static bool two_models(struct federation *fed, void *ctx) {
    (void)ctx;
    return federation_state(fed, federation_device(fed, 0))->parent_version >= 2;
}

/* Two updates go up and two models come down, and it takes not much longer than the line needs. */
static void check_slow(uint64_t rate) {
    struct watch w = {0};
    struct federation *fed = over(&w, rate, 50);
    uint64_t began = federation_now(fed), ideal_ms = (uint64_t)4 * MODEL * 1000 / rate;
    uint64_t took = federation_run(fed, began + 3 * ideal_ms + 3600000, two_models, NULL) - began;
    const struct federation_link *link = federation_link(fed, federation_device(fed, 0));
    if (getenv("LINE_LOG") != NULL)
        print_message("%d bytes/s: %.0f s of %.0f; up %d, down %d bytes; silences %d, quiets %d\n", (int)rate,
                      (double)took / 1e3, (double)ideal_ms / 1e3, (int)link->bytes[1], (int)link->bytes[0],
                      (int)w.silences, (int)w.quiets);
    assert_true(two_models(fed, NULL));
    assert_true(took < ideal_ms + ideal_ms / 10 + 60000);
    assert_int_equal(w.silences, 0);
    assert_int_equal(w.quiets, 0);
    assert_int_equal(w.reconnects, 0);
    assert_true(link->bytes[0] < 2 * MODEL + MODEL / 20);
    assert_true(link->bytes[1] < 2 * MODEL + MODEL / 5);
    federation_check(fed, "slow");
    federation_free(&fed);
}

static void test_slow_lines(void **unused) {
    (void)unused;
    check_slow(125000);
    check_slow(12500);
    check_slow(1250); /* 10 kbit/s */
}

/* 1 kbit/s: the first connections are given up until there is patience enough; then it goes on. */
static void test_slowest_line(void **unused) {
    (void)unused;
    struct watch w = {0};
    struct federation *fed = over(&w, 125, 100);
    uint64_t began = federation_now(fed), ideal_ms = (uint64_t)4 * MODEL * 1000 / 125;
    (void)federation_run(fed, began + 3 * ideal_ms, two_models, NULL);
    if (getenv("LINE_LOG") != NULL)
        print_message("125 bytes/s: %.0f s of %.0f, silences %d, reconnects %d\n",
                      (double)(federation_now(fed) - began) / 1e3, (double)ideal_ms / 1e3, (int)w.silences,
                      (int)w.reconnects);
    assert_true(two_models(fed, NULL));
    assert_true(federation_now(fed) - began < 2 * ideal_ms);
    assert_true(w.silences <= 12);
    federation_check(fed, "slowest");
    federation_free(&fed);
}

/* A connection that lasts some seconds at a time: what a cut costs is what was on its way. */
static void test_cut_again_and_again(void **unused) {
    (void)unused;
    static const struct { uint64_t rate, every_ms; } cases[] = {{12500, 9000}, {125000, 3000}, {1250, 60000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct watch w = {.cut_every_ms = cases[i].every_ms};
        struct federation *fed = over(&w, cases[i].rate, 20);
        uint64_t began = federation_now(fed), ideal_ms = (uint64_t)4 * MODEL * 1000 / cases[i].rate;
        (void)federation_run(fed, began + 10 * ideal_ms + 600000, two_models, NULL);
        const struct federation_link *link = federation_link(fed, federation_device(fed, 0));
        size_t cuts = w.reconnects, per_cut = 3 * (size_t)TRIB_CHUNK_MIN + 4000;
        if (getenv("LINE_LOG") != NULL)
            print_message("%d bytes/s, %d cuts: %.0f s of %.0f; up %d, down %d bytes of %d\n",
                          (int)cases[i].rate, (int)cuts, (double)(federation_now(fed) - began) / 1e3,
                          (double)ideal_ms / 1e3, (int)link->bytes[1], (int)link->bytes[0], 2 * MODEL);
        assert_true(two_models(fed, NULL));
        assert_true(cuts > 2);
        assert_true(link->bytes[0] + link->bytes[1] < 4 * MODEL + MODEL / 5 + cuts * per_cut);
        federation_check(fed, "cut");
        federation_free(&fed);
    }
}

/* The parent starts again in the middle of an update, then the child in the middle of the next: the same
 * number, the same bytes, and the child goes on where the parent was. */
static void test_restarts(void **unused) {
    (void)unused;
    struct watch w = {0};
    struct federation *fed = over(&w, 12500, 20);
    uint64_t began = federation_now(fed);
    for (int i = 0; i < 6; i++) {
        federation_run(fed, federation_now(fed) + 11000, NULL, NULL);
        federation_crash(fed, i % 2 == 0 ? FED_CLOUD : federation_device(fed, 0));
        federation_check(fed, "restart");
    }
    (void)federation_run(fed, began + 1200000, two_models, NULL);
    assert_true(two_models(fed, NULL));
    federation_check(fed, "restarts");
    federation_free(&fed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_lines),
        cmocka_unit_test(test_slowest_line),
        cmocka_unit_test(test_cut_again_and_again),
        cmocka_unit_test(test_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
