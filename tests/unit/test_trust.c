/* The trust gate: a participant that pushes the wrong way, raises the held-out loss, or has labels unlike the
 * others' is weighed down, shut out, and taken back when it has been sound for a while. The score by hand,
 * and in a live role with its records replayed. */
#include "tests/support/cmocka.h"
#include "tests/support/memory_file.h"

#include "shared/base/bytes.h"
#include "tests/support/roles.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- by hand ---- */

static struct trib_rule *rule_of(const char *spec) {
    struct trib_rule *rule = NULL;
    struct trib_error err = {0};
    if (trib_rule_new(spec, TRIB_TIER_CLOUD, &rule, &err) != TRIB_OK) fail_msg("%s", err.text);
    return rule;
}

/* A memory that has seen `norm` often. */
static struct trib_rule_memory usual(float norm) {
    struct trib_rule_memory memory = {.norm_count = 8};
    for (size_t i = 0; i < 8; i++) memory.norms[i] = norm;
    return memory;
}

static void test_the_score(void **unused) {
    (void)unused;
    struct trib_rule *rule =
        rule_of("trust(memory=0.5, threshold=0.2, commits=10, norm=2) | fedasync(share=no)");
    struct trib_rule_memory memory = usual(1);
    struct trib_rule_peer peer = {0};
    struct trib_rule_update update = {.weight = 1, .share = 1, .norm = 1.5, .cosine = 0.3, .peer = &peer};
    struct trib_rule_weight w = trib_rule_weigh(rule, &memory, &update);
    assert_true(w.refusal == TRIB_RULE_TAKEN && w.applied == 1.0f); /* sound: as without the gate */
    update.norm = 8; /* four times too long: e = 1/4, t = 1/2 + 1/8 */
    w = trib_rule_weigh(rule, &memory, &update);
    assert_true(w.refusal == TRIB_RULE_TAKEN && w.applied == 0.25f);
    trib_rule_note_peer(rule, &memory, &peer, &update, w.refusal);
    assert_true(peer.trust == 0.625f);
    update.norm = 1;
    update.cosine = -0.5; /* e = 1/2, t = 0.5625 */
    w = trib_rule_weigh(rule, &memory, &update);
    assert_true(w.applied == 0.5f);
    trib_rule_note_peer(rule, &memory, &peer, &update, w.refusal);
    assert_true(peer.trust == 0.5625f && peer.until == 0);
    update.cosine = 0.9; /* sound, but with a past: t = 0.78125 */
    w = trib_rule_weigh(rule, &memory, &update);
    assert_true(w.applied == 0.78125f);
    trib_rule_free(&rule);
}

static void test_quarantine_begins_and_ends(void **unused) {
    (void)unused;
    struct trib_rule *rule = rule_of("trust(memory=0.5, threshold=0.3, commits=10) | fedasync(share=no)");
    struct trib_rule_memory memory = usual(1);
    struct trib_rule_peer peer = {0};
    struct trib_rule_update update = {
        .weight = 1, .share = 1, .norm = 1, .cosine = -1, .commits = 100, .peer = &peer};
    for (int i = 0; i < 2; i++) { /* 1/2, then 1/4 */
        struct trib_rule_weight w = trib_rule_weigh(rule, &memory, &update);
        assert_int_equal(w.refusal, i == 0 ? TRIB_RULE_TAKEN : TRIB_RULE_QUARANTINE);
        trib_rule_note_peer(rule, &memory, &peer, &update, w.refusal);
    }
    assert_int_equal(peer.until, 110);
    update.cosine = 1;
    for (update.commits = 101; update.commits < 110; update.commits++) {
        struct trib_rule_weight w = trib_rule_weigh(rule, &memory, &update);
        assert_int_equal(w.refusal, TRIB_RULE_QUARANTINE); /* sound again, and still out */
        trib_rule_note_peer(rule, &memory, &peer, &update, w.refusal);
        assert_int_equal(peer.until, 110);
    }
    struct trib_rule_weight w = trib_rule_weigh(rule, &memory, &update);
    assert_int_equal(w.refusal, TRIB_RULE_TAKEN);
    assert_true(w.applied > 0.99f);
    peer.trust = 0.25f; /* who is not stays out */
    update.cosine = -0.9;
    w = trib_rule_weigh(rule, &memory, &update);
    trib_rule_note_peer(rule, &memory, &peer, &update, w.refusal);
    assert_int_equal(w.refusal, TRIB_RULE_QUARANTINE);
    assert_int_equal(peer.until, 120);
    trib_rule_free(&rule);
}

