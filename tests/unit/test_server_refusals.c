/* What a server does about bad peers, and what it tells people who set it up wrongly. */
#include "shared/base/alloc.h"
#include "tests/support/hop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

/* ---- Bad peers */

static void *raw_dealer(struct hop *hop, const char *routing_id) {
    int linger = 0;
    void *socket = zmq_socket(trib_context_raw(hop->client_context), ZMQ_DEALER);
    assert_non_null(socket);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger), 0);
    if (routing_id != NULL)
        assert_int_equal(zmq_setsockopt(socket, ZMQ_ROUTING_ID, routing_id, strlen(routing_id)), 0);
    assert_int_equal(zmq_connect(socket, trib_server_endpoint(hop->server, 0)), 0);
    return socket;
}

static void raw_send(void *socket, const char *frame, int flags) {
    assert_int_equal(zmq_send(socket, frame, strlen(frame), flags), strlen(frame));
}

static void malformed_messages_are_reported_and_nothing_else(void **state) {
    (void)state;
    struct hop *hop = hop_new();
    hop_serve(hop, (struct trib_server_options){.endpoints = NULL});
    void *socket = raw_dealer(hop, NULL);
    raw_send(socket, "three", ZMQ_SNDMORE);
    raw_send(socket, "b", ZMQ_SNDMORE);
    raw_send(socket, "c", 0);
    raw_send(socket, "", 0);
    raw_send(socket, "empty", ZMQ_SNDMORE);
    raw_send(socket, "", 0);
    raw_send(socket, "many", ZMQ_SNDMORE);
    for (int i = 0; i < 5000; i++) raw_send(socket, "x", ZMQ_SNDMORE);
    raw_send(socket, "end", 0);
    raw_send(socket, "good", ZMQ_SNDMORE);
    raw_send(socket, "payload", 0);
    hop_until(hop, hop_server_has, 5);
    const struct hop_record *r = hop->at_server.records;
    static const enum trib_fault faults[] = {TRIB_FAULT_FRAMES, TRIB_FAULT_EMPTY, TRIB_FAULT_EMPTY,
                                             TRIB_FAULT_FRAMES, TRIB_FAULT_NONE};
    static const char *const heads[] = {"three", "", "empty", "many", "good"};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(r[i].fault, faults[i]);
        assert_string_equal(r[i].head, heads[i]);
        assert_true(r[i].route.size > 0);
    }
    assert_int_equal(trib_blob_size(r[4].payload), 7);
    assert_int_equal(trib_server_count(hop->server).malformed, 4);
    assert_int_equal(trib_server_count(hop->server).received, 1);
    assert_int_equal(hop_answer(hop, &r[0].route, "malformed", NULL), TRIB_OK);
    zmq_close(socket);
    hop_free(hop);
}

static void a_long_routing_id_is_malformed(void **state) {
    (void)state;
    struct hop *hop = hop_new();
    hop_serve(hop, (struct trib_server_options){.endpoints = NULL});
    void *socket = raw_dealer(hop, "a-name-of-its-own");
    void *other = raw_dealer(hop, "eight888");
    raw_send(socket, "x", 0);
    hop_until(hop, hop_server_has, 1);
    raw_send(other, "y", 0);
    hop_until(hop, hop_server_has, 2);
    assert_int_equal(hop->at_server.records[0].fault, TRIB_FAULT_ROUTE);
    assert_int_equal(hop->at_server.records[0].route.size, 0);
    assert_int_equal(hop_answer(hop, &hop->at_server.records[0].route, "x", NULL), TRIB_NOT_FOUND);
    assert_int_equal(hop->at_server.records[1].fault, TRIB_FAULT_NONE);
    assert_int_equal(hop_answer(hop, &hop->at_server.records[1].route, "x", NULL), TRIB_OK);
    zmq_close(socket);
    zmq_close(other);
    hop_free(hop);
}

