#include "shared/ledger/verify.h"

#include "shared/base/alloc.h"
#include "shared/ledger/rows.h"
#include "shared/model/digest.h"
#include "shared/model/schema.h"
#include "shared/state/chain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct verify {
    sqlite3 *db;
    int64_t run_id;
    void (*found)(void *ctx, const struct trib_finding *finding);
    void *ctx;
    struct trib_verified *out;
    struct trib_chain chain;             /* up to here, as the ledger says, */
    uint8_t computed[TRIB_DIGEST_BYTES]; /* and as it was computed, where that is another one */
    size_t version_columns;              /* an older file has one less, */
    size_t publication_columns;          /* or two: no auto(...) was known for what is published */
    size_t contribution_columns;         /* or one: no hops; before format 3 three */
    uint8_t fingerprint[TRIB_DIGEST_BYTES];
    bool known; /* the chain up to the version before is: this one's can be compared */
    bool any;   /* a version was seen: */
    uint64_t version;
    bool published; /* a publication was: */
    uint64_t published_version;
    uint64_t verdicts; /* that the version before names */
    /* contributions, in order of judging; the current row is not taken yet */
    sqlite3_stmt *rows;
    bool more, sound; /* sound: all of the version's rows could be read as records */
    int64_t first_row, last_row;
    uint64_t members;
    struct trib_buf member_text;
};

static void say(struct verify *v, const uint64_t *version, int64_t first, int64_t last, const char *fmt, ...)
    TRIB_PRINTF(5, 6);

static void say(struct verify *v, const uint64_t *version, int64_t first, int64_t last, const char *fmt,
                ...) {
    char text[400];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct trib_finding finding = {.has_version = version != NULL,
                                   .version = version != NULL ? *version : 0,
                                   .first_row = first,
                                   .last_row = last,
                                   .text = text};
    v->out->findings++;
    v->found(v->ctx, &finding);
}

static enum trib_status no_memory(struct trib_error *err) {
    return trib_fail(err, TRIB_NOMEM, "no memory to verify a ledger");
}

static enum trib_status prepare(struct verify *v, const char *first, const struct ledger_column *columns,
                                size_t count, const char *rest, sqlite3_stmt **out, struct trib_error *err) {
    struct trib_buf sql;
    trib_buf_init(&sql, 0);
    trib_buf_printf(&sql, "SELECT %s", first);
    ledger_select(&sql, columns, count);
    trib_buf_printf(&sql, " %s", rest);
    enum trib_status status =
        sql.failed ? no_memory(err) : trib_sql_prepare(v->db, trib_buf_text(&sql), out, err);
    trib_buf_release(&sql);
    if (status == TRIB_OK) (void)sqlite3_bind_int64(*out, 1, v->run_id);
    return status;
}

/* ---- contributions ---- */

enum { ROW_ID, ROW_VERSION, ROW_VOID, ROW_COLUMNS };

static enum trib_status next_row(struct verify *v, struct trib_error *err) {
    return trib_sql_step(v->rows, &v->more, err);
}

static bool is_text(sqlite3_stmt *stmt, int column, const char *expected) {
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return text != NULL && strcmp(text, expected) == 0;
}

/* Where the row says that it went, against where it belongs: into a version made by a commit, void by a
 * rollback, nowhere if it was refused. */
static void check_place(struct verify *v, const struct trib_record *r, uint64_t version, bool rollback) {
    int64_t id = sqlite3_column_int64(v->rows, ROW_ID);
    bool nowhere = sqlite3_column_type(v->rows, ROW_VERSION) == SQLITE_NULL;
    bool void_ = sqlite3_column_type(v->rows, ROW_VOID) != SQLITE_NULL;
    if (r->verdict == TRIB_REFUSED) {
        if (!nowhere || void_) say(v, &version, id, id, "it was refused, and is in a version or void too");
    } else if (rollback) {
        if (!nowhere || !is_text(v->rows, ROW_VOID, "rollback"))
            say(v, &version, id, id, "the rollback made it void, and the row does not say so");
    } else if (void_ || nowhere || (uint64_t)sqlite3_column_int64(v->rows, ROW_VERSION) != version) {
        say(v, &version, id, id, "it is in this version, and the row says otherwise");
    }
}

