/* Who trains next, as an aggregator's devices see it: who is called, who is left in peace, who takes the
 * place of whom. Who may be chosen is in test_cohort_fit.c, the policies' laws in test_select.c. */
#include "tests/support/children.h"
#include "tests/support/cmocka.h"

#include "shared/base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- rounds ---- */

#define ROUNDS "cloud.rule: fedavg\npublish.global_interval: 0\n"

static void a_round_is_drawn_and_the_rest_waits(void **unused) {
    (void)unused;
    struct children *f = children_of(20, ROUNDS "select.count: 5\n");
    children_pull(f);
    assert_int_equal(children_given(f), 0); /* the first draw waits for those who come a moment later */
    assert_int_equal(f->heard[TRIB_WAIT], 20);
    children_live(f, 3000);
    assert_int_equal(f->heard[TRIB_ADVANCE], 5);
    assert_int_equal(children_come(f), 5);
    assert_int_equal(children_given(f), 5);
    for (size_t i = 0; i < 20; i++)
        if (!f->child[i].given) assert_true(f->child[i].wait_ms >= 600000);
    for (uint64_t left = 5; left > 0; left--) {
        assert_int_equal(f->node.state->version, 0);
        child_push(f, child_at_work(f));
    }
    assert_int_equal(f->node.state->version, 1);
    char text[400];
    assert_non_null(
        strstr(children_event(f, "cohort", text, sizeof text), "policy=random version=0 chosen=5 of=20"));
    children_end(&f);
}

/* How often each name stands in the events `cohort`, by the number behind the prefix; *parts: how many events
 * there are. Each is as it says: its names are as many as it was told, over all its parts. */
static void names_told(const struct children *f, const char *prefix, size_t *times, size_t *parts) {
    size_t told = 0, chosen = 0, left = 0;
    *parts = 0;
    for (size_t i = 0; i < f->node.record_count; i++) {
        char text[2100];
        const struct trib_record *record = f->node.records[i];
        if (record->kind != TRIB_REC_EVENT || record->event.size != 6 ||
            memcmp(record->event.data, "cohort", 6) != 0)
            continue;
        ++*parts;
        (void)snprintf(text, sizeof text, "%.*s", (int)record->text.size, record->text.data);
        size_t part = 1, of = 1;
        const char *which = strstr(text, " part=");
        if (which != NULL) assert_int_equal(sscanf(which, " part=%zu/%zu", &part, &of), 2);
        assert_int_equal(part, left == 0 ? 1 : of - left + 1);
        if (left == 0) assert_int_equal(told, chosen); /* of the one before */
        if (left == 0) told = 0;
        left = of - part;
        assert_int_equal(sscanf(strstr(text, " chosen="), " chosen=%zu", &chosen), 1);
        for (char *save = NULL, *name = strtok_r(strstr(text, " names=") + 7, ",", &save); name != NULL;
             name = strtok_r(NULL, ",", &save), told++) {
            assert_memory_equal(name, prefix, strlen(prefix));
            times[strtoul(name + strlen(prefix), NULL, 10)]++;
        }
    }
    assert_int_equal(left, 0);
    assert_int_equal(told, chosen);
}

#define LONG_NAME "somewhere-on-the-second-floor-of-the-eastern-wing-"

static void everybody_who_was_chosen_is_told(void **unused) {
    (void)unused;
    size_t times[60] = {0}, parts, given = 0;
    struct children *f = children_named(60, ROUNDS "select.count: 50\n", LONG_NAME);
    children_pull(f);
    children_live(f, 3000);
    (void)children_come(f);
    names_told(f, LONG_NAME, times, &parts);
    assert_int_equal(parts, 2); /* 50 names of 52 bytes, 1,600 an event */
    for (size_t i = 0; i < 60; i++) {
        assert_int_equal(times[i], f->child[i].given);
        given += times[i];
    }
    assert_int_equal(given, 50);
    children_end(&f);
}

