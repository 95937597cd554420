#include "shared/net/pipe.h"
#include "shared/net/reactor.h"

#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct shop {
    sem_t open; /* the gated actor serves one request for each post */
    int served; /* the actor's alone until it has ended */
    int answers_each;
    bool signals_blocked;
};

static atomic_int dropped_items;

static void drop(void *item) {
    atomic_fetch_add(&dropped_items, 1);
    free(item);
}

static int *number(int value) {
    int *item = malloc(sizeof *item);
    assert_non_null(item);
    *item = value;
    return item;
}

static const struct trib_actor_options options = {"a-very-long-name-of-a-thread", 4, 4, drop, drop};

static enum trib_status serve(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    struct shop *shop = arg;
    sigset_t mask;
    (void)err;
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mask);
    shop->signals_blocked = sigismember(&mask, SIGTERM) == 1;
    trib_pipe_ready(pipe);
    int *item;
    while ((item = trib_pipe_take(pipe, -1)) != NULL) {
        shop->served++;
        *item *= 2;
        void *answer = item;
        if (trib_pipe_answer(pipe, &answer) != TRIB_OK) free(answer);
    }
    return TRIB_OK;
}

static enum trib_status serve_when_opened(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    struct shop *shop = arg;
    (void)err;
    trib_pipe_ready(pipe);
    for (;;) {
        while (sem_wait(&shop->open) != 0) {
        }
        void *item = trib_pipe_take(pipe, -1);
        if (item == NULL) return TRIB_OK;
        shop->served++;
        free(item);
    }
}

static struct trib_actor *start(trib_actor_fn *fn, void *arg) {
    struct trib_actor *actor = NULL;
    assert_int_equal(trib_actor_start(&actor, fn, arg, &options, NULL), TRIB_OK);
    return actor;
}

static void *take_waiting(struct trib_actor *actor) {
    struct pollfd fd = {.fd = trib_actor_fd(actor), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 20000), 1);
    return trib_actor_take(actor);
}

static bool readable(struct trib_actor *actor) {
    struct pollfd fd = {.fd = trib_actor_fd(actor), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

static void requests_are_answered_in_order(void **state) {
    (void)state;
    struct shop shop = {.served = 0};
    struct trib_actor *actor = start(serve, &shop);
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 3; i++) {
            void *item = number(10 * round + i);
            assert_int_equal(trib_actor_send(actor, &item), TRIB_OK);
            assert_null(item);
        }
        for (int i = 0; i < 3; i++) {
            int *answer = take_waiting(actor);
            assert_non_null(answer);
            assert_int_equal(*answer, 2 * (10 * round + i));
            free(answer);
        }
        assert_null(trib_actor_take(actor));
        assert_false(readable(actor));
    }
    assert_int_equal(trib_actor_result(actor, NULL), TRIB_AGAIN);
    trib_actor_stop(actor);
    assert_true(shop.signals_blocked);
    assert_int_equal(trib_actor_result(actor, NULL), TRIB_OK);
    trib_actor_free(&actor);
    assert_null(actor);
}

static enum trib_status fail_early(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    (void)pipe;
    return trib_fail(err, TRIB_CORRUPT, "the store of %s is broken", (const char *)arg);
}

static void an_actor_that_cannot_start_fails_its_constructor(void **state) {
    (void)state;
    char name[] = "edge-1";
    struct trib_actor *actor = NULL;
    struct trib_error err = {.status = TRIB_OK};
    assert_int_equal(trib_actor_start(&actor, fail_early, name, &options, &err), TRIB_CORRUPT);
    assert_string_equal(err.text, "the store of edge-1 is broken");
    assert_null(actor);
}

static void a_full_queue_refuses_and_leaves_the_item(void **state) {
    (void)state;
    struct shop shop = {.served = 0};
    sem_init(&shop.open, 0, 0);
    struct trib_actor *actor = start(serve_when_opened, &shop);
    for (int i = 0; i < 4; i++) {
        void *item = number(i);
        assert_int_equal(trib_actor_send(actor, &item), TRIB_OK);
    }
    void *fifth = number(5);
    assert_int_equal(trib_actor_send(actor, &fifth), TRIB_AGAIN);
    assert_non_null(fifth);
    free(fifth);
    for (int i = 0; i < 5; i++) sem_post(&shop.open);
    trib_actor_stop(actor);
    assert_int_equal(shop.served, 4); /* what was sent before the stop is done */
    trib_actor_free(&actor);
    sem_destroy(&shop.open);
}

static enum trib_status leave(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    struct shop *shop = arg;
    trib_pipe_ready(pipe);
    while (sem_wait(&shop->open) != 0) {
    }
    return trib_fail(err, TRIB_IO, "the disk is full");
}

