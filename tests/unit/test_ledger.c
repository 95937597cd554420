/* The ledger: rows from records, views over them, the queries of docs/ledger.md, and who may read it. */
#include "shared/ledger/ledger.h"
#include "shared/ledger/schema.h"
#include "shared/store/sql.h"
#include "tests/support/cmocka.h"
#include "tests/support/ledger_kit.h"

#include <stdio.h>
#include <string.h>

static int setup_cloud(void **state) {
    static struct ledger_kit k;
    ledger_kit_init(&k, "cloud");
    *state = &k;
    return 0;
}

static int setup_edge(void **state) {
    static struct ledger_kit k;
    ledger_kit_init(&k, "edge");
    *state = &k;
    return 0;
}

static int teardown(void **state) {
    ledger_kit_release(*state);
    return 0;
}

/* All rows of a query as text: values with | between them, rows with a newline behind each. */
static const char *ask(const struct ledger_kit *k, const char *sql) {
    static char out[8192];
    size_t used = 0;
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    out[0] = 0;
    assert_int_equal(sqlite3_open_v2(k->kit.path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sqlite3_errmsg(db), sql);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(stmt) && used < sizeof out - 1; i++) {
            const char *text = (const char *)sqlite3_column_text(stmt, i);
            used += (size_t)snprintf(out + used, sizeof out - used, "%s%s", i > 0 ? "|" : "",
                                     text != NULL ? text : "-");
        }
        if (used < sizeof out - 1) used += (size_t)snprintf(out + used, sizeof out - used, "\n");
    }
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return out;
}

static void test_contribution_columns(void **state) {
    struct ledger_kit *k = *state;
    ledger_kit_put(k, kit_start(1));
    ledger_kit_put(k, kit_peer("east", 5, TRIB_CHILD_EDGE));
    ledger_kit_put(k, kit_verdict("east", 9, 3, 2, 0));
    assert_string_equal(
        ask(k, "SELECT run_id, judged_ms, node, incarnation, sequence, base_version, staleness, origins, "
               "staleness_factor, weight_applied, norm_added, weight_samples, region_samples, samples, "
               "steps, loss, update_norm, cosine, codec, wire_bytes, raw_bytes, verdict, reason, "
               "below_updates, below_up_bytes, below_down_bytes, below_raw_bytes, version, void_reason, "
               "effect, label_divergence FROM contributions"),
        "1|1700000000030|east|0000000000000005|9|3|2|[[3,600]]|0.5|0.25|-|500|900|600|-|0.75|2.0|-0.5|"
        "int8|1000|4000|accepted|-|3|3100|6200|12000|-|-|-0.25|-\n");
}

static void test_commit_takes_what_is_pending(void **state) {
    struct ledger_kit *k = *state;
    ledger_kit_put(k, kit_start(1));
    ledger_kit_put(k, kit_verdict("a", 1, 0, 0, 0));
    ledger_kit_put(k, kit_verdict("b", 1, 0, 0, TRIB_REASON_NOT_FINITE));
    ledger_kit_put(k, kit_commit(1, 1));
    ledger_kit_put(k, kit_verdict("a", 2, 0, 0, 0));
    ledger_kit_reopen(k); /* what is pending is in the rows, not in memory */
    ledger_kit_put(k, kit_verdict("b", 2, 0, 1, 0));
    ledger_kit_put(k, kit_commit(2, 2));
    ledger_kit_put(k, kit_verdict("a", 3, 0, 0, 0));
    assert_string_equal(
        ask(k, "SELECT node, sequence, verdict, reason, version FROM contributions"),
        "a|1|accepted|-|1\nb|1|refused|not_finite|-\na|2|accepted|-|2\nb|2|accepted|-|2\na|3|accepted|-|-\n");
}

static void test_void_is_final(void **state) {
    struct ledger_kit *k = *state;
    struct trib_record voided = {.kind = TRIB_REC_VOID};
    trib_rec_set(&voided, TEXT, text, kit_text("rollback"));
    ledger_kit_put(k, kit_start(1));
    ledger_kit_put(k, kit_verdict("a", 1, 0, 0, 0));
    ledger_kit_put(k, voided);
    ledger_kit_put(k, kit_verdict("a", 2, 0, 0, 0));
    ledger_kit_put(k, kit_commit(1, 1));
    assert_string_equal(ask(k, "SELECT sequence, version, void_reason FROM contributions"),
                        "1|-|rollback\n2|1|-\n");
    assert_string_equal(ask(k, "SELECT level, event, detail FROM events"), "warn|void|rollback\n");
}

