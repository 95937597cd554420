/* Records become rows: the statements, and what is remembered between records. take.c fills them in. */
#include "shared/base/alloc.h"
#include "shared/ledger/internal.h"
#include "shared/ledger/schema.h"

#include <stdio.h>
#include <string.h>

#define PENDING "run_id IS ?1 AND version IS NULL AND void_reason IS NULL AND verdict = 'accepted'"

static const char *const statements[STATEMENTS] = {
    [RUN_ADD] =
        "INSERT INTO runs(run, role, node, incarnation, parent_incarnation, started_ms, state, seed, plan, "
        "schema, build, environment, label, ledger_format) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 'running', ?7, ?8, "
        "?9, "
        "?10, ?11, nullif(?12, ''), ?13)",
    [RUN_SUPERSEDE] =
        "UPDATE runs SET state = 'superseded', ended_ms = ?2 WHERE run_id = ?1 AND state = 'running'",
    [RUN_INCARNATION] = "UPDATE runs SET incarnation = ?2 WHERE run_id = ?1",
    [RUN_STOP] = "UPDATE runs SET state = 'stopped', ended_ms = ?2, stop_reason = ?3 WHERE run_id = ?1",
    [NODE_RETIRE] = "UPDATE nodes SET retired_ms = ?4 WHERE run_id IS ?1 AND node = ?2 AND incarnation <> ?3 "
                    "AND retired_ms IS NULL",
    [NODE_ADD] = "INSERT INTO nodes(run_id, node, incarnation, admitted_ms, kind) VALUES(?1, ?2, ?3, ?4, ?5) "
                 "ON CONFLICT DO UPDATE SET retired_ms = NULL",
    [CONTRIBUTION_ADD] =
        "INSERT INTO contributions(run_id, judged_ms, node, incarnation, sequence, base_version, staleness, "
        "origins, "
        "staleness_factor, weight_applied, norm_added, weight_samples, region_samples, samples, steps, loss, "
        "update_norm, cosine, codec, wire_bytes, raw_bytes, payload_crc32c, verdict, reason, below_updates, "
        "below_up_bytes, below_down_bytes, below_raw_bytes, below_hops, effect, label_divergence) VALUES(?1, "
        "?2, ?3, ?4, "
        "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, "
        "?26, ?27, ?28, ?29, ?30, ?31)",
    [CONTRIBUTIONS_COMMIT] = "UPDATE contributions SET version = ?2 WHERE " PENDING,
    [CONTRIBUTIONS_VOID] = "UPDATE contributions SET void_reason = ?2 WHERE " PENDING,
    [CONTRIBUTION_SUPERSEDED] =
        "UPDATE contributions SET void_reason = 'superseded' WHERE node = ?2 AND " PENDING,
    [VERSION_COMMIT] =
        "INSERT OR REPLACE INTO versions(run_id, version, parent_version, made_by, made_ms, rule, commits, "
        "contributions, scale, digest, ledger_chain_digest, down_bytes, up_bytes, verdicts) "
        "VALUES(?1, ?2, CASE WHEN ?2 > 0 THEN ?2 - 1 END, 'commit', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
        "?12)",
    [VERSION_ROLLBACK] = "INSERT INTO versions(run_id, version, parent_version, made_by, made_ms, digest, "
                         "ledger_chain_digest, verdicts) VALUES(?1, ?2, ?3, 'rollback', ?4, ?5, ?6, ?7)",
    /* A version without a commit of its own: the run's start, or at an edge a model from the parent. What the
     * start publishes is the model itself. */
    [VERSION_PUBLISH] =
        "INSERT INTO versions(run_id, version, parent_version, made_by, made_ms, published, published_ms, "
        "published_from, published_digest, chain_digest, increment_bytes, published_codec, published_why, "
        "digest) "
        "VALUES(?1, ?2, CASE WHEN ?2 > 0 THEN ?2 - 1 END, CASE WHEN ?2 > 0 THEN 'parent' ELSE 'start' END, "
        "?3, 1, "
        "?3, ?4, ?5, ?6, ?7, ?8, ?9, CASE WHEN ?2 = 0 THEN ?5 END) ON CONFLICT DO UPDATE SET published = 1, "
        "published_ms = ?3, published_from = "
        "?4, "
        "published_digest = ?5, chain_digest = ?6, increment_bytes = ?7, published_codec = ?8, "
        "published_why = ?9",
    [EVALUATION_ADD] = "INSERT INTO evaluations VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [EVENT_ADD] =
        "INSERT INTO events(run_id, at_ms, level, event, node, detail) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [FORWARD_ADD] = "INSERT OR REPLACE INTO forwards(run_id, incarnation, sequence, made_ms, base_version, "
                    "origins, samples, "
                    "weight_samples, region_samples, steps, loss, codec, wire_bytes, raw_bytes, "
                    "below_updates, below_up_bytes, "
                    "below_down_bytes, below_raw_bytes, below_hops) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
                    "?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    [FORWARD_JUDGE] = "UPDATE forwards SET judged_ms = ?4, verdict = ?5, reason = ?6, staleness = ?7, "
                      "weight_applied = ?8 WHERE run_id IS ?1 AND incarnation = ?2 AND sequence = ?3",
    [FORWARDS_CONTAINED] =
        "UPDATE forwards SET contained_ms = ?4 WHERE run_id IS ?1 AND incarnation = ?2 AND "
        "sequence <= ?3 AND contained_ms IS NULL AND verdict IS NOT 'refused'",
    [PARENT_ADD] = "INSERT INTO parent_models(run_id, received_ms, version, from_version, kind, wire_bytes, "
                   "chain_digest, applied_sequence, fence) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
};

static char *copied(const char *text) {
    return trib_strdup(text != NULL ? text : "");
}

enum trib_status trib_ledger_new(const struct trib_ledger_options *options, struct trib_ledger **out,
                                 struct trib_error *err) {
    struct trib_ledger *ledger = trib_alloc(sizeof *ledger);
    *out = NULL;
    if (ledger == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a ledger");
    trib_buf_init(&ledger->text, 0);
    ledger->role = copied(options->role);
    ledger->node = copied(options->node);
    ledger->build = copied(options->build);
    ledger->environment = copied(options->environment);
    if (ledger->role == NULL || ledger->node == NULL || ledger->build == NULL ||
        ledger->environment == NULL) {
        trib_ledger_free(&ledger);
        return trib_fail(err, TRIB_NOMEM, "no memory for a ledger");
    }
    *out = ledger;
    return TRIB_OK;
}

void trib_ledger_free(struct trib_ledger **ledger) {
    struct trib_ledger *l = *ledger;
    *ledger = NULL;
    if (l == NULL) return;
    trib_free(l->role);
    trib_free(l->node);
    trib_free(l->build);
    trib_free(l->environment);
    trib_buf_release(&l->text);
    trib_free(l);
}

static enum trib_status project(void *ctx, const struct trib_record *record, struct trib_error *err) {
    TRIB_ASSERT(record->kind < TRIB_REC_KINDS && ledger_takers[record->kind] != NULL);
    return ledger_takers[record->kind](ctx, record, err);
}

/* What the writer remembers between records, from the rows. */
static enum trib_status resume(struct trib_ledger *ledger, struct trib_error *err) {
    int64_t version = -1;
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    ledger->run_id = 0;
    ledger->incarnation[0] = 0;
    enum trib_status status = trib_sql_prepare(
        ledger->db,
        "SELECT run_id, incarnation, (SELECT version FROM parent_models p WHERE p.run_id = runs.run_id "
        "ORDER BY model_id DESC LIMIT 1) FROM runs WHERE state <> 'lost' ORDER BY run_id DESC LIMIT 1",
        &stmt, err);
    if (status == TRIB_OK) status = trib_sql_step(stmt, &row, err);
    if (row) {
        ledger->run_id = sqlite3_column_int64(stmt, 0);
        (void)snprintf(ledger->incarnation, sizeof ledger->incarnation, "%s",
                       (const char *)sqlite3_column_text(stmt, 1));
        if (sqlite3_column_type(stmt, 2) != SQLITE_NULL) version = sqlite3_column_int64(stmt, 2);
    }
    (void)sqlite3_finalize(stmt);
    ledger->has_parent_model = version >= 0;
    ledger->parent_version = version >= 0 ? (uint64_t)version : 0;
    return status;
}

static enum trib_status open_projection(void *ctx, sqlite3 *db, struct trib_error *err) {
    struct trib_ledger *ledger = ctx;
    ledger->db = db;
    enum trib_status status = trib_sql_migrate(db, "ledger", ledger_steps, ledger_step_count, err);
    for (size_t i = 0; i < STATEMENTS && status == TRIB_OK; i++) {
        status = trib_sql_prepare(db, statements[i], &ledger->prepared[i], err);
    }
    return status == TRIB_OK ? resume(ledger, err) : status;
}

static void close_projection(void *ctx) {
    struct trib_ledger *ledger = ctx;
    for (size_t i = 0; i < STATEMENTS; i++) {
        (void)sqlite3_finalize(ledger->prepared[i]);
        ledger->prepared[i] = NULL;
    }
    ledger->db = NULL;
}

struct trib_projection trib_ledger_projection(struct trib_ledger *ledger) {
    return (struct trib_projection){ledger, open_projection, project, close_projection};
}