/* Who is refused for what it sends is not chosen for it: a round would wait for it for ever. */
static void the_refused_are_not_preferred(void **unused) {
    (void)unused;
    static const struct {
        const char *plan;
        size_t most; /* in 30 rounds */
    } cases[] = {
        {ROUNDS "select.count: 1\nselect.policy: by_norm\n", 20},
        {ROUNDS "select.count: 1\nselect.policy: power_of_choice(d=3)\n", 5},
        {ROUNDS "select.count: 1\nselect.policy: fedcs\n", 30}, /* it is soon refused, which is fast */
    };
    for (size_t i = 0; i < 3; i++) {
        struct children *f = children_of(3, cases[i].plan);
        children_pull(f);
        children_live(f, 3000);
        for (int step = 0; step < 300 && f->node.state->version < 30; step++) {
            (void)children_come(f);
            if (f->child[0].given) child_push_floats(f, 0, 3e38f, 1e30f); /* finite, but its norm is not */
            children_live(f, 1000);
            for (size_t who = 1; who < 3; who++)
                if (f->child[who].given) child_push(f, who);
        }
        assert_int_equal(f->node.state->version, 30);
        assert_in_range(f->child[0].refused, 1, cases[i].most);
        children_end(&f);
    }
}

/* ... nor drawn again and waited for, where others have answered and nobody is left to take its place. */
static void a_round_without_the_refused_is_smaller(void **unused) {
    (void)unused;
    struct children *f = children_of(3, ROUNDS "select.count: 3\n");
    children_pull(f);
    children_live(f, 3000);
    (void)children_come(f);
    child_push(f, 1);
    for (int step = 0; step < 10; step++) {
        if (f->child[0].given) child_push_floats(f, 0, 3e38f, 1.0f);
        children_live(f, 1000);
        (void)children_come(f);
    }
    assert_int_equal(f->child[0].refused, 1);
    assert_int_equal(f->node.state->version, 0);
    child_push(f, 2);
    assert_int_equal(f->node.state->version, 1);
    children_end(&f);
    f = children_of(2, ROUNDS "select.count: 2\n"); /* refused before anybody has answered */
    children_pull(f);
    children_live(f, 3000);
    (void)children_come(f);
    child_push_floats(f, 0, 3e38f, 1.0f);
    children_live(f, 1000);
    (void)children_come(f);
    child_push(f, 1);
    assert_int_equal(f->node.state->version, 1);
    children_end(&f);
}

/* Everybody has the same chance, also those who have just answered. */
static void rounds_choose_at_random(void **unused) {
    (void)unused;
    struct children *f = children_of(20, ROUNDS "select.fraction: 0.25\n");
    size_t twice = 0;
    children_pull(f);
    children_live(f, 2000);
    for (int round = 0; round < 200; round++) {
        bool before[20];
        (void)children_come(f);
        assert_int_equal(children_given(f), 5);
        for (size_t i = 0; i < 20; i++) before[i] = f->child[i].given;
        while (children_given(f) > 0) child_push(f, child_at_work(f));
        assert_int_equal(f->node.state->version, (uint64_t)round + 1);
        role_poll(&f->node); /* the draw is made before those who have answered have asked again */
        children_listen(f);
        for (size_t i = 0; i < 20; i++)
            if (before[i]) {
                size_t models = f->child[i].rounds;
                child_pull(f, i);
                twice += f->child[i].rounds > models;
            }
    }
    assert_in_range(twice, 200, 310); /* 5 x 5 / 20 a round: 250 */
    for (size_t i = 0; i < 20; i++) assert_in_range(f->child[i].rounds, 25, 80);
    children_end(&f);
}

