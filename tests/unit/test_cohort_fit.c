/* Who may be chosen to train: by what devices report, by how often they were, by their class and their time.
 */
#include "tests/support/children.h"
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <string.h>

#define ROUNDS  "cloud.rule: fedavg\npublish.global_interval: 0\n"
#define BUFFERS "cloud.rule: fedbuff(k=2, deadline=0)\npublish.global_interval: 0\n"

/* PULL that tells of the device; what is 0 is left out. */
static void pull_telling(struct children *f, size_t i, const char *device_class, uint64_t battery,
                         uint64_t link) {
    struct trib_msg msg = role_pull(f->child[i].session, NULL);
    if (device_class != NULL) trib_msg_set(&msg, DEVICE_CLASS, device_class, role_text(device_class));
    if (battery > 0) trib_msg_set(&msg, BATTERY, battery, battery);
    if (link > 0) trib_msg_set(&msg, LINK, link, link);
    f->child[i].called = false;
    role_deliver(&f->node, i + 1, NULL, &msg, NULL);
    children_listen(f);
}

static void only_fit_devices_are_chosen(void **unused) {
    (void)unused;
    struct children *f =
        children_of(6, BUFFERS "select.count: 6\nselect.min_battery: 50\nselect.min_link: 10kB\n");
    char text[400];
    pull_telling(f, 0, NULL, 0, 20000); /* says nothing of its battery */
    pull_telling(f, 1, NULL, 49, 20000);
    pull_telling(f, 2, NULL, 90, 9999);
    pull_telling(f, 3, NULL, 90, 0);
    assert_int_equal(children_given(f), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(f->child[i].wait_ms, 60000); /* it may be better by then */
    assert_int_equal(role_logged(&f->node, "nobody_fit"), 1);
    assert_non_null(
        strstr(children_event(f, "nobody_fit", text, sizeof text), "min_battery=50 min_link=10000"));
    pull_telling(f, 4, NULL, 50, 10000);
    pull_telling(f, 5, NULL, 100, 1000000);
    assert_int_equal(children_given(f), 2);
    pull_telling(f, 1, NULL, 60, 0); /* charged; what it said of its line still holds */
    assert_true(f->child[1].given);
    children_end(&f);
}

static void in_rounds_too(void **unused) {
    (void)unused;
    struct children *f = children_of(8, ROUNDS "select.count: 8\nselect.min_battery: 50\n");
    for (size_t i = 0; i < 8; i++) pull_telling(f, i, NULL, i < 3 ? 80 : 20, 0);
    children_live(f, 2000);
    assert_int_equal(children_come(f), 3);
    for (int i = 0; i < 3; i++) child_push(f, child_at_work(f));
    assert_int_equal(f->node.state->version, 1);
    children_end(&f);
}

/* Fast devices ask again at once, slow ones take twenty times as long. */
static void run_at_two_speeds(struct children *f, int turns) {
    for (int turn = 0; turn < turns; turn++) {
        for (size_t i = 0; i < f->count; i++) {
            bool slow = i < f->count / 2;
            if (!f->child[i].given || (slow && turn % 20 != 19)) continue;
            child_push(f, i);
            child_pull(f, i);
        }
        (void)children_come(f);
    }
}

static void fairness_keeps_the_fast_from_drowning_the_slow(void **unused) {
    (void)unused;
    double share[2];
    for (int fair = 0; fair < 2; fair++) {
        struct children *f = children_of(10, fair ? BUFFERS "select.count: 10\nselect.fairness: 1.2\n"
                                                  : BUFFERS "select.count: 10\n");
        children_pull(f);
        run_at_two_speeds(f, 400);
        double slow = 0, all = 0, most = 0;
        for (size_t i = 0; i < 10; i++) {
            slow += i < 5 ? (double)f->child[i].rounds : 0;
            all += (double)f->child[i].rounds;
            if ((double)f->child[i].rounds > most) most = (double)f->child[i].rounds;
        }
        share[fair] = slow / all;
        if (fair) assert_true(most <= 1.2 * all / 10 + 1); /* nobody is beyond 1.2 times the mean */
        assert_true(all > 100);
        children_end(&f);
    }
    assert_true(share[0] < 0.06);
    assert_true(share[1] > 0.35);
}

static void a_newcomer_is_not_behind(void **unused) {
    (void)unused;
    struct children *f = children_of(5, BUFFERS "select.count: 1\nselect.fairness: 1\n");
    for (size_t i = 0; i < 4; i++) child_pull(f, i);
    for (int i = 0; i < 80; i++) {
        size_t who = child_at_work(f);
        child_push(f, who);
        child_pull(f, who);
        (void)children_come(f);
    }
    struct trib_msg hello = role_hello("late", 7, 1);
    f->child[f->count] = (struct child){.number = 1};
    role_deliver(&f->node, f->count + 1, NULL, &hello, NULL);
    f->child[f->count++].session = role_next(&f->node, TRIB_WELCOME)->msg.session;
    child_pull(f, 5);
    size_t before = 0, after = 0;
    for (size_t i = 0; i < 4; i++) before += f->child[i].rounds;
    for (int i = 0; i < 25; i++) {
        size_t who = child_at_work(f);
        child_push(f, who);
        child_pull(f, who);
        (void)children_come(f);
    }
    for (size_t i = 0; i < 4; i++) after += f->child[i].rounds;
    assert_in_range(f->child[5].rounds, 3, 8); /* its turn in five, not all of them until it has caught up */
    assert_true(after - before >= 17);
    children_end(&f);
}

static void classes_are_told_apart(void **unused) {
    (void)unused;
    struct children *f = children_of(80, ROUNDS "select.policy: stratified(shares=equal)\nselect.count: 6\n");
    for (size_t i = 0; i < 80; i++) pull_telling(f, i, i < 70 ? "phone" : "gateway", 0, 0);
    for (int round = 0; round < 5; round++) {
        children_live(f, 2000);
        (void)children_come(f);
        size_t gateways = 0;
        for (size_t i = 70; i < 80; i++) gateways += f->child[i].given;
        assert_int_equal(children_given(f), 6);
        assert_int_equal(gateways, 3);
        for (size_t i = 0; i < 80; i++) {
            if (!f->child[i].given) continue;
            child_push(f, i);
            child_pull(f, i);
        }
    }
    children_end(&f);
}

/* Somebody who makes up a class each time fills no table. */
static void classes_without_end(void **unused) {
    (void)unused;
    struct children *f = children_of(3, BUFFERS "select.policy: stratified\nselect.count: 2\n");
    for (size_t i = 0; i < 300; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "class-%zu-%.20s", i, "abcdefghijklmnopqrstuvwxyz");
        pull_telling(f, i % 3, name, 0, 0);
    }
    assert_int_equal(children_given(f), 2);
    children_end(&f);
}

/* Duration is what passes between model and answer. */
static void the_slow_miss_the_deadline(void **unused) {
    (void)unused;
    struct children *f = children_of(4, ROUNDS "select.policy: fedcs(deadline=10s)\nselect.count: 4\n");
    children_pull(f);
    children_live(f, 2000);
    assert_int_equal(children_come(f), 4); /* nobody knows yet */
    for (size_t i = 1; i < 4; i++) child_push(f, i);
    children_live(f, 15000);
    child_push(f, 0);
    assert_int_equal(f->node.state->version, 1);
    for (size_t i = 0; i < 4; i++) child_pull(f, i);
    children_live(f, 2000);
    (void)children_come(f);
    assert_int_equal(children_given(f), 3);
    assert_false(f->child[0].given);
    children_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_fit_devices_are_chosen),
        cmocka_unit_test(in_rounds_too),
        cmocka_unit_test(fairness_keeps_the_fast_from_drowning_the_slow),
        cmocka_unit_test(a_newcomer_is_not_behind),
        cmocka_unit_test(classes_are_told_apart),
        cmocka_unit_test(classes_without_end),
        cmocka_unit_test(the_slow_miss_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
