/* Models in auto(...): which codec a publication takes, by what its children say of their lines; that they
 * can read whatever it was; that records, checkpoints and restarts give the same bits. */
#include "tests/support/cmocka.h"
#include "tests/support/federation.h"
#include "tests/support/rebuilt.h"

#include "shared/base/rng.h"

#include <stdio.h>
#include <string.h>

enum { EDGES = 2, DEVICES = 6 };

static const char *const schema = "a.weight 80x50 0x1p-3\n";
#define PLAN                                                                                                 \
    "codec.down: auto(max=int8, loss=0.02)\ncodec.global: auto(max=f32, loss=0.0001)\n"                      \
    "publish.interval: 500ms\npublish.global_interval: 500ms\n"

struct watch {
    struct trib_rng rng;
    size_t mixed; /* MODELs with increments of several codecs */
};

static uint64_t train(void *ctx, size_t device, uint64_t version, const float *G, size_t n, float *difference,
                      struct trib_submission *submission) {
    struct watch *w = ctx;
    (void)version;
    for (size_t i = 0; i < n; i++)
        difference[i] = 0.2F * ((float)(i % 9) * 0.1F - G[i]) + 0.02F * (float)trib_rng_normal(&w->rng);
    submission->samples = submission->weight = 10;
    submission->steps = 1;
    return 300 + 100 * device;
}

static void sent(void *ctx, size_t from, size_t to, const struct trib_action *action) {
    struct watch *w = ctx;
    struct trib_msg msg;
    (void)from;
    (void)to;
    if (trib_msg_decode(action->frame, action->frame_bytes, &msg, NULL, NULL) != TRIB_OK ||
        msg.type != TRIB_MODEL || msg.codec.size == 0)
        return;
    const char *mark = memchr(msg.codec.data, ';', msg.codec.size);
    const char *end = msg.codec.data + msg.codec.size;
    while (mark != NULL && mark < end && *mark == ';') mark++;
    w->mixed += mark != NULL && mark < end;
}

static struct federation *begin(struct watch *w, const char *plan, size_t edges, size_t devices) {
    *w = (struct watch){.rng = trib_rng_seed(3, 0)};
    struct federation_options options = {.seed = 9,
                                         .plan = plan,
                                         .schema = schema,
                                         .edges = edges,
                                         .devices = devices,
                                         .latency_ms = 5,
                                         .jitter_ms = 5,
                                         .commit_ms = 2,
                                         .keep_journal = true,
                                         .train = train,
                                         .train_ctx = w,
                                         .hooks = {.ctx = w, .sent = sent}};
    return federation_new(&options);
}

static void set_rate(struct federation *fed, uint64_t bytes_per_s) {
    for (size_t node = 1; node < federation_node_count(fed); node++)
        federation_link(fed, node)->rate = bytes_per_s;
}

static void run(struct federation *fed, uint64_t ms) {
    federation_run(fed, federation_now(fed) + ms, NULL, NULL);
    federation_check(fed, "auto");
}

static bool has(const struct trib_text *text, const char *what) {
    char copy[200];
    (void)snprintf(copy, sizeof copy, "%.*s", (int)text->size, text->data);
    return strstr(copy, what) != NULL;
}

static bool is(const struct trib_text *text, const char *what) {
    return text->size == strlen(what) && memcmp(text->data, what, text->size) == 0;
}

/* How many of a node's publications are increments in that codec, for that reason; NULL: any. */
static size_t publications(struct federation *fed, size_t node, const char *codec, const char *reason) {
    const struct trib_record *const *records;
    size_t count = federation_journal(fed, node, &records), found = 0;
    for (size_t i = 0; i < count; i++) {
        const struct trib_record *r = records[i];
        if (r->kind != TRIB_REC_PUBLISH || r->model_kind != TRIB_MODEL_INCREMENTS) continue;
        assert_true(trib_rec_has(r, CODEC) && trib_rec_has(r, TEXT));
        found += (codec == NULL || is(&r->codec, codec)) && (reason == NULL || has(&r->text, reason));
    }
    return found;
}