static void over_selection_takes_the_first_and_refuses_the_rest(void **unused) {
    (void)unused;
    struct children *f = children_of(20, ROUNDS "select.count: 4\nselect.over: 1.3\n");
    children_pull(f);
    children_live(f, 2000);
    assert_int_equal(children_come(f), 6); /* ceil(4 x 1.3) */
    for (int i = 0; i < 4; i++) child_push(f, child_at_work(f));
    assert_int_equal(f->node.state->version, 1);
    children_live(f, 1000);
    assert_int_equal(children_given(f),
                     2); /* these are still at work: they are not drawn again before they are done */
    size_t late = child_at_work(f), drawn = f->heard[TRIB_ADVANCE];
    child_push(f, late);
    assert_int_equal(f->child[late].refused, 1);
    assert_int_equal(f->reason, TRIB_REASON_ROUND);
    assert_int_equal(f->heard[TRIB_ADVANCE], drawn);
    child_pull(f, late);
    assert_false(f->child[late].given);
    children_end(&f);
}

static void who_leaves_is_replaced(void **unused) {
    (void)unused;
    struct children *f = children_of(6, ROUNDS "select.count: 3\n");
    children_pull(f);
    children_live(f, 2000);
    assert_int_equal(children_come(f), 3);
    size_t gone = child_at_work(f);
    struct trib_msg bye = role_message(TRIB_BYE, f->child[gone].session);
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(&f->node, gone + 1, NULL, &bye, NULL);
    f->child[gone] = (struct child){0};
    children_listen(f);
    assert_int_equal(children_come(f), 1);
    while (children_given(f) > 0) child_push(f, child_at_work(f));
    assert_int_equal(f->node.state->version, 1);
    assert_int_equal(f->node.state->total.accepted, 3);
    children_end(&f);
}

/* A rule that estimates who is away: those that were not chosen are not, who leaves in its round is. */
static void who_was_not_chosen_is_not_away(void **unused) {
    (void)unused;
    struct children *f = children_of(6, "cloud.rule: compensated(most=9)\npublish.global_interval: 0\n"
                                        "select.count: 4\n");
    size_t round = 0, gone = 6;
    char text[400];
    children_pull(f);
    children_live(f, 2000);
    for (; gone == 6; round++) {
        (void)children_come(f);
        assert_int_equal(children_given(f), 4);
        for (size_t i = 0; round >= 5 && i < 6 && gone == 6; i++)
            if (f->child[i].given && trib_state_estimate(f->node.state, i) > 0) gone = i;
        if (gone < 6) break;
        while (children_given(f) > 0) child_push(f, child_at_work(f));
        for (size_t i = 0; i < 6; i++)
            if (f->child[i].has && !f->child[i].called) child_pull(f, i);
        children_live(f, 2000);
    }
    assert_int_equal(f->node.state->version, round);
    assert_int_equal(role_logged(&f->node, "compensated"), 0);
    struct trib_msg bye = role_message(TRIB_BYE, f->child[gone].session);
    trib_msg_set(&bye, REASON, reason, TRIB_BYE_LEAVING);
    role_deliver(&f->node, gone + 1, NULL, &bye, NULL);
    f->child[gone] = (struct child){0};
    children_listen(f);
    (void)children_come(f);
    while (children_given(f) > 0) child_push(f, child_at_work(f));
    assert_int_equal(f->node.state->version, round + 1);
    assert_non_null(strstr(children_event(f, "compensated", text, sizeof text), "participants=1 answers=4"));
    const struct trib_record *commit = role_last(&f->node, TRIB_REC_COMMIT);
    assert_true(commit->away.count == 1 && commit->away.items[0] == (uint64_t)1 << gone);
    children_end(&f);
}

static void when_nobody_is_left_the_round_is_smaller(void **unused) {
    (void)unused;
    struct children *f = children_of(3, ROUNDS "select.count: 3\n");
    children_pull(f);
    children_live(f, 2000);
    assert_int_equal(children_come(f), 3);
    child_push(f, child_at_work(f));
    child_push(f, child_at_work(f));
    assert_int_equal(f->node.state->version, 0);
    f->child[child_at_work(f)].session = 0; /* silent from now on */
    children_live(f, 20000);
    assert_int_equal(f->node.state->version, 1);
    children_end(&f);
}

