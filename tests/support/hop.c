#include "tests/support/hop.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { PATIENCE_MS = 30000 };

static void record(struct hop_inbox *inbox, const struct trib_incoming *in) {
    assert_true(inbox->count < HOP_RECORDS);
    struct hop_record *r = &inbox->records[inbox->count++];
    r->route = in->route;
    r->frames = in->frames;
    r->fault = in->fault;
    r->payload = trib_blob_ref(in->payload);
    inbox->malformed += in->fault != TRIB_FAULT_NONE;
    (void)snprintf(r->identity, sizeof r->identity, "%s", in->identity);
    (void)snprintf(r->head, sizeof r->head, "%.*s", (int)in->head_bytes, (const char *)in->head);
}

static void server_message(void *ctx, const struct trib_incoming *in) {
    struct hop *hop = ctx;
    record(&hop->at_server, in);
    if (hop->echo)
        assert_int_equal(trib_server_send(hop->server, &in->route, in->head, in->head_bytes, in->payload),
                         TRIB_OK);
}

static void server_malformed(void *ctx, const struct trib_incoming *in) {
    record(&((struct hop *)ctx)->at_server, in);
}

static void server_gone(void *ctx, struct trib_route route) {
    assert_true(route.size > 0);
    ((struct hop *)ctx)->gone++;
}

static void server_refused(void *ctx, const char *public_key, const char *address) {
    struct hop *hop = ctx;
    hop->refused++;
    assert_string_equal(address, "127.0.0.1");
    (void)snprintf(hop->refused_key, sizeof hop->refused_key, "%s", public_key);
}

static void server_reloaded(void *ctx, size_t count, const struct trib_error *failed) {
    struct hop *hop = ctx;
    hop->reloads++;
    hop->keys_in_force = count;
    hop->reload_error = failed != NULL ? *failed : (struct trib_error){.status = TRIB_OK};
}

static void client_message(void *ctx, const struct trib_incoming *in) {
    struct hop_client *client = ctx;
    record(&client->inbox, in);
    if (client->echo)
        assert_int_equal(trib_client_send(client->client, in->head, in->head_bytes, in->payload), TRIB_OK);
}

static void client_link(void *ctx, enum trib_link link) {
    ((struct hop_client *)ctx)->links[link]++;
}

static void client_malformed(void *ctx, const struct trib_incoming *in) {
    record(&((struct hop_client *)ctx)->inbox, in);
}

void hop_start(struct hop *hop) {
    memset(hop, 0, sizeof *hop);
    assert_int_equal(trib_reactor_new(&hop->reactor, NULL), TRIB_OK);
    assert_int_equal(trib_context_new(&hop->server_context, 0, NULL), TRIB_OK);
    assert_int_equal(trib_context_new(&hop->client_context, 0, NULL), TRIB_OK);
    hop->at_server.records = trib_alloc_array(HOP_RECORDS, sizeof *hop->at_server.records);
    for (int i = 0; i < HOP_CLIENTS; i++) {
        hop->clients[i].hop = hop;
        hop->clients[i].inbox.records = trib_alloc_array(HOP_RECORDS, sizeof *hop->at_server.records);
    }
}

void hop_serve(struct hop *hop, struct trib_server_options options) {
    static const char *const loopback[] = {"tcp://127.0.0.1:*"};
    struct trib_error err = {.status = TRIB_OK};
    if (options.endpoints == NULL) {
        options.endpoints = loopback;
        options.endpoint_count = 1;
    }
    options.context = hop->server_context;
    options.reactor = hop->reactor;
    options.events = (struct trib_server_events){
        hop, server_message, server_malformed, server_gone, server_refused, server_reloaded, NULL};
    if (trib_server_new(&hop->server, &options, &err) != TRIB_OK) fail_msg("%s", err.text);
}

void hop_connect(struct hop *hop, int i, struct trib_client_options options) {
    struct hop_client *client = &hop->clients[i];
    struct trib_error err = {.status = TRIB_OK};
    if (options.endpoint == NULL) options.endpoint = trib_server_endpoint(hop->server, 0);
    options.context = hop->client_context;
    options.reactor = hop->reactor;
    options.reconnect_ms = 10;
    options.events = (struct trib_client_events){client, client_message, client_malformed, client_link};
    if (trib_client_new(&client->client, &options, &err) != TRIB_OK) fail_msg("%s", err.text);
}

static void release_inbox(struct hop_inbox *inbox) {
    for (size_t i = 0; i < inbox->count; i++) trib_blob_unref(&inbox->records[i].payload);
    trib_free(inbox->records);
}

void hop_stop(struct hop *hop) {
    for (int i = 0; i < HOP_CLIENTS; i++) {
        trib_client_free(&hop->clients[i].client, 0);
        release_inbox(&hop->clients[i].inbox);
    }
    trib_server_free(&hop->server, 0);
    release_inbox(&hop->at_server);
    trib_context_free(&hop->client_context);
    trib_context_free(&hop->server_context);
    trib_reactor_free(&hop->reactor);
}

void hop_until(struct hop *hop, bool (*done)(struct hop *hop, size_t argument), size_t argument) {
    uint64_t deadline = trib_clock_ms() + PATIENCE_MS;
    while (!done(hop, argument)) {
        if (trib_clock_ms() >= deadline) fail_msg("what was waited for did not come");
        assert_int_equal(trib_reactor_turn(hop->reactor, 100, NULL), TRIB_OK);
    }
}

bool hop_server_has(struct hop *hop, size_t messages) {
    return hop->at_server.count >= messages;
}

bool hop_client_has(struct hop *hop, size_t messages) {
    return hop->clients[0].inbox.count >= messages;
}

bool hop_client_up(struct hop *hop, size_t times) {
    return hop->clients[0].links[TRIB_LINK_UP] >= times;
}

bool hop_client_down(struct hop *hop, size_t times) {
    return hop->clients[0].links[TRIB_LINK_DOWN] >= times;
}

enum trib_status hop_send(struct hop *hop, int client, const char *head, struct trib_blob *payload) {
    return trib_client_send(hop->clients[client].client, head, strlen(head), payload);
}

enum trib_status hop_answer(struct hop *hop, const struct trib_route *route, const char *head,
                            struct trib_blob *payload) {
    return trib_server_send(hop->server, route, head, strlen(head), payload);
}

struct hop *hop_new(void) {
    struct hop *hop = trib_alloc(sizeof *hop);
    assert_non_null(hop);
    hop_start(hop);
    return hop;
}

void hop_free(struct hop *hop) {
    hop_stop(hop);
    trib_free(hop);
}
