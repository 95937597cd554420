/* A node: the driver around the roles of an edge or a cloud. It owns the sockets, the store, the timers, and
 * carries out what the roles ask for; a send waits until the journal position it depends on is durable.
 *
 * When a write fails, the roles are dropped and rebuilt from the store (a failed write is a crash); until
 * that succeeds children are told to come back. */
#ifndef TRIB_DAEMON_NODE_H
#define TRIB_DAEMON_NODE_H

#include "shared/aggregator/aggregator.h"
#include "shared/base/json.h"
#include "shared/daemon/config.h"
#include "shared/net/reactor.h"
#include "shared/participant/participant.h"

struct trib_node;

/* What a tier adds; each may be NULL. */
struct trib_node_hooks {
    void *ctx;
    /* The roles were made (at start, and after every rebuild): a cloud starts or resumes its run here. */
    enum trib_status (*ready)(void *ctx, struct trib_node *node, struct trib_error *err);
    /* Something happened; the state may have a new version. At most once a turn, and not while a checkpoint
     * is written. */
    void (*advanced)(void *ctx, struct trib_node *node);
    /* An edge with exit_when_finished: its parent's run is over. */
    void (*finished)(void *ctx, struct trib_node *node);
    /* Adds members to the health line. */
    void (*status)(void *ctx, struct trib_node *node, struct trib_json *json);
    /* The node stops: last chance before the store is closed. */
    void (*stopping)(void *ctx, struct trib_node *node);
};

struct trib_node_options {
    enum trib_role role; /* edge or cloud */
    const struct trib_log *log;
    const struct trib_node_config *node;
    const struct trib_parent_config *parent;
    const struct trib_upstream_config *upstream; /* edge */
    const struct trib_store_config *store;
    const char *database;    /* file name in the store's folder */
    const char *environment; /* for the ledger: what decides bits, as key=value words */
    size_t max_parameters;   /* a larger model is refused; 0: TRIB_SCHEMA_MAX_PARAMETERS */
    bool exit_when_finished;
    struct trib_node_hooks hooks;
};

/* Everything is borrowed for the node's life. Opens the store, binds, connects. */
enum trib_status trib_node_new(struct trib_node **out, const struct trib_node_options *options,
                               struct trib_error *err) TRIB_MUST_USE;
void trib_node_free(struct trib_node **node);
/* Until SIGTERM, SIGINT or trib_node_stop; says goodbye and flushes. */
enum trib_status trib_node_run(struct trib_node *node, struct trib_error *err) TRIB_MUST_USE;
/* Ends the run loop after what is queued is durable and sent, and peers had `linger_ms` to get it. */
void trib_node_stop(struct trib_node *node);

struct trib_reactor *trib_node_reactor(struct trib_node *node);
/* NULL while the roles are being rebuilt. */
const struct trib_state *trib_node_state(const struct trib_node *node);
/* Records up to this position are as durable as they get; when it moves, `advanced` is called. */
uint64_t trib_node_committed(const struct trib_node *node);
struct trib_aggregator *trib_node_aggregator(struct trib_node *node);
/* For hooks that changed something: applies a record, carries out what follows. */
bool trib_node_record(struct trib_node *node, struct trib_record *record);
/* Calls the `advanced` hook in the next turn, when the state may change. */
void trib_node_wake(struct trib_node *node);
/* The roles' clock: ms since 1970, never going back in this process. */
uint64_t trib_node_now_ms(const struct trib_node *node);

#endif
