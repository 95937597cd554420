/* Records become rows. */
#include "shared/base/alloc.h"
#include "shared/base/log.h"
#include "shared/ledger/ledger.h"
#include "shared/ledger/schema.h"
#include "shared/model/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum statement {
    RUN_ADD,
    RUN_SUPERSEDE,
    RUN_INCARNATION,
    RUN_STOP,
    NODE_RETIRE,
    NODE_ADD,
    CONTRIBUTION_ADD,
    CONTRIBUTIONS_COMMIT,
    CONTRIBUTIONS_VOID,
    VERSION_COMMIT,
    VERSION_PUBLISH,
    EVALUATION_ADD,
    EVENT_ADD,
    FORWARD_ADD,
    FORWARD_JUDGE,
    FORWARDS_CONTAINED,
    PARENT_ADD,
    STATEMENTS
};

#define PENDING "run_id IS ?1 AND version IS NULL AND void_reason IS NULL AND verdict = 'accepted'"

static const char *const statements[STATEMENTS] = {
    [RUN_ADD] =
        "INSERT INTO runs(run, role, node, incarnation, parent_incarnation, started_ms, state, seed, plan, "
        "schema, build, environment) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 'running', ?7, ?8, ?9, ?10, ?11)",
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
        "below_up_bytes, below_down_bytes, below_raw_bytes) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
        "?11, ?12, "
        "?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28)",
    [CONTRIBUTIONS_COMMIT] = "UPDATE contributions SET version = ?2 WHERE " PENDING,
    [CONTRIBUTIONS_VOID] = "UPDATE contributions SET void_reason = ?2 WHERE " PENDING,
    [VERSION_COMMIT] =
        "INSERT OR REPLACE INTO versions(run_id, version, parent_version, made_by, made_ms, rule, commits, "
        "contributions, scale, digest, ledger_chain_digest, down_bytes, up_bytes) "
        "VALUES(?1, ?2, CASE WHEN ?2 > 0 THEN ?2 - 1 END, 'commit', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    /* A version without a commit of its own: the run's start, or at an edge a model from the parent. */
    [VERSION_PUBLISH] =
        "INSERT INTO versions(run_id, version, parent_version, made_by, made_ms, published, published_ms, "
        "published_from, published_digest, chain_digest, increment_bytes) "
        "VALUES(?1, ?2, CASE WHEN ?2 > 0 THEN ?2 - 1 END, CASE WHEN ?2 > 0 THEN 'parent' ELSE 'start' END, "
        "?3, 1, "
        "?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET published = 1, published_ms = ?3, published_from = "
        "?4, "
        "published_digest = ?5, chain_digest = ?6, increment_bytes = ?7",
    [EVALUATION_ADD] = "INSERT INTO evaluations VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [EVENT_ADD] =
        "INSERT INTO events(run_id, at_ms, level, event, node, detail) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [FORWARD_ADD] = "INSERT OR REPLACE INTO forwards(run_id, incarnation, sequence, made_ms, base_version, "
                    "origins, samples, "
                    "weight_samples, region_samples, steps, loss, codec, wire_bytes, raw_bytes, "
                    "below_updates, below_up_bytes, "
                    "below_down_bytes, below_raw_bytes) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
                    "?12, ?13, ?14, ?15, "
                    "?16, ?17, ?18)",
    [FORWARD_JUDGE] = "UPDATE forwards SET judged_ms = ?4, verdict = ?5, reason = ?6, staleness = ?7, "
                      "weight_applied = ?8 WHERE run_id IS ?1 AND incarnation = ?2 AND sequence = ?3",
    [FORWARDS_CONTAINED] =
        "UPDATE forwards SET contained_ms = ?4 WHERE run_id IS ?1 AND incarnation = ?2 AND "
        "sequence <= ?3 AND contained_ms IS NULL AND verdict IS NOT 'refused'",
    [PARENT_ADD] = "INSERT INTO parent_models(run_id, received_ms, version, from_version, kind, wire_bytes, "
                   "chain_digest, applied_sequence, fence) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
};

struct trib_ledger {
    char *role, *node, *build, *environment;
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENTS];
    int64_t run_id; /* 0: none has begun */
    char incarnation[17];
    bool has_parent_model;
    uint64_t parent_version;
    struct trib_buf text;
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

/* ---- binding: values in the order of a statement's parameters ---- */

struct row {
    struct trib_ledger *ledger;
    const struct trib_record *record;
    sqlite3_stmt *stmt;
    int column, rc;
};

static void put_null(struct row *row) {
    row->column++; /* unbound parameters are NULL */
}

static void put_int(struct row *row, uint64_t value) {
    int64_t v = value > INT64_MAX ? INT64_MAX : (int64_t)value;
    row->rc |= sqlite3_bind_int64(row->stmt, ++row->column, v);
}

static void put_bytes(struct row *row, const char *text, size_t size) {
    row->rc |= sqlite3_bind_text64(row->stmt, ++row->column, text != NULL ? text : "", size, SQLITE_TRANSIENT,
                                   SQLITE_UTF8);
}

static void put_text(struct row *row, const char *text) {
    put_bytes(row, text, strlen(text));
}

static void put_hex64(struct row *row, uint64_t value) {
    char hex[17];
    (void)snprintf(hex, sizeof hex, "%016" PRIx64, value);
    put_text(row, hex);
}

static void put_real(struct row *row, float value) {
    row->rc |= sqlite3_bind_double(row->stmt, ++row->column, (double)value);
}

/* A field of the record, NULL where it has none. */
#define PUT(row, put, KEY, field)                                                                            \
    (trib_rec_has((row)->record, KEY) ? put((row), (row)->record->field) : put_null(row))
#define PUT_TEXT(row, KEY, field)                                                                            \
    (trib_rec_has((row)->record, KEY)                                                                        \
         ? put_bytes((row), (row)->record->field.data, (row)->record->field.size)                            \
         : put_null(row))
#define PUT_DIGEST(row, KEY, field)                                                                          \
    (trib_rec_has((row)->record, KEY) ? put_digest((row), (row)->record->field) : put_null(row))

static void put_digest(struct row *row, const uint8_t *digest) {
    char hex[2 * TRIB_DIGEST_BYTES + 1];
    put_text(row, trib_digest_hex(digest, hex));
}

static void put_run(struct row *row) {
    if (row->ledger->run_id == 0) {
        put_null(row);
    } else {
        put_int(row, (uint64_t)row->ledger->run_id);
    }
}

/* [[origin, samples], ...] */
static void put_origins(struct row *row) {
    const struct trib_u64s *h = &row->record->histogram;
    struct trib_buf *text = &row->ledger->text;
    if (!trib_rec_has(row->record, HISTOGRAM)) {
        put_null(row);
        return;
    }
    trib_buf_clear(text);
    for (size_t i = 0; i + 1 < h->count; i += 2) {
        trib_buf_printf(text, "%s[%" PRIu64 ",%" PRIu64 "]", i == 0 ? "[" : ",", h->items[i],
                        h->items[i + 1]);
    }
    trib_buf_printf(text, h->count < 2 ? "[]" : "]");
    if (text->failed) row->rc |= SQLITE_NOMEM;
    put_bytes(row, trib_buf_text(text), text->size);
}

static void put_wire_bytes(struct row *row) {
    const struct trib_record *r = row->record;
    put_int(row, trib_rec_has(r, WIRE_BYTES) ? r->wire_bytes : trib_blob_size(r->payload));
}

static void put_verdict(struct row *row) {
    const struct trib_record *r = row->record;
    bool known = r->verdict == TRIB_ACCEPTED || r->verdict == TRIB_REFUSED;
    if (known) {
        put_text(row, trib_verdict_name(r->verdict));
    } else {
        put_null(row);
    }
    if (trib_rec_has(r, REASON) && r->reason != TRIB_REASON_NONE) {
        put_text(row, trib_reason_name(r->reason));
    } else {
        put_null(row);
    }
}

static void put_below(struct row *row) {
    PUT(row, put_int, BELOW_UPDATES, below_updates);
    PUT(row, put_int, BELOW_UP, below_up_bytes);
    PUT(row, put_int, BELOW_DOWN, below_down_bytes);
    PUT(row, put_int, BELOW_RAW, below_raw_bytes);
}

/* A row of the current run: run_id is the first parameter of every statement but RUN_ADD. */
static struct row begin(struct trib_ledger *ledger, enum statement which, const struct trib_record *record) {
    struct row row = {ledger, record, ledger->prepared[which], 0, SQLITE_OK};
    if (which != RUN_ADD) put_run(&row);
    return row;
}

static enum trib_status finish(struct row *row, struct trib_error *err) {
    if (row->rc == SQLITE_OK) return trib_sql_run(row->stmt, err);
    (void)sqlite3_clear_bindings(row->stmt);
    return trib_fail(err, TRIB_NOMEM, "no memory to write a row of the ledger");
}

/* ---- one function a kind ---- */

static enum trib_status add_event(struct trib_ledger *ledger, const struct trib_record *record,
                                  const char *level, const char *event, struct trib_error *err) {
    struct row row = begin(ledger, EVENT_ADD, record);
    put_int(&row, record->now_ms);
    put_text(&row, level);
    put_text(&row, event);
    PUT_TEXT(&row, PEER, peer);
    PUT_TEXT(&row, TEXT, text);
    return finish(&row, err);
}

static enum trib_status void_pending(struct trib_ledger *ledger, const struct trib_record *record,
                                     const char *reason, size_t size, struct trib_error *err) {
    struct row row = begin(ledger, CONTRIBUTIONS_VOID, record);
    put_bytes(&row, reason, size);
    return finish(&row, err);
}

static enum trib_status take_start(struct trib_ledger *ledger, const struct trib_record *r,
                                   struct trib_error *err) {
    struct row row = begin(ledger, RUN_SUPERSEDE, r);
    put_int(&row, r->now_ms);
    enum trib_status status = finish(&row, err);
    if (status == TRIB_OK) status = void_pending(ledger, r, "superseded", strlen("superseded"), err);
    if (status != TRIB_OK) return status;
    char run[33] = "";
    for (size_t i = 0; i < sizeof r->run; i++) (void)snprintf(run + 2 * i, 3, "%02x", r->run[i]);
    if (trib_rec_has(r, INCARNATION)) {
        (void)snprintf(ledger->incarnation, sizeof ledger->incarnation, "%016" PRIx64, r->incarnation);
    }
    row = begin(ledger, RUN_ADD, r);
    put_text(&row, run);
    put_text(&row, ledger->role);
    put_text(&row, ledger->node);
    put_text(&row, ledger->incarnation);
    PUT(&row, put_hex64, PARENT_INCARNATION, parent_incarnation);
    put_int(&row, r->now_ms);
    PUT(&row, put_hex64, SEED, seed);
    put_bytes(&row, r->plan.data, r->plan.size);
    put_bytes(&row, r->schema.data, r->schema.size);
    put_text(&row, ledger->build);
    put_text(&row, ledger->environment);
    status = finish(&row, err);
    ledger->run_id = sqlite3_last_insert_rowid(ledger->db);
    ledger->has_parent_model = false;
    return status;
}

static enum trib_status take_peer(struct trib_ledger *ledger, const struct trib_record *r,
                                  struct trib_error *err) {
    enum trib_status status = TRIB_OK;
    for (int i = 0; i < 2 && status == TRIB_OK; i++) {
        struct row row = begin(ledger, i == 0 ? NODE_RETIRE : NODE_ADD, r);
        put_bytes(&row, r->peer.data, r->peer.size);
        put_hex64(&row, r->incarnation);
        put_int(&row, r->now_ms);
        if (i == 1) put_text(&row, r->kind_of_peer == TRIB_CHILD_EDGE ? "edge" : "device");
        status = finish(&row, err);
    }
    return status;
}

static enum trib_status take_verdict(struct trib_ledger *ledger, const struct trib_record *r,
                                     struct trib_error *err) {
    struct row row = begin(ledger, CONTRIBUTION_ADD, r);
    put_int(&row, r->now_ms);
    put_bytes(&row, r->peer.data, r->peer.size);
    put_hex64(&row, r->incarnation);
    put_int(&row, r->number);
    PUT(&row, put_int, BASE, base_version);
    PUT(&row, put_int, STALENESS, staleness);
    put_origins(&row);
    PUT(&row, put_real, FACTOR, factor);
    PUT(&row, put_real, APPLIED, applied);
    PUT(&row, put_real, NORM_ADD, norm_add);
    PUT(&row, put_int, WEIGHT, weight);
    PUT(&row, put_int, REGION, region);
    PUT(&row, put_int, SAMPLES, samples);
    PUT(&row, put_real, STEPS, steps);
    PUT(&row, put_real, LOSS, loss);
    PUT(&row, put_real, UPDATE_NORM, update_norm);
    PUT(&row, put_real, COSINE, cosine);
    PUT_TEXT(&row, CODEC, codec);
    put_wire_bytes(&row);
    PUT(&row, put_int, RAW_BYTES, raw_bytes);
    PUT(&row, put_int, PAYLOAD_CRC, payload_crc);
    put_verdict(&row);
    put_below(&row);
    return finish(&row, err);
}

static enum trib_status take_commit(struct trib_ledger *ledger, const struct trib_record *r,
                                    struct trib_error *err) {
    struct row row = begin(ledger, VERSION_COMMIT, r);
    put_int(&row, r->version);
    put_int(&row, r->now_ms);
    PUT_TEXT(&row, RULE, rule);
    PUT(&row, put_int, COMMITS, commits);
    PUT(&row, put_int, CONTRIBUTIONS, contributions);
    PUT(&row, put_real, SCALE, scale);
    PUT_DIGEST(&row, DIGEST, digest);
    PUT_DIGEST(&row, LEDGER_CHAIN, ledger_chain);
    PUT(&row, put_int, DOWN_BYTES, down_bytes);
    PUT(&row, put_int, UP_BYTES, up_bytes);
    enum trib_status status = finish(&row, err);
    if (status != TRIB_OK) return status;
    row = begin(ledger, CONTRIBUTIONS_COMMIT, r);
    put_int(&row, r->version);
    return finish(&row, err);
}

static enum trib_status take_publish(struct trib_ledger *ledger, const struct trib_record *r,
                                     struct trib_error *err) {
    struct row row = begin(ledger, VERSION_PUBLISH, r);
    put_int(&row, r->version);
    put_int(&row, r->now_ms);
    PUT(&row, put_int, FROM, from_version);
    PUT_DIGEST(&row, DIGEST, digest);
    PUT_DIGEST(&row, CHAIN, chain);
    put_int(&row, trib_blob_size(r->payload));
    return finish(&row, err);
}

static enum trib_status take_evaluation(struct trib_ledger *ledger, const struct trib_record *r,
                                        struct trib_error *err) {
    struct row row = begin(ledger, EVALUATION_ADD, r);
    put_int(&row, r->version);
    put_int(&row, r->now_ms);
    PUT(&row, put_real, ACCURACY, accuracy);
    PUT(&row, put_real, LOSS, loss);
    PUT(&row, put_int, EVAL_SAMPLES, eval_samples);
    PUT(&row, put_int, DURATION_MS, duration_ms);
    return finish(&row, err);
}

static enum trib_status take_event(struct trib_ledger *ledger, const struct trib_record *r,
                                   struct trib_error *err) {
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    char event[80];
    (void)snprintf(event, sizeof event, "%.*s", r->event.size < 79 ? (int)r->event.size : 79,
                   r->event.data != NULL ? r->event.data : "");
    return add_event(ledger, r, r->level < 4 ? levels[r->level] : "info", event, err);
}

static enum trib_status take_forward(struct trib_ledger *ledger, const struct trib_record *r,
                                     struct trib_error *err) {
    struct row row = begin(ledger, FORWARD_ADD, r);
    put_text(&row, ledger->incarnation);
    put_int(&row, r->number);
    put_int(&row, r->now_ms);
    PUT(&row, put_int, BASE, base_version);
    put_origins(&row);
    PUT(&row, put_int, SAMPLES, samples);
    PUT(&row, put_int, WEIGHT, weight);
    PUT(&row, put_int, REGION, region);
    PUT(&row, put_real, STEPS, steps);
    PUT(&row, put_real, LOSS, loss);
    PUT_TEXT(&row, CODEC, codec);
    put_wire_bytes(&row);
    PUT(&row, put_int, RAW_BYTES, raw_bytes);
    put_below(&row);
    return finish(&row, err);
}

static enum trib_status take_acked(struct trib_ledger *ledger, const struct trib_record *r,
                                   struct trib_error *err) {
    struct row row = begin(ledger, FORWARD_JUDGE, r);
    put_text(&row, ledger->incarnation);
    put_int(&row, r->number);
    put_int(&row, r->now_ms);
    put_verdict(&row);
    PUT(&row, put_int, STALENESS, staleness);
    PUT(&row, put_real, APPLIED, applied);
    return finish(&row, err);
}

static const char *model_name(uint64_t kind) {
    static const char *const names[] = {"", "current", "increments", "seed", "snapshot"};
    return kind < sizeof names / sizeof *names ? names[kind] : "";
}

static enum trib_status take_parent(struct trib_ledger *ledger, const struct trib_record *r,
                                    struct trib_error *err) {
    bool crossed = ledger->has_parent_model && r->fence > ledger->parent_version;
    ledger->has_parent_model = true;
    ledger->parent_version = r->version;
    struct row row = begin(ledger, PARENT_ADD, r);
    put_int(&row, r->now_ms);
    put_int(&row, r->version);
    PUT(&row, put_int, FROM, from_version);
    put_text(&row, model_name(r->model_kind));
    put_wire_bytes(&row);
    PUT_DIGEST(&row, CHAIN, chain);
    PUT(&row, put_int, APPLIED_NUMBER, applied_number);
    PUT(&row, put_int, FENCE, fence);
    enum trib_status status = finish(&row, err);
    if (status != TRIB_OK) return status;
    row = begin(ledger, FORWARDS_CONTAINED, r);
    put_text(&row, ledger->incarnation);
    put_int(&row, r->applied_number);
    put_int(&row, r->now_ms);
    status = finish(&row, err);
    return status == TRIB_OK && crossed ? void_pending(ledger, r, "fence", 5, err) : status;
}

static enum trib_status take_void(struct trib_ledger *ledger, const struct trib_record *r,
                                  struct trib_error *err) {
    bool told = r->text.size > 0;
    enum trib_status status =
        void_pending(ledger, r, told ? r->text.data : "void", told ? r->text.size : 4, err);
    return status == TRIB_OK ? add_event(ledger, r, "warn", "void", err) : status;
}

static enum trib_status take_incarnation(struct trib_ledger *ledger, const struct trib_record *r,
                                         struct trib_error *err) {
    (void)snprintf(ledger->incarnation, sizeof ledger->incarnation, "%016" PRIx64, r->incarnation);
    struct row row = begin(ledger, RUN_INCARNATION, r);
    put_text(&row, ledger->incarnation);
    enum trib_status status = finish(&row, err);
    return status == TRIB_OK ? add_event(ledger, r, "info", "incarnation", err) : status;
}

static enum trib_status take_stop(struct trib_ledger *ledger, const struct trib_record *r,
                                  struct trib_error *err) {
    struct row row = begin(ledger, RUN_STOP, r);
    put_int(&row, r->now_ms);
    PUT_TEXT(&row, TEXT, text);
    return finish(&row, err);
}

typedef enum trib_status (*take_fn)(struct trib_ledger *, const struct trib_record *, struct trib_error *);

static const take_fn takers[TRIB_REC_KINDS] = {
    [TRIB_REC_START] = take_start,
    [TRIB_REC_PEER] = take_peer,
    [TRIB_REC_VERDICT] = take_verdict,
    [TRIB_REC_COMMIT] = take_commit,
    [TRIB_REC_PUBLISH] = take_publish,
    [TRIB_REC_FORWARD] = take_forward,
    [TRIB_REC_ACKED] = take_acked,
    [TRIB_REC_PARENT] = take_parent,
    [TRIB_REC_VOID] = take_void,
    [TRIB_REC_INCARNATION] = take_incarnation,
    [TRIB_REC_EVALUATION] = take_evaluation,
    [TRIB_REC_EVENT] = take_event,
    [TRIB_REC_STOP] = take_stop,
};

static enum trib_status project(void *ctx, const struct trib_record *record, struct trib_error *err) {
    TRIB_ASSERT(record->kind < TRIB_REC_KINDS && takers[record->kind] != NULL);
    return takers[record->kind](ctx, record, err);
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
        "ORDER BY model_id DESC LIMIT 1) FROM runs ORDER BY run_id DESC LIMIT 1",
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
