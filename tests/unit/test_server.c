/* Server and client without keys, over real sockets. */
#include "shared/base/alloc.h"
#include "shared/net/pipe.h"
#include "tests/support/hop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A payload that counts its releases. */
struct counted {
    atomic_int released;
    size_t bytes;
    uint8_t *data;
};

static void release(void *owner) {
    atomic_fetch_add(&((struct counted *)owner)->released, 1);
}

static void fill(struct counted *counted, size_t bytes) {
    atomic_init(&counted->released, 0);
    counted->bytes = bytes;
    counted->data = malloc(bytes);
    assert_non_null(counted->data);
    for (size_t i = 0; i < bytes; i++) counted->data[i] = (uint8_t)(i * 31 + i / 251);
}

static struct trib_blob *wrap(struct counted *counted) {
    struct trib_blob *blob = trib_blob_wrap(counted->data, counted->bytes, release, counted);
    assert_non_null(blob);
    return blob;
}

static void assert_same(const struct counted *counted, const struct trib_blob *blob) {
    assert_int_equal(trib_blob_size(blob), counted->bytes);
    assert_memory_equal(trib_blob_data(blob), counted->data, counted->bytes);
}

static void assert_numbered(const struct hop_record *got, int number) {
    char text[16];
    (void)snprintf(text, sizeof text, "%d", number);
    assert_string_equal(got->head, text);
}

static struct counted *awaited;
static bool released(struct hop *hop, size_t times) {
    (void)hop;
    return atomic_load(&awaited->released) >= (int)times;
}

/* ---- Both ways */

static void both_ways(const char *endpoint) {
    struct hop *hop = hop_new();
    struct counted up;
    struct counted down;
    fill(&up, 199210);
    fill(&down, 300001);
    hop_serve(hop, (struct trib_server_options){.endpoints = &endpoint, .endpoint_count = 1});
    hop_connect(hop, 0, (struct trib_client_options){.endpoint = NULL});
    struct trib_blob *blob = wrap(&up);
    assert_int_equal(hop_send(hop, 0, "push", blob), TRIB_OK);
    trib_blob_unref(&blob);
    hop_until(hop, hop_server_has, 1);
    const struct hop_record *got = &hop->at_server.records[0];
    assert_string_equal(got->head, "push");
    assert_string_equal(got->identity, "");
    assert_int_equal(got->frames, 2);
    assert_same(&up, got->payload); /* kept beyond its callback */
    blob = wrap(&down);
    assert_int_equal(hop_answer(hop, &got->route, "model", blob), TRIB_OK);
    assert_int_equal(hop_answer(hop, &got->route, "wait", NULL), TRIB_OK);
    trib_blob_unref(&blob);
    hop_until(hop, hop_client_has, 2);
    assert_string_equal(hop->clients[0].inbox.records[0].head, "model");
    assert_same(&down, hop->clients[0].inbox.records[0].payload);
    assert_string_equal(hop->clients[0].inbox.records[1].head, "wait");
    assert_null(hop->clients[0].inbox.records[1].payload);
    awaited = &up;
    hop_until(hop, released, 1);
    awaited = &down;
    hop_until(hop, released, 1);
    struct trib_server_counts counts = trib_server_count(hop->server);
    assert_int_equal(counts.received, 1);
    assert_int_equal(counts.received_bytes, 199210 + 4);
    assert_int_equal(counts.sent, 2);
    assert_int_equal(counts.sent_bytes, 300001 + 5 + 4);
    hop_free(hop);
    assert_int_equal(atomic_load(&up.released), 1);
    assert_int_equal(atomic_load(&down.released), 1);
    free(up.data);
    free(down.data);
}

static void messages_go_both_ways_over_tcp(void **state) {
    (void)state;
    both_ways("tcp://127.0.0.1:*");
}

static void messages_go_both_ways_over_ipc(void **state) {
    (void)state;
    char folder[] = "/tmp/trib-net-XXXXXX";
    char endpoint[64];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s/s", folder);
    both_ways(endpoint);
    assert_int_equal(rmdir(folder), 0); /* the server removed its socket */
}

