/* What every row of the rules' and the staleness functions' tables keeps to. A new row is tested by being
 * there. What its rule makes of updates, message by message: test_rules_walk.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/rules/rule.h"
#include "shared/rules/select.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const enum trib_tier tiers[] = {TRIB_TIER_EDGE, TRIB_TIER_CLOUD};

/* ---- the tables themselves ---- */

static void check_rows(const struct trib_rule_row *const *rows, size_t count) {
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        const struct trib_rule_row *row = rows[i];
        assert_true(strlen(row->name) > 0 && strlen(row->summary) > 0 && strlen(row->formula) > 0);
        assert_true(strlen(row->source) > 0 && strlen(row->memory) > 0);
        assert_true(strncmp(row->example, row->name, strlen(row->name)) == 0);
        for (size_t p = 0; p < row->param_count; p++) {
            assert_true(strlen(row->params[p].name) > 0 && strlen(row->params[p].help) > 0);
            assert_non_null(row->params[p].fallback);
        }
        for (size_t j = 0; j < i; j++) assert_string_not_equal(row->name, rows[j]->name);
    }
}

/* Policies of selection are an array of rows. */
static const struct trib_rule_row *const *select_rows(size_t *count) {
    static const struct trib_rule_row *list[64];
    const struct trib_rule_row *rows = trib_select_rows(count);
    assert_true(*count <= sizeof list / sizeof *list);
    for (size_t i = 0; i < *count; i++) list[i] = &rows[i];
    return list;
}

static void test_rows_are_complete(void **state) {
    (void)state;
    size_t count = 0;
    const struct trib_rule_row *const *rows = trib_rule_rows(&count);
    check_rows(rows, count);
    rows = trib_staleness_rows(&count);
    check_rows(rows, count);
    rows = select_rows(&count);
    check_rows(rows, count);
}

/* ---- specs ---- */

/* Name alone, the row's example, and each parameter given its default by name. */
enum { VARIANTS = 3, SPEC = TRIB_RULE_MAX_SPEC + 1 };

/* Stages that cannot stand alone, with what they need. */
static const struct {
    const char *before, *behind;
} company[TRIB_RULE_STAGES] = {
    [TRIB_RULE_GATE] = {"", " | fedbuff(k=5)"},      [TRIB_RULE_BUCKET] = {"", " | median | fedbuff(k=40)"},
    [TRIB_RULE_COMBINER] = {"", " | fedbuff(k=40)"}, [TRIB_RULE_BASE] = {"", ""},
    [TRIB_RULE_OPTIMISER] = {"fedbuff(k=5) | ", ""},
};

static void variant(const struct trib_rule_row *row, size_t which, char *spec, size_t room) {
    int used = snprintf(spec, room, "%s", which == 1 ? row->example : row->name);
    for (size_t p = 0; which == 2 && p < row->param_count; p++)
        used += snprintf(spec + used, room - (size_t)used, "%s%s=%s", p == 0 ? "(" : ", ",
                         row->params[p].name, row->params[p].fallback);
    if (which == 2 && row->param_count > 0) used += snprintf(spec + used, room - (size_t)used, ")");
    assert_true(used > 0 && (size_t)used < room);
}

static void whole(const struct trib_rule_row *row, size_t which, char spec[SPEC]) {
    char stage[256];
    variant(row, which, stage, sizeof stage);
    int used = snprintf(spec, SPEC, "%s%s%s", company[row->stage].before, stage, company[row->stage].behind);
    assert_true(used > 0 && used < SPEC);
}