/* Takes the current row into the version. */
static enum trib_status take_row(struct verify *v, uint64_t version, bool rollback, struct trib_error *err) {
    struct trib_record r = {.kind = TRIB_REC_VERDICT};
    char problem[200];
    int64_t id = sqlite3_column_int64(v->rows, ROW_ID);
    if (v->first_row == 0) v->first_row = id;
    v->last_row = id;
    v->out->contributions++;
    if (!ledger_record(v->rows, ROW_COLUMNS, ledger_contribution_columns, v->contribution_columns, &r,
                       problem)) {
        say(v, &version, id, id, "%s", problem);
        v->sound = false;
        return TRIB_OK;
    }
    bool nowhere = sqlite3_column_type(v->rows, ROW_VERSION) == SQLITE_NULL;
    bool pending = v->chain.format < 2 && r.verdict == TRIB_ACCEPTED && nowhere;
    /* Replaced by a newer one while it waited. A row that only says so is missed among the version's. */
    bool replaced = r.verdict == TRIB_ACCEPTED && nowhere && is_text(v->rows, ROW_VOID, "superseded");
    if (v->known && !pending && !replaced) check_place(v, &r, version, rollback);
    if (!trib_chain_verdict(&v->chain, &r)) return no_memory(err);
    if (r.verdict != TRIB_ACCEPTED || rollback || pending || replaced) return TRIB_OK;
    char node[TRIB_NAME_MAX + 1];
    (void)snprintf(node, sizeof node, "%.*s", (int)r.peer.size, r.peer.data);
    trib_chain_member(&v->chain, &v->member_text, node, r.incarnation, r.number, r.applied);
    v->members++;
    return v->member_text.failed ? no_memory(err) : TRIB_OK;
}

/* Does the current row say that it is in this version, or in one before (then it is too many), or after? */
static int side_of(struct verify *v, uint64_t version) {
    if (sqlite3_column_type(v->rows, ROW_VERSION) == SQLITE_NULL) return 0;
    uint64_t said = (uint64_t)sqlite3_column_int64(v->rows, ROW_VERSION);
    return said > version ? 1 : -1;
}

/* The rows of a version: as many as its count of verdicts says, and where that does not fit what rows say,
 * what they say. Without a count (format 1), up to the first that is in a later one. */
static enum trib_status take_rows(struct verify *v, const struct trib_record *made, bool rollback,
                                  struct trib_error *err) {
    bool counted = v->chain.format >= 2;
    uint64_t n = counted && made->verdicts > v->verdicts ? made->verdicts - v->verdicts : 0, taken = 0;
    enum trib_status status = TRIB_OK;
    v->first_row = v->last_row = 0;
    v->members = 0;
    v->sound = true;
    trib_buf_clear(&v->member_text);
    while (status == TRIB_OK && v->more) {
        int side = side_of(v, made->version);
        if (side > 0 || (counted && taken >= n && side == 0)) break;
        status = take_row(v, made->version, rollback, err);
        if (status == TRIB_OK) status = next_row(v, err);
        taken++;
    }
    if (counted && v->known && taken != n)
        say(v, &made->version, v->first_row, v->last_row,
            "%" PRIu64 " contributions were judged for it, %" PRIu64 " are here", n, taken);
    v->verdicts = made->verdicts > v->verdicts ? made->verdicts : v->verdicts + taken;
    return status;
}

/* ---- versions ---- */

enum { MADE_BY, PUBLISHED, VERSION_COLUMNS };

