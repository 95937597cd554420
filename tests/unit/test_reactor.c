#include "shared/base/clock.h"
#include "shared/net/context.h"
#include "shared/net/reactor.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

struct bench {
    struct trib_reactor *reactor;
    char trace[64];
    size_t length;
    struct trib_timer *timer[4];
    struct trib_watch *watch[4];
    int fd[4];
    void *socket;
    unsigned calls;
    unsigned stop_at;
};

struct letter {
    struct bench *bench;
    char letter;
};

static void note(struct bench *bench, char letter) {
    assert_true(bench->length + 1 < sizeof bench->trace);
    bench->trace[bench->length++] = letter;
    bench->trace[bench->length] = 0;
}

static void on_letter(void *ctx) {
    struct letter *letter = ctx;
    note(letter->bench, letter->letter);
}

static void on_stop(void *ctx) {
    trib_reactor_stop(((struct bench *)ctx)->reactor);
}

static int setup(void **state) {
    struct bench *bench = calloc(1, sizeof *bench);
    for (int i = 0; i < 4; i++) bench->fd[i] = -1;
    assert_int_equal(trib_reactor_new(&bench->reactor, NULL), TRIB_OK);
    *state = bench;
    return 0;
}

static int teardown(void **state) {
    struct bench *bench = *state;
    trib_reactor_free(&bench->reactor);
    for (int i = 0; i < 4; i++) {
        if (bench->fd[i] >= 0) close(bench->fd[i]);
    }
    free(bench);
    return 0;
}

static void turn(struct bench *bench, uint32_t wait_ms) {
    assert_int_equal(trib_reactor_turn(bench->reactor, wait_ms, NULL), TRIB_OK);
}

static void new_timer(struct bench *bench, int i, trib_handler *handler, void *ctx) {
    assert_int_equal(trib_timer_new(bench->reactor, handler, ctx, &bench->timer[i], NULL), TRIB_OK);
}

/* ---- Timers */

static void timers_run_in_order_of_their_deadlines(void **state) {
    struct bench *bench = *state;
    struct letter letters[4] = {{bench, 'a'}, {bench, 'b'}, {bench, 'c'}, {bench, 'd'}};
    for (int i = 0; i < 4; i++) new_timer(bench, i, on_letter, &letters[i]);
    trib_timer_at(bench->timer[0], 30);
    trib_timer_at(bench->timer[1], 10);
    trib_timer_at(bench->timer[2], 20);
    trib_timer_at(bench->timer[3], 40);
    trib_timer_at(bench->timer[0], 5); /* replaces */
    trib_timer_cancel(bench->timer[2]);
    turn(bench, 0);
    assert_string_equal(bench->trace, "abd");
    turn(bench, 0);
    assert_string_equal(bench->trace, "abd");
    assert_false(trib_timer_armed(bench->timer[0]));
}

static void a_timer_waits_for_its_time(void **state) {
    struct bench *bench = *state;
    struct trib_timer *later = NULL;
    uint64_t before = trib_clock_ms();
    new_timer(bench, 0, on_stop, bench);
    assert_int_equal(trib_timer_new(bench->reactor, on_letter, &(struct letter){bench, 'x'}, &later, NULL),
                     TRIB_OK);
    trib_timer_after(later, 3600 * 1000);
    trib_timer_after(bench->timer[0], 20);
    assert_int_equal(trib_reactor_run(bench->reactor, NULL), TRIB_OK);
    assert_true(trib_clock_ms() >= before + 20);
    assert_string_equal(bench->trace, "");
}

static void count_and_stop(void *ctx) {
    struct bench *bench = ctx;
    if (++bench->calls == bench->stop_at) trib_reactor_stop(bench->reactor);
}

static void a_periodic_timer_goes_on(void **state) {
    struct bench *bench = *state;
    uint64_t before = trib_clock_ms();
    bench->stop_at = 5;
    new_timer(bench, 0, count_and_stop, bench);
    trib_timer_every(bench->timer[0], 2);
    assert_int_equal(trib_reactor_run(bench->reactor, NULL), TRIB_OK);
    assert_int_equal(bench->calls, 5);
    assert_true(trib_clock_ms() >= before + 10);
    assert_true(trib_timer_armed(bench->timer[0]));
}

static void rearm_for_the_past(void *ctx) {
    struct bench *bench = ctx;
    bench->calls++;
    trib_timer_at(bench->timer[0], 0);
}

static void a_timer_set_to_the_past_runs_once_a_turn(void **state) {
    struct bench *bench = *state;
    new_timer(bench, 0, rearm_for_the_past, bench);
    trib_timer_at(bench->timer[0], 0);
    turn(bench, 0);
    assert_int_equal(bench->calls, 1);
    turn(bench, 0);
    assert_int_equal(bench->calls, 2);
}