static void one_server_listens_at_several_endpoints(void **state) {
    (void)state;
    static const char *const endpoints[] = {"tcp://127.0.0.1:*", "tcp://127.0.0.1:*"};
    struct hop *hop = hop_new();
    hop->echo = true;
    hop_serve(hop, (struct trib_server_options){.endpoints = endpoints, .endpoint_count = 2});
    assert_string_not_equal(trib_server_endpoint(hop->server, 0), trib_server_endpoint(hop->server, 1));
    for (int i = 0; i < 2; i++) {
        const char *endpoint = trib_server_endpoint(hop->server, (size_t)i);
        hop_connect(hop, i, (struct trib_client_options){.endpoint = endpoint});
        assert_int_equal(hop_send(hop, i, i == 0 ? "a" : "b", NULL), TRIB_OK);
    }
    hop_until(hop, hop_server_has, 2);
    const struct hop_record *records = hop->at_server.records;
    assert_false(trib_route_equal(&records[0].route, &records[1].route));
    hop_free(hop);
}

static void a_burst_keeps_its_order_and_loses_nothing(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    struct hop *hop = hop_new();
    char text[16];
    hop->echo = true;
    hop_serve(hop, (struct trib_server_options){.send_hwm = 2, .receive_hwm = 2, .queue_messages = COUNT});
    hop_connect(hop, 0,
                (struct trib_client_options){.send_hwm = 2, .receive_hwm = 2, .queue_messages = COUNT});
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        assert_int_equal(hop_send(hop, 0, text, NULL), TRIB_OK);
    }
    hop_until(hop, hop_client_has, COUNT);
    for (int i = 0; i < COUNT; i++) assert_numbered(&hop->clients[0].inbox.records[i], i);
    hop_free(hop);
}

static enum trib_status keep_payloads(struct trib_pipe *pipe, void *arg, struct trib_error *err) {
    uint64_t *sum = arg;
    void *item;
    (void)err;
    trib_pipe_ready(pipe);
    while ((item = trib_pipe_take(pipe, -1)) != NULL) {
        struct trib_blob *blob = item;
        const uint8_t *data = trib_blob_data(blob);
        for (size_t i = 0; i < trib_blob_size(blob); i++) *sum += data[i];
        trib_blob_unref(&blob);
    }
    return TRIB_OK;
}

static void a_payload_may_go_to_another_thread(void **state) {
    (void)state;
    enum { COUNT = 50 };
    static const struct trib_actor_options options = {"keeper", COUNT, 1, NULL, NULL};
    struct hop *hop = hop_new();
    struct counted payload;
    struct trib_actor *keeper = NULL;
    uint64_t sum = 0;
    uint64_t expected = 0;
    fill(&payload, 20000);
    for (size_t i = 0; i < payload.bytes; i++) expected += payload.data[i];
    assert_int_equal(trib_actor_start(&keeper, keep_payloads, &sum, &options, NULL), TRIB_OK);
    hop_serve(hop, (struct trib_server_options){.endpoints = NULL});
    hop_connect(hop, 0, (struct trib_client_options){.queue_messages = COUNT});
    struct trib_blob *blob = wrap(&payload);
    for (int i = 0; i < COUNT; i++) assert_int_equal(hop_send(hop, 0, "push", blob), TRIB_OK);
    trib_blob_unref(&blob);
    hop_until(hop, hop_server_has, COUNT);
    for (int i = 0; i < COUNT; i++) {
        void *item = hop->at_server.records[i].payload;
        hop->at_server.records[i].payload = NULL;
        assert_int_equal(trib_actor_send(keeper, &item), TRIB_OK);
    }
    trib_actor_free(&keeper);
    assert_true(sum == COUNT * expected);
    hop_free(hop);
    assert_int_equal(atomic_load(&payload.released), 1);
    free(payload.data);
}

/* ---- Payloads are referenced, queues are bounded */

enum { BIG = 4 << 20 };

/* Sends until the queue refuses; returns how many were taken. */
static int send_until_full(struct hop *hop, const struct trib_route *route, struct trib_blob *payload) {
    char text[16];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        enum trib_status status = hop_answer(hop, route, text, payload);
        if (status == TRIB_AGAIN) return i;
        assert_int_equal(status, TRIB_OK);
        /* With turns in between libzmq gets to send what the sockets' buffers hold. */
        assert_int_equal(trib_reactor_turn(hop->reactor, 0, NULL), TRIB_OK);
    }
    fail_msg("1,000 payloads of 4 MiB fitted a bounded queue");
    return 0;
}