static void check_publication(struct verify *v, const struct trib_record *p, int64_t flag) {
    uint8_t chain[TRIB_DIGEST_BYTES];
    bool there = trib_rec_has(p, NOW), exact = !trib_rec_has(p, FROM);
    bool empty = p->present == (uint64_t)1 << TRIB_R_VERSION, chosen = trib_rec_has(p, TEXT);
    if (flag != there || there != trib_rec_has(p, CHAIN) || there == empty || /* flag is 0 or 1 */
        chosen != trib_rec_has(p, CODEC) || (chosen && !there)) {
        say(v, &p->version, 0, 0, "its columns of a publication do not fit each other");
        return;
    }
    if (!there) return;
    if (!exact && v->known && (!v->published || p->from_version != v->published_version))
        say(v, &p->version, 0, 0,
            "published_from is %" PRIu64 ", and the version published before is another", p->from_version);
    trib_digest_chain_start(v->fingerprint, p->digest, chain);
    if (exact && memcmp(chain, p->chain, sizeof chain) != 0)
        say(v, &p->version, 0, 0, "chain_digest does not follow from published_digest");
    v->published = true;
    v->published_version = p->version;
}

static enum trib_status take_publication(struct verify *v, sqlite3_stmt *stmt, const struct trib_record *made,
                                         struct trib_error *err) {
    struct trib_record p = {.kind = TRIB_REC_PUBLISH};
    char problem[200];
    int at = VERSION_COLUMNS + (int)v->version_columns;
    if (!ledger_record(stmt, at, ledger_publication_columns, v->publication_columns, &p, problem)) {
        say(v, &made->version, 0, 0, "%s", problem);
        return TRIB_OK;
    }
    check_publication(v, &p, sqlite3_column_int64(stmt, PUBLISHED));
    if (made->version == 0 && p.now_ms != made->now_ms)
        say(v, &made->version, 0, 0, "version 0 is made when it is published, and these times differ");
    if (!trib_rec_has(&p, NOW) || trib_chain_publish(&v->chain, &p, (size_t)p.wire_bytes)) return TRIB_OK;
    return no_memory(err);
}

/* Version 0 is where the chain begins. */
static enum trib_status begin_chain(struct verify *v, const struct trib_record *start,
                                    const struct trib_record *made, sqlite3_stmt *stmt,
                                    struct trib_error *err) {
    uint64_t zero = 0,
             only = (uint64_t)1 << TRIB_R_VERSION | (uint64_t)1 << TRIB_R_NOW | (uint64_t)1 << TRIB_R_DIGEST;
    if (!is_text(stmt, MADE_BY, "start") || made->present != only)
        say(v, &zero, 0, 0, "a column has a value that version 0 does not have");
    trib_digest_chain_start(v->fingerprint, made->digest, v->chain.ledger);
    if (!trib_chain_run(&v->chain, start)) return no_memory(err);
    memcpy(v->computed, v->chain.ledger, sizeof v->computed);
    v->known = true;
    return TRIB_OK;
}

static void compare(struct verify *v, const struct trib_record *made, bool same) {
    if (!v->known) {
        say(v, &made->version, v->first_row, v->last_row,
            "its chain digest cannot be compared: what it follows is missing");
    } else if (v->sound && !same) {
        const char *first = made->version == 1 ? "the run's row, version 0, " : "";
        say(v, &made->version, v->first_row, v->last_row,
            "the chain digest is not that of the rows: %sthis version, %sor the publication before was "
            "altered",
            first, v->first_row != 0 ? "one of these contributions, " : "");
    }
}

/* Computes the version's digest, from what the ledger says of the one before, and from what that should be.
 */
