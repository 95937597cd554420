/* What comes in: messages of children and of the parent, and what the sockets tell of themselves. */
#include "shared/daemon/node_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

trib_child_route trib_node_pack_route(const struct trib_route *route) {
    uint64_t packed = (uint64_t)route->size << 56;
    for (size_t i = 0; i < route->size; i++) packed |= (uint64_t)route->id[i] << (8 * i);
    return packed;
}

struct trib_route trib_node_unpack_route(trib_child_route packed) {
    struct trib_route route = {.size = (uint8_t)(packed >> 56)};
    for (size_t i = 0; i < route.size; i++) route.id[i] = (uint8_t)(packed >> (8 * i));
    return route;
}

static void refuse_for_store(struct trib_node *node, const struct trib_route *route) {
    static const char detail[] = "the journal cannot be written here; try again later";
    struct trib_msg msg = {.type = TRIB_ERROR};
    trib_msg_set(&msg, SESSION, session, 0);
    trib_msg_set(&msg, CODE, code, TRIB_CODE_BUSY);
    trib_msg_set(&msg, WAIT_MS, wait_ms, 2 * REBUILD_MS);
    trib_msg_set(&msg, DETAIL, detail, ((struct trib_text){detail, sizeof detail - 1}));
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_msg_encode(&msg, &buf);
    if (!buf.failed && trib_server_send(node->server, route, buf.data, buf.size, NULL) != TRIB_OK)
        trib_log(node->options.log, TRIB_LOG_DEBUG, "send_dropped", "to=child reason=gone");
    trib_buf_release(&buf);
}

static void on_child(void *ctx, const struct trib_incoming *in) {
    struct trib_node *node = ctx;
    if (in->route.size > 7) return;
    if (node->state == NULL) {
        refuse_for_store(node, &in->route);
        return;
    }
    trib_aggregator_message(node->aggregator, trib_node_now_ms(node), trib_node_pack_route(&in->route),
                            in->identity[0] != 0 ? in->identity : NULL, in->head, in->head_bytes,
                            in->payload);
    trib_node_carry_out(node);
    trib_timer_at(node->wake, 0); /* settle once for the whole batch */
}

static void on_child_malformed(void *ctx, const struct trib_incoming *in) {
    struct trib_node *node = ctx;
    if (node->state == NULL || in->route.size == 0 || in->route.size > 7) return;
    trib_aggregator_malformed(node->aggregator, trib_node_now_ms(node), trib_node_pack_route(&in->route),
                              in->identity[0] != 0 ? in->identity : NULL, trib_fault_text(in->fault));
    trib_node_carry_out(node);
    trib_timer_at(node->wake, 0);
}

/* Logged, and not in the ledger: anybody can knock. */
static void on_refused(void *ctx, const char *public_key, const char *address) {
    struct trib_node *node = ctx;
    trib_log(node->options.log, TRIB_LOG_WARN, "key_refused", "key=%s address=%s", public_key, address);
}

static void on_reloaded(void *ctx, size_t count, const struct trib_error *failed) {
    struct trib_node *node = ctx;
    if (failed != NULL)
        trib_log(node->options.log, TRIB_LOG_ERROR, "allow_list_refused", "error=\"%s\"", failed->text);
    else
        trib_log(node->options.log, TRIB_LOG_INFO, "allow_list_read", "keys=%zu", count);
}

static void on_crowded(void *ctx, bool shut, size_t open, size_t limit) {
    struct trib_node *node = ctx;
    trib_log(node->options.log, shut ? TRIB_LOG_ERROR : TRIB_LOG_INFO,
             shut ? "descriptors_out" : "descriptors_back", "open=%zu limit=%zu%s", open, limit,
             shut ? " hint=\"nobody new is let in until some have left; strangers, or too low a limit?\""
                  : "");
}

