#include "shared/net/health.h"
#include "shared/net/pipe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The node lives in a thread of its own, because the question blocks. */
struct node {
    char folder[32];
    char endpoint[64];
    bool well;
    bool hangs; /* it listens, and its reactor does not turn */
    int asked;
    struct trib_actor *actor;
};

struct running {
    struct trib_reactor *reactor;
    struct trib_pipe *pipe;
};

static bool answer(void *ctx, struct trib_buf *line) {
    struct node *node = ctx;
    node->asked++;
    trib_buf_printf(line, "{\"role\":\"edge\",\"well\":%s}", node->well ? "true" : "false");
    return node->well;
}

static void look_for_the_end(void *ctx) {
    struct running *running = ctx;
    if (trib_pipe_stopping(running->pipe)) trib_reactor_stop(running->reactor);
}

static enum trib_status turn(struct running *running, struct trib_error *err) {
    struct trib_timer *timer = NULL;
    enum trib_status status = trib_timer_new(running->reactor, look_for_the_end, running, &timer, err);
    if (status != TRIB_OK) return status;
    trib_timer_every(timer, 2);
    return trib_reactor_run(running->reactor, err);
}

static enum trib_status live(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    struct node *node = arg;
    struct running running = {.pipe = pipe};
    struct trib_context *context = NULL;
    struct trib_health *health = NULL;
    enum trib_status status = trib_reactor_new(&running.reactor, err);
    if (status == TRIB_OK) status = trib_context_new(&context, 0, err);
    if (status == TRIB_OK)
        status = trib_health_new(&health, context, running.reactor, node->endpoint, answer, node, err);
    if (status == TRIB_OK) {
        trib_pipe_ready(pipe);
        if (node->hangs) {
            (void)trib_pipe_take(pipe, -1);
        } else {
            status = turn(&running, err);
        }
    }
    trib_health_free(&health);
    trib_context_free(&context);
    trib_reactor_free(&running.reactor);
    return status;
}

static const struct trib_actor_options options = {"node", 1, 1, NULL, NULL};

static void start(struct node *node) {
    struct trib_error err = {.status = TRIB_OK};
    (void)snprintf(node->folder, sizeof node->folder, "/tmp/trib-health-XXXXXX");
    assert_non_null(mkdtemp(node->folder));
    (void)snprintf(node->endpoint, sizeof node->endpoint, "ipc://%s/health", node->folder);
    if (trib_actor_start(&node->actor, live, node, &options, &err) != TRIB_OK) fail_msg("%s", err.text);
}

static void stop(struct node *node) {
    trib_actor_free(&node->actor);
    assert_int_equal(rmdir(node->folder), 0); /* the socket is gone with it */
}

static void a_node_that_is_well_says_so(void **state) {
    (void)state;
    struct node node = {.well = true};
    struct trib_buf line;
    bool well = false;
    trib_buf_init(&line, 0);
    start(&node);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(trib_health_ask(node.endpoint, 20000, &line, &well, NULL), TRIB_OK);
        assert_true(well);
        assert_string_equal(trib_buf_text(&line), "{\"role\":\"edge\",\"well\":true}");
    }
    assert_int_equal(trib_health_main(node.endpoint, 20000), 0);
    stop(&node);
    assert_int_equal(node.asked, 4);
    trib_buf_release(&line);
}

static void a_node_that_is_not_well_says_so(void **state) {
    (void)state;
    struct node node = {.well = false};
    start(&node);
    assert_int_equal(trib_health_main(node.endpoint, 20000), 1);
    stop(&node);
    assert_int_equal(node.asked, 1);
}

static void a_node_that_hangs_is_not_well(void **state) {
    (void)state;
    struct node node = {.well = true, .hangs = true};
    struct trib_error err = {.status = TRIB_OK};
    struct trib_buf line;
    bool well = true;
    trib_buf_init(&line, 0);
    start(&node);
    assert_int_equal(trib_health_ask(node.endpoint, 30, &line, &well, &err), TRIB_AGAIN);
    assert_false(well);
    assert_non_null(strstr(err.text, "within 30 ms"));
    assert_int_equal(trib_health_main(node.endpoint, 30), 1);
    stop(&node);
    assert_int_equal(node.asked, 0);
    trib_buf_release(&line);
}

static void nobody_there_is_known_at_once(void **state) {
    (void)state;
    struct trib_error err = {.status = TRIB_OK};
    struct trib_buf line;
    char long_path[200] = "ipc://";
    bool well = true;
    trib_buf_init(&line, 0);
    assert_int_equal(trib_health_ask("ipc:///nonexistent/health", 3600000, &line, &well, &err),
                     TRIB_NOT_FOUND);
    assert_non_null(strstr(err.text, "nobody listens"));
    assert_false(well);
    assert_int_equal(trib_health_ask("tcp://127.0.0.1:1", 3600000, &line, &well, &err), TRIB_INVALID);
    memset(long_path + 6, 'x', sizeof long_path - 7);
    assert_int_equal(trib_health_ask(long_path, 3600000, &line, &well, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "193 bytes"));
    assert_int_equal(trib_health_main("ipc:///nonexistent/health", 3600000), 1);
    trib_buf_release(&line);
}

static void an_endpoint_serves_one_node(void **state) {
    (void)state;
    struct node node = {.well = true};
    struct trib_error err = {.status = TRIB_OK};
    struct trib_actor *second = NULL;
    start(&node);
    assert_int_equal(trib_actor_start(&second, live, &node, &options, &err), TRIB_IO);
    assert_non_null(strstr(err.text, "another running node"));
    assert_int_equal(trib_health_main(node.endpoint, 20000), 0); /* the first was not disturbed */
    stop(&node);
}

static void a_path_left_by_a_killed_node_is_taken(void **state) {
    (void)state;
    struct node node = {.well = true};
    start(&node);
    trib_actor_free(&node.actor);
    FILE *file = fopen(node.endpoint + strlen("ipc://"), "we"); /* no listener behind it */
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(trib_actor_start(&node.actor, live, &node, &options, NULL), TRIB_OK);
    assert_int_equal(trib_health_main(node.endpoint, 20000), 0);
    stop(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_that_is_well_says_so),
        cmocka_unit_test(a_node_that_is_not_well_says_so),
        cmocka_unit_test(a_node_that_hangs_is_not_well),
        cmocka_unit_test(nobody_there_is_known_at_once),
        cmocka_unit_test(an_endpoint_serves_one_node),
        cmocka_unit_test(a_path_left_by_a_killed_node_is_taken),
    };
    return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