static enum trib_status close_version(struct verify *v, const struct trib_record *made,
                                      struct trib_error *err) {
    struct trib_chain other = v->chain;
    memcpy(other.ledger, v->computed, sizeof other.ledger);
    if (v->chain.format >= 2) v->chain.verdicts = other.verdicts = made->verdicts;
    if (!trib_chain_version(&v->chain, made, &v->member_text) ||
        !trib_chain_version(&other, made, &v->member_text))
        return no_memory(err);
    bool same = memcmp(v->chain.ledger, made->ledger_chain, TRIB_DIGEST_BYTES) == 0;
    bool should = memcmp(other.ledger, made->ledger_chain, TRIB_DIGEST_BYTES) == 0;
    compare(v, made, trib_rec_has(made, LEDGER_CHAIN) && (same || should));
    memcpy(v->computed, should ? other.ledger : v->chain.ledger, TRIB_DIGEST_BYTES);
    if (trib_rec_has(made, LEDGER_CHAIN)) memcpy(v->chain.ledger, made->ledger_chain, TRIB_DIGEST_BYTES);
    v->known = true;
    return TRIB_OK;
}

static enum trib_status follow_chain(struct verify *v, struct trib_record *made, bool sound,
                                     sqlite3_stmt *stmt, struct trib_error *err) {
    bool rollback = is_text(stmt, MADE_BY, "rollback");
    made->kind = rollback ? TRIB_REC_ROLLBACK : TRIB_REC_COMMIT;
    if (!rollback && !is_text(stmt, MADE_BY, "commit"))
        say(v, &made->version, 0, 0, "made_by is neither commit nor rollback");
    if (!trib_rec_has(made, FROM) ||
        (rollback ? made->from_version >= made->version - 1 : made->from_version != made->version - 1))
        say(v, &made->version, 0, 0, "parent_version is none that it can have");
    if (!rollback) made->present &= ~((uint64_t)1 << TRIB_R_FROM); /* a commit's record does not name it */
    enum trib_status status = take_rows(v, made, rollback, err);
    if (status != TRIB_OK) return status;
    v->sound = v->sound && sound; /* else it was said already */
    if (!rollback && v->known && made->contributions != v->members)
        say(v, &made->version, v->first_row, v->last_row,
            "contributions is %" PRIu64 ", and %" PRIu64 " accepted ones are here", made->contributions,
            v->members);
    return close_version(v, made, err);
}

static enum trib_status take_version(struct verify *v, const struct trib_record *start, sqlite3_stmt *stmt,
                                     struct trib_error *err) {
    struct trib_record made = {0};
    char problem[200];
    uint64_t version = (uint64_t)sqlite3_column_int64(stmt, VERSION_COLUMNS),
             next = v->any ? v->version + 1 : 0;
    v->out->versions++;
    if (version != next) {
        say(v, &next, 0, 0,
            version == next + 1 ? "this version is missing" : "this version and more are missing");
        v->known = false;
    }
    bool sound =
        ledger_record(stmt, VERSION_COLUMNS, ledger_version_columns, v->version_columns, &made, problem);
    if (!sound) say(v, &version, 0, 0, "%s", problem);
    made.version = v->version = version;
    v->any = true;
    enum trib_status status =
        version == 0 ? begin_chain(v, start, &made, stmt, err) : follow_chain(v, &made, sound, stmt, err);
    if (status == TRIB_OK) status = take_publication(v, stmt, &made, err);
    if (trib_rec_has(&made, LEDGER_CHAIN)) (void)trib_digest_hex(made.ledger_chain, v->out->chain);
    return status;
}

/* What no version covers yet: it can only be pending, refused, or void because the run was followed by
 * another.
 */
static enum trib_status take_later(struct verify *v, struct trib_error *err) {
    enum trib_status status = TRIB_OK;
    while (status == TRIB_OK && v->more) {
        int64_t id = sqlite3_column_int64(v->rows, ROW_ID);
        v->out->contributions++;
        v->out->later++;
        if (sqlite3_column_type(v->rows, ROW_VERSION) != SQLITE_NULL) {
            uint64_t said = (uint64_t)sqlite3_column_int64(v->rows, ROW_VERSION);
            say(v, &said, id, id, "it is in a version that is not here, or not where this one belongs");
        }
        status = next_row(v, err);
    }
    return status;
}

/* ---- runs ---- */

