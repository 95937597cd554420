/* The queries behind `tributary history` and the dashboard: each is one SELECT over the views. */
#include "shared/base/alloc.h"
#include "shared/ledger/internal.h"
#include "shared/ledger/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct table {
    const char *name;
    const char *from; /* view, with its condition on ?1, the run */
    const char *order;
    const struct trib_ledger_column *columns;
    size_t count;
};

#define COLUMNS(list) (list), sizeof(list) / sizeof *(list)

static const struct trib_ledger_column run_columns[] = {
    {"run_id", NULL, TRIB_UNIT_COUNT},
    {"run", "run", TRIB_UNIT_TEXT},
    {"label", "label", TRIB_UNIT_TEXT},
    {"role", "role", TRIB_UNIT_TEXT},
    {"node", NULL, TRIB_UNIT_TEXT},
    {"started_ms", "started (UTC)", TRIB_UNIT_TIME},
    {"ended_ms", NULL, TRIB_UNIT_TIME},
    {"seconds", "time", TRIB_UNIT_SECONDS},
    {"state", "state", TRIB_UNIT_TEXT},
    {"stop_reason", NULL, TRIB_UNIT_TEXT},
    {"versions", "versions", TRIB_UNIT_COUNT},
    {"published_versions", NULL, TRIB_UNIT_COUNT},
    {"best_accuracy", "best", TRIB_UNIT_SHARE},
    {"last_accuracy", "last", TRIB_UNIT_SHARE},
    {"last_loss", NULL, TRIB_UNIT_REAL},
    {"updates", "updates", TRIB_UNIT_COUNT},
    {"below_updates", "below", TRIB_UNIT_COUNT},
    {"refused", "refused", TRIB_UNIT_COUNT},
    {"samples", NULL, TRIB_UNIT_COUNT},
    {"staleness_mean", "stale mean", TRIB_UNIT_REAL},
    {"staleness_p95", "p95", TRIB_UNIT_COUNT},
    {"staleness_max", "max", TRIB_UNIT_COUNT},
    {"device_edge_up_bytes", "dev-edge up", TRIB_UNIT_BYTES},
    {"device_edge_down_bytes", "down", TRIB_UNIT_BYTES},
    {"cloud_up_bytes", "cloud up", TRIB_UNIT_BYTES},
    {"cloud_down_bytes", "down", TRIB_UNIT_BYTES},
    {"up_f32_bytes", NULL, TRIB_UNIT_BYTES},
};
static const struct trib_ledger_column version_columns[] = {
    {"version", "version", TRIB_UNIT_COUNT},
    {"parent_version", NULL, TRIB_UNIT_COUNT},
    {"made_by", "by", TRIB_UNIT_TEXT},
    {"rule", NULL, TRIB_UNIT_TEXT},
    {"made_ms", "made (UTC)", TRIB_UNIT_TIME},
    {"published", "pub", TRIB_UNIT_COUNT},
    {"accuracy", "accuracy", TRIB_UNIT_SHARE},
    {"loss", "loss", TRIB_UNIT_REAL},
    {"contributions", "updates", TRIB_UNIT_COUNT},
    {"nodes", "nodes", TRIB_UNIT_COUNT},
    {"from_nodes", NULL, TRIB_UNIT_TEXT},
    {"samples", "samples", TRIB_UNIT_COUNT},
    {"below_updates", "below", TRIB_UNIT_COUNT},
    {"staleness_mean", "stale mean", TRIB_UNIT_REAL},
    {"staleness_p95", "p95", TRIB_UNIT_COUNT},
    {"staleness_max", "max", TRIB_UNIT_COUNT},
    {"update_bytes", "up", TRIB_UNIT_BYTES},
    {"update_f32_bytes", NULL, TRIB_UNIT_BYTES},
    {"down_bytes", "down", TRIB_UNIT_BYTES},
    {"below_up_bytes", "below up", TRIB_UNIT_BYTES},
    {"below_down_bytes", "below down", TRIB_UNIT_BYTES},
    {"digest", NULL, TRIB_UNIT_TEXT},
    {"chain_digest", NULL, TRIB_UNIT_TEXT},
    {"ledger_chain_digest", NULL, TRIB_UNIT_TEXT},
};
static const struct trib_ledger_column verdict_columns[] = {
    {"outcome", "outcome", TRIB_UNIT_TEXT},
    {"reason", "reason", TRIB_UNIT_TEXT},
    {"node", "node", TRIB_UNIT_TEXT},
    {"updates", "updates", TRIB_UNIT_COUNT},
    {"samples", "samples", TRIB_UNIT_COUNT},
    {"staleness_max", "stale max", TRIB_UNIT_COUNT},
    {"first_ms", "first (UTC)", TRIB_UNIT_TIME},
    {"last_ms", "last (UTC)", TRIB_UNIT_TIME},
    {"because", "because", TRIB_UNIT_TEXT},
};
static const struct trib_ledger_column node_columns[] = {
    {"node", "node", TRIB_UNIT_TEXT},
    {"kind", "kind", TRIB_UNIT_TEXT},
    {"incarnations", "lives", TRIB_UNIT_COUNT},
    {"admitted_ms", NULL, TRIB_UNIT_TIME},
    {"last_ms", "last update (UTC)", TRIB_UNIT_TIME},
    {"accepted", "accepted", TRIB_UNIT_COUNT},
    {"refused", "refused", TRIB_UNIT_COUNT},
    {"voided", "void", TRIB_UNIT_COUNT},
    {"samples", "samples", TRIB_UNIT_COUNT},
    {"staleness_mean", "stale mean", TRIB_UNIT_REAL},
    {"staleness_max", "max", TRIB_UNIT_COUNT},
    {"loss_mean", "loss", TRIB_UNIT_REAL},
    {"update_norm_mean", "norm", TRIB_UNIT_REAL},
    {"cosine_mean", "cosine", TRIB_UNIT_REAL},
    {"up_bytes", "up", TRIB_UNIT_BYTES},
    {"up_f32_bytes", NULL, TRIB_UNIT_BYTES},
};
static const struct trib_ledger_column hop_columns[] = {
    {"hop", "hop", TRIB_UNIT_TEXT},
    {"updates", "updates", TRIB_UNIT_COUNT},
    {"up_bytes", "up", TRIB_UNIT_BYTES},
    {"down_bytes", "down", TRIB_UNIT_BYTES},
    {"up_f32_bytes", "up in f32", TRIB_UNIT_BYTES},
    {"up_compression", "compression", TRIB_UNIT_REAL},
};
static const struct trib_ledger_column staleness_columns[] = {
    {"staleness", "staleness", TRIB_UNIT_COUNT},       {"accepted", "accepted", TRIB_UNIT_COUNT},
    {"refused", "refused", TRIB_UNIT_COUNT},           {"samples", "samples", TRIB_UNIT_COUNT},
    {"weight_applied_mean", "weight", TRIB_UNIT_REAL},
};
static const struct trib_ledger_column event_columns[] = {
    {"at_ms", "at (UTC)", TRIB_UNIT_TIME}, {"level", "level", TRIB_UNIT_TEXT},
    {"event", "event", TRIB_UNIT_TEXT},    {"node", "node", TRIB_UNIT_TEXT},
    {"detail", "detail", TRIB_UNIT_TEXT},
};