/* Goes back to version 0 and the first so many verdicts, and makes version 1 of what is pending. */
static void go_back(struct ledger_kit *k, uint64_t verdicts, uint64_t contributions) {
    struct trib_record r = {.kind = TRIB_REC_INCARNATION};
    trib_rec_set(&r, INCARNATION, incarnation, 0xABCDEF);
    memset(r.run, 1, sizeof r.run);
    r.present |= (uint64_t)1 << TRIB_R_RUN;
    trib_rec_set(&r, VERSION, version, 0);
    trib_rec_set(&r, VERDICTS, verdicts, verdicts);
    ledger_kit_put(k, r);
    ledger_kit_put(k, kit_commit(1, contributions));
}

/* Damage takes the newest records: what these had done to the rows before them is undone, and no more. */
static void test_superseded_after_damage(void **state) {
    struct ledger_kit *k = *state;
    struct trib_record second = kit_verdict("a", 2, 0, 0, 0), third = kit_verdict("a", 3, 0, 0, 0);
    trib_rec_set(&second, SUPERSEDES, supersedes, 1);
    trib_rec_set(&third, SUPERSEDES, supersedes, 2);
    ledger_kit_put(k, kit_start(1));
    ledger_kit_put(k, kit_verdict("a", 1, 0, 0, 0));
    ledger_kit_put(k, kit_verdict("b", 1, 0, 0, 0));
    ledger_kit_put(k, second);
    ledger_kit_put(k, third);
    go_back(k, 3, 2);
    assert_string_equal(ask(k, "SELECT node, sequence, version, void_reason FROM contributions"),
                        "a|1|-|superseded\nb|1|1|-\na|2|1|-\n");
    go_back(k, 2, 2);
    assert_string_equal(ask(k, "SELECT node, sequence, version, void_reason FROM contributions"),
                        "a|1|1|-\nb|1|1|-\n");
}

static void test_runs_and_nodes(void **state) {
    struct ledger_kit *k = *state;
    ledger_kit_put(k, kit_peer("early", 1, TRIB_CHILD_DEVICE));
    ledger_kit_put(k, kit_start(0x11));
    ledger_kit_put(k, kit_peer("east", 4, TRIB_CHILD_EDGE));
    ledger_kit_put(k, kit_peer("east", 5, TRIB_CHILD_EDGE));
    ledger_kit_put(k, kit_start(0x22));
    ledger_kit_reopen(k);
    ledger_kit_put(k, kit_peer("east", 5, TRIB_CHILD_EDGE));
    ledger_kit_put(k, kit_stop("versions"));
    assert_string_equal(ask(k,
                            "SELECT run_id, substr(run, 1, 4), role, node, incarnation, state, stop_reason, "
                            "ended_ms - 1700000000000, seed, plan, build, environment FROM runs"),
                        "1|1111|cloud|north|0000000000abcdef|superseded|-|50|0000000000000007|model: "
                        "2nn\n|1.2.3|kernels=avx2\n"
                        "2|2222|cloud|north|0000000000abcdef|stopped|versions|70|0000000000000007|model: "
                        "2nn\n|1.2.3|kernels=avx2\n");
    assert_string_equal(
        ask(k, "SELECT run_id, node, kind, incarnation, retired_ms - 1700000000000 FROM nodes"),
        "-|early|device|0000000000000001|-\n1|east|edge|0000000000000004|40\n"
        "1|east|edge|0000000000000005|-\n2|east|edge|0000000000000005|-\n");
}

static void test_versions(void **state) {
    struct ledger_kit *k = *state;
    ledger_kit_cloud_run(k, 0x33, 2);
    assert_string_equal(
        ask(k, "SELECT version, parent_version, made_by, rule, commits, contributions, scale, "
               "substr(digest, 1, 4), substr(ledger_chain_digest, 1, 4), down_bytes, up_bytes, "
               "published, published_from, substr(chain_digest, 1, 4), increment_bytes FROM versions"),
        "0|-|start|-|-|-|-|-|-|-|-|1|-|c0c0|0\n"
        "1|0|commit|fedasync|1|2|0.5|0101|0202|5000|2100|1|0|c0c0|777\n"
        "2|1|commit|fedasync|2|2|0.5|0202|0303|5000|2100|1|1|c0c0|777\n");
    assert_string_equal(ask(k, "SELECT version, accuracy, samples, duration_ms FROM evaluations"),
                        "1|0.5|2000|12\n2|0.75|2000|12\n");
}