static void a_queue_is_bounded_drains_and_copies_nothing(void **state) {
    (void)state;
    struct hop *hop = hop_new();
    struct counted big;
    fill(&big, BIG);
    hop_serve(hop, (struct trib_server_options){.send_hwm = 1, .queue_messages = 3});
    hop_connect(hop, 0, (struct trib_client_options){.receive_hwm = 1});
    assert_int_equal(hop_send(hop, 0, "hello", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    trib_client_pause(hop->clients[0].client, true);
    struct trib_route route = hop->at_server.records[0].route;
    struct trib_blob *blob = wrap(&big);
    int taken = send_until_full(hop, &route, blob);
    assert_int_equal(trib_server_queued(hop->server, &route), 3);
    trib_blob_unref(&blob);
    assert_int_equal(atomic_load(&big.released), 0); /* a copy would not have kept it */
    trib_client_pause(hop->clients[0].client, false);
    hop_until(hop, hop_client_has, (size_t)taken);
    for (int i = 0; i < taken; i++) {
        assert_numbered(&hop->clients[0].inbox.records[i], i);
        assert_same(&big, hop->clients[0].inbox.records[i].payload);
    }
    assert_int_equal(trib_server_queued(hop->server, &route), 0);
    awaited = &big;
    hop_until(hop, released, 1);
    hop_free(hop);
    assert_int_equal(atomic_load(&big.released), 1);
    free(big.data);
}

static void a_queue_is_bounded_in_bytes(void **state) {
    (void)state;
    struct hop *hop = hop_new();
    struct counted big;
    fill(&big, BIG);
    hop_serve(hop, (struct trib_server_options){.send_hwm = 1, .queue_bytes = 2 * BIG + 100});
    hop_connect(hop, 0, (struct trib_client_options){.receive_hwm = 1});
    assert_int_equal(hop_send(hop, 0, "hello", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    trib_client_pause(hop->clients[0].client, true);
    struct trib_blob *blob = wrap(&big);
    (void)send_until_full(hop, &hop->at_server.records[0].route, blob);
    assert_int_equal(trib_server_queued(hop->server, &hop->at_server.records[0].route), 2);
    trib_blob_unref(&blob);
    hop_free(hop);
    assert_int_equal(atomic_load(&big.released), 1);
    free(big.data);
}

static bool gone(struct hop *hop, size_t times) {
    return hop->gone >= times;
}

static void a_queue_goes_with_its_route(void **state) {
    (void)state;
    struct hop *hop = hop_new();
    struct counted big;
    fill(&big, BIG);
    /* Far more than the buffers of the system take while the end of the connection is on its way. */
    hop_serve(hop, (struct trib_server_options){
                       .send_hwm = 1, .queue_messages = 64, .queue_bytes = (size_t)64 * BIG * 2});
    hop_connect(hop, 0, (struct trib_client_options){.receive_hwm = 1});
    assert_int_equal(hop_send(hop, 0, "hello", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    trib_client_pause(hop->clients[0].client, true);
    struct trib_route route = hop->at_server.records[0].route;
    struct trib_blob *blob = wrap(&big);
    (void)send_until_full(hop, &route, blob);
    trib_blob_unref(&blob);
    trib_client_free(&hop->clients[0].client, 0);
    hop_until(hop, gone, 1);
    assert_int_equal(hop_answer(hop, &route, "late", NULL), TRIB_NOT_FOUND);
    assert_in_range(trib_server_count(hop->server).gone, 30, 64 + 1);
    hop_free(hop);
    assert_int_equal(atomic_load(&big.released), 1);
    free(big.data);
}

static bool answer_not_found(struct hop *hop, size_t argument) {
    (void)argument;
    return hop_answer(hop, &hop->at_server.records[0].route, "there?", NULL) == TRIB_NOT_FOUND;
}

static void a_route_that_is_gone_is_told(void **state) {
    (void)state;
    struct hop *hop = hop_new();
    struct trib_route nobody = {.size = 5, .id = {0, 1, 2, 3, 4}};
    hop_serve(hop, (struct trib_server_options){.queue_messages = 1});
    assert_int_equal(hop_answer(hop, &nobody, "x", NULL), TRIB_NOT_FOUND);
    hop_connect(hop, 0, (struct trib_client_options){.endpoint = NULL});
    assert_int_equal(hop_send(hop, 0, "hello", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    assert_int_equal(hop_answer(hop, &hop->at_server.records[0].route, "x", NULL), TRIB_OK);
    trib_client_free(&hop->clients[0].client, 0);
    hop_until(hop, answer_not_found, 0);
    hop_free(hop);
}

static void a_client_without_a_server_queues_up_to_its_bound(void **state) {
    (void)state;
    struct hop *hop = hop_new();
    char folder[] = "/tmp/trib-net-XXXXXX", endpoint[64];
    assert_non_null(mkdtemp(folder));
    /* A port might be somebody else's by then. */
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s/s", folder);
    hop_connect(hop, 0,
                (struct trib_client_options){.endpoint = endpoint, .send_hwm = 2, .queue_messages = 3});
    char text[16];
    for (int i = 0; i < 5; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        assert_int_equal(hop_send(hop, 0, text, NULL), TRIB_OK);
    }
    assert_int_equal(hop_send(hop, 0, "5", NULL), TRIB_AGAIN);
    const char *endpoints[] = {endpoint};
    hop_serve(hop, (struct trib_server_options){.endpoints = endpoints, .endpoint_count = 1});
    hop_until(hop, hop_server_has, 5);
    for (int i = 0; i < 5; i++) assert_numbered(&hop->at_server.records[i], i);
    hop_free(hop);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- Reopening and pausing */

static void reopening_is_a_new_connection_without_the_old_queue(void **state) {
    (void)state;
    struct hop *hop = hop_new();
    hop_serve(hop, (struct trib_server_options){.endpoints = NULL});
    hop_connect(hop, 0, (struct trib_client_options){.endpoint = NULL});
    assert_int_equal(hop_send(hop, 0, "one", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    hop_until(hop, hop_client_up, 1);
    trib_server_pause(hop->server, true);
    assert_int_equal(trib_client_reopen(hop->clients[0].client, NULL), TRIB_OK);
    assert_int_equal(hop_send(hop, 0, "two", NULL), TRIB_OK);
    hop_until(hop, hop_client_up, 2);
    for (int i = 0; i < 5; i++) assert_int_equal(trib_reactor_turn(hop->reactor, 0, NULL), TRIB_OK);
    assert_int_equal(hop->at_server.count, 1); /* paused */
    trib_server_pause(hop->server, false);
    hop_until(hop, hop_server_has, 2);
    const struct hop_record *records = hop->at_server.records;
    assert_string_equal(records[1].head, "two");
    assert_false(trib_route_equal(&records[0].route, &records[1].route));
    assert_int_equal(hop_answer(hop, &records[1].route, "hi", NULL), TRIB_OK);
    hop_until(hop, hop_client_has, 1);
    hop_free(hop);
}

static void reopen_on_message(void *ctx, const struct trib_incoming *in) {
    struct trib_client **client = ctx;
    (void)in;
    assert_int_equal(trib_client_reopen(*client, NULL), TRIB_OK);
    assert_int_equal(trib_client_send(*client, "again", 5, NULL), TRIB_OK);
}

static void a_callback_may_reopen(void **state) {
    (void)state;
    struct hop *hop = hop_new();
    struct trib_client *client = NULL;
    hop_serve(hop, (struct trib_server_options){.endpoints = NULL});
    struct trib_client_options options = {.context = hop->client_context,
                                          .reactor = hop->reactor,
                                          .endpoint = trib_server_endpoint(hop->server, 0),
                                          .events = {&client, reopen_on_message, NULL, NULL}};
    assert_int_equal(trib_client_new(&client, &options, NULL), TRIB_OK);
    assert_int_equal(trib_client_send(client, "first", 5, NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    assert_int_equal(hop_answer(hop, &hop->at_server.records[0].route, "hello?", NULL), TRIB_OK);
    assert_int_equal(hop_answer(hop, &hop->at_server.records[0].route, "lost", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 2);
    assert_string_equal(hop->at_server.records[1].head, "again");
    trib_client_free(&client, 0);
    hop_free(hop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_both_ways_over_tcp),
        cmocka_unit_test(messages_go_both_ways_over_ipc),
        cmocka_unit_test(one_server_listens_at_several_endpoints),
        cmocka_unit_test(a_burst_keeps_its_order_and_loses_nothing),
        cmocka_unit_test(a_payload_may_go_to_another_thread),
        cmocka_unit_test(a_queue_is_bounded_drains_and_copies_nothing),
        cmocka_unit_test(a_queue_is_bounded_in_bytes),
        cmocka_unit_test(a_queue_goes_with_its_route),
        cmocka_unit_test(a_route_that_is_gone_is_told),
        cmocka_unit_test(a_client_without_a_server_queues_up_to_its_bound),
        cmocka_unit_test(reopening_is_a_new_connection_without_the_old_queue),
        cmocka_unit_test(a_callback_may_reopen),
    };
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