static void an_oversize_frame_ends_its_connection_alone(void **state) {
    (void)state;
    struct hop *hop = hop_new();
    struct trib_blob *fits = trib_blob_new(1000);
    struct trib_blob *large = trib_blob_new(1001);
    hop_serve(hop, (struct trib_server_options){.max_frame_bytes = 1000});
    hop_connect(hop, 0, (struct trib_client_options){.endpoint = NULL});
    hop_connect(hop, 1, (struct trib_client_options){.endpoint = NULL});
    assert_int_equal(hop_send(hop, 0, "fits", fits), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    assert_int_equal(hop_send(hop, 0, "large", large), TRIB_OK);
    hop_until(hop, hop_client_down, 1);
    assert_int_equal(hop_send(hop, 1, "other", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 2);
    assert_string_equal(hop->at_server.records[1].head, "other");
    assert_int_equal(hop->clients[1].links[TRIB_LINK_DOWN], 0);
    trib_blob_unref(&fits);
    trib_blob_unref(&large);
    hop_free(hop);
}

/* ---- Errors for people */

static void ignore(void *ctx, const struct trib_incoming *in) {
    (void)ctx;
    (void)in;
}

static void refuse_server(struct hop *hop, const char *endpoint, enum trib_status status, const char *text) {
    struct trib_error err = {.status = TRIB_OK};
    struct trib_server *server = NULL;
    struct trib_server_options options = {.context = hop->server_context,
                                          .reactor = hop->reactor,
                                          .endpoints = &endpoint,
                                          .endpoint_count = 1,
                                          .events = {.ctx = hop, .message = ignore}};
    assert_int_equal(trib_server_new(&server, &options, &err), status);
    assert_null(server);
    if (strstr(err.text, text) == NULL || strstr(err.text, endpoint) == NULL)
        fail_msg("\"%s\" does not say \"%s\" and \"%s\"", err.text, endpoint, text);
}

static void what_cannot_be_bound_is_explained(void **state) {
    (void)state;
    char folder[] = "/tmp/trib-net-XXXXXX";
    char ipc[64];
    char taken[64];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(ipc, sizeof ipc, "ipc://%s/s", folder);
    const char *endpoints[] = {"tcp://127.0.0.1:*", ipc};
    struct hop *hop = hop_new();
    hop_serve(hop, (struct trib_server_options){.endpoints = endpoints, .endpoint_count = 2});
    (void)snprintf(taken, sizeof taken, "%s", trib_server_endpoint(hop->server, 0));
    refuse_server(hop, taken, TRIB_IO, "in use");
    refuse_server(hop, ipc, TRIB_IO, "in use");
    refuse_server(hop, "tcp://127.0.0.1", TRIB_INVALID, "HOST:PORT");
    refuse_server(hop, "tcp://127.0.0.1:http", TRIB_INVALID, "HOST:PORT");
    refuse_server(hop, "tcp://127.0.0.1:99999", TRIB_INVALID, "HOST:PORT");
    refuse_server(hop, "http://127.0.0.1:1", TRIB_INVALID, "expected tcp://");
    refuse_server(hop, "tcp://*:7001", TRIB_DENIED, "tributary keys new");
    hop->echo = true; /* the first server was not disturbed */
    hop_connect(hop, 0, (struct trib_client_options){.endpoint = ipc});
    assert_int_equal(hop_send(hop, 0, "still there?", NULL), TRIB_OK);
    hop_until(hop, hop_client_has, 1);
    hop_free(hop);
    assert_int_equal(rmdir(folder), 0);
}

static void plain_is_for_local_endpoints(void **state) {
    (void)state;
    static const char *const local[] = {
        "tcp://127.0.0.1:1", "tcp://127.9.9.9:*", "tcp://localhost:1", "tcp://[::1]:1",
        "tcp://lo:1",        "ipc:///run/x",      "inproc://x",        "tcp://9.9.9.9:0;127.0.0.1:1"};
    static const char *const wide[] = {
        "tcp://*:1",          "tcp://0.0.0.0:1",    "tcp://10.0.0.1:1",
        "tcp://[::]:1",       "tcp://eth0:1",       "tcp://127.evil.example:1",
        "tcp://1270.0.0.1:1", "tcp://localhost.:1", "tcp://127.0.0.1:0;9.9.9.9:1"};
    static const char *const wrong[] = {"tcp://127.0.0.1", "tcp://:1", "udp://127.0.0.1:1", "127.0.0.1:1",
                                        ""};
    struct trib_error err;
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        assert_int_equal(trib_net_check_plain(local[i], false, &err), TRIB_OK);
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        assert_int_equal(trib_net_check_plain(wide[i], false, &err), TRIB_DENIED);
        assert_non_null(strstr(err.text, wide[i]));
        assert_int_equal(trib_net_check_plain(wide[i], true, &err), TRIB_OK);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(trib_net_check_plain(wrong[i], true, &err), TRIB_INVALID);
}

static void a_failed_allocation_is_reported(void **state) {
    (void)state;
    struct hop *hop = hop_new();
    const char *endpoint = "tcp://127.0.0.1:*";
    struct trib_server_options options = {.context = hop->server_context,
                                          .reactor = hop->reactor,
                                          .endpoints = &endpoint,
                                          .endpoint_count = 1,
                                          .events = {.ctx = hop, .message = ignore}};
    struct trib_server *server = NULL;
    long n = 0;
    while (server == NULL) {
        struct trib_error err = {.status = TRIB_OK};
        trib_alloc_fail_after(n);
        enum trib_status status = trib_server_new(&server, &options, &err);
        trib_alloc_fail_after(-1);
        assert_int_equal(status, server != NULL ? TRIB_OK : TRIB_NOMEM);
        assert_int_equal(err.status, status);
        n++;
    }
    trib_server_free(&server, 0);
    assert_true(n >= 3);
    hop_free(hop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_messages_are_reported_and_nothing_else),
        cmocka_unit_test(a_long_routing_id_is_malformed),
        cmocka_unit_test(an_oversize_frame_ends_its_connection_alone),
        cmocka_unit_test(what_cannot_be_bound_is_explained),
        cmocka_unit_test(plain_is_for_local_endpoints),
        cmocka_unit_test(a_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests_name("server_refusals", tests, NULL, NULL);
}