static void test_views(void **state) {
    struct ledger_kit *k = *state;
    ledger_kit_cloud_run(k, 0x33, 20);
    /* 41 accepted: 21 from east with 0, and from west five each of 0, 1, 2, 3; the 39th in order is a 3 */
    assert_string_equal(
        ask(k, "SELECT state, stop_reason, versions, last_version, published_versions, best_accuracy, "
               "last_accuracy, updates, refused, samples, below_updates, round(staleness_mean, 6), "
               "staleness_p95, staleness_max FROM run_summary"),
        "stopped|accuracy|20|20|21|0.975000023841858|0.975000023841858|41|1|24600|123|0.731707|3|3\n");
    assert_string_equal(
        ask(k, "SELECT device_edge_up_bytes, device_edge_down_bytes, cloud_up_bytes, cloud_down_bytes, "
               "up_f32_bytes FROM run_summary"),
        "130200|260400|42000|100000|672000\n");
    assert_string_equal(ask(k, "SELECT hop, updates, up_bytes, down_bytes, up_f32_bytes FROM bytes_by_hop"),
                        "device-edge|126|130200|260400|504000\nedge-cloud|42|42000|100000|168000\n");
    assert_string_equal(ask(k, "SELECT staleness, accepted, refused, samples FROM staleness_histogram"),
                        "0|26|0|15600\n1|5|0|3000\n2|5|0|3000\n3|5|0|3000\n20|0|1|0\n");
    assert_string_equal(
        ask(k, "SELECT node, kind, incarnations, accepted, refused, voided, staleness_max, up_bytes "
               "FROM node_health"),
        "east|edge|1|21|0|1|0|21000\nwest|edge|2|20|1|0|3|21000\n");
    assert_string_equal(
        ask(k, "SELECT version, contributions, nodes, from_nodes, staleness_mean, staleness_p95, "
               "staleness_max, update_bytes, down_bytes, below_up_bytes, accuracy FROM version_lineage "
               "WHERE version IN (0, 4)"),
        "0|0|0|-|-|-|-|0|0|0|-\n4|2|2|east,west|1.5|3|3|2000|5000|6200|0.875\n");
}

static void test_direct_devices_are_a_hop(void **state) {
    struct ledger_kit *k = *state;
    ledger_kit_put(k, kit_start(1));
    ledger_kit_put(k, kit_peer("d", 5, TRIB_CHILD_DEVICE));
    struct trib_record r = kit_verdict("d", 1, 0, 0, 0);
    r.below_updates = r.below_up_bytes = r.below_down_bytes = r.below_raw_bytes = 0;
    ledger_kit_put(k, r);
    ledger_kit_put(k, kit_commit(1, 1));
    assert_string_equal(ask(k, "SELECT hop, up_bytes, down_bytes FROM bytes_by_hop"),
                        "device-cloud|1000|5000\n");
}

