/* Server and client with CURVE keys and an allow-list. */
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

struct yard {
    struct hop hop;
    char folder[32];
    char allow[64];
    struct trib_keys server;
    struct trib_keys named;    /* on the list, as device-1 */
    struct trib_keys nameless; /* on the list, without a name */
    struct trib_keys stranger;
};

static void write_allow(const struct yard *yard, const char *text) {
    FILE *file = fopen(yard->allow, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state) {
    struct yard *yard = trib_alloc(sizeof *yard);
    char text[256];
    assert_non_null(yard);
    (void)snprintf(yard->folder, sizeof yard->folder, "/tmp/trib-curve-XXXXXX");
    assert_non_null(mkdtemp(yard->folder));
    (void)snprintf(yard->allow, sizeof yard->allow, "%s/allow", yard->folder);
    assert_int_equal(trib_keys_generate(&yard->server, NULL), TRIB_OK);
    assert_int_equal(trib_keys_generate(&yard->named, NULL), TRIB_OK);
    assert_int_equal(trib_keys_generate(&yard->nameless, NULL), TRIB_OK);
    assert_int_equal(trib_keys_generate(&yard->stranger, NULL), TRIB_OK);
    (void)snprintf(text, sizeof text, "# devices of the site\n\n%s device-1\n  %s\n", yard->named.public_key,
                   yard->nameless.public_key);
    write_allow(yard, text);
    hop_start(&yard->hop);
    *state = yard;
    return 0;
}

static int teardown(void **state) {
    struct yard *yard = *state;
    hop_stop(&yard->hop);
    (void)unlink(yard->allow);
    assert_int_equal(rmdir(yard->folder), 0);
    trib_free(yard);
    return 0;
}

static void serve(struct yard *yard) {
    hop_serve(&yard->hop, (struct trib_server_options){.keys = &yard->server, .allow_path = yard->allow});
}

static void connect_with(struct yard *yard, int i, const struct trib_keys *keys) {
    hop_connect(&yard->hop, i,
                (struct trib_client_options){.keys = keys, .server_key = yard->server.public_key});
}

static void the_identity_is_what_the_list_calls_the_key(void **state) {
    struct yard *yard = *state;
    struct hop *hop = &yard->hop;
    hop->echo = true;
    serve(yard);
    connect_with(yard, 0, &yard->named);
    assert_int_equal(hop_send(hop, 0, "I am device-9", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    assert_string_equal(hop->at_server.records[0].identity, "device-1");
    connect_with(yard, 1, &yard->nameless);
    struct trib_blob *blob = trib_blob_copy("payload", 7);
    assert_int_equal(hop_send(hop, 1, "hello", blob), TRIB_OK);
    trib_blob_unref(&blob);
    hop_until(hop, hop_server_has, 2);
    assert_string_equal(hop->at_server.records[1].identity, yard->nameless.public_key);
    assert_memory_equal(trib_blob_data(hop->at_server.records[1].payload), "payload", 7);
    hop_until(hop, hop_client_has, 1);
    hop_until(hop, hop_client_up, 1);
    assert_int_equal(hop->refused, 0);
}

static bool told_refused(struct hop *hop, size_t times) {
    return hop->clients[0].links[TRIB_LINK_REFUSED] >= times;
}

static void a_key_that_is_not_listed_is_refused(void **state) {
    struct yard *yard = *state;
    struct hop *hop = &yard->hop;
    serve(yard);
    connect_with(yard, 0, &yard->stranger);
    assert_int_equal(hop_send(hop, 0, "let me in", NULL), TRIB_OK);
    hop_until(hop, hop_refused, 1);
    assert_string_equal(hop->refused_key, yard->stranger.public_key);
    hop_until(hop, told_refused, 1);
    connect_with(yard, 1, &yard->named); /* nobody else is disturbed */
    assert_int_equal(hop_send(hop, 1, "hello", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    assert_string_equal(hop->at_server.records[0].head, "hello");
    assert_int_equal(hop->at_server.count, 1);
    assert_int_equal(hop->clients[0].links[TRIB_LINK_UP], 0);
    assert_true(trib_server_count(hop->server).refused >= 1);
}

static bool told_foreign(struct hop *hop, size_t times) {
    return hop->clients[0].links[TRIB_LINK_FOREIGN] + hop->clients[0].links[TRIB_LINK_DOWN] >= times;
}

static void a_client_without_keys_is_not_heard(void **state) {
    struct yard *yard = *state;
    struct hop *hop = &yard->hop;
    serve(yard);
    hop_connect(hop, 0, (struct trib_client_options){.endpoint = NULL});
    assert_int_equal(hop_send(hop, 0, "plain", NULL), TRIB_OK);
    hop_until(hop, told_foreign, 1);
    connect_with(yard, 1, &yard->named);
    assert_int_equal(hop_send(hop, 1, "hello", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    assert_string_equal(hop->at_server.records[0].head, "hello");
    assert_int_equal(hop->clients[0].links[TRIB_LINK_UP], 0);
}

static void a_client_is_not_fooled_by_another_server(void **state) {
    struct yard *yard = *state;
    struct hop *hop = &yard->hop;
    serve(yard);
    hop_connect(hop, 0,
                (struct trib_client_options){.keys = &yard->named, .server_key = yard->stranger.public_key});
    assert_int_equal(hop_send(hop, 0, "secret", NULL), TRIB_OK);
    hop_until(hop, told_foreign, 1);
    assert_int_equal(hop->at_server.count, 0);
    assert_int_equal(hop->clients[0].links[TRIB_LINK_UP], 0);
}

static void a_key_added_to_the_file_gets_in(void **state) {
    struct yard *yard = *state;
    struct hop *hop = &yard->hop;
    serve(yard);
    connect_with(yard, 0, &yard->stranger);
    hop_until(hop, told_refused, 1);
    memcpy(yard->stranger.name, "new", 4);
    assert_int_equal(trib_allow_append(yard->allow, &yard->stranger, NULL), TRIB_OK);
    assert_int_equal(trib_client_reopen(hop->clients[0].client, NULL),
                     TRIB_OK); /* its request makes us look */
    assert_int_equal(hop_send(hop, 0, "hello", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    assert_string_equal(hop->at_server.records[0].identity, "new");
    assert_int_equal(hop->keys_in_force, 3);
    assert_int_equal(hop->reload_error.status, TRIB_OK);
}

static void a_key_removed_from_the_file_is_not_heard_any_more(void **state) {
    struct yard *yard = *state;
    struct hop *hop = &yard->hop;
    char text[128];
    serve(yard);
    connect_with(yard, 0, &yard->named);
    connect_with(yard, 1, &yard->nameless);
    assert_int_equal(hop_send(hop, 0, "one", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    assert_int_equal(hop_send(hop, 1, "one", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 2);
    (void)snprintf(text, sizeof text, "%s\n", yard->nameless.public_key);
    write_allow(yard, text);
    hop_until(hop, hop_reloaded, 1); /* by the timer that looks at the file */
    assert_int_equal(hop_send(hop, 0, "two", NULL), TRIB_OK);
    assert_int_equal(hop_send(hop, 1, "two", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 3);
    assert_string_equal(hop->at_server.records[2].identity, yard->nameless.public_key);
    while (trib_server_count(hop->server).revoked == 0)
        assert_int_equal(trib_reactor_turn(hop->reactor, 100, NULL), TRIB_OK);
    assert_int_equal(hop->at_server.count, 3);
}

static void a_malformed_change_leaves_the_old_list_in_force(void **state) {
    struct yard *yard = *state;
    struct hop *hop = &yard->hop;
    serve(yard);
    write_allow(yard, "# fine\nnot a key\n");
    trib_server_reload(hop->server);
    assert_int_equal(hop->reloads, 1);
    assert_int_equal(hop->reload_error.status, TRIB_INVALID);
    assert_non_null(strstr(hop->reload_error.text, "allow:2:"));
    assert_int_equal(hop->keys_in_force, 2);
    connect_with(yard, 0, &yard->named);
    assert_int_equal(hop_send(hop, 0, "hello", NULL), TRIB_OK);
    hop_until(hop, hop_server_has, 1);
    assert_int_equal(hop->reloads, 1); /* said once for each change */
}

static void ignore(void *ctx, const struct trib_incoming *in) {
    (void)ctx;
    (void)in;
}

static void a_server_does_not_start_without_a_good_list(void **state) {
    struct yard *yard = *state;
    static const char *const everywhere[] = {"tcp://*:*"};
    struct trib_error err = {.status = TRIB_OK};
    struct trib_server *server = NULL;
    struct trib_server_options options = {.context = yard->hop.server_context,
                                          .reactor = yard->hop.reactor,
                                          .endpoints = everywhere,
                                          .endpoint_count = 1,
                                          .keys = &yard->server,
                                          .events = {.message = ignore}};
    assert_int_equal(trib_server_new(&server, &options, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "allow-list"));
    options.allow_path = "/nonexistent/allow";
    assert_int_equal(trib_server_new(&server, &options, &err), TRIB_NOT_FOUND);
    assert_non_null(strstr(err.text, "/nonexistent/allow"));
    options.allow_path = yard->allow;
    assert_int_equal(trib_server_new(&server, &options, &err), TRIB_OK); /* with keys, on every address */
    trib_server_free(&server, 0);
}

static void a_client_with_keys_needs_its_server_key(void **state) {
    struct yard *yard = *state;
    struct trib_error err = {.status = TRIB_OK};
    struct trib_client *client = NULL;
    struct trib_client_options options = {.context = yard->hop.client_context,
                                          .reactor = yard->hop.reactor,
                                          .endpoint = "tcp://10.0.0.1:1",
                                          .keys = &yard->named,
                                          .events = {NULL, ignore, NULL, NULL}};
    assert_int_equal(trib_client_new(&client, &options, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "parent's public key"));
    options.keys = NULL;
    assert_int_equal(trib_client_new(&client, &options, &err), TRIB_DENIED);
    assert_non_null(strstr(err.text, "tcp://10.0.0.1:1"));
    assert_null(client);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(the_identity_is_what_the_list_calls_the_key),
        T(a_key_that_is_not_listed_is_refused),
        T(a_client_without_keys_is_not_heard),
        T(a_client_is_not_fooled_by_another_server),
        T(a_key_added_to_the_file_gets_in),
        T(a_key_removed_from_the_file_is_not_heard_any_more),
        T(a_malformed_change_leaves_the_old_list_in_force),
        T(a_server_does_not_start_without_a_good_list),
        T(a_client_with_keys_needs_its_server_key),
    };
    return cmocka_run_group_tests_name("curve", tests, NULL, NULL);
}