static void free_all_timers(void *ctx) {
    struct bench *bench = ctx;
    note(bench, 'f');
    for (int i = 0; i < 3; i++) trib_timer_free(&bench->timer[i]);
}

static void a_handler_may_free_timers_its_own_too(void **state) {
    struct bench *bench = *state;
    struct letter letter = {bench, 'x'};
    new_timer(bench, 0, free_all_timers, bench);
    new_timer(bench, 1, on_letter, &letter);
    new_timer(bench, 2, on_letter, &letter);
    trib_timer_at(bench->timer[0], 1);
    trib_timer_at(bench->timer[1], 2);
    trib_timer_every(bench->timer[2], 1);
    turn(bench, 0);
    turn(bench, 5);
    assert_string_equal(bench->trace, "f");
}

static void many_timers_keep_their_order(void **state) {
    struct bench *bench = *state;
    enum { COUNT = 500 };
    static struct trib_timer *timers[COUNT];
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(trib_timer_new(bench->reactor, count_and_stop, bench, &timers[i], NULL), TRIB_OK);
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        trib_timer_at(timers[i], 1 + x % 1000);
    }
    for (int i = 0; i < COUNT; i += 3) trib_timer_cancel(timers[i]);
    for (int i = 0; i < COUNT; i += 5) trib_timer_free(&timers[i]);
    size_t armed = 0;
    for (int i = 0; i < COUNT; i++) armed += timers[i] != NULL && trib_timer_armed(timers[i]);
    turn(bench, 0);
    assert_int_equal(bench->calls, armed);
}

/* ---- Descriptors */

static void watch_fd(struct bench *bench, int i, unsigned wants, trib_handler *handler, void *ctx) {
    if (bench->fd[i] < 0) bench->fd[i] = eventfd(0, EFD_NONBLOCK);
    assert_int_equal(
        trib_reactor_watch_fd(bench->reactor, bench->fd[i], wants, handler, ctx, &bench->watch[i], NULL),
        TRIB_OK);
}

static void raise_fd(struct bench *bench, int i) {
    uint64_t one = 1;
    assert_int_equal(write(bench->fd[i], &one, sizeof one), sizeof one);
}

static void a_descriptor_is_offered_until_it_is_read(void **state) {
    struct bench *bench = *state;
    struct letter letter = {bench, 'r'};
    uint64_t count;
    watch_fd(bench, 0, TRIB_WANT_READ, on_letter, &letter);
    turn(bench, 0);
    assert_string_equal(bench->trace, "");
    raise_fd(bench, 0);
    turn(bench, 1000);
    turn(bench, 1000);
    assert_string_equal(bench->trace, "rr");
    assert_int_equal(read(bench->fd[0], &count, sizeof count), sizeof count);
    turn(bench, 0);
    assert_string_equal(bench->trace, "rr");
    trib_watch_want(bench->watch[0], TRIB_WANT_WRITE);
    turn(bench, 1000);
    assert_string_equal(bench->trace, "rrr");
}

static void a_paused_descriptor_is_silent_even_when_hung_up(void **state) {
    struct bench *bench = *state;
    struct letter letter = {bench, 'p'};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    bench->fd[0] = ends[0];
    watch_fd(bench, 0, TRIB_WANT_READ, on_letter, &letter);
    trib_watch_pause(bench->watch[0], true);
    close(ends[1]);
    for (int i = 0; i < 3; i++) turn(bench, 0);
    assert_string_equal(bench->trace, "");
    trib_watch_pause(bench->watch[0], false);
    turn(bench, 1000);
    assert_string_equal(bench->trace, "p");
}

static void free_all_watches(void *ctx) {
    struct bench *bench = ctx;
    note(bench, 'f');
    for (int i = 0; i < 3; i++) trib_watch_free(&bench->watch[i]);
}

static void whoever_is_freed_in_a_turn_is_not_called_in_it(void **state) {
    struct bench *bench = *state;
    for (int i = 0; i < 3; i++) {
        watch_fd(bench, i, TRIB_WANT_READ, free_all_watches, bench);
        raise_fd(bench, i);
    }
    turn(bench, 1000);
    turn(bench, 0);
    assert_string_equal(bench->trace, "f");
}

static void add_a_watch(void *ctx) {
    struct bench *bench = ctx;
    static struct letter letter;
    letter = (struct letter){bench, 'n'};
    trib_watch_free(&bench->watch[0]);
    watch_fd(bench, 1, TRIB_WANT_READ, on_letter, &letter);
    raise_fd(bench, 1);
}

static void a_handler_may_add_a_watch(void **state) {
    struct bench *bench = *state;
    watch_fd(bench, 0, TRIB_WANT_READ, add_a_watch, bench);
    raise_fd(bench, 0);
    turn(bench, 1000);
    turn(bench, 1000);
    assert_string_equal(bench->trace, "n");
}