static void test_edge_side(void **state) {
    struct ledger_kit *k = *state;
    struct trib_record model = {.kind = TRIB_REC_PARENT, .payload = trib_blob_new(300)};
    trib_rec_set(&model, VERSION, version, 40);
    trib_rec_set(&model, MODEL_KIND, model_kind, TRIB_MODEL_SNAPSHOT);
    struct trib_record made = kit_verdict("", 1, 40, 0, 0);
    made.kind = TRIB_REC_FORWARD;
    made.present &= ~((uint64_t)1 << TRIB_R_WIRE_BYTES);
    made.payload = trib_blob_new(123);
    struct trib_record acked = {.kind = TRIB_REC_ACKED};
    trib_rec_set(&acked, NUMBER, number, 1);
    trib_rec_set(&acked, VERDICT, verdict, TRIB_ACCEPTED);
    trib_rec_set(&acked, STALENESS, staleness, 4);
    struct trib_record next = model;
    next.payload = trib_blob_new(50);
    trib_rec_set(&next, VERSION, version, 41);
    trib_rec_set(&next, FROM, from_version, 40);
    trib_rec_set(&next, MODEL_KIND, model_kind, TRIB_MODEL_INCREMENTS);
    trib_rec_set(&next, APPLIED_NUMBER, applied_number, 1);
    ledger_kit_put(k, kit_start(1));
    ledger_kit_put(k, model);
    ledger_kit_put(k, kit_verdict("d", 1, 0, 0, 0));
    ledger_kit_put(k, made);
    ledger_kit_put(k, acked);
    ledger_kit_reopen(k);
    ledger_kit_put(k, next);
    assert_string_equal(
        ask(k, "SELECT incarnation, sequence, base_version, origins, samples, wire_bytes, raw_bytes, "
               "verdict, staleness, judged_ms - made_ms, contained_ms - made_ms FROM forwards"),
        "0000000000abcdef|1|40|[[40,600]]|600|123|4000|accepted|4|10|20\n");
    assert_string_equal(ask(k, "SELECT version, from_version, kind, wire_bytes FROM parent_models"),
                        "40|-|snapshot|300\n41|40|increments|50\n");
    assert_string_equal(ask(k, "SELECT hop, up_bytes, down_bytes FROM bytes_by_hop"),
                        "device-edge|3100|6200\nedge-cloud|123|350\nedge-edge|1000|0\n");
    struct trib_record fenced = {.kind = TRIB_REC_PARENT, .payload = trib_blob_new(9)};
    trib_rec_set(&fenced, VERSION, version, 50);
    trib_rec_set(&fenced, MODEL_KIND, model_kind, TRIB_MODEL_SNAPSHOT);
    trib_rec_set(&fenced, FENCE, fence, 45);
    ledger_kit_put(k, fenced);
    assert_string_equal(ask(k, "SELECT void_reason FROM contributions"), "fence\n");
}

/* ---- the document ---- */

static char *read_document(void) {
    static char text[40000];
    FILE *f = fopen("docs/ledger.md", "rb");
    if (f == NULL) fail_msg("run the tests from the repository's root: no docs/ledger.md");
    size_t bytes = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[bytes] = 0;
    return text;
}

static void test_documented_queries(void **state) {
    struct ledger_kit *k = *state;
    ledger_kit_cloud_run(k, 0x33, 3);
    ledger_kit_cloud_run(k, 0x44, 20);
    int queries = 0;
    for (char *at = read_document(); (at = strstr(at, "```sql\n")) != NULL; queries++) {
        char *sql = at + 7, *end = strstr(sql, "```");
        assert_non_null(end);
        *end = 0;
        if (ask(k, sql)[0] == 0) fail_msg("no rows: %s", sql);
        at = end + 3;
    }
    assert_int_equal(queries, 10);
}

static void test_document_has_every_column(void **state) {
    const struct ledger_kit *k = *state;
    const char *document = read_document();
    const char *name =
        ask(k, "SELECT DISTINCT c.name FROM sqlite_master m, pragma_table_info(m.name) c "
               "WHERE m.type IN ('table', 'view') AND m.name NOT IN ('journal', 'checkpoints') "
               "AND m.name NOT LIKE 'sqlite_%' UNION SELECT name FROM sqlite_master "
               "WHERE type = 'view'");
    int count = 0;
    for (; *name != 0; count++) {
        char quoted[100];
        int length = (int)strcspn(name, "\n");
        (void)snprintf(quoted, sizeof quoted, "`%.*s`", length, name);
        if (strstr(document, quoted) == NULL) fail_msg("%s is not in docs/ledger.md", quoted);
        name += length + 1;
    }
    assert_true(count > 80);
}

/* ---- reading ---- */

struct rows {
    size_t count;
    int64_t first, last; /* of the first column */
};

static enum trib_status see(void *ctx, const struct trib_ledger_cell *cells, size_t count,
                            struct trib_error *err) {
    struct rows *rows = ctx;
    (void)err;
    assert_true(count > 3);
    if (rows->count++ == 0) rows->first = cells[0].integer;
    rows->last = cells[0].integer;
    return TRIB_OK;
}

static struct trib_ledger_reader *open_reader(const struct ledger_kit *k) {
    struct trib_ledger_reader *reader = NULL;
    struct trib_error err = {0};
    if (trib_ledger_open_readonly(k->kit.folder, &reader, &err) != TRIB_OK) fail_msg("%s", err.text);
    return reader;
}