static void patience_has_an_end(void **unused) {
    (void)unused;
    struct children *f = children_of(4, ROUNDS "select.count: 2\nselect.patience: 30s\n");
    children_pull(f);
    children_live(f, 2000);
    assert_int_equal(children_come(f), 2);
    size_t slow = child_at_work(f);
    children_live(f, 10000);
    assert_int_equal(children_come(f), 0);
    children_live(f, 25000);
    assert_int_equal(children_come(f), 2); /* two others */
    child_push(f, slow);                   /* before them, and counted: it is of this version */
    assert_int_equal(f->child[slow].refused, 0);
    child_push(f, child_at_work(f));
    assert_int_equal(f->node.state->version, 1);
    children_end(&f);
}

static void a_lost_call_is_repeated(void **unused) {
    (void)unused;
    struct children *f = children_of(2, ROUNDS "select.count: 1\n");
    children_pull(f);
    children_live(f, 2000);
    assert_int_equal(f->heard[TRIB_ADVANCE], 1);
    children_live(f, 20000);
    assert_in_range(f->heard[TRIB_ADVANCE], 3, 5);
    assert_int_equal(children_come(f), 1);
    assert_int_equal(children_given(f), 1);
    children_live(f, 20000); /* it has come: no more calls */
    assert_in_range(f->heard[TRIB_ADVANCE], 3, 5);
    children_end(&f);
}

/* Nobody asks for the new version, so that it is not published, and all have answered the one before. */
static void a_lost_call_of_a_later_round(void **unused) {
    (void)unused;
    struct children *f = children_of(2, ROUNDS "select.count: 2\nselect.patience: 30s\n");
    children_pull(f);
    children_live(f, 2000);
    assert_int_equal(children_come(f), 2);
    for (size_t i = 0; i < 2; i++) child_push(f, i);
    assert_int_equal(f->node.state->version, 1);
    size_t calls = f->heard[TRIB_ADVANCE];
    children_live(f, 20000); /* neither comes */
    assert_in_range(f->heard[TRIB_ADVANCE] - calls, 4, 8);
    children_live(f, 40000); /* places change hands, and are called */
    assert_int_equal(children_come(f), 2);
    for (size_t i = 0; i < 2; i++) child_push(f, i);
    assert_int_equal(f->node.state->version, 2);
    children_end(&f);
}

static void restart(struct children *f) {
    struct trib_aggregator_options options = {.seed = 77};
    trib_aggregator_free(&f->node.aggregator);
    assert_int_equal(trib_aggregator_new(&options, f->node.state, &f->node.outbox, &f->node.aggregator, NULL),
                     TRIB_OK);
    for (size_t i = 0; i < f->count; i++) {
        struct trib_msg hello = role_hello("", 100 + i, f->child[i].number);
        char name[32];
        (void)snprintf(name, sizeof name, "d%zu", i);
        hello.name = role_text(name);
        role_deliver(&f->node, i + 1, NULL, &hello, NULL);
        f->child[i].session = role_next(&f->node, TRIB_WELCOME)->msg.session;
    }
}

static void a_round_goes_on_after_a_restart(void **unused) {
    (void)unused;
    struct children *f = children_of(10, ROUNDS "select.count: 4\n");
    children_pull(f);
    children_live(f, 2000);
    assert_int_equal(children_come(f), 4);
    child_push(f, child_at_work(f));
    child_push(f, child_at_work(f));
    size_t at_work = child_at_work(f);
    restart(f);
    for (size_t i = 0; i < 10; i++)
        if (!f->child[i].given) child_pull(f, i);
    children_live(f, 3000);
    assert_int_equal(f->node.state->version, 0);
    assert_in_range(children_come(f), 0, 2); /* two places are left, one who was at work may have drawn one */
    child_push(f, at_work);                  /* what was begun before counts */
    assert_int_equal(f->child[at_work].refused, 0);
    child_push(f, child_at_work(f));
    assert_int_equal(f->node.state->version, 1);
    children_end(&f);
}

/* ---- without rounds ---- */

#define BUFFERS "cloud.rule: fedbuff(k=2, deadline=0)\npublish.global_interval: 0\n"