/* Which columns the file has. */
static enum trib_status count_columns(struct verify *v, struct trib_error *err) {
    int64_t chosen = 0, hops = 0;
    enum trib_status status = trib_sql_number(
        v->db,
        "SELECT count(*) FROM pragma_table_info('versions') WHERE name IN ('published_codec', "
        "'published_why')",
        0, &chosen, err);
    if (status == TRIB_OK)
        status = trib_sql_number(
            v->db, "SELECT count(*) FROM pragma_table_info('contributions') WHERE name = 'below_hops'", 0,
            &hops, err);
    v->publication_columns = ledger_publication_column_count - (chosen == 2 ? 0 : 2);
    v->contribution_columns = ledger_contribution_column_count - (v->chain.format < 3 ? 3
                                                                  : hops == 0         ? 1
                                                                                      : 0);
    return status;
}

static enum trib_status check_cloud(struct verify *v, const struct trib_record *start,
                                    struct trib_error *err) {
    sqlite3_stmt *stmt = NULL;
    bool more = true;
    enum trib_status status = count_columns(v, err);
    if (status != TRIB_OK) return status;
    struct trib_buf both;
    trib_buf_init(&both, 0);
    ledger_select(&both, ledger_publication_columns, v->publication_columns);
    char sql[400];
    (void)snprintf(sql, sizeof sql, "%s FROM versions WHERE run_id = ?1 ORDER BY version",
                   trib_buf_text(&both));
    bool failed = both.failed;
    trib_buf_release(&both);
    if (failed) return no_memory(err);
    status = prepare(v, "made_by, published", ledger_version_columns, v->version_columns, sql, &stmt, err);
    if (status == TRIB_OK)
        status = prepare(v, "contribution_id, version, void_reason", ledger_contribution_columns,
                         v->contribution_columns,
                         "FROM contributions WHERE run_id = ?1 ORDER BY contribution_id", &v->rows, err);
    if (status == TRIB_OK) status = next_row(v, err);
    while (status == TRIB_OK && (status = trib_sql_step(stmt, &more, err)) == TRIB_OK && more)
        status = take_version(v, start, stmt, err);
    if (status == TRIB_OK) status = take_later(v, err);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_finalize(v->rows);
    return status;
}