static void an_actor_that_ended_is_noticed(void **state) {
    (void)state;
    struct shop shop = {.served = 0};
    struct trib_error err = {.status = TRIB_OK};
    sem_init(&shop.open, 0, 0);
    struct trib_actor *actor = start(leave, &shop);
    void *item = number(1);
    assert_int_equal(trib_actor_send(actor, &item), TRIB_OK);
    atomic_store(&dropped_items, 0);
    sem_post(&shop.open);
    assert_null(take_waiting(actor)); /* readable, though there is no answer */
    assert_true(readable(actor));
    assert_int_equal(trib_actor_result(actor, &err), TRIB_IO);
    assert_string_equal(err.text, "the disk is full");
    void *late = number(2);
    assert_int_equal(trib_actor_send(actor, &late), TRIB_NOT_FOUND);
    free(late);
    trib_actor_free(&actor);
    assert_int_equal(atomic_load(&dropped_items), 1);
    sem_destroy(&shop.open);
}

static enum trib_status answer_much(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    struct shop *shop = arg;
    (void)err;
    trib_pipe_ready(pipe);
    for (int i = 0; i < shop->answers_each; i++) {
        void *item = malloc(sizeof(int));
        if (item == NULL) return TRIB_NOMEM;
        *(int *)item = i;
        if (trib_pipe_answer(pipe, &item) != TRIB_OK) free(item);
    }
    return TRIB_OK;
}

static void answers_wait_for_their_owner(void **state) {
    (void)state;
    struct shop shop = {.answers_each = 1000};
    struct trib_actor *actor = start(answer_much, &shop);
    for (int i = 0; i < 1000; i++) {
        int *answer = take_waiting(actor);
        assert_int_equal(*answer, i);
        free(answer);
    }
    trib_actor_free(&actor);
}

/* The actor waits for room and the owner for the actor: neither may wait for ever, and no answer is lost. */
static void a_stop_frees_an_actor_that_waits_for_room(void **state) {
    (void)state;
    struct shop shop = {.answers_each = 100};
    struct trib_actor *actor = start(answer_much, &shop);
    trib_actor_stop(actor);
    for (int i = 0; i < 60; i++) {
        int *answer = trib_actor_take(actor);
        assert_non_null(answer);
        assert_int_equal(*answer, i);
        free(answer);
    }
    atomic_store(&dropped_items, 0);
    trib_actor_free(&actor);
    assert_int_equal(atomic_load(&dropped_items), 40);
}

static enum trib_status wait_and_tell(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    (void)err;
    trib_pipe_ready(pipe);
    void *nothing = trib_pipe_take(pipe, 1);
    *(bool *)arg = nothing == NULL && !trib_pipe_stopping(pipe);
    void *item = malloc(sizeof(int));
    if (item == NULL || trib_pipe_answer(pipe, &item) != TRIB_OK) {
        free(item);
        return TRIB_NOMEM;
    }
    return trib_pipe_take(pipe, -1) == NULL && trib_pipe_stopping(pipe) ? TRIB_OK : TRIB_IO;
}

static void taking_has_a_timeout(void **state) {
    (void)state;
    bool timed_out = false;
    struct trib_actor *actor = start(wait_and_tell, &timed_out);
    free(take_waiting(actor)); /* its first wait is over, by time alone */
    trib_actor_stop(actor);
    assert_true(timed_out);
    assert_int_equal(trib_actor_result(actor, NULL), TRIB_OK);
    trib_actor_free(&actor);
}

struct loop {
    struct trib_reactor *reactor;
    struct trib_actor *actor;
    int answers;
};

static void on_answer(void *ctx) {
    struct loop *loop = ctx;
    int *answer = trib_actor_take(loop->actor);
    assert_non_null(answer);
    free(answer);
    if (++loop->answers == 8) {
        trib_reactor_stop(loop->reactor);
        return;
    }
    void *item = number(loop->answers);
    assert_int_equal(trib_actor_send(loop->actor, &item), TRIB_OK);
}

static void a_reactor_hears_of_answers(void **state) {
    (void)state;
    struct shop shop = {.served = 0};
    struct loop loop = {.answers = 0};
    struct trib_watch *watch = NULL;
    loop.actor = start(serve, &shop);
    assert_int_equal(trib_reactor_new(&loop.reactor, NULL), TRIB_OK);
    assert_int_equal(trib_reactor_watch_fd(loop.reactor, trib_actor_fd(loop.actor), TRIB_WANT_READ, on_answer,
                                           &loop, &watch, NULL),
                     TRIB_OK);
    void *item = number(1);
    assert_int_equal(trib_actor_send(loop.actor, &item), TRIB_OK);
    assert_int_equal(trib_reactor_run(loop.reactor, NULL), TRIB_OK);
    assert_int_equal(loop.answers, 8);
    trib_watch_free(&watch);
    trib_actor_free(&loop.actor);
    trib_reactor_free(&loop.reactor);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_in_order),
        cmocka_unit_test(an_actor_that_cannot_start_fails_its_constructor),
        cmocka_unit_test(a_full_queue_refuses_and_leaves_the_item),
        cmocka_unit_test(an_actor_that_ended_is_noticed),
        cmocka_unit_test(answers_wait_for_their_owner),
        cmocka_unit_test(a_stop_frees_an_actor_that_waits_for_room),
        cmocka_unit_test(taking_has_a_timeout),
        cmocka_unit_test(a_reactor_hears_of_answers),
    };
    return cmocka_run_group_tests_name("pipe", tests, NULL, NULL);
}
