/* The store of a node: opened, and repaired where it is damaged. */
#include "shared/daemon/node_internal.h"

#include "shared/base/rng.h"
#include "shared/store/large.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { REPAIRS = 3 }; /* one may bring more to light; then it is no damage that a repair can mend */

static void release(struct trib_node *node) {
    trib_storage_close(&node->storage);
    trib_outbox_release(&node->outbox);
    trib_state_free(&node->state);
}

static struct trib_storage_options options_of(const struct trib_node *node,
                                              const struct trib_storage_events *events) {
    const struct trib_node_options *o = &node->options;
    return (struct trib_storage_options){.reactor = node->reactor,
                                         .path = node->database,
                                         .config = o->store,
                                         .ledger = {.role = o->node->role,
                                                    .node = o->node->name,
                                                    .build = TRIB_VERSION,
                                                    .environment = o->environment},
                                         .events = *events};
}

static enum trib_status new_state(struct trib_node *node, struct trib_error *err) {
    const struct trib_node_options *o = &node->options;
    struct trib_state_limits limits = {.max_parameters = o->max_parameters,
                                       .ring_bytes = o->parent->ring_bytes};
    enum trib_status status = trib_state_new(o->role, &limits, &node->state, err);
    if (status == TRIB_OK) trib_outbox_init(&node->outbox);
    return status;
}

static enum trib_status open_once(struct trib_node *node, const struct trib_storage_options *options,
                                  struct trib_error *err) {
    enum trib_status status = new_state(node, err);
    return status == TRIB_OK ? trib_storage_open(&node->storage, options, node->state, err) : status;
}

/* TRIB_OK: it is worth another try. Else `why` stays the reason. */
static enum trib_status repair(const struct trib_node *node, const struct trib_storage_options *options,
                               struct trib_store_damage *damage, const struct trib_error *why,
                               struct trib_error *err) {
    struct trib_store_damage found;
    struct trib_error problem = *why;
    if (strcmp(options->config->on_damage, "refuse") == 0)
        return trib_fail(err, TRIB_CORRUPT, "%s (nothing is set aside: store.on_damage is refuse)",
                         problem.text);
    enum trib_status status = trib_storage_repair(options, &found, &problem);
    if (status == TRIB_OK && !found.found)
        problem = *why; /* all checksums match: what is in there is wrong */
    if (status == TRIB_OK && found.found) {
        *damage = found;
        trib_log(node->options.log, TRIB_LOG_ERROR, "store_damaged",
                 "what=\"%s\" kept=%" PRIu64 " lost=%s set_aside=%s", found.what, found.kept,
                 found.lost ? "yes" : "no", found.folder);
        return TRIB_OK;
    }
    return trib_fail(err, TRIB_CORRUPT, "%s", problem.text);
}

/* The first records after a repair: an event that stays, and, if others were lost, a new incarnation. */
static void tell(struct trib_node *node, const struct trib_store_damage *damage) {
    char text[640];
    uint64_t now = trib_node_now_ms(node);
    (void)snprintf(text, sizeof text, "reason=damage kept=%" PRIu64 " set_aside=%.560s",
                   node->state->position, damage->found ? damage->folder : "before");
    if (trib_storage_has_lost(node->storage))
        trib_outbox_restored(&node->outbox, node->state, now, trib_random_u64(), text);
    if (damage->found)
        trib_outbox_event(&node->outbox, node->state, now, true, TRIB_LOG_ERROR, "store_repaired",
                          "what=\"%.400s\" %s", damage->what, damage->lost ? "lost=yes" : "lost=no");
}