/* Edges have no chain: what rows say of each other. */
static enum trib_status check_edge(struct verify *v, struct trib_error *err) {
    sqlite3_stmt *stmt = NULL;
    bool more = true;
    enum trib_status status =
        trib_sql_prepare(v->db,
                         "SELECT v.version, v.contributions, (SELECT count(*) FROM contributions c WHERE "
                         "c.run_id = v.run_id AND "
                         "c.version = v.version) FROM versions v WHERE v.run_id = ?1 ORDER BY v.version",
                         &stmt, err);
    if (status == TRIB_OK) (void)sqlite3_bind_int64(stmt, 1, v->run_id);
    while (status == TRIB_OK && (status = trib_sql_step(stmt, &more, err)) == TRIB_OK && more) {
        uint64_t version = (uint64_t)sqlite3_column_int64(stmt, 0);
        int64_t said = sqlite3_column_int64(stmt, 1), here = sqlite3_column_int64(stmt, 2);
        v->out->versions++;
        v->out->contributions += (uint64_t)here;
        if (said != here)
            say(v, &version, 0, 0, "contributions is %" PRId64 ", and %" PRId64 " rows are in it", said,
                here);
    }
    (void)sqlite3_finalize(stmt);
    if (status != TRIB_OK) return status;
    status =
        trib_sql_prepare(v->db,
                         "SELECT c.contribution_id, c.version FROM contributions c WHERE c.run_id = ?1 AND "
                         "c.version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.run_id = "
                         "c.run_id AND v.version = c.version) ORDER BY 1",
                         &stmt, err);
    if (status == TRIB_OK) (void)sqlite3_bind_int64(stmt, 1, v->run_id);
    for (more = true; status == TRIB_OK && (status = trib_sql_step(stmt, &more, err)) == TRIB_OK && more;) {
        int64_t id = sqlite3_column_int64(stmt, 0);
        uint64_t version = (uint64_t)sqlite3_column_int64(stmt, 1);
        say(v, &version, id, id, "it is in a version that is not here");
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

/* What the run's row says. The texts are the statement's. */
static enum trib_status check_run(struct verify *v, sqlite3_stmt *stmt, struct trib_error *err) {
    struct trib_record start = {.kind = TRIB_REC_START};
    struct trib_schema schema;
    char problem[200] = "";
    size_t columns = ledger_run_column_count;
    if (!is_text(stmt, 0, "cloud")) return check_edge(v, err);
    v->version_columns = ledger_version_column_count;
    if (sqlite3_column_int64(stmt, 1) == 0) { /* a file of before there were these columns: the format is 1 */
        columns--;
        v->version_columns--;
    }
    if (!ledger_record(stmt, 2, ledger_run_columns, columns, &start, problem)) {
        say(v, NULL, 0, 0, "the run's row: %s", problem);
        return TRIB_OK;
    }
    trib_schema_init(&schema);
    enum trib_status status = trib_schema_parse(&schema, start.schema.data, start.schema.size, err);
    memcpy(v->fingerprint, schema.fingerprint, sizeof v->fingerprint);
    trib_schema_release(&schema);
    if (status == TRIB_NOMEM) return status;
    if (status != TRIB_OK) {
        say(v, NULL, 0, 0, "the run's row: its schema is none: %.200s", err->text);
        return TRIB_OK;
    }
    v->out->format = v->chain.format = columns < ledger_run_column_count ? 1 : start.ledger_format;
    if (v->out->format == 0 || v->out->format > TRIB_CHAIN_FORMAT) {
        say(v, NULL, 0, 0, "the run's row: ledger_format is %" PRIu64, v->out->format);
        return TRIB_OK;
    }
    int64_t counted = 0;
    char sql[120];
    (void)snprintf(sql, sizeof sql, "SELECT count(verdicts) FROM versions WHERE run_id = %" PRId64,
                   v->run_id);
    if (v->version_columns == ledger_version_column_count)
        status = trib_sql_number(v->db, sql, 0, &counted, err);
    if (status == TRIB_OK && v->out->format == 1 && counted > 0)
        say(v, NULL, 0, 0, "the run's row: ledger_format is 1, and its versions are of a newer one");
    return status == TRIB_OK ? check_cloud(v, &start, err) : status;
}

enum trib_status trib_ledger_verify(struct trib_ledger_reader *reader, int64_t run_id,
                                    void (*found)(void *ctx, const struct trib_finding *finding), void *ctx,
                                    struct trib_verified *out, struct trib_error *err) {
    struct verify v = {.db = reader->db, .run_id = run_id, .found = found, .ctx = ctx, .out = out};
    int64_t has_format = 0;
    bool row = false;
    sqlite3_stmt *stmt = NULL;
    *out = (struct trib_verified){0};
    trib_buf_init(&v.member_text, 0);
    enum trib_status status = trib_sql_exec(reader->db, "BEGIN", err); /* one moment of a run that goes on */
    if (status == TRIB_OK)
        status = trib_sql_number(
            reader->db, "SELECT count(*) FROM pragma_table_info('runs') WHERE name = 'ledger_format'", 0,
            &has_format, err);
    if (status == TRIB_OK)
        status = prepare(&v, has_format ? "role, 1" : "role, 0", ledger_run_columns,
                         ledger_run_column_count - (has_format ? 0 : 1), "FROM runs WHERE run_id = ?1", &stmt,
                         err);
    if (status == TRIB_OK) status = trib_sql_step(stmt, &row, err);
    if (status == TRIB_OK && row) status = check_run(&v, stmt, err);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_exec(reader->db, "ROLLBACK", NULL, NULL, NULL);
    trib_buf_release(&v.member_text);
    return status;
}