static void as_many_as_may_work_at_a_time(void **unused) {
    (void)unused;
    struct children *f = children_of(12, BUFFERS "select.count: 3\n");
    children_pull(f);
    assert_int_equal(children_given(f), 3);
    assert_int_equal(f->heard[TRIB_WAIT], 9);
    size_t rounds[12] = {0};
    for (uint64_t i = 0; i < 300; i++) {
        size_t who = (size_t)(trib_mix64(i) % 12);
        while (!f->child[who].given) who = (who + 1) % 12;
        child_push(f, who);
        rounds[who]++;
        assert_true(children_given(f) <= 3);
        child_pull(f, who); /* at once: the others have been called */
        (void)children_come(f);
        assert_int_equal(children_given(f), 3);
    }
    for (size_t i = 0; i < 12; i++) assert_in_range(rounds[i], 12, 45);
    assert_in_range(role_logged(&f->node, "cohort"), 4, 5); /* one row for 64 choices */
    const uint64_t position = f->node.state->position;
    trib_aggregator_goodbye(f->node.aggregator, f->node.now_ms, TRIB_BYE_LEAVING);
    assert_int_equal(f->node.state->position, position); /* it may be being saved */
    trib_aggregator_last_words(f->node.aggregator, f->node.now_ms);
    (void)role_collect(&f->node, true);
    size_t times[12] = {0}, parts;
    names_told(f, "d", times, &parts);
    assert_in_range(parts, 5, 6); /* and one for the rest, when it ends */
    for (size_t i = 0; i < 12; i++) assert_int_equal(times[i], rounds[i] + f->child[i].given);
    children_end(&f);
}

/* A few choices are told soon: a minute after the first of them. */
static void a_few_choices_are_told_in_time(void **unused) {
    (void)unused;
    struct children *f = children_of(12, BUFFERS "select.count: 3\n");
    size_t times[12] = {0}, parts;
    children_pull(f);
    for (int i = 0; i < 58; i++) {
        children_live(f, 1000);
        assert_int_equal(role_logged(&f->node, "cohort"), 0);
    }
    for (int i = 0; i < 5; i++) children_live(f, 1000);
    names_told(f, "d", times, &parts);
    assert_int_equal(parts, 1);
    for (size_t i = 0; i < 12; i++) assert_int_equal(times[i], f->child[i].given);
    children_end(&f);
}

static void a_place_that_is_left_is_given_on(void **unused) {
    (void)unused;
    struct children *f = children_of(4, BUFFERS "select.count: 1\nselect.patience: 1m\n");
    children_pull(f);
    size_t first = child_at_work(f);
    f->child[first].session = 0;
    f->child[first].given = false;
    children_live(f, 20000);
    assert_int_equal(children_come(f), 1);
    size_t second = child_at_work(f);
    children_live(f, 70000);
    assert_int_equal(children_come(f), 1); /* patience */
    assert_int_equal(children_given(f), 2);
    child_push(f, second);
    assert_int_equal(f->child[second].refused, 0);
    children_end(&f);
}

/* Who was called and did not hear it waits on: it may be called again. */
static void who_was_not_reached_is_not_forgotten(void **unused) {
    (void)unused;
    struct children *f =
        children_of(3, BUFFERS "select.count: 1\nselect.patience: 20s\nselect.fairness: 1\n");
    children_pull(f);
    for (int i = 0; i < 3; i++) { /* the third is called, last of all */
        size_t who = child_at_work(f);
        child_push(f, who);
        child_pull(f, who);
        if (i < 2) assert_int_equal(children_come(f), 1);
    }
    size_t deaf = 0;
    while (!f->child[deaf].called) deaf++;
    uint64_t session = f->child[deaf].session;
    f->child[deaf].session = 0; /* no line, for a while */
    children_live(f, 30000);
    f->child[deaf].called = false;
    f->child[deaf].session = session;
    for (int i = 0; i < 10 && !f->child[deaf].called; i++) {
        children_live(f, 6000);
        for (size_t k = 0; k < 3; k++) {
            if (k == deaf) continue;
            if (f->child[k].called) child_pull(f, k);
            if (!f->child[k].given) continue;
            child_push(f, k);
            child_pull(f, k);
        }
    }
    assert_true(f->child[deaf].called);
    children_end(&f);
}