static struct trib_rule_memory usual_effect(float effect) {
    struct trib_rule_memory memory = {.effect_count = 5};
    for (size_t i = 0; i < 5; i++) memory.effects[i] = effect;
    return memory;
}

/* Weighs an update of this effect, notes it, and returns what it was multiplied by. */
static float with_effect(const struct trib_rule *rule, const struct trib_rule_memory *memory,
                         struct trib_rule_peer *peer, double effect) {
    struct trib_rule_update update = {.weight = 1, .share = 1, .norm = 1, .effect = effect, .peer = peer};
    struct trib_rule_weight w = trib_rule_weigh(rule, memory, &update);
    trib_rule_note_peer(rule, memory, peer, &update, w.refusal);
    return w.applied;
}

static void test_the_loss_term(void **unused) {
    (void)unused;
    struct trib_rule *rule = rule_of("trust(memory=0.5, threshold=0.2, loss=1) | fedasync(share=no)");
    struct trib_rule_memory memory = usual_effect(0.25f);
    struct trib_rule_peer peer = {0};
    assert_true(trib_rule_needs_effect(rule));
    assert_true(with_effect(rule, &memory, &peer, -0.125) == 0.75f); /* half of what is usual: h = -1/4 */
    assert_true(peer.effect == -0.25f && peer.trust == 0.875f);
    assert_string_equal(trib_rule_term_name(peer.weakest), "loss");
    assert_true(with_effect(rule, &memory, &peer, -1) == 0.375f); /* no more than -1: h = -5/8 */
    assert_true(peer.effect == -0.625f && peer.trust == 0.625f);
    assert_true(with_effect(rule, &memory, &peer, 0) == 0.375f); /* not known: h stays */
    assert_true(peer.effect == -0.625f && peer.trust == 0.5f);
    assert_true(with_effect(rule, &memory, &peer, 0.25) == 0.75f); /* h = 3/16: e = 1, t = 3/4 */
    assert_true(peer.effect == 0.1875f && peer.trust == 0.75f);
    memory.effect_count = 3; /* too few to say what is usual */
    assert_true(with_effect(rule, &memory, &peer, -1) == 0.875f && peer.effect == 0.1875f);
    trib_rule_free(&rule);
    memory.effect_count = 5;
    peer = (struct trib_rule_peer){0};
    rule = rule_of("trust(memory=0.5, loss=0.5) | fedasync(share=no)");
    assert_true(with_effect(rule, &memory, &peer, -1) == 0.75f);
    trib_rule_free(&rule);
    rule = rule_of("trust(loss=0) | fedasync(share=no)");
    assert_false(trib_rule_needs_effect(rule));
    peer = (struct trib_rule_peer){0};
    assert_true(with_effect(rule, &memory, &peer, -1) == 1.0f);
    trib_rule_free(&rule);
}

static void test_the_labels_term(void **unused) {
    (void)unused;
    struct trib_rule *rule = rule_of("trust(memory=0, threshold=0.4, labels=0.5) | fedasync(share=no)");
    struct trib_rule_memory memory = {0};
    struct trib_rule_peer peer = {0};
    struct trib_rule_update update = {.weight = 1, .share = 1, .norm = 1, .divergence = 2, .peer = &peer};
    assert_true(trib_rule_weigh(rule, &memory, &update).applied == 0.5f);
    update.divergence = 4; /* 1/3 */
    struct trib_rule_weight w = trib_rule_weigh(rule, &memory, &update);
    assert_int_equal(w.refusal, TRIB_RULE_QUARANTINE);
    trib_rule_note_peer(rule, &memory, &peer, &update, w.refusal);
    assert_string_equal(trib_rule_term_name(peer.weakest), "labels");
    trib_rule_free(&rule);
}