enum trib_status trib_node_open_store(struct trib_node *node, const struct trib_storage_events *events,
                                      struct trib_error *err) {
    const struct trib_storage_options all = options_of(node, events), *options = &all;
    struct trib_store_damage damage = {.found = false};
    struct trib_error why;
    enum trib_status status = TRIB_OK;
    if (node->suspect) { /* a write said so; reading alone may not come across it */
        (void)trib_fail(&why, TRIB_OK, "a write found the database malformed");
        node->suspect = false;
        if (repair(node, options, &damage, &why, err) != TRIB_OK)
            trib_log(node->options.log, TRIB_LOG_WARN, "store_not_repaired", "error=\"%s\"", err->text);
    }
    for (int turn = 0; turn <= REPAIRS; turn++) {
        status = open_once(node, options, err);
        if (status != TRIB_CORRUPT || turn == REPAIRS) break;
        why = *err;
        release(node);
        status = repair(node, options, &damage, &why, err);
        if (status != TRIB_OK) break;
    }
    if (status != TRIB_OK) return status;
    node->committed = node->state->position;
    /* A gateway without a clock of its own may start in 1970: time goes on from where the journal is. */
    uint64_t now = trib_node_now_ms(node);
    if (now < node->state->now_ms) node->wall_offset_ms += node->state->now_ms - now;
    tell(node, &damage);
    return TRIB_OK;
}

/* ---- roles ---- */

static uint64_t region_of(void *ctx) {
    struct trib_node *node = ctx;
    return trib_aggregator_region(node->aggregator);
}

static struct trib_blob *new_file(void *ctx, size_t bytes) {
    const struct trib_node *node = ctx;
    return trib_large_new(node->database, bytes);
}

static enum trib_status make_aggregator(struct trib_node *node, struct trib_error *err) {
    const struct trib_node_options *o = &node->options;
    bool edge = o->role == TRIB_ROLE_EDGE;
    struct trib_aggregator_options options = {.seed = trib_random_u64(),
                                              .max_peers = o->parent->max_peers,
                                              .budget_bytes = o->parent->in_flight_bytes,
                                              .file = new_file,
                                              .file_ctx = node,
                                              .file_bytes = o->parent->spool_bytes,
                                              .window_bytes = edge ? EDGE_WINDOW_BYTES : 0};
    return trib_aggregator_new(&options, node->state, &node->outbox, &node->aggregator, err);
}

enum trib_status trib_node_make_roles(struct trib_node *node, struct trib_error *err) {
    const struct trib_node_options *o = &node->options;
    enum trib_status status = make_aggregator(node, err);
    if (status != TRIB_OK || node->client == NULL) return status;
    struct trib_participant_options child = {.name = o->node->name,
                                             .seed = trib_random_u64(),
                                             .finish_on_bye = o->exit_when_finished,
                                             .region = region_of,
                                             .region_ctx = node};
    return trib_participant_new(&child, node->state, &node->outbox, &node->participant, err);
}

/* ---- while the disk cannot be written ---- */

bool trib_node_stand_by(struct trib_node *node) {
    struct trib_error err;
    enum trib_status status = new_state(node, &err);
    if (status == TRIB_OK) status = trib_storage_reload(node->storage, node->state, &err);
    if (status == TRIB_OK) status = make_aggregator(node, &err);
    node->standby = status == TRIB_OK;
    if (node->standby) {
        node->committed = node->state->position;
        trib_aggregator_refuse_writes(node->aggregator, 2 * REBUILD_MS);
        return true;
    }
    trib_log(node->options.log, TRIB_LOG_WARN, "not_serving", "error=\"%s\"", err.text);
    trib_outbox_release(&node->outbox);
    trib_state_free(&node->state);
    return false;
}

enum trib_status trib_node_probe(const struct trib_node *node, struct trib_error *err) {
    struct trib_storage_events none = {.ctx = NULL};
    struct trib_storage_options options = options_of(node, &none);
    return trib_storage_probe(&options, PROBE_BYTES, err);
}

void trib_node_retry(struct trib_node *node) {
    trib_timer_after(node->rebuild, node->retry_ms);
    node->retry_ms = node->retry_ms * 2 > REBUILD_MAX_MS ? REBUILD_MAX_MS : node->retry_ms * 2;
}