static void a_new_incarnation_has_no_place(void **unused) {
    (void)unused;
    struct children *f = children_of(3, BUFFERS "select.count: 1\n");
    children_pull(f);
    size_t first = child_at_work(f);
    char name[32];
    (void)snprintf(name, sizeof name, "d%zu", first);
    struct trib_msg hello = role_hello(name, 100 + first, 1);
    role_deliver(&f->node, first + 1, NULL, &hello, NULL); /* the same: it is still at work */
    f->child[first].session = role_next(&f->node, TRIB_WELCOME)->msg.session;
    children_live(f, 2000);
    assert_int_equal(children_come(f), 0);
    hello.incarnation = 999;
    role_deliver(&f->node, first + 1, NULL, &hello, NULL);
    f->child[first] = (struct child){.session = role_next(&f->node, TRIB_WELCOME)->msg.session, .number = 1};
    children_live(f, 2000);
    assert_int_equal(children_come(f), 1);
    children_end(&f);
}

/* ---- what it costs ---- */

static void idle_children_cost_heartbeats_only(void **unused) {
    (void)unused;
    struct children *f = children_of(CHILDREN_MAX, ROUNDS "select.count: 10\nselect.over: 1.2\n");
    children_pull(f);
    children_live(f, 2000);
    memset(f->heard, 0, sizeof f->heard);
    size_t sent = f->node.sent_count, pongs = 0, models = 0;
    for (int round = 0; round < 20; round++) {
        models += children_come(f);
        while (children_given(f) > 0) child_push(f, child_at_work(f));
        for (size_t i = 0; i < f->count; i++)
            if (f->child[i].rounds > 0 && !f->child[i].called) child_pull(f, i);
        children_live(f, 5000);
    }
    (void)children_come(f);
    sent = f->node.sent_count - sent;
    pongs = f->heard[TRIB_PONG];
    assert_int_equal(f->node.state->version, 20);
    assert_int_equal(pongs, CHILDREN_MAX * 20);
    assert_true(f->heard[TRIB_MODEL] <= 21 * 12);
    assert_true(f->heard[TRIB_ADVANCE] <= 21 * 12); /* chosen ones alone are called */
    assert_true(models <= 21 * 12);
    assert_int_equal(sent - pongs, f->heard[TRIB_MODEL] + f->heard[TRIB_ADVANCE] + f->heard[TRIB_ACK] +
                                       f->heard[TRIB_WAIT]);
    children_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_is_drawn_and_the_rest_waits),
        cmocka_unit_test(everybody_who_was_chosen_is_told),
        cmocka_unit_test(the_refused_are_not_preferred),
        cmocka_unit_test(a_round_without_the_refused_is_smaller),
        cmocka_unit_test(rounds_choose_at_random),
        cmocka_unit_test(over_selection_takes_the_first_and_refuses_the_rest),
        cmocka_unit_test(who_leaves_is_replaced),
        cmocka_unit_test(who_was_not_chosen_is_not_away),
        cmocka_unit_test(when_nobody_is_left_the_round_is_smaller),
        cmocka_unit_test(patience_has_an_end),
        cmocka_unit_test(a_lost_call_is_repeated),
        cmocka_unit_test(a_lost_call_of_a_later_round),
        cmocka_unit_test(a_round_goes_on_after_a_restart),
        cmocka_unit_test(as_many_as_may_work_at_a_time),
        cmocka_unit_test(a_few_choices_are_told_in_time),
        cmocka_unit_test(a_place_that_is_left_is_given_on),
        cmocka_unit_test(who_was_not_reached_is_not_forgotten),
        cmocka_unit_test(a_new_incarnation_has_no_place),
        cmocka_unit_test(idle_children_cost_heartbeats_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