static void test_what_is_usual_follows_sizes(void **unused) {
    (void)unused;
    struct trib_rule_memory memory = {0};
    struct trib_rule_weight taken = {.factor = 1, .applied = 1, .norm = 1};
    const double effects[] = {-0.5, 0.25, 0, -0.125, 0.75, 0.375};
    for (size_t i = 0; i < 6; i++) {
        struct trib_rule_update update = {.norm = 1, .effect = effects[i]};
        trib_rule_note_update(&memory, NULL, &update, &taken, 1000);
    }
    assert_int_equal(memory.effect_count, 5); /* 0 stands for one that is not known */
    struct trib_rule *rule = rule_of("trust(memory=0, threshold=0, loss=1) | fedasync(share=no)");
    struct trib_rule_peer peer = {0};
    assert_true(with_effect(rule, &memory, &peer, -0.1875) == 0.5f); /* the median is 0.375 */
    trib_rule_free(&rule);
}

/* ---- in a role ---- */

enum { HONEST = 4 };

static void test_one_who_pushes_back(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){
                           .role = TRIB_ROLE_CLOUD,
                           .plan = "cloud.rule: trust(memory=0.7, commits=12) | fedbuff(k=4, deadline=0)\n"
                                   "publish.global_interval: 0\n"});
    uint64_t session[HONEST + 1], number[HONEST + 1];
    char name[] = "d0";
    for (size_t i = 0; i <= HONEST; i++) {
        name[1] = (char)('0' + (int)i);
        session[i] = role_join(&node, i + 1, name, 100 + i);
        number[i] = 1;
    }
    size_t taken = 0, out = 0, back = 0;
    for (int turn = 0; turn < 60; turn++) {
        bool turned = turn >= 20; /* from then on the last one is honest too */
        for (size_t i = 0; i <= HONEST; i++) {
            struct trib_msg pull = role_pull(session[i], NULL);
            node.now_ms += 100;
            role_deliver(&node, i + 1, NULL, &pull, NULL);
            const struct role_sent *model = role_next(&node, TRIB_MODEL);
            uint64_t base = model->msg.to_version;
            trib_blob_unref(&node.sent[node.read - 1]->payload);
            float value = i < HONEST || turned ? 1.0f : -1.0f;
            const struct trib_msg *ack =
                role_update(&node, i + 1, role_push(session[i], number[i]++, base), value);
            if (i < HONEST) assert_int_equal(ack->verdict, TRIB_ACCEPTED);
            if (i < HONEST) continue;
            if (ack->verdict == TRIB_REFUSED) assert_int_equal(ack->reason, TRIB_REASON_QUARANTINE);
            taken += !turned && ack->verdict == TRIB_ACCEPTED;
            out += ack->verdict == TRIB_REFUSED;
            back += turned && ack->verdict == TRIB_ACCEPTED;
        }
    }
    assert_in_range(taken, 1, 5); /* 0.7 ^ 4 is below 0.3; the first have no step to be compared with */
    assert_true(out >= 15);
    assert_true(back >= 20);
    assert_in_range(role_logged(&node, "quarantine"), 1, 3);
    role_rebuild(&node); /* scores and all */
    role_stop(&node);
}

/* The model of four parameters has a held-out loss that falls with the first three and rises with the last:
 * who moves that alone raises it, and does not point back. */
