/* What the files of a node share: node.c (roles, actions, life) and node_sockets.c (what comes in). Nobody
 * else includes this. */
#ifndef TRIB_DAEMON_NODE_INTERNAL_H
#define TRIB_DAEMON_NODE_INTERNAL_H

#include "shared/daemon/node.h"
#include "shared/daemon/storage.h"
#include "shared/net/client.h"
#include "shared/net/health.h"
#include "shared/net/server.h"

enum {
    REBUILD_MS = 1000,                /* after a failed write, the store is tried again after this, */
    REBUILD_MAX_MS = 8000,            /* ... up to this, */
    PROBE_BYTES = 1024 * 1024,        /* ... where so much can be written */
    EDGE_WINDOW_BYTES = 1 << 20,      /* of an update on its way: gateways have less memory */
    BACKLOG_BYTES = 64 * 1024 * 1024, /* payloads waiting for the disk; beyond it children are not read */
    BACKLOG_RECORDS = 2048, /* and so many of any kind: 10,000 HELLOs at once are 10,000 records, and as many
                               answers that wait for them */
    OWN_DESCRIPTORS = 64,   /* beside the connections of children */
    LINGER_MS = 500,        /* for the last messages */
    LAST_WORDS_MS = 5000,   /* ... and at most so long for the journal, which they wait for */
    MAX_ENDPOINTS = 8
};

struct held_send; /* a send that waits for its journal position */

struct trib_node {
    struct trib_node_options options;
    struct trib_reactor *reactor;
    struct trib_context *context, *uplink;
    struct trib_server *server;
    struct trib_client *client;
    struct trib_health *health;
    struct trib_timer *wake, *rebuild, *finish;
    struct trib_keys keys, parent_keys;
    uint64_t wall_offset_ms, committed, wake_ms, writes_failed, started_ms;
    struct trib_storage *storage;
    struct trib_shards *shards; /* made when a rule has use for them; NULL: one processor, or no threads */
    bool shards_tried;
    struct trib_state *state;
    struct trib_outbox outbox;
    struct trib_aggregator *aggregator;
    struct trib_participant *participant;
    struct held_send *held, **held_end;
    bool paused, checkpointing, stopping, finished;
    bool standby; /* the disk cannot be written: there is an aggregator that serves, and no participant */
    uint64_t retry_ms, opened_ms, stopping_ms;
    uint64_t last_words; /* position that the last messages wait for */
    char why[500];       /* the store failed */
    bool suspect;        /* a write found the store malformed: it is repaired before it is opened again */
    char endpoints[MAX_ENDPOINTS][TRIB_ENDPOINT_MAX + 1];
    char database[512];
};

/* Carries out what the roles asked for; the roles may be gone afterwards (node->state is NULL). */
void trib_node_carry_out(struct trib_node *node);
/* Opens the store and rebuilds the state from it; a damaged one is repaired, as store.on_damage says. What is
 * to be written then first of all is in the outbox. On failure state and storage may be half made. */
enum trib_status trib_node_open_store(struct trib_node *node, const struct trib_storage_events *events,
                                      struct trib_error *err) TRIB_MUST_USE;
enum trib_status trib_node_make_roles(struct trib_node *node, struct trib_error *err) TRIB_MUST_USE;
/* The store failed and is halted: what is durable is read back, and an aggregator serves it that records
 * nothing. False: not even that is possible; then nothing is made. */
bool trib_node_stand_by(struct trib_node *node);
/* Can the disk be written again? */
enum trib_status trib_node_probe(const struct trib_node *node, struct trib_error *err) TRIB_MUST_USE;
/* Tries again after a while, which doubles each time until the store lasts longer than that. */
void trib_node_retry(struct trib_node *node);
/* Reads the keys, then opens the uplink (an edge's) and the server. */
enum trib_status trib_node_open_sockets(struct trib_node *node, struct trib_error *err) TRIB_MUST_USE;

/* A connection's name at the server, as one number for the roles: size in the top byte, up to 7 bytes of id
 * below. */
trib_child_route trib_node_pack_route(const struct trib_route *route);
struct trib_route trib_node_unpack_route(trib_child_route packed);

#endif