static void test_reading_beside_the_writer(void **state) {
    struct ledger_kit *k = *state;
    struct trib_error err = {0};
    struct trib_ledger_run run;
    struct trib_ledger_reader *reader = open_reader(k); /* the store is open */
    assert_int_equal(trib_ledger_find(reader, "last", &run, &err), TRIB_NOT_FOUND);
    ledger_kit_cloud_run(k, 0x33, 6);
    ledger_kit_cloud_run(k, 0x34, 8);
    assert_int_equal(trib_ledger_find(reader, "last", &run, &err), TRIB_OK);
    assert_int_equal(run.run_id, 2);
    assert_int_equal(trib_ledger_find(reader, "3333", &run, &err), TRIB_OK);
    assert_int_equal(run.run_id, 1);
    assert_int_equal(trib_ledger_find(reader, "3", &run, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "2 runs begin with"));
    assert_int_equal(trib_ledger_find(reader, "nope", &run, &err), TRIB_NOT_FOUND);
    for (int table = 0; table < TRIB_LEDGER_TABLES; table++) {
        struct rows rows = {0};
        assert_int_equal(trib_ledger_read(reader, (enum trib_ledger_table)table, 2, 0, see, &rows, &err),
                         TRIB_OK);
        assert_true(rows.count > 0);
    }
    struct rows rows = {0};
    assert_int_equal(trib_ledger_read(reader, TRIB_LEDGER_VERSIONS, 2, 3, see, &rows, &err), TRIB_OK);
    assert_int_equal(rows.count, 3);
    assert_int_equal(rows.first, 6);
    assert_int_equal(rows.last, 8);
    trib_ledger_close(&reader);
}