static void test_one_who_raises_the_loss(void **unused) {
    (void)unused;
    struct role_node node;
    const float gradient[ROLE_N] = {-1, -1, -1, 2};
    struct trib_blob *bad = role_floats(ROLE_N, 0.0f);
    ((float *)(void *)trib_blob_mutable(bad))[ROLE_N - 1] = 1.0f;
    role_parent(&node,
                (struct role_options){.role = TRIB_ROLE_CLOUD,
                                      .plan = "cloud.rule: trust(memory=0.5, norm=1000) | fedbuff(k=4, "
                                              "deadline=0)\npublish.global_interval: 0\n"});
    assert_true(trib_aggregator_wants_gradient(node.aggregator));
    uint64_t session[2] = {role_join(&node, 1, "good", 100), role_join(&node, 2, "bad", 101)};
    (void)role_pulled(&node, session[0], NULL);
    (void)role_update(&node, 1, role_push(session[0], 1, 0), 1.0f);
    assert_false(trib_rec_has(role_last(&node, TRIB_REC_VERDICT), EFFECT)); /* nothing was evaluated yet */
    trib_aggregator_evaluated(node.aggregator, node.now_ms, 0, 1.0f, 0.5f, 10, 1);
    trib_aggregator_gradient(node.aggregator, gradient);
    (void)role_collect(&node, true);
    for (uint64_t i = 2; i <= 4; i++) {
        (void)role_update(&node, 1, role_push(session[0], i, 0), 1.0f);
        assert_true(fabsf(role_last(&node, TRIB_REC_VERDICT)->effect - 0.5f / sqrtf(7)) < 1e-6f);
    }
    uint64_t refused = 0;
    for (uint64_t i = 1; i <= 6; i++) {
        struct trib_msg push = role_push(session[1], i, 0);
        role_deliver(&node, 2, NULL, &push, bad);
        const struct trib_msg *ack = &role_next(&node, TRIB_ACK)->msg;
        const struct trib_record *verdict = role_last(&node, TRIB_REC_VERDICT);
        assert_true(fabsf(verdict->effect + 2 / sqrtf(7)) < 1e-6f && verdict->cosine > 0.0f);
        refused += ack->verdict == TRIB_REFUSED && ack->reason == TRIB_REASON_QUARANTINE;
    }
    trib_blob_unref(&bad);
    assert_in_range(refused, 2, 4);
    assert_int_equal(role_logged(&node, "quarantine"), 1);
    const struct trib_record *event = NULL;
    for (size_t i = 0; i < node.record_count; i++)
        if (node.records[i]->kind == TRIB_REC_EVENT && node.records[i]->event.size == 10)
            event = node.records[i];
    assert_non_null(event);
    char text[200] = "";
    memcpy(text, event->text.data, event->text.size < 199 ? event->text.size : 199);
    assert_non_null(strstr(text, "because=loss"));
    role_rebuild(&node);
    role_stop(&node);
}

static void test_edges_have_no_gradient(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){.role = TRIB_ROLE_EDGE,
                                             .with_seed = true,
                                             .plan = "edge.rule: trust | fedasync\n"});
    assert_false(trib_aggregator_wants_gradient(node.aggregator));
    role_stop(&node);
}

/* ---- labels ---- */

static struct trib_msg telling(uint64_t session, uint64_t number, size_t count, const uint64_t *labels) {
    struct trib_msg push = role_push(session, number, 0);
    push.labels.count = count;
    memcpy(push.labels.items, labels, count * sizeof *labels);
    push.present |= (uint64_t)1 << TRIB_F_LABELS;
    return push;
}

#define LABELS_PLAN                                                                                          \
    "cloud.rule: trust(memory=0, labels=1, threshold=0.1) | fedasync(share=no, staleness=constant)\n"        \
    "publish.global_interval: 0\n"

static void near(double found, double expected) {
    if (fabs(found - expected) > 1e-6) fail_msg("%.9g, expected %.9g", found, expected);
}

static void check_checkpoint(const struct trib_state *state);