/* The hops between edges that a list of hops has room for, behind the devices': place in it, name, title. */
#define INNER_HOPS(X)                                                                                        \
    X("1", "edge_edge", "edge-edge")                                                                         \
    X("2", "edge_edge_2", "edge-edge-2")                                                                     \
    X("3", "edge_edge_3", "edge-edge-3")                                                                     \
    X("4", "edge_edge_4", "edge-edge-4")                                                                     \
    X("5", "edge_edge_5", "edge-edge-5")                                                                     \
    X("6", "edge_edge_6", "edge-edge-6")                                                                     \
    X("7", "edge_edge_7", "edge-edge-7")
_Static_assert(TRIB_HOPS_MAX == 8, "each has a row");
#define INNER_TITLE(hop, name, title)                                                                        \
    {name "_up_bytes", title " up", TRIB_UNIT_BYTES}, {name "_down_bytes", "down", TRIB_UNIT_BYTES},
#define INNER_PART(hop, name, title)                                                                         \
    ", coalesce(json_extract(t.hops, '$[" hop "][1]'), 0) AS up_" hop                                        \
    ", coalesce(json_extract(t.hops, '$[" hop "][2]'), 0) AS down_" hop
#define INNER_SUM(hop, name, title)                                                                          \
    ", sum(up_" hop ") OVER w AS up_" hop ", sum(down_" hop ") OVER w AS down_" hop