static void test_specs_parse_and_print(void **state) {
    (void)state;
    size_t count = 0;
    const struct trib_rule_row *const *rows = trib_rule_rows(&count);
    for (size_t i = 0; i < count * VARIANTS * 2; i++) {
        char spec[SPEC];
        if (rows[i / VARIANTS / 2]->cloud_only && tiers[i % 2] != TRIB_TIER_CLOUD) continue;
        whole(rows[i / VARIANTS / 2], i / 2 % VARIANTS, spec);
        struct trib_rule *rule = NULL, *again = NULL;
        struct trib_error err = {0};
        if (trib_rule_new(spec, tiers[i % 2], &rule, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
        if (trib_rule_new(trib_rule_spec(rule), tiers[i % 2], &again, &err) != TRIB_OK)
            fail_msg("%s: %s", trib_rule_spec(rule), err.text);
        assert_string_equal(trib_rule_spec(rule), trib_rule_spec(again));
        assert_int_equal(trib_rule_form(rule), trib_rule_form(again));
        trib_rule_free(&rule);
        trib_rule_free(&again);
    }
    rows = trib_staleness_rows(&count);
    for (size_t i = 0; i < count * VARIANTS; i++) {
        char spec[256];
        struct trib_error err = {0};
        variant(rows[i / VARIANTS], i % VARIANTS, spec, sizeof spec);
        if (trib_staleness_check_spec(spec, &err) != TRIB_OK) fail_msg("%s: %s", spec, err.text);
    }
}

static void assert_suggests(enum trib_status status, const struct trib_error *err, const char *name) {
    char expected[80];
    assert_int_equal(status, TRIB_INVALID);
    (void)snprintf(expected, sizeof expected, "did you mean \"%s\"?", name);
    if (strstr(err->text, expected) == NULL) fail_msg("no suggestion of %s: %s", name, err->text);
}

static void test_a_slip_in_a_name_gives_a_suggestion(void **state) {
    (void)state;
    size_t count = 0;
    const struct trib_rule_row *const *rows = trib_rule_rows(&count);
    for (size_t i = 0; i < count; i++) {
        char slip[64];
        struct trib_error err = {0};
        (void)snprintf(slip, sizeof slip, "%sx", rows[i]->name);
        assert_suggests(trib_rule_check_edge_spec(slip, &err), &err, rows[i]->name);
    }
    rows = trib_staleness_rows(&count);
    for (size_t i = 0; i < count; i++) {
        char slip[64];
        struct trib_error err = {0};
        (void)snprintf(slip, sizeof slip, "%sx", rows[i]->name);
        assert_suggests(trib_staleness_check_spec(slip, &err), &err, rows[i]->name);
    }
}

/* Every prefix of an example, and every example with one character replaced, is taken or refused with a text;
 * nothing crashes, nothing leaks. */
static void test_bent_specs(void **state) {
    (void)state;
    static const char bends[] = "\0(),=x0-\"\xff";
    size_t count = 0, refused = 0;
    const struct trib_rule_row *const *rows = trib_rule_rows(&count);
    for (size_t i = 0; i < count; i++) {
        char good[SPEC];
        whole(rows[i], 1, good);
        size_t length = strlen(good);
        for (size_t at = 0; at < length; at++) {
            for (size_t w = 0; w < sizeof bends - 1; w++) { /* a 0 among them cuts a prefix */
                char spec[SPEC];
                struct trib_error err = {0};
                memcpy(spec, good, sizeof spec);
                spec[at] = bends[w];
                if (trib_rule_check_cloud_spec(spec, &err) == TRIB_OK) continue;
                refused++;
                assert_true(strlen(err.text) > 0);
            }
        }
    }
    assert_true(refused > 100);
}

static void test_failing_allocations(void **state) {
    (void)state;
    size_t count = 0;
    const struct trib_rule_row *const *rows = trib_rule_rows(&count);
    for (size_t i = 0; i < count; i++) {
        char spec[SPEC];
        whole(rows[i], 1, spec);
        long n = 0;
        for (;; n++) {
            struct trib_rule *rule = NULL;
            trib_alloc_fail_after(n);
            enum trib_status status = trib_rule_new(spec, TRIB_TIER_CLOUD, &rule, NULL);
            trib_alloc_fail_after(-1);
            if (status == TRIB_OK) {
                trib_rule_free(&rule);
                break;
            }
            if (status != TRIB_NOMEM) fail_msg("%s: %s", spec, trib_status_name(status));
            assert_null(rule);
        }
        assert_true(n >= 2);
    }
}

/* ---- staleness ---- */

static void test_staleness_is_a_damping(void **state) {
    (void)state;
    static const uint64_t far[] = {1u << 20, UINT64_C(1) << 53, UINT64_MAX - 1, UINT64_MAX};
    size_t count = 0;
    const struct trib_rule_row *const *rows = trib_staleness_rows(&count);
    for (size_t i = 0; i < count * VARIANTS; i++) {
        char spec[256];
        struct trib_staleness *s = NULL;
        variant(rows[i / VARIANTS], i % VARIANTS, spec, sizeof spec);
        assert_int_equal(trib_staleness_new(spec, &s, NULL), TRIB_OK);
        double last = trib_staleness_factor(s, 0);
        assert_true(last == 1.0);
        for (uint64_t tau = 1; tau < 3000 + 4; tau++) {
            double next = trib_staleness_factor(s, tau < 3000 ? tau : far[tau - 3000]);
            if (!(next > 0 && next <= last && (float)next > 0))
                fail_msg("%s at %llu: %g after %g", spec, (unsigned long long)tau, next, last);
            last = next;
        }
        trib_staleness_free(&s);
    }
}

/* ---- decisions ---- */

typedef void (*rule_test)(const struct trib_rule *rule);

static void for_all_rules(rule_test test) {
    size_t count = 0;
    const struct trib_rule_row *const *rows = trib_rule_rows(&count);
    for (size_t i = 0; i < count * VARIANTS * 2; i++) {
        char spec[SPEC];
        struct trib_rule *rule = NULL;
        if (rows[i / VARIANTS / 2]->cloud_only && tiers[i % 2] != TRIB_TIER_CLOUD) continue;
        whole(rows[i / VARIANTS / 2], i / 2 % VARIANTS, spec);
        assert_int_equal(trib_rule_new(spec, tiers[i % 2], &rule, NULL), TRIB_OK);
        test(rule);
        trib_rule_free(&rule);
    }
}

static bool sound(float x) {
    return isfinite(x) && x >= 0.0f;
}

/* Weights and scales are finite, and never negative, for whatever may be told. */
static void finite_weights(const struct trib_rule *rule) {
    static const uint64_t taus[] = {0, 1, 7, 1000000, UINT64_MAX};
    static const double weights[] = {0, 1, 600, 0x1p53, 0x1p64};
    static const double shares[] = {0x1p-40, 0.3, 1}, sizes[] = {0, 0x1p-149, 1, 0x1p127};
    static const double cosines[] = {-1, 0x1p-149, 0, 0.5, 1, -0x1p-20, -0.5};
    struct trib_rule_memory memory = {0};
    struct trib_rule_peer peer = {0};
    for (size_t i = 0; i < 5 * 5 * 3; i++) {
        struct trib_rule_update update = {.staleness = taus[i % 5],
                                          .weight = weights[i / 5 % 5],
                                          .share = shares[i / 25],
                                          .steps = 1,
                                          .norm = sizes[i % 4],
                                          .cosine = cosines[i % 7],
                                          .effect = cosines[i / 2 % 7],
                                          .divergence = sizes[i / 3 % 4],
                                          .commits = i,
                                          .peer = &peer};
        struct trib_rule_weight w = trib_rule_weigh(rule, &memory, &update);
        assert_true(sound(w.applied) && sound(w.norm) && w.factor > 0.0f && w.factor <= 1.0f);
        trib_rule_note_peer(rule, &memory, &peer, &update, w.refusal);
        assert_true(sound(peer.trust) && peer.trust <= 1.0f && fabsf(peer.effect) <= 1.0f);
        trib_rule_note_update(&memory, &peer, &update, &w, i);
        assert_true(sound(trib_rule_scale(rule, &memory)));
    }
}

static void test_weights_are_finite(void **state) {
    (void)state;
    for_all_rules(finite_weights);
}

/* A fresh update weighs at least as much as a stale one, all else equal. */
static void fresh_weighs_more(const struct trib_rule *rule) {
    struct trib_rule_memory memory = {0};
    for (uint64_t i = 0; i < 20; i++) {
        float last = INFINITY;
        struct trib_rule_weight w = {0};
        struct trib_rule_update update = {.weight = 60, .share = 0.5, .steps = 6};
        for (uint64_t tau = 0; tau < 50; tau++) {
            update.staleness = tau;
            w = trib_rule_weigh(rule, &memory, &update);
            assert_true(w.applied <= last);
            last = w.applied;
        }
        trib_rule_note_update(&memory, NULL, &update, &w, i);
    }
}

static void test_a_fresh_update_weighs_no_less(void **state) {
    (void)state;
    for_all_rules(fresh_weighs_more);
}

/* Deciding twice gives the same bits, and nothing commits when nothing is pending. */
static void repeatable(const struct trib_rule *rule) {
    struct trib_rule_memory memory = {0};
    struct trib_rule_state at = {.now_ms = UINT64_MAX, .active = 3};
    uint64_t wake_ms = 0;
    assert_false(trib_rule_due(rule, &memory, &at, &wake_ms));
    assert_true(wake_ms == UINT64_MAX);
    for (uint64_t i = 0; i < 100; i++) {
        struct trib_rule_update update = {.staleness = i * i % 13, .weight = 7, .share = 0.1, .steps = 1};
        struct trib_rule_weight a = trib_rule_weigh(rule, &memory, &update);
        struct trib_rule_weight b = trib_rule_weigh(rule, &memory, &update);
        assert_memory_equal(&a, &b, sizeof a);
        trib_rule_note_update(&memory, NULL, &update, &a, i);
        at.now_ms = i;
        uint64_t first_ms = 0, second_ms = 0;
        bool first = trib_rule_due(rule, &memory, &at, &first_ms);
        assert_int_equal(first, trib_rule_due(rule, &memory, &at, &second_ms));
        assert_true(first_ms == second_ms && (first || first_ms > i));
        if (first) trib_rule_note_commit(&memory, false);
    }
}

static void test_decisions_are_repeatable(void **state) {
    (void)state;
    for_all_rules(repeatable);
}

/* However many wait, and whoever is left: when no one who could answer is left to wait for, it is due. */
static void never_stuck(const struct trib_rule *rule) {
    struct trib_rule_memory memory = {0};
    struct trib_rule_update update = {.weight = 7, .share = 0.1, .steps = 1};
    struct trib_rule_weight w = trib_rule_weigh(rule, &memory, &update);
    for (uint64_t i = 0; i < trib_rule_least(rule); i++) trib_rule_note_update(&memory, NULL, &update, &w, 5);
    struct trib_rule_state at = {.now_ms = 5, .active = 0, .expected = 0, .version_since_ms = 5};
    uint64_t wake_ms = 0, configured = 0;
    assert_true(trib_rule_due(rule, &memory, &at, &wake_ms));
    uint64_t needs = trib_rule_needs(rule, &at, &configured);
    assert_true(needs >= 1 && needs <= configured);
}

static void test_no_rule_waits_for_nobody(void **state) {
    (void)state;
    for_all_rules(never_stuck);
}

/* Without relative damping, which looks at an update's predecessors, a gathering rule's weights and scale do
 * not depend on the order in which the same updates came. */
static void order_free(const struct trib_rule *rule) {
    enum { COUNT = 6 };
    struct trib_rule_memory forwards = {0}, backwards = {0};
    float weights[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        struct trib_rule_update update = {
            .staleness = i, .weight = 10.0 * (double)(i + 1), .share = 1, .steps = 1};
        struct trib_rule_weight w = trib_rule_weigh(rule, &forwards, &update);
        weights[i] = w.applied;
        trib_rule_note_update(&forwards, NULL, &update, &w, i);
    }
    for (size_t i = COUNT; i-- > 0;) {
        struct trib_rule_update update = {
            .staleness = i, .weight = 10.0 * (double)(i + 1), .share = 1, .steps = 1};
        struct trib_rule_weight w = trib_rule_weigh(rule, &backwards, &update);
        assert_memory_equal(&w.applied, &weights[i], sizeof w.applied);
        trib_rule_note_update(&backwards, NULL, &update, &w, i);
    }
    float a = trib_rule_scale(rule, &forwards), b = trib_rule_scale(rule, &backwards);
    assert_memory_equal(&a, &b, sizeof a);
}

static void test_order_does_not_matter_at_an_edge(void **state) {
    (void)state;
    static const char *const specs[] = {"fedavg", "fedbuff(6)", "fedbuff(6, by=count)",
                                        "fedbuff(6, staleness=hinge(10, 2))"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        struct trib_rule *rule = NULL;
        assert_int_equal(trib_rule_new(specs[i], TRIB_TIER_EDGE, &rule, NULL), TRIB_OK);
        assert_int_equal(trib_rule_form(rule), TRIB_RULE_GATHERING);
        order_free(rule);
        trib_rule_free(&rule);
    }
}

/* ---- docs/algorithms.md ---- */

static void print_range(const struct trib_option *param, struct trib_buf *out) {
    if (param->type == TRIB_OPT_CHOICE) {
        for (size_t i = 0; param->choices[i] != NULL; i++)
            trib_buf_printf(out, i == 0 ? "`%s`" : ", `%s`", param->choices[i]);
    } else if (param->type == TRIB_OPT_MS) {
        trib_buf_printf(out, "a duration");
    } else if (param->type == TRIB_OPT_BOOL) {
        trib_buf_printf(out, "`true`, `false`");
    } else if (param->min < param->max) {
        trib_buf_printf(out, "%.10g to %.10g", param->min, param->max);
    } else {
        trib_buf_printf(out, "see meaning");
    }
}

/* A row as the document has it. */
static void print_row(const struct trib_rule_row *row, struct trib_buf *out) {
    trib_buf_printf(out, "### `%s`\n\nWhat it does: %s.\n\n", row->name, row->summary);
    trib_buf_printf(out, "- formula: `%s`\n- source: %s\n- memory: %s\n- example: `%s`\n", row->formula,
                    row->source, row->memory, row->example);
    if (row->param_count > 0)
        trib_buf_printf(out, "\n| parameter | default | allowed | meaning |\n| --- | --- | --- | --- |\n");
    for (size_t p = 0; p < row->param_count; p++) {
        const struct trib_option *param = &row->params[p];
        trib_buf_printf(out, "| `%s` | `%s` | ", param->name, param->fallback);
        print_range(param, out);
        trib_buf_printf(out, " | %s |\n", param->help);
    }
    trib_buf_printf(out, "\n");
}

static void assert_documented(const char *document, const struct trib_rule_row *const *rows, size_t count) {
    size_t missing = 0;
    for (size_t i = 0; i < count; i++) {
        struct trib_buf text;
        trib_buf_init(&text, 0);
        print_row(rows[i], &text);
        if (strstr(document, trib_buf_text(&text)) == NULL) {
            (void)fputs(trib_buf_text(&text), stderr);
            missing++;
        }
        trib_buf_release(&text);
    }
    if (missing > 0)
        fail_msg("docs/algorithms.md does not have the %zu rows above as they stand there", missing);
}

static void test_document_matches_the_tables(void **state) {
    (void)state;
    enum { ROOM = 256 * 1024 };
    char *document = trib_alloc(ROOM);
    FILE *file = fopen("docs/algorithms.md", "r"); /* tests run at the repository's root */
    assert_non_null(file);
    size_t bytes = fread(document, 1, ROOM - 1, file);
    (void)fclose(file);
    assert_true(bytes < ROOM - 1);
    size_t count = 0;
    const struct trib_rule_row *const *rows = trib_rule_rows(&count);
    assert_documented(document, rows, count);
    rows = trib_staleness_rows(&count);
    assert_documented(document, rows, count);
    rows = select_rows(&count);
    assert_documented(document, rows, count);
    trib_free(document);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_complete),
        cmocka_unit_test(test_specs_parse_and_print),
        cmocka_unit_test(test_a_slip_in_a_name_gives_a_suggestion),
        cmocka_unit_test(test_bent_specs),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_staleness_is_a_damping),
        cmocka_unit_test(test_weights_are_finite),
        cmocka_unit_test(test_a_fresh_update_weighs_no_less),
        cmocka_unit_test(test_decisions_are_repeatable),
        cmocka_unit_test(test_no_rule_waits_for_nobody),
        cmocka_unit_test(test_order_does_not_matter_at_an_edge),
        cmocka_unit_test(test_document_matches_the_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