static void test_divergences(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){.role = TRIB_ROLE_CLOUD,
                                             .plan = LABELS_PLAN "train.tell_labels: true\n"});
    uint64_t a = role_join(&node, 1, "a", 100), b = role_join(&node, 2, "b", 101);
    struct trib_msg hello = role_hello("e", 102, 1);
    hello.kind = TRIB_CHILD_EDGE;
    role_deliver(&node, 3, NULL, &hello, NULL);
    uint64_t e = role_next(&node, TRIB_WELCOME)->msg.session;
    (void)role_pulled(&node, a, NULL);
    const struct trib_record *verdict;
    (void)role_update(&node, 1, telling(a, 1, 2, (uint64_t[]){7, 0}), 1.0f); /* shares 8/9, 1/9 */
    verdict = role_last(&node, TRIB_REC_VERDICT);
    assert_true(trib_rec_has(verdict, LABELS));
    near((double)verdict->divergence, 0); /* there is nobody else */
    near((double)verdict->applied, 1);
    const double far = 8.0 / 9 * log(16.0 / 9) + 1.0 / 9 * log(2.0 / 9); /* from 1/2, 1/2 */
    (void)role_update(&node, 2, telling(b, 1, 2, (uint64_t[]){0, 7}), 1.0f);
    verdict = role_last(&node, TRIB_REC_VERDICT);
    near((double)verdict->divergence, far);
    near((double)verdict->applied, 1 / (1 + far));
    (void)role_update(&node, 1, telling(a, 2, 2, (uint64_t[]){7, 0}), 1.0f);
    verdict = role_last(&node, TRIB_REC_VERDICT);
    assert_false(trib_rec_has(verdict, LABELS)); /* as before */
    near((double)verdict->divergence, far);
    /* A million times as many samples do not make the others odd: shares count. */
    (void)role_update(&node, 2, telling(b, 2, 2, (uint64_t[]){0, UINT64_C(1) << 40}), 1.0f);
    verdict = role_last(&node, TRIB_REC_VERDICT);
    assert_true(trib_rec_has(verdict, LABELS));
    near((double)verdict->divergence, log(2 / (1 + 1.0 / 9)));
    check_checkpoint(node.state);
    (void)role_update(&node, 2, role_push(b, 3, 0), 1.0f); /* takes it back */
    verdict = role_last(&node, TRIB_REC_VERDICT);
    assert_true(trib_rec_has(verdict, LABELS) && verdict->labels.count == 0);
    assert_false(trib_rec_has(verdict, DIVERGENCE));
    near((double)verdict->applied, 1);
    (void)role_update(&node, 1, telling(a, 3, 2, (uint64_t[]){7, 0}), 1.0f);
    near((double)role_last(&node, TRIB_REC_VERDICT)->divergence, 0);
    (void)role_update(&node, 3, telling(e, 1, 2, (uint64_t[]){7, 0}), 1.0f); /* an edge has none */
    assert_false(trib_rec_has(role_last(&node, TRIB_REC_VERDICT), LABELS));
    assert_int_equal(node.state->label_tellers, 1);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_labels_of_no_sense(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){.role = TRIB_ROLE_CLOUD,
                                             .plan = LABELS_PLAN "train.tell_labels: true\n"});
    uint64_t a = role_join(&node, 1, "a", 100), wide[TRIB_U64S_MAX] = {0};
    (void)role_pulled(&node, a, NULL);
    struct trib_blob *payload = role_floats(ROLE_N, 1.0f);
    const uint64_t huge = (UINT64_C(1) << 40) + 1;
    assert_int_equal(role_refused(&node, telling(a, 1, 3, (uint64_t[]){0, 0, 0}), payload),
                     TRIB_REASON_WEIGHT);
    assert_int_equal(role_refused(&node, telling(a, 2, 2, (uint64_t[]){1, huge}), payload),
                     TRIB_REASON_WEIGHT);
    assert_int_equal(role_refused(&node, telling(a, 3, 2, (uint64_t[]){UINT64_MAX, UINT64_MAX}), payload),
                     TRIB_REASON_WEIGHT);
    assert_null(node.state->labels);
    trib_blob_unref(&payload);
    wide[TRIB_U64S_MAX - 1] = 1; /* as many classes as there may be, none of them seen but the last */
    (void)role_update(&node, 1, telling(a, 4, TRIB_U64S_MAX, wide), 1.0f);
    near((double)role_last(&node, TRIB_REC_VERDICT)->divergence, 0);
    (void)role_update(&node, 1, telling(a, 5, 1, (uint64_t[]){5}), 1.0f); /* ... and another number of them */
    near((double)role_last(&node, TRIB_REC_VERDICT)->divergence, 0);
    role_rebuild(&node);
    role_stop(&node);
}

static void test_nobody_asked(void **unused) {
    (void)unused;
    struct role_node node;
    role_parent(&node, (struct role_options){.role = TRIB_ROLE_CLOUD, .plan = LABELS_PLAN});
    uint64_t a = role_join(&node, 1, "a", 100);
    (void)role_pulled(&node, a, NULL);
    (void)role_update(&node, 1, telling(a, 1, 2, (uint64_t[]){7, 0}), 1.0f);
    assert_false(trib_rec_has(role_last(&node, TRIB_REC_VERDICT), LABELS));
    assert_null(node.state->labels);
    role_stop(&node);
}