#define INNER_COLUMN(hop, name, title)                                                                       \
    ", coalesce(s.up_" hop ", 0) AS " name "_up_bytes, coalesce(s.down_" hop ", 0) AS " name "_down_bytes"
#define INNER_TITLES  INNER_HOPS(INNER_TITLE)
#define INNER_PARTS   INNER_HOPS(INNER_PART)
#define INNER_SUMS    INNER_HOPS(INNER_SUM)
#define INNER_COLUMNS INNER_HOPS(INNER_COLUMN)

static const struct trib_ledger_column curve_columns[] = {
    {"version", "version", TRIB_UNIT_COUNT},
    {"accuracy", "accuracy", TRIB_UNIT_SHARE},
    {"loss", "loss", TRIB_UNIT_REAL},
    {"seconds", "time", TRIB_UNIT_SECONDS},
    {"versions", NULL, TRIB_UNIT_COUNT},
    {"contributions", "contributions", TRIB_UNIT_COUNT},
    {"updates", "updates", TRIB_UNIT_COUNT},
    {"samples", "samples", TRIB_UNIT_COUNT},
    {"device_edge_up_bytes", "dev-edge up", TRIB_UNIT_BYTES},
    {"device_edge_down_bytes", "down", TRIB_UNIT_BYTES},
    INNER_TITLES{"cloud_up_bytes", "cloud up", TRIB_UNIT_BYTES},
    {"cloud_down_bytes", "down", TRIB_UNIT_BYTES},
    {"broadcast_bytes", NULL, TRIB_UNIT_BYTES},
};

/* Sums until a version's commit: `verdicts` says how many of the run's contributions had been judged by then
 * (its newest row's number stands for the order; in ledgers of format 1 the time does). Refused updates cost
 * as much as others. A broadcast sends one copy of the increment for each update, to whoever made it. */
static const char curve_from[] =
    "(WITH kinds AS (SELECT node, max(kind = 'edge') AS is_edge FROM nodes WHERE run_id = ?1 GROUP BY node), "
    "parts AS (SELECT c.contribution_id AS id, CASE WHEN coalesce(k.is_edge, 0) THEN "
    "coalesce(json_extract(t.hops, '$[0][0]'), c.below_updates, 0) ELSE 1 END AS updates, "
    "CASE WHEN c.verdict = 'accepted' THEN coalesce(c.samples, 0) ELSE 0 END AS samples, "
    "coalesce(c.wire_bytes, 0) AS up, "
    "coalesce(json_extract(t.hops, '$[0][1]'), c.below_up_bytes, 0) AS below_up, "
    "coalesce(json_extract(t.hops, '$[0][2]'), c.below_down_bytes, 0) AS below_down, "
    "coalesce(b.increment_bytes, 0) AS increment" INNER_PARTS " "
    "FROM contributions c LEFT JOIN kinds k ON k.node = c.node LEFT JOIN told t ON t.id = c.contribution_id "
    "LEFT JOIN versions b ON b.run_id = c.run_id AND b.version = c.base_version WHERE c.run_id = ?1), "
    "sums AS (SELECT row_number() OVER w AS rank, sum(updates) OVER w AS updates, "
    "sum(samples) OVER w AS samples, sum(up) OVER w AS up, sum(below_up) OVER w AS below_up, "
    "sum(below_down) OVER w AS below_down, sum(updates * increment) OVER w AS broadcast" INNER_SUMS " "
    "FROM parts WINDOW w AS (ORDER BY id)), "
    "made AS (SELECT version, made_ms, sum(made_by = 'commit') OVER w AS versions, "
    "sum(coalesce(down_bytes, 0)) OVER w AS down, CASE WHEN made_by = 'start' THEN 0 "
    "WHEN verdicts IS NOT NULL THEN verdicts ELSE (SELECT count(*) FROM contributions "
    "WHERE run_id = ?1 AND judged_ms <= made_ms) END AS verdicts "
    "FROM versions WHERE run_id = ?1 WINDOW w AS (ORDER BY version)), "
    "marks AS (SELECT version, accuracy, loss, row_number() OVER (PARTITION BY version "
    "ORDER BY evaluated_ms DESC) AS rank FROM evaluations WHERE run_id = ?1) "
    "SELECT m.version AS version, e.accuracy AS accuracy, e.loss AS loss, "
    "(m.made_ms - (SELECT started_ms FROM runs WHERE run_id = ?1)) / 1000.0 AS seconds, "
    "m.versions AS versions, m.verdicts AS contributions, coalesce(s.updates, 0) AS updates, "
    "coalesce(s.samples, 0) AS samples, coalesce(s.below_up, 0) AS device_edge_up_bytes, "
    "coalesce(s.below_down, 0) AS device_edge_down_bytes, coalesce(s.up, 0) AS cloud_up_bytes, "
    "m.down AS cloud_down_bytes, coalesce(s.broadcast, 0) AS broadcast_bytes" INNER_COLUMNS " "
    "FROM made m JOIN marks e ON e.version = m.version AND e.rank = 1 "
    "LEFT JOIN sums s ON s.rank = m.verdicts)";