static void what_cannot_be_polled_is_an_error(void **state) {
    struct bench *bench = *state;
    struct trib_error err = {.status = TRIB_OK};
    struct trib_watch *watch = NULL;
    int file = memfd_create("no polling", 0); /* a file on FUSE could be polled */
    assert_true(file >= 0);
    assert_int_equal(
        trib_reactor_watch_fd(bench->reactor, file, TRIB_WANT_READ, on_stop, bench, &watch, &err), TRIB_IO);
    assert_non_null(strstr(err.text, "cannot watch"));
    assert_null(watch);
    close(file);
}

/* ---- Sockets */

struct sockets {
    struct trib_context *context;
    void *in;
    void *out;
    struct trib_watch *watch;
};

static void open_pair(struct bench *bench, struct sockets *s, unsigned wants, trib_handler *handler) {
    assert_int_equal(trib_context_new(&s->context, 0, NULL), TRIB_OK);
    s->in = zmq_socket(trib_context_raw(s->context), ZMQ_PAIR);
    s->out = zmq_socket(trib_context_raw(s->context), ZMQ_PAIR);
    assert_int_equal(zmq_bind(s->in, "inproc://pair"), 0);
    assert_int_equal(zmq_connect(s->out, "inproc://pair"), 0);
    bench->socket = s->in;
    assert_int_equal(trib_reactor_watch_socket(bench->reactor, s->in, wants, handler, bench, &s->watch, NULL),
                     TRIB_OK);
}

static void close_pair(struct sockets *s) {
    trib_watch_free(&s->watch);
    zmq_close(s->in);
    zmq_close(s->out);
    trib_context_free(&s->context);
}

static void read_one(void *ctx) {
    struct bench *bench = ctx;
    char byte;
    assert_int_equal(zmq_recv(bench->socket, &byte, 1, ZMQ_DONTWAIT), 1);
    note(bench, byte);
    if (bench->length == bench->stop_at) trib_reactor_stop(bench->reactor);
}

/* The descriptor of a socket tells once of many messages: the rest is found by asking again. */
static void a_socket_is_offered_until_it_is_empty(void **state) {
    struct bench *bench = *state;
    struct sockets s = {NULL, NULL, NULL, NULL};
    open_pair(bench, &s, TRIB_WANT_READ, read_one);
    for (int i = 0; i < 20; i++) assert_int_equal(zmq_send(s.out, &"abcdefghijklmnopqrst"[i], 1, 0), 1);
    bench->stop_at = 20;
    assert_int_equal(trib_reactor_run(bench->reactor, NULL), TRIB_OK);
    assert_string_equal(bench->trace, "abcdefghijklmnopqrst");
    turn(bench, 0);
    close_pair(&s);
}

static void a_paused_socket_is_offered_afterwards(void **state) {
    struct bench *bench = *state;
    struct sockets s = {NULL, NULL, NULL, NULL};
    open_pair(bench, &s, TRIB_WANT_READ, read_one);
    turn(bench, 0);
    trib_watch_pause(s.watch, true);
    assert_int_equal(zmq_send(s.out, "a", 1, 0), 1);
    for (int i = 0; i < 5; i++) turn(bench, 0);
    assert_string_equal(bench->trace, "");
    trib_watch_pause(s.watch, false);
    bench->stop_at = 1;
    assert_int_equal(trib_reactor_run(bench->reactor, NULL), TRIB_OK);
    assert_string_equal(bench->trace, "a");
    close_pair(&s);
}

/* A send or receive elsewhere takes the sign from the descriptor; touch makes up for it. */
static void a_touched_socket_is_asked_again(void **state) {
    struct bench *bench = *state;
    struct sockets s = {NULL, NULL, NULL, NULL};
    char byte;
    open_pair(bench, &s, TRIB_WANT_READ, read_one);
    turn(bench, 0);
    assert_int_equal(zmq_send(s.out, "a", 1, 0), 1);
    assert_int_equal(zmq_send(s.out, "b", 1, 0), 1);
    assert_int_equal(zmq_recv(s.in, &byte, 1, 0), 1);
    trib_watch_touch(s.watch);
    turn(bench, 0);
    assert_string_equal(bench->trace, "b");
    close_pair(&s);
}

static void fill_once(void *ctx) {
    struct bench *bench = ctx;
    while (zmq_send(bench->socket, "x", 1, ZMQ_DONTWAIT) == 1) bench->calls++;
}