/* ---- checkpoints ---- */

static void save(const struct trib_state *state, struct memory_file *file) {
    *file = (struct memory_file){0};
    trib_buf_init(&file->buf, 0);
    struct trib_sink sink = memory_file_sink(file);
    assert_int_equal(trib_state_save(state, &sink, NULL), TRIB_OK);
}

static struct trib_state *load(struct memory_file *file) {
    struct trib_state *state;
    struct trib_state_limits limits = {0};
    struct trib_error err = {0};
    assert_int_equal(trib_state_new(TRIB_ROLE_CLOUD, &limits, &state, NULL), TRIB_OK);
    struct trib_feed feed = memory_file_feed(file);
    if (trib_state_load(state, &feed, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_int_equal(file->at, file->buf.size);
    trib_buf_release(&file->buf);
    return state;
}

/* What comes back is the same, with the sums that are not in it. */
static void check_checkpoint(const struct trib_state *state) {
    struct memory_file file;
    uint8_t a[TRIB_DIGEST_BYTES], b[TRIB_DIGEST_BYTES];
    save(state, &file);
    struct trib_state *copy = load(&file);
    assert_int_equal(trib_state_digest(state, a), TRIB_OK);
    assert_int_equal(trib_state_digest(copy, b), TRIB_OK);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(copy->label_tellers, state->label_tellers);
    assert_memory_equal(copy->labels, state->labels, TRIB_U64S_MAX * sizeof *state->labels);
    trib_state_free(&copy);
}

static void cut(struct memory_file *file, const void *mark, size_t mark_bytes, size_t bytes) {
    size_t at = 0;
    while (memcmp(file->buf.data + at, mark, mark_bytes) != 0) assert_true(++at + bytes <= file->buf.size);
    memmove(file->buf.data + at, file->buf.data + at + bytes, file->buf.size - at - bytes);
    file->buf.size -= bytes;
}

/* A checkpoint of format 3, which knew neither effects nor labels. */
static void test_an_older_checkpoint(void **unused) {
    (void)unused;
    struct role_node node;
    struct memory_file file;
    role_parent(&node, (struct role_options){.role = TRIB_ROLE_CLOUD, .plan = LABELS_PLAN});
    (void)role_join(&node, 1, "a", 100);
    struct trib_peer *peer = trib_state_peer(node.state, "a", 1);
    struct trib_rule_memory *memory = &node.state->memory;
    peer->rules = (struct trib_rule_peer){.trust = 0.5f, .until = 9, .effect = 1234.5f, .weakest = 3};
    for (size_t i = 0; i < TRIB_RULE_NORMS; i++) memory->effects[i] = 4321.5f;
    save(node.state, &file);
    cut(&file, memory->effects, sizeof memory->effects, sizeof memory->effects + sizeof memory->effect_count);
    cut(&file, &peer->rules.effect, 2 * sizeof(float), 2 * sizeof(float));
    file.buf.size -= sizeof(uint64_t); /* no labels, of the last participant */
    trib_put_u64(file.buf.data + 8, 3);
    struct trib_state *old = load(&file);
    const struct trib_rule_peer *rules = &trib_state_peer(old, "a", 1)->rules;
    assert_true(rules->trust == 0.5f && rules->until == 9 && rules->effect == 0.0f && rules->weakest == 0);
    assert_int_equal(old->memory.effect_count, 0);
    assert_int_equal(old->version, node.state->version);
    trib_state_free(&old);
    role_stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_score),
        cmocka_unit_test(test_quarantine_begins_and_ends),
        cmocka_unit_test(test_the_loss_term),
        cmocka_unit_test(test_the_labels_term),
        cmocka_unit_test(test_what_is_usual_follows_sizes),
        cmocka_unit_test(test_one_who_pushes_back),
        cmocka_unit_test(test_one_who_raises_the_loss),
        cmocka_unit_test(test_edges_have_no_gradient),
        cmocka_unit_test(test_divergences),
        cmocka_unit_test(test_labels_of_no_sense),
        cmocka_unit_test(test_nobody_asked),
        cmocka_unit_test(test_an_older_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