static const struct table tables[TRIB_LEDGER_TABLES] = {
    [TRIB_LEDGER_RUNS] = {"runs", "run_summary WHERE ?1 IS NOT NULL", "run_id", COLUMNS(run_columns)},
    [TRIB_LEDGER_VERSIONS] = {"versions", "version_lineage WHERE run_id = ?1", "version",
                              COLUMNS(version_columns)},
    [TRIB_LEDGER_VERDICTS] =
        {"verdicts",
         "(SELECT CASE verdict WHEN 'refused' THEN 'refused' ELSE 'void' END AS outcome, "
         "coalesce(void_reason, reason) AS reason, node, count(*) AS updates, sum(samples) AS samples, "
         "max(staleness) AS staleness_max, min(judged_ms) AS first_ms, max(judged_ms) AS last_ms, "
         "CASE reason WHEN 'quarantine' THEN (SELECT group_concat(DISTINCT substr(said, 1, instr(said, ' ') "
         "- "
         "1)) FROM (SELECT substr(detail, instr(detail, 'because=') + 8) AS said FROM events e WHERE "
         "e.run_id = ?1 AND event = 'quarantine' AND substr(detail, 1, length(c.node) + 6) = "
         "'peer=' || c.node || ' ')) END AS because FROM contributions c "
         "WHERE run_id = ?1 AND (verdict = 'refused' OR void_reason IS NOT NULL) GROUP BY 1, 2, 3)",
         "outcome, reason, node", COLUMNS(verdict_columns)},
    [TRIB_LEDGER_NODES] = {"nodes", "node_health WHERE run_id = ?1", "node", COLUMNS(node_columns)},
    [TRIB_LEDGER_HOPS] = {"bytes_by_hop", "bytes_by_hop WHERE run_id = ?1", "hop LIKE '%-cloud', hop",
                          COLUMNS(hop_columns)},
    [TRIB_LEDGER_STALENESS] = {"staleness", "staleness_histogram WHERE run_id = ?1", "staleness",
                               COLUMNS(staleness_columns)},
    [TRIB_LEDGER_EVENTS] = {"events", "events WHERE run_id = ?1 OR run_id IS NULL", "event_id",
                            COLUMNS(event_columns)},
    [TRIB_LEDGER_CURVE] = {"curve", curve_from, "version", COLUMNS(curve_columns)},
};

/* ---- opening ---- */

enum trib_status trib_ledger_file(const char *path, char out[TRIB_LEDGER_PATH], struct trib_error *err) {
    static const char *const names[] = {"ledger.db", "journal.db"};
    struct stat st;
    if (strlen(path) > 4000) return trib_fail(err, TRIB_LIMIT, "the path %.100s... is too long", path);
    (void)snprintf(out, TRIB_LEDGER_PATH, "%s", path);
    if (stat(path, &st) != 0) return trib_fail_errno(err, "cannot open the ledger %s", path);
    if (!S_ISDIR(st.st_mode)) return TRIB_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(out, TRIB_LEDGER_PATH, "%s/%s", path, names[i]);
        if (stat(out, &st) == 0) return TRIB_OK;
    }
    return trib_fail(err, TRIB_NOT_FOUND,
                     "the folder %s has no ledger.db and no journal.db in it; name a ledger's file", path);
}