static void on_parent(void *ctx, const struct trib_incoming *in) {
    struct trib_node *node = ctx;
    if (node->participant == NULL) return;
    trib_participant_message(node->participant, trib_node_now_ms(node), in->head, in->head_bytes,
                             in->payload);
    trib_node_carry_out(node);
    trib_timer_at(node->wake, 0);
}

static void on_link(void *ctx, enum trib_link link) {
    static const char *const names[] = {"up", "down", "refused", "foreign"};
    struct trib_node *node = ctx;
    bool bad = link == TRIB_LINK_REFUSED || link == TRIB_LINK_FOREIGN;
    trib_log(node->options.log, bad ? TRIB_LOG_ERROR : TRIB_LOG_INFO, "uplink_link", "link=%s endpoint=%s%s",
             names[link], node->options.upstream->endpoint,
             bad ? " hint=\"the parent must have this node's public key in its allow-list, and the right "
                   "server key\""
                 : "");
}

static enum trib_status load_keys(struct trib_node *node, struct trib_error *err) {
    const struct trib_node_options *o = &node->options;
    if (o->parent->secret_key[0] == 0) return TRIB_OK;
    struct trib_error warning = {0};
    enum trib_status status = trib_keys_load(o->parent->secret_key, true, &node->keys, &warning, err);
    if (status != TRIB_OK) return status;
    if (warning.status != TRIB_OK)
        trib_log(o->log, TRIB_LOG_WARN, "key_file_open", "error=\"%s\"", warning.text);
    if (o->upstream == NULL || o->upstream->public_key[0] == 0) return TRIB_OK;
    return trib_keys_load(o->upstream->public_key, false, &node->parent_keys, NULL, err);
}

static enum trib_status open_server(struct trib_node *node, struct trib_error *err) {
    const struct trib_node_options *o = &node->options;
    const char *endpoints[MAX_ENDPOINTS];
    size_t count = 0;
    for (const char *at = o->parent->listen; *at != 0 && count < MAX_ENDPOINTS;) {
        size_t length = strcspn(at, "\n");
        (void)snprintf(node->endpoints[count], sizeof node->endpoints[count], "%.*s", (int)length, at);
        endpoints[count] = node->endpoints[count];
        count++;
        at += length + (at[length] == '\n');
    }
    bool keys = node->keys.secret_key[0] != 0;
    struct trib_server_options server = {.context = node->context,
                                         .reactor = node->reactor,
                                         .endpoints = endpoints,
                                         .endpoint_count = count,
                                         .allow_insecure = o->node->allow_insecure,
                                         .keys = keys ? &node->keys : NULL,
                                         .allow_path = keys ? o->parent->allow_keys : NULL,
                                         .events = {.ctx = node,
                                                    .message = on_child,
                                                    .malformed = on_child_malformed,
                                                    .refused = on_refused,
                                                    .reloaded = on_reloaded,
                                                    .crowded = on_crowded}};
    return trib_server_new(&node->server, &server, err);
}

static enum trib_status open_client(struct trib_node *node, struct trib_error *err) {
    const struct trib_node_options *o = &node->options;
    if (o->upstream == NULL) return TRIB_OK;
    enum trib_status status = trib_context_new(&node->uplink, 16, err);
    if (status != TRIB_OK) return status;
    bool keys = node->keys.secret_key[0] != 0 && node->parent_keys.public_key[0] != 0;
    struct trib_client_options client = {.context = node->uplink,
                                         .reactor = node->reactor,
                                         .endpoint = o->upstream->endpoint,
                                         .allow_insecure = o->node->allow_insecure,
                                         .keys = keys ? &node->keys : NULL,
                                         .server_key = keys ? node->parent_keys.public_key : NULL,
                                         .events = {.ctx = node, .message = on_parent, .link = on_link}};
    return trib_client_new(&node->client, &client, err);
}

enum trib_status trib_node_open_sockets(struct trib_node *node, struct trib_error *err) {
    enum trib_status status = load_keys(node, err);
    if (status == TRIB_OK) status = open_client(node, err);
    return status == TRIB_OK ? open_server(node, err) : status;
}