static size_t held_back(struct federation *fed, size_t node) {
    return publications(fed, node, NULL, "reason=bandwidth") + publications(fed, node, NULL, "reason=queue");
}

/* Fast lines, then slow ones, then fast ones again; with restarts between. */
static void test_changes(void **unused) {
    (void)unused;
    static const char *const plans[] = {
        PLAN,
        PLAN "cloud.rule: fedasync(form=mix, alpha=0.5)\nedge.rule: fedasync(form=mix, alpha=0.5)\n",
    };
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        struct watch w;
        struct federation *fed = begin(&w, plans[i], EDGES, DEVICES);
        run(fed, 30000);
        for (size_t node = 0; node <= EDGES; node++) {
            assert_int_equal(publications(fed, node, "rotate+1bit", "reason=unmeasured"), 1);
            assert_true(publications(fed, node, NULL, "bytes_per_s=0 ") < 4);
        }
        assert_true(publications(fed, FED_CLOUD, "int8", NULL) > 5);
        assert_true(publications(fed, 1, "rotate+4bit", NULL) > 5);
        assert_int_equal(held_back(fed, 1), 0);
        set_rate(fed, 600);
        run(fed, 120000);
        assert_true(held_back(fed, FED_CLOUD) > 0);
        assert_true(held_back(fed, 1) + held_back(fed, 2) > 0);
        for (size_t node = 0; node <= EDGES; node++) federation_crash(fed, node);
        const size_t fast = publications(fed, FED_CLOUD, "int8", NULL);
        set_rate(fed, 0);
        run(fed, 30000);
        assert_true(publications(fed, FED_CLOUD, "int8", NULL) > fast + 5);
        assert_true(w.mixed > 0);
        for (size_t node = 0; node <= EDGES; node++)
            rebuilt_from_checkpoint(federation_state(fed, node), "auto");
        federation_calm(fed);
        run(fed, 60000);
        for (size_t node = 0; node <= EDGES; node++) {
            rebuilt_from_records(fed, node, "auto");
            federation_crash(fed, node);
        }
        run(fed, 60000);
        federation_free(&fed);
    }
}

static double newest_rate(struct federation *fed) {
    const struct trib_record *const *records;
    size_t count = federation_journal(fed, FED_CLOUD, &records);
    while (count-- > 0) {
        if (records[count]->kind != TRIB_REC_PUBLISH) continue;
        char text[200];
        double rate;
        (void)snprintf(text, sizeof text, "%.*s", (int)records[count]->text.size, records[count]->text.data);
        const char *at = strstr(text, "bytes_per_s=");
        assert_non_null(at);
        assert_int_equal(sscanf(at, "bytes_per_s=%lf", &rate), 1);
        return rate;
    }
    return 0;
}

/* Of children with lines of unequal speed it goes by the one in the middle, of four by the slower of two. */
static void test_middle(void **unused) {
    (void)unused;
    static const uint64_t rates[] = {1000, 3000, 30000, 300000};
    for (size_t devices = 3; devices <= 4; devices++) {
        struct watch w;
        struct federation *fed = begin(&w, PLAN, 0, devices);
        for (size_t i = 0; i < devices; i++)
            federation_link(fed, federation_device(fed, i))->rate = rates[devices - 1 - i];
        run(fed, 240000);
        const double rate = newest_rate(fed);
        if (!(rate > 1000 && rate < 3000)) fail_msg("%zu devices: %.0f bytes/s", devices, rate);
        federation_free(&fed);
    }
}

/* With one codec nothing is measured, said or recorded. */
static void test_plain(void **unused) {
    (void)unused;
    struct watch w;
    struct federation *fed = begin(&w, "codec.down: int8\n", EDGES, DEVICES);
    const struct trib_record *const *records;
    run(fed, 10000);
    for (size_t i = 0, count = federation_journal(fed, 1, &records); i < count; i++)
        if (records[i]->kind == TRIB_REC_PUBLISH) assert_false(trib_rec_has(records[i], TEXT));
    assert_int_equal(w.mixed, 0);
    federation_free(&fed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_middle),
        cmocka_unit_test(test_plain),
    };
    return cmocka_run_group_tests_name("federation_auto", tests, NULL, NULL);
}