static enum trib_status check_ledger(struct trib_ledger_reader *reader, const char *path,
                                     struct trib_error *err) {
    int64_t found = 0, hops = 0;
    enum trib_status status = trib_sql_number(
        reader->db, "SELECT count(*) FROM sqlite_master WHERE name = 'run_summary'", 0, &found, err);
    if (status == TRIB_OK)
        status = trib_sql_number(
            reader->db, "SELECT count(*) FROM pragma_table_info('contributions') WHERE name = 'below_hops'",
            0, &hops, err);
    reader->tells_hops = hops > 0;
    if (status == TRIB_OK && found == 0) {
        status = trib_fail(err, TRIB_INVALID, "%s has no ledger in it", path);
    }
    return status;
}

enum trib_status trib_ledger_open_readonly(const char *path, struct trib_ledger_reader **out,
                                           struct trib_error *err) {
    char file[TRIB_LEDGER_PATH];
    *out = NULL;
    enum trib_status status = trib_ledger_file(path, file, err);
    if (status != TRIB_OK) return status;
    struct trib_ledger_reader *reader = trib_alloc(sizeof *reader);
    if (reader == NULL) return trib_fail(err, TRIB_NOMEM, "no memory to open a ledger");
    status = trib_sql_open_readonly(file, NULL, &reader->db, err);
    if (status == TRIB_OK) status = check_ledger(reader, file, err);
    if (status != TRIB_OK) trib_ledger_close(&reader);
    *out = reader;
    return status;
}

void trib_ledger_close(struct trib_ledger_reader **reader) {
    struct trib_ledger_reader *r = *reader;
    *reader = NULL;
    if (r == NULL) return;
    (void)sqlite3_close(r->db);
    trib_free(r);
}

/* ---- reading ---- */

