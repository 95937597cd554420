/* One function a kind of record: its values, in the order of a statement's parameters. */
#include "shared/base/number.h"
#include "shared/ledger/internal.h"
#include "shared/model/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

/* [[a, b], [c, d], ...]: so many numbers a group. */
static void put_groups(struct row *row, const struct trib_u64s *list, size_t numbers) {
    struct trib_buf *text = &row->ledger->text;
    trib_buf_clear(text);
    for (size_t i = 0; i < list->count / numbers * numbers; i++)
        trib_buf_printf(text, "%s%s%" PRIu64 "%s", i == 0 ? "[" : ",", i % numbers == 0 ? "[" : "",
                        list->items[i], (i + 1) % numbers == 0 ? "]" : "");
    trib_buf_printf(text, list->count < numbers ? "[]" : "]");
    if (text->failed) row->rc |= SQLITE_NOMEM;
    put_bytes(row, trib_buf_text(text), text->size);
}

static void put_origins(struct row *row) {
    if (trib_rec_has(row->record, HISTOGRAM))
        put_groups(row, &row->record->histogram, 2);
    else
        put_null(row);
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
    if (trib_rec_has(row->record, HOPS))
        put_groups(row, &row->record->hops, TRIB_HOP_NUMBERS);
    else
        put_null(row);
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

static enum trib_status add_run(struct trib_ledger *ledger, const struct trib_record *r,
                                struct trib_error *err) {
    char run[2 * sizeof r->run + 1];
    (void)trib_hex(r->run, sizeof r->run, run);
    if (trib_rec_has(r, INCARNATION)) {
        (void)snprintf(ledger->incarnation, sizeof ledger->incarnation, "%016" PRIx64, r->incarnation);
    }
    struct row row = begin(ledger, RUN_ADD, r);
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
    PUT_TEXT(&row, TEXT, text);
    put_int(&row, trib_rec_has(r, LEDGER_FORMAT) ? r->ledger_format : 1);
    enum trib_status status = finish(&row, err);
    ledger->run_id = sqlite3_last_insert_rowid(ledger->db);
    ledger->has_parent_model = false;
    return status;
}

static enum trib_status take_start(struct trib_ledger *ledger, const struct trib_record *r,
                                   struct trib_error *err) {
    struct row row = begin(ledger, RUN_SUPERSEDE, r);
    put_int(&row, r->now_ms);
    enum trib_status status = finish(&row, err);
    if (status == TRIB_OK) status = void_pending(ledger, r, "superseded", strlen("superseded"), err);
    if (status != TRIB_OK) return status;
    return add_run(ledger, r, err);
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

/* The update of the same participant that was pending: a robust buffer holds one of each. */
static enum trib_status void_superseded(struct trib_ledger *ledger, const struct trib_record *r,
                                        struct trib_error *err) {
    if (!trib_rec_has(r, SUPERSEDES)) return TRIB_OK;
    struct row row = begin(ledger, CONTRIBUTION_SUPERSEDED, r);
    put_bytes(&row, r->peer.data, r->peer.size);
    return finish(&row, err);
}

static enum trib_status take_verdict(struct trib_ledger *ledger, const struct trib_record *r,
                                     struct trib_error *err) {
    enum trib_status status = void_superseded(ledger, r, err);
    if (status != TRIB_OK) return status;
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
    PUT(&row, put_real, EFFECT, effect);
    PUT(&row, put_real, DIVERGENCE, divergence);
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
    PUT(&row, put_int, VERDICTS, verdicts);
    enum trib_status status = finish(&row, err);
    if (status != TRIB_OK) return status;
    row = begin(ledger, CONTRIBUTIONS_COMMIT, r);
    put_int(&row, r->version);
    return finish(&row, err);
}

static enum trib_status take_rollback(struct trib_ledger *ledger, const struct trib_record *r,
                                      struct trib_error *err) {
    struct row row = begin(ledger, VERSION_ROLLBACK, r);
    put_int(&row, r->version);
    PUT(&row, put_int, FROM, from_version);
    put_int(&row, r->now_ms);
    PUT_DIGEST(&row, DIGEST, digest);
    PUT_DIGEST(&row, LEDGER_CHAIN, ledger_chain);
    PUT(&row, put_int, VERDICTS, verdicts);
    enum trib_status status = finish(&row, err);
    return status == TRIB_OK ? void_pending(ledger, r, "rollback", strlen("rollback"), err) : status;
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
    if (trib_rec_has(r, TEXT)) { /* auto(...) */
        PUT_TEXT(&row, CODEC, codec);
        PUT_TEXT(&row, TEXT, text);
    }
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

/* Rows of the run beyond the first `count`, in order of judging. */
#define BEYOND                                                                                               \
    "run_id = %" PRId64 " AND contribution_id > (SELECT coalesce(max(contribution_id), 0) FROM (SELECT "     \
    "contribution_id FROM contributions WHERE run_id = %" PRId64 " ORDER BY contribution_id LIMIT %" PRId64  \
    "))"

/* At the cloud it is known which verdicts are there: the others go, and those that no version has yet are
 * pending again, but for what a newer one of the same participant replaced that is still there. */
static enum trib_status go_back_to_verdicts(struct trib_ledger *ledger, const struct trib_record *r,
                                            int64_t run, struct trib_error *err) {
    char sql[900];
    int64_t in_versions = 0, there = (int64_t)r->verdicts;
    (void)snprintf(sql, sizeof sql,
                   "SELECT verdicts FROM versions WHERE run_id = %" PRId64 " AND version = %" PRIu64, run,
                   r->version);
    enum trib_status status = trib_sql_number(ledger->db, sql, 0, &in_versions, err);
    (void)snprintf(
        sql, sizeof sql,
        "DELETE FROM contributions WHERE " BEYOND
        "; UPDATE contributions AS c SET version = NULL, void_reason = CASE WHEN void_reason = "
        "'superseded' AND EXISTS (SELECT 1 FROM contributions n WHERE n.run_id = c.run_id AND n.node "
        "= c.node AND n.contribution_id > c.contribution_id AND n.verdict = 'accepted') THEN "
        "'superseded' END WHERE " BEYOND,
        run, run, there, run, run, in_versions);
    return status == TRIB_OK ? trib_sql_exec(ledger->db, sql, err) : status;
}

/* Elsewhere: accepted, in a version that is lost. */
static enum trib_status void_lost(struct trib_ledger *ledger, const struct trib_record *r, int64_t run,
                                  struct trib_error *err) {
    char sql[200];
    (void)snprintf(sql, sizeof sql,
                   "UPDATE contributions SET version = NULL, void_reason = 'lost' WHERE run_id = %" PRId64
                   " AND version > %" PRIu64,
                   run, r->version);
    enum trib_status status = trib_sql_exec(ledger->db, sql, err);
    return status == TRIB_OK ? void_pending(ledger, r, "lost", 4, err) : status;
}

/* Records were lost: the rows of what came after the version are of a future that does not happen, and a run
 * begun in it neither. Where the ledger itself was lost with the database, it begins anew here. */
static enum trib_status go_back(struct trib_ledger *ledger, const struct trib_record *r,
                                struct trib_error *err) {
    char run[33] = "", sql[900];
    int64_t id = 0, published = trib_rec_has(r, FROM) ? (int64_t)r->from_version : -1;
    (void)trib_hex(r->run, sizeof r->run, run);
    (void)snprintf(sql, sizeof sql, "SELECT max(run_id) FROM runs WHERE run = '%s'", run);
    enum trib_status status = trib_sql_number(ledger->db, sql, 0, &id, err);
    if (status != TRIB_OK) return status;
    if (id == 0) return add_run(ledger, r, err);
    ledger->run_id = id;
    (void)snprintf(
        sql, sizeof sql,
        "UPDATE runs SET state = 'lost', ended_ms = %" PRIu64 " WHERE run_id > %" PRId64
        "; UPDATE runs SET state = 'running', ended_ms = NULL, stop_reason = NULL WHERE run_id = %" PRId64
        "; DELETE FROM evaluations WHERE run_id = %" PRId64 " AND version > %" PRIu64
        "; DELETE FROM versions WHERE run_id = %" PRId64 " AND (version > %" PRIu64 " OR (version > %" PRId64
        " AND made_by IN ('start', 'parent')))"
        "; UPDATE versions SET published = 0, published_ms = NULL, published_from = NULL, published_digest "
        "= NULL, chain_digest = NULL, increment_bytes = NULL, published_codec = NULL, published_why = NULL "
        "WHERE run_id = %" PRId64 " AND version > %" PRId64,
        r->now_ms, id, id, id, r->version, id, r->version, published, id, published);
    status = trib_sql_exec(ledger->db, sql, err);
    if (status != TRIB_OK) return status;
    return trib_rec_has(r, VERDICTS) ? go_back_to_verdicts(ledger, r, id, err)
                                     : void_lost(ledger, r, id, err);
}

static enum trib_status take_incarnation(struct trib_ledger *ledger, const struct trib_record *r,
                                         struct trib_error *err) {
    bool lost = trib_rec_has(r, VERSION);
    (void)snprintf(ledger->incarnation, sizeof ledger->incarnation, "%016" PRIx64, r->incarnation);
    enum trib_status status =
        lost ? go_back(ledger, r, err) : void_pending(ledger, r, "incarnation", 11, err);
    struct row row = begin(ledger, RUN_INCARNATION, r);
    put_text(&row, ledger->incarnation);
    if (status == TRIB_OK) status = finish(&row, err);
    return status == TRIB_OK ? add_event(ledger, r, lost ? "error" : "info", "incarnation", err) : status;
}

static enum trib_status take_stop(struct trib_ledger *ledger, const struct trib_record *r,
                                  struct trib_error *err) {
    struct row row = begin(ledger, RUN_STOP, r);
    put_int(&row, r->now_ms);
    PUT_TEXT(&row, TEXT, text);
    return finish(&row, err);
}

const ledger_take_fn ledger_takers[TRIB_REC_KINDS] = {
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
    [TRIB_REC_ROLLBACK] = take_rollback,
};
