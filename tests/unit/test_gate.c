/* A server whose process has few descriptors, in a process of its own: strangers who connect and connect do
 * not get them all, and when they have left others come in. */
#include "shared/net/context.h"
#include "shared/net/descriptors.h"
#include "shared/net/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { LIMIT = 512, STRANGERS = 2 * LIMIT, WAVE = 16, LOOK_MS = 20, PATIENCE_MS = 20000 };

/* ---- the process with few ---- */

static void say(int to, const char *what) {
    if (write(to, what, strlen(what)) < 0) _exit(5);
}

/* Files can still be opened. */
static bool can_open(void) {
    int fds[8];
    bool all = true;
    for (size_t i = 0; i < 8; i++) all = (fds[i] = open("/dev/null", O_RDONLY)) >= 0 && all;
    for (size_t i = 0; i < 8; i++)
        if (fds[i] >= 0) (void)close(fds[i]);
    return all;
}

static void crowded(void *ctx, bool shut, size_t open, size_t limit) {
    const int *to = ctx;
    if (limit != LIMIT || open == 0) _exit(6);
    say(*to, shut ? "shut\n" : "open\n");
}

static void ignore(void *ctx, const struct trib_incoming *in) {
    (void)ctx;
    (void)in;
}

/* After this the gate has looked: it does at least so often, with so few descriptors. */
static void look(struct trib_reactor *reactor) {
    struct trib_error err;
    (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    if (trib_reactor_turn(reactor, 0, &err) != TRIB_OK) _exit(7);
}

/* Until `from` is closed. A byte there is answered when the gate has looked. */
static void serve(int to, int from, int looked) {
    struct rlimit few = {LIMIT, LIMIT};
    struct trib_reactor *reactor;
    struct trib_context *context;
    struct trib_server *server;
    struct trib_error err;
    const char *endpoint = "tcp://127.0.0.1:*";
    if (setrlimit(RLIMIT_NOFILE, &few) != 0) _exit(2);
    if (trib_reactor_new(&reactor, &err) != TRIB_OK || trib_context_new(&context, 16, &err) != TRIB_OK)
        _exit(3);
    struct trib_server_options options = {.context = context,
                                          .reactor = reactor,
                                          .endpoints = &endpoint,
                                          .endpoint_count = 1,
                                          .events = {.ctx = &to, .message = ignore, .crowded = crowded}};
    if (trib_server_new(&server, &options, &err) != TRIB_OK) _exit(4);
    say(to, trib_server_endpoint(server, 0));
    say(to, "\n");
    struct pollfd end = {.fd = from, .events = POLLIN};
    for (bool asked = false;; asked = false) {
        char byte;
        if (poll(&end, 1, 0) > 0 && !(asked = read(from, &byte, 1) == 1)) break;
        if (asked) look(reactor);
        if (asked) say(looked, ".");
        if (trib_reactor_turn(reactor, 10, &err) != TRIB_OK) _exit(7);
        if (!can_open()) _exit(8);
    }
    trib_server_free(&server, 0);
    trib_context_free(&context);
    trib_reactor_free(&reactor);
    _exit(0);
}

/* ---- those who connect ---- */

static void expect(FILE *from, const char *what) {
    char line[100];
    assert_non_null(fgets(line, sizeof line, from)); /* NULL: the process has ended */
    assert_string_equal(line, what);
}

static int knock(unsigned port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_true(connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS);
    return fd;
}

/* libzmq speaks first. */
static bool is_let_in(int fd, int wait_ms) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    char byte;
    return poll(&item, 1, wait_ms) == 1 && read(fd, &byte, 1) == 1;
}

/* ... or the gate is shut, and `told` says so: one of the two comes, however long it takes. */
static bool one_more(int fd, int told) {
    struct pollfd items[] = {{.fd = fd, .events = POLLIN}, {.fd = told, .events = POLLIN}};
    assert_true(poll(items, 2, PATIENCE_MS) > 0);
    return items[1].revents == 0;
}

/* Some at once, fewer than the backlog takes: libzmq puts out who says nothing for 10 s, and one after the
 * other, on a busy machine, the first would be out before the last is in. The next ones come when the gate
 * has looked: they are let in by another thread than its own, which may be held up. False: the gate was shut.
 */
static bool wave(unsigned port, int strangers[WAVE], int told, int ask, int looked) {
    bool all = true;
    char byte;
    for (size_t i = 0; i < WAVE; i++) strangers[i] = knock(port);
    for (size_t i = 0; i < WAVE && all; i++) all = one_more(strangers[i], told);
    assert_int_equal(write(ask, ".", 1), 1);
    assert_int_equal(read(looked, &byte, 1), 1); /* 0: the process has ended */
    return all;
}

static void test_strangers_do_not_take_all(void **unused) {
    (void)unused;
    int down[2], up[2], looked[2], strangers[STRANGERS];
    size_t count = 0;
    char line[100];
    unsigned port = 0;
    assert_int_equal(pipe(down), 0);
    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(looked), 0);
    (void)trib_net_raise_descriptors();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(up[0]);
        (void)close(down[1]);
        (void)close(looked[0]);
        serve(up[1], down[0], looked[1]);
    }
    (void)close(up[1]);
    (void)close(looked[1]);
    (void)close(down[0]);
    FILE *from = fdopen(up[0], "r");
    assert_non_null(from);
    assert_non_null(fgets(line, sizeof line, from));
    assert_int_equal(sscanf(line, "tcp://127.0.0.1:%u", &port), 1);
    do count += WAVE;
    while (wave(port, strangers + count - WAVE, up[0], down[1], looked[0]) && count < STRANGERS);
    expect(from, "shut\n");
    assert_in_range(count, LIMIT / 2, LIMIT);
    int early = knock(port);
    assert_false(is_let_in(early, 300));
    (void)close(early);
    for (size_t i = 0; i < count; i++) (void)close(strangers[i]);
    expect(from, "open\n");
    int late = knock(port);
    assert_true(is_let_in(late, PATIENCE_MS));
    (void)close(late);
    (void)close(down[1]);
    int state = 0;
    assert_int_equal(waitpid(pid, &state, 0), pid);
    assert_int_equal(state, 0);
    (void)close(looked[0]);
    (void)fclose(from);
}

/* ---- limits ---- */

static void test_reserve(void **unused) {
    (void)unused;
    static const size_t limits[] = {64, 128, 1024, 20000, 1048576};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        assert_true(trib_net_descriptor_reserve(limits[i]) > trib_net_backlog(limits[i]));
        assert_true(trib_net_descriptor_reserve(limits[i]) < limits[i]);
    }
    size_t before = trib_net_open_descriptors();
    int fd = open("/dev/null", O_RDONLY);
    assert_int_equal(trib_net_open_descriptors(), before + 1);
    (void)close(fd);
}

static void test_raise(void **unused) {
    (void)unused;
    struct rlimit limit, lowered;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    lowered = limit;
    lowered.rlim_cur = limit.rlim_max / 2;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &lowered), 0);
    assert_int_equal(trib_net_descriptor_limit(), lowered.rlim_cur);
    assert_int_equal(trib_net_raise_descriptors(), limit.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strangers_do_not_take_all),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_raise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