enum trib_status trib_ledger_find(struct trib_ledger_reader *reader, const char *name,
                                  struct trib_ledger_run *out, struct trib_error *err) {
    bool last = strcmp(name, "last") == 0, row = false;
    if (name[0] == 0)
        return trib_fail(err, TRIB_INVALID,
                         "found an empty name, expected the beginning of a run's, or last");
    sqlite3_stmt *stmt = NULL;
    enum trib_status status = trib_sql_prepare(
        reader->db,
        "SELECT max(run_id), run, count(*) OVER (), role FROM runs WHERE substr(run, 1, length(?1)) = ?1 "
        "GROUP BY run ORDER BY max(run_id) DESC",
        &stmt, err);
    if (status != TRIB_OK) return status;
    (void)sqlite3_bind_text(stmt, 1, last ? "" : name, -1, SQLITE_TRANSIENT);
    status = trib_sql_step(stmt, &row, err);
    if (status == TRIB_OK && !row) {
        status = trib_fail(err, TRIB_NOT_FOUND,
                           last ? "there is no run in the ledger yet%s"
                                : "no run begins with \"%s\"; list them without naming one",
                           last ? "" : name);
    } else if (status == TRIB_OK && !last && sqlite3_column_int64(stmt, 2) > 1) {
        status = trib_fail(err, TRIB_INVALID, "%lld runs begin with \"%s\": give more of its name",
                           (long long)sqlite3_column_int64(stmt, 2), name);
    } else if (status == TRIB_OK) {
        out->run_id = sqlite3_column_int64(stmt, 0);
        (void)snprintf(out->run, sizeof out->run, "%s", (const char *)sqlite3_column_text(stmt, 1));
        (void)snprintf(out->role, sizeof out->role, "%s", (const char *)sqlite3_column_text(stmt, 3));
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

enum trib_status trib_ledger_version(struct trib_ledger_reader *reader, int64_t run_id,
                                     const uint64_t *version, struct trib_ledger_version *out,
                                     struct trib_error *err) {
    bool row = false;
    sqlite3_stmt *stmt = NULL;
    enum trib_status status =
        trib_sql_prepare(reader->db,
                         "SELECT version, made_by, coalesce(digest, '') FROM versions WHERE run_id = ?1 AND "
                         "(?2 IS NULL OR version = ?2) ORDER BY version DESC LIMIT 1",
                         &stmt, err);
    if (status != TRIB_OK) return status;
    (void)sqlite3_bind_int64(stmt, 1, run_id);
    if (version != NULL) (void)sqlite3_bind_int64(stmt, 2, (sqlite3_int64)(*version & INT64_MAX));
    status = trib_sql_step(stmt, &row, err);
    if (status == TRIB_OK && !row && version == NULL)
        status = trib_fail(err, TRIB_NOT_FOUND, "the run has no version yet");
    else if (status == TRIB_OK && !row)
        status =
            trib_fail(err, TRIB_NOT_FOUND, "the ledger has no version %" PRIu64 " of this run", *version);
    if (row) {
        out->version = (uint64_t)sqlite3_column_int64(stmt, 0);
        (void)snprintf(out->made_by, sizeof out->made_by, "%s", (const char *)sqlite3_column_text(stmt, 1));
        (void)snprintf(out->digest, sizeof out->digest, "%s", (const char *)sqlite3_column_text(stmt, 2));
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

const char *trib_ledger_table_name(enum trib_ledger_table table) {
    return tables[table].name;
}

const struct trib_ledger_column *trib_ledger_columns(enum trib_ledger_table table, size_t *count) {
    *count = tables[table].count;
    return tables[table].columns;
}

size_t trib_ledger_column(enum trib_ledger_table table, const char *name) {
    size_t i = 0;
    while (i < tables[table].count && strcmp(tables[table].columns[i].name, name) != 0) i++;
    TRIB_ASSERT(i < tables[table].count);
    return i;
}

static enum trib_status prepare(struct trib_ledger_reader *reader, const struct table *table,
                                sqlite3_stmt **stmt, struct trib_error *err) {
    struct trib_buf sql;
    trib_buf_init(&sql, 0);
    trib_buf_printf(&sql,
                    "WITH told AS (SELECT contribution_id AS id, %s AS hops FROM contributions), "
                    "chosen AS (SELECT row_number() OVER (ORDER BY %s) AS rank, ",
                    reader->tells_hops ? "below_hops" : "NULL", table->order);
    for (size_t i = 0; i < table->count; i++)
        trib_buf_printf(&sql, "%s%s", i > 0 ? ", " : "", table->columns[i].name);
    trib_buf_printf(&sql, " FROM %s) SELECT ", table->from);
    for (size_t i = 0; i < table->count; i++)
        trib_buf_printf(&sql, "%s%s", i > 0 ? ", " : "", table->columns[i].name);
    trib_buf_printf(&sql,
                    " FROM chosen WHERE ?2 <= 0 OR rank > (SELECT count(*) FROM chosen) - ?2 ORDER BY rank");
    enum trib_status status = sql.failed ? trib_fail(err, TRIB_NOMEM, "no memory for a query")
                                         : trib_sql_prepare(reader->db, trib_buf_text(&sql), stmt, err);
    trib_buf_release(&sql);
    return status;
}

enum trib_status trib_ledger_read(struct trib_ledger_reader *reader, enum trib_ledger_table which,
                                  int64_t run_id, int64_t limit,
                                  enum trib_status (*row)(void *ctx, const struct trib_ledger_cell *cells,
                                                          size_t count, struct trib_error *err),
                                  void *ctx, struct trib_error *err) {
    const struct table *table = &tables[which];
    struct trib_ledger_cell cells[32];
    TRIB_ASSERT(table->count <= 32);
    sqlite3_stmt *stmt = NULL;
    enum trib_status status = prepare(reader, table, &stmt, err);
    if (status != TRIB_OK) return status;
    (void)sqlite3_bind_int64(stmt, 1, run_id);
    (void)sqlite3_bind_int64(stmt, 2, limit);
    bool more = true;
    while (status == TRIB_OK && (status = trib_sql_step(stmt, &more, err)) == TRIB_OK && more) {
        for (size_t i = 0; i < table->count; i++) {
            int at = (int)i;
            cells[i] = (struct trib_ledger_cell){
                .null = sqlite3_column_type(stmt, at) == SQLITE_NULL,
                .integer = sqlite3_column_int64(stmt, at),
                .real = sqlite3_column_double(stmt, at),
            };
            if (table->columns[i].unit == TRIB_UNIT_TEXT)
                cells[i].text = (const char *)sqlite3_column_text(stmt, at);
            if (cells[i].text == NULL) cells[i].text = "";
        }
        status = row(ctx, cells, table->count, err);
    }
    (void)sqlite3_finalize(stmt);
    return status;
}