static void a_writable_socket_is_offered_when_there_is_room(void **state) {
    struct bench *bench = *state;
    struct sockets s = {NULL, NULL, NULL, NULL};
    char byte;
    open_pair(bench, &s, TRIB_WANT_WRITE, fill_once);
    turn(bench, 0);
    unsigned filled = bench->calls;
    assert_true(filled > 100);
    turn(bench, 0);
    assert_int_equal(bench->calls, filled);
    for (unsigned i = 0; i < filled; i++) assert_int_equal(zmq_recv(s.out, &byte, 1, 0), 1);
    while (bench->calls == filled) turn(bench, 1000);
    assert_true(bench->calls > filled);
    close_pair(&s);
}

struct echo {
    void *socket;
    struct trib_watch *watch;
    struct bench *bench;
};

static void on_echo(void *ctx) {
    struct echo *echo = ctx;
    char byte;
    while (zmq_recv(echo->socket, &byte, 1, ZMQ_DONTWAIT) == 1) count_and_stop(echo->bench);
}

static void a_thousand_sockets_are_all_heard(void **state) {
    struct bench *bench = *state;
    enum { COUNT = 1000 };
    static struct echo echoes[COUNT];
    struct trib_context *context = NULL;
    assert_int_equal(trib_context_new(&context, COUNT + 10, NULL), TRIB_OK);
    void *router = zmq_socket(trib_context_raw(context), ZMQ_PUB);
    assert_int_equal(zmq_bind(router, "inproc://all"), 0);
    for (int i = 0; i < COUNT; i++) {
        echoes[i] = (struct echo){zmq_socket(trib_context_raw(context), ZMQ_SUB), NULL, bench};
        assert_non_null(echoes[i].socket);
        assert_int_equal(zmq_setsockopt(echoes[i].socket, ZMQ_SUBSCRIBE, "", 0), 0);
        assert_int_equal(zmq_connect(echoes[i].socket, "inproc://all"), 0);
        assert_int_equal(trib_reactor_watch_socket(bench->reactor, echoes[i].socket, TRIB_WANT_READ, on_echo,
                                                   &echoes[i], &echoes[i].watch, NULL),
                         TRIB_OK);
    }
    bench->stop_at = COUNT * 3;
    for (int i = 0; i < 3; i++) assert_int_equal(zmq_send(router, "x", 1, 0), 1);
    assert_int_equal(trib_reactor_run(bench->reactor, NULL), TRIB_OK);
    assert_int_equal(bench->calls, COUNT * 3);
    for (int i = 0; i < COUNT; i++) {
        trib_watch_free(&echoes[i].watch);
        zmq_close(echoes[i].socket);
    }
    zmq_close(router);
    trib_context_free(&context);
}

/* ---- Signals */

static void a_signal_calls_its_handler(void **state) {
    struct bench *bench = *state;
    struct letter letter = {bench, 'h'};
    assert_int_equal(trib_reactor_on_signal(bench->reactor, SIGHUP, on_letter, &letter, NULL), TRIB_OK);
    assert_int_equal(trib_reactor_on_signal(bench->reactor, SIGTERM, on_stop, bench, NULL), TRIB_OK);
    raise(SIGHUP);
    turn(bench, 1000);
    raise(SIGTERM);
    assert_int_equal(trib_reactor_run(bench->reactor, NULL), TRIB_OK);
    assert_string_equal(bench->trace, "h");
}

static void interrupt_again(void *ctx) {
    struct bench *bench = ctx;
    note(bench, 'i');
    raise(SIGINT); /* a handler that hangs would get it too */
    _exit(3);
}

static void a_second_sigint_ends_the_process(void **state) {
    struct bench *bench = *state;
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (trib_reactor_on_signal(bench->reactor, SIGINT, interrupt_again, bench, NULL) != TRIB_OK) _exit(4);
        raise(SIGINT); /* the first: waits for the reactor */
        (void)!trib_reactor_turn(bench->reactor, 1000, NULL);
        _exit(5);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_second_sigint_ends_the_process),
        T(timers_run_in_order_of_their_deadlines),
        T(a_timer_waits_for_its_time),
        T(a_periodic_timer_goes_on),
        T(a_timer_set_to_the_past_runs_once_a_turn),
        T(a_handler_may_free_timers_its_own_too),
        T(many_timers_keep_their_order),
        T(a_descriptor_is_offered_until_it_is_read),
        T(a_paused_descriptor_is_silent_even_when_hung_up),
        T(whoever_is_freed_in_a_turn_is_not_called_in_it),
        T(a_handler_may_add_a_watch),
        T(what_cannot_be_polled_is_an_error),
        T(a_socket_is_offered_until_it_is_empty),
        T(a_paused_socket_is_offered_afterwards),
        T(a_touched_socket_is_asked_again),
        T(a_writable_socket_is_offered_when_there_is_room),
        T(a_thousand_sockets_are_all_heard),
        T(a_signal_calls_its_handler),
    };
    return cmocka_run_group_tests_name("reactor", tests, NULL, NULL);
}