static void change(const struct ledger_kit *k, const char *sql) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(k->kit.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void expect_unreadable(const char *path, enum trib_status status, const char *words) {
    struct trib_ledger_reader *reader = NULL;
    struct trib_error err = {0};
    assert_int_equal(trib_ledger_open_readonly(path, &reader, &err), status);
    assert_null(reader);
    if (strstr(err.text, words) == NULL) fail_msg("\"%s\" is not in: %s", words, err.text);
}

static void test_files_that_cannot_be_read(void **state) {
    struct ledger_kit *k = *state;
    char other[KIT_PATH];
    trib_store_close(&k->store);
    change(k, "PRAGMA user_version = 77");
    expect_unreadable(k->kit.path, TRIB_NEWER, "version 77");
    change(k, "PRAGMA user_version = 1; PRAGMA application_id = 5");
    expect_unreadable(k->kit.path, TRIB_INVALID, "not one of Tributary");
    kit_file(&k->kit, "absent.db", other);
    expect_unreadable(other, TRIB_NOT_FOUND, "absent.db");
    kit_file(&k->kit, "segments", other);
    expect_unreadable(other, TRIB_NOT_FOUND, "no ledger.db and no journal.db");
    FILE *f = fopen(k->kit.path, "wb");
    for (int i = 0; i < 500; i++) (void)fputs("garbage ", f);
    (void)fclose(f);
    expect_unreadable(k->kit.path, TRIB_CORRUPT, "not a readable SQLite database");
}

struct bytes {
    int64_t updates, device_edge, edge_edge, cloud;
};

static enum trib_status see_curve(void *ctx, const struct trib_ledger_cell *cells, size_t count,
                                  struct trib_error *err) {
    struct bytes *bytes = ctx;
    (void)count;
    (void)err;
    bytes->updates = cells[trib_ledger_column(TRIB_LEDGER_CURVE, "updates")].integer;
    bytes->device_edge = cells[trib_ledger_column(TRIB_LEDGER_CURVE, "device_edge_up_bytes")].integer;
    bytes->edge_edge = cells[trib_ledger_column(TRIB_LEDGER_CURVE, "edge_edge_up_bytes")].integer;
    bytes->cloud = cells[trib_ledger_column(TRIB_LEDGER_CURVE, "cloud_up_bytes")].integer;
    return TRIB_OK;
}

static struct bytes read_curve(const char *path) {
    struct trib_ledger_reader *reader = NULL;
    struct trib_error err = {0};
    struct bytes bytes = {0};
    struct rows rows = {0};
    if (trib_ledger_open_readonly(path, &reader, &err) != TRIB_OK) fail_msg("%s", err.text);
    if (trib_ledger_read(reader, TRIB_LEDGER_CURVE, 1, 0, see_curve, &bytes, &err) != TRIB_OK ||
        trib_ledger_read(reader, TRIB_LEDGER_HOPS, 1, 0, see, &rows, &err) != TRIB_OK)
        fail_msg("%s", err.text);
    trib_ledger_close(&reader);
    return bytes;
}

static const char older_rows[] =
    "INSERT INTO runs(run_id, run, role, node, incarnation, started_ms, state, plan, schema, build, "
    "environment) VALUES(1, 'aa', 'cloud', 'c', '1', 0, 'running', '', '', '', '');"
    "INSERT INTO nodes(run_id, node, incarnation, kind, admitted_ms) VALUES(1, 'e', '5', 'edge', 0);"
    "INSERT INTO contributions(run_id, judged_ms, node, incarnation, sequence, wire_bytes, verdict, "
    "below_updates, below_up_bytes, below_down_bytes, version) VALUES(1, 1, 'e', '5', 1, 100, 'accepted', 8, "
    "900, 90, 1);"
    "INSERT INTO versions(run_id, version, made_by, made_ms, verdicts) VALUES(1, 1, 'commit', 5, 1);"
    "INSERT INTO evaluations VALUES(1, 1, 6, 0.5, 1, 9, 1)";

/* A file that knows no hops further down is read as it is, and after a newer program has opened it. */
static void test_a_file_without_hops(void **state) {
    const struct ledger_kit *k = *state;
    char path[KIT_PATH];
    sqlite3 *db = NULL;
    kit_file(&k->kit, "older.db", path);
    assert_int_equal(ledger_step_count, 4);
    for (size_t steps = 3; steps <= ledger_step_count; steps++) {
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(trib_sql_migrate(db, "ledger", ledger_steps, steps, NULL), TRIB_OK);
        if (steps == 3) assert_int_equal(sqlite3_exec(db, older_rows, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        struct bytes bytes = read_curve(path);
        assert_int_equal(bytes.updates, 8);
        assert_int_equal(bytes.device_edge, 900);
        assert_int_equal(bytes.edge_edge, 0);
        assert_int_equal(bytes.cloud, 100);
    }
}

static void test_hops_further_down(void **state) {
    struct ledger_kit *k = *state;
    struct trib_record r = kit_verdict("east", 9, 3, 2, 0);
    trib_rec_set(&r, HOPS, hops,
                 ((struct trib_u64s){.count = 8, .items = {2, 3000, 6000, 10000, 1, 100, 200, 2000}}));
    ledger_kit_put(k, kit_start(1));
    ledger_kit_put(k, kit_peer("east", 5, TRIB_CHILD_EDGE));
    ledger_kit_put(k, r);
    assert_string_equal(ask(k, "SELECT below_hops FROM contributions"),
                        "[[2,3000,6000,10000],[1,100,200,2000]]\n");
    assert_string_equal(ask(k, "SELECT hop, updates, up_bytes, down_bytes, up_f32_bytes FROM bytes_by_hop"),
                        "device-edge|2|3000|6000|10000\nedge-cloud|1|1000|0|4000\n"
                        "edge-edge|1|100|200|2000\n");
    assert_string_equal(ask(k, "SELECT device_edge_up_bytes, edge_edge_up_bytes, edge_edge_down_bytes, "
                               "cloud_up_bytes FROM run_summary"),
                        "3000|100|200|1000\n");
}

#define CLOUD(name) cmocka_unit_test_setup_teardown(name, setup_cloud, teardown)
#define EDGE(name)  cmocka_unit_test_setup_teardown(name, setup_edge, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CLOUD(test_contribution_columns),
        CLOUD(test_commit_takes_what_is_pending),
        CLOUD(test_void_is_final),
        CLOUD(test_superseded_after_damage),
        CLOUD(test_runs_and_nodes),
        CLOUD(test_versions),
        CLOUD(test_views),
        CLOUD(test_direct_devices_are_a_hop),
        EDGE(test_edge_side),
        CLOUD(test_hops_further_down),
        CLOUD(test_a_file_without_hops),
        CLOUD(test_documented_queries),
        CLOUD(test_document_has_every_column),
        CLOUD(test_reading_beside_the_writer),
        CLOUD(test_files_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
