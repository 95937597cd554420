#include "shared/ledger/rows.h"

#include "shared/base/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COLUMN(NAME, TYPE, KEY, member, NEEDED)                                                              \
    { NAME, TYPE, TRIB_R_##KEY, NEEDED, (uint16_t)offsetof(struct trib_record, member) }

const struct ledger_column ledger_run_columns[] = {
    COLUMN("run", ROW_RUN, RUN, run, true),
    COLUMN("label", ROW_TEXT, TEXT, text, false),
    COLUMN("seed", ROW_HEX64, SEED, seed, false),
    COLUMN("plan", ROW_TEXT, PLAN, plan, true),
    COLUMN("schema", ROW_TEXT, SCHEMA, schema, true),
    COLUMN("ledger_format", ROW_INT, LEDGER_FORMAT, ledger_format, true),
};
const struct ledger_column ledger_contribution_columns[] = {
    COLUMN("judged_ms", ROW_INT, NOW, now_ms, true),
    COLUMN("node", ROW_TEXT, PEER, peer, true),
    COLUMN("incarnation", ROW_HEX64, INCARNATION, incarnation, true),
    COLUMN("sequence", ROW_INT, NUMBER, number, true),
    COLUMN("base_version", ROW_INT, BASE, base_version, false),
    COLUMN("staleness", ROW_INT, STALENESS, staleness, false),
    COLUMN("origins", ROW_ORIGINS, HISTOGRAM, histogram, false),
    COLUMN("staleness_factor", ROW_REAL, FACTOR, factor, false),
    COLUMN("weight_applied", ROW_REAL, APPLIED, applied, false),
    COLUMN("norm_added", ROW_REAL, NORM_ADD, norm_add, false),
    COLUMN("weight_samples", ROW_INT, WEIGHT, weight, false),
    COLUMN("region_samples", ROW_INT, REGION, region, false),
    COLUMN("samples", ROW_INT, SAMPLES, samples, false),
    COLUMN("steps", ROW_REAL, STEPS, steps, false),
    COLUMN("loss", ROW_REAL, LOSS, loss, false),
    COLUMN("update_norm", ROW_REAL, UPDATE_NORM, update_norm, false),
    COLUMN("cosine", ROW_REAL, COSINE, cosine, false),
    COLUMN("codec", ROW_TEXT, CODEC, codec, false),
    COLUMN("wire_bytes", ROW_INT, WIRE_BYTES, wire_bytes, false),
    COLUMN("raw_bytes", ROW_INT, RAW_BYTES, raw_bytes, false),
    COLUMN("payload_crc32c", ROW_INT, PAYLOAD_CRC, payload_crc, false),
    COLUMN("verdict", ROW_VERDICT, VERDICT, verdict, true),
    COLUMN("reason", ROW_REASON, REASON, reason, false),
    COLUMN("below_updates", ROW_INT, BELOW_UPDATES, below_updates, false),
    COLUMN("below_up_bytes", ROW_INT, BELOW_UP, below_up_bytes, false),
    COLUMN("below_down_bytes", ROW_INT, BELOW_DOWN, below_down_bytes, false),
    COLUMN("below_raw_bytes", ROW_INT, BELOW_RAW, below_raw_bytes, false),
    COLUMN("effect", ROW_REAL, EFFECT, effect, false), /* from format 3 on, and so what follows */
    COLUMN("label_divergence", ROW_REAL, DIVERGENCE, divergence, false),
    COLUMN("below_hops", ROW_HOPS, HOPS, hops, false), /* an older file of format 3 has it not */
};
const struct ledger_column ledger_version_columns[] = {
    COLUMN("version", ROW_INT, VERSION, version, true),
    COLUMN("parent_version", ROW_INT, FROM, from_version, false),
    COLUMN("made_ms", ROW_INT, NOW, now_ms, true),
    COLUMN("rule", ROW_TEXT, RULE, rule, false),
    COLUMN("commits", ROW_INT, COMMITS, commits, false),
    COLUMN("contributions", ROW_INT, CONTRIBUTIONS, contributions, false),
    COLUMN("scale", ROW_REAL, SCALE, scale, false),
    COLUMN("digest", ROW_DIGEST, DIGEST, digest, false),
    COLUMN("ledger_chain_digest", ROW_DIGEST, LEDGER_CHAIN, ledger_chain, false),
    COLUMN("down_bytes", ROW_INT, DOWN_BYTES, down_bytes, false),
    COLUMN("up_bytes", ROW_INT, UP_BYTES, up_bytes, false),
    COLUMN("verdicts", ROW_INT, VERDICTS, verdicts, false),
};
const struct ledger_column ledger_publication_columns[] = {
    COLUMN("version", ROW_INT, VERSION, version, true),
    COLUMN("published_ms", ROW_INT, NOW, now_ms, false),
    COLUMN("published_from", ROW_INT, FROM, from_version, false),
    COLUMN("published_digest", ROW_DIGEST, DIGEST, digest, false),
    COLUMN("chain_digest", ROW_DIGEST, CHAIN, chain, false),
    COLUMN("increment_bytes", ROW_INT, WIRE_BYTES, wire_bytes, false),
    COLUMN("published_codec", ROW_TEXT, CODEC, codec, false),
    COLUMN("published_why", ROW_TEXT, TEXT, text, false),
};
#define COUNT(list) sizeof(list) / sizeof *(list)
const size_t ledger_run_column_count = COUNT(ledger_run_columns),
             ledger_contribution_column_count = COUNT(ledger_contribution_columns),
             ledger_version_column_count = COUNT(ledger_version_columns),
             ledger_publication_column_count = COUNT(ledger_publication_columns);

void ledger_select(struct trib_buf *sql, const struct ledger_column *columns, size_t count) {
    for (size_t i = 0; i < count; i++) trib_buf_printf(sql, ", %s", columns[i].name);
}

/* ---- values: each must be what the writer would have written ---- */

static bool read_hex64(const char *text, size_t size, uint64_t *out) {
    uint8_t bytes[8];
    if (!trib_parse_hex(text, size, bytes, sizeof bytes)) return false;
    *out = 0;
    for (size_t i = 0; i < sizeof bytes; i++) *out = *out << 8 | bytes[i];
    return true;
}

/* [[a,b],[c,d],...], so many numbers a group: what is read is written again, and must be the same text. */
static bool read_groups(const char *text, size_t size, size_t numbers, struct trib_u64s *out) {
    char again[TRIB_U64S_MAX * 24 + 8];
    size_t used = 0;
    const char *at = text;
    out->count = 0;
    while (out->count < TRIB_U64S_MAX) {
        int read = 0;
        uint64_t *item = &out->items[out->count];
        if (sscanf(at, "%*[][,]%" SCNu64 "%n", item, &read) != 1 || read == 0) break;
        used += (size_t)snprintf(again + used, sizeof again - used, "%s%s%" PRIu64 "%s",
                                 out->count == 0 ? "[" : ",", out->count % numbers == 0 ? "[" : "", *item,
                                 (out->count + 1) % numbers == 0 ? "]" : "");
        out->count++;
        at += read;
    }
    used += (size_t)snprintf(again + used, sizeof again - used, out->count == 0 ? "[]" : "]");
    return out->count % numbers == 0 && used == size && memcmp(again, text, size) == 0;
}

static bool read_name(const char *text, const char *(*name)(uint64_t), uint64_t from, uint64_t count,
                      uint64_t *out) {
    for (*out = from; *out < count; ++*out)
        if (strcmp(name(*out), text) == 0) return true;
    return false;
}

static bool read_number(sqlite3_stmt *row, int at, const struct ledger_column *c, void *field) {
    if (c->type == ROW_INT) {
        sqlite3_int64 value = sqlite3_column_int64(row, at);
        uint64_t wide = (uint64_t)value;
        memcpy(field, &wide, sizeof wide);
        return sqlite3_column_type(row, at) == SQLITE_INTEGER && value >= 0;
    }
    double value = sqlite3_column_double(row, at);
    float narrow = (float)value;
    memcpy(field, &narrow, sizeof narrow);
    return sqlite3_column_type(row, at) == SQLITE_FLOAT && (double)narrow == value;
}

static bool read_text(sqlite3_stmt *row, int at, const struct ledger_column *c, void *field) {
    const char *text = (const char *)sqlite3_column_text(row, at);
    size_t size = (size_t)sqlite3_column_bytes(row, at);
    if (text == NULL || sqlite3_column_type(row, at) != SQLITE_TEXT || strlen(text) != size) return false;
    switch (c->type) {
    case ROW_TEXT: *(struct trib_text *)field = (struct trib_text){text, size}; return true;
    case ROW_HEX64: return read_hex64(text, size, field);
    case ROW_DIGEST: return trib_parse_hex(text, size, field, TRIB_DIGEST_BYTES);
    case ROW_RUN: return trib_parse_hex(text, size, field, 16);
    case ROW_ORIGINS: return read_groups(text, size, 2, field);
    case ROW_HOPS: return read_groups(text, size, TRIB_HOP_NUMBERS, field);
    case ROW_VERDICT: return read_name(text, trib_verdict_name, TRIB_ACCEPTED, TRIB_VERDICT_COUNT, field);
    case ROW_REASON: return read_name(text, trib_reason_name, TRIB_REASON_NONE + 1, TRIB_REASON_COUNT, field);
    default: return false;
    }
}

bool ledger_record(sqlite3_stmt *row, int at, const struct ledger_column *columns, size_t count,
                   struct trib_record *record, char problem[200]) {
    problem[0] = 0;
    for (size_t i = 0; i < count; i++, at++) {
        const struct ledger_column *c = &columns[i];
        bool null = sqlite3_column_type(row, at) == SQLITE_NULL;
        if (null && !c->needed) continue;
        void *field = (char *)record + c->offset;
        bool number = c->type == ROW_INT || c->type == ROW_REAL;
        if (number ? read_number(row, at, c, field) : read_text(row, at, c, field)) {
            record->present |= (uint64_t)1 << c->key;
            continue;
        }
        if (problem[0] != 0) continue;
        const char *text = null ? "NULL" : (const char *)sqlite3_column_text(row, at);
        (void)snprintf(problem, 200, "%s is %.100s, which was never written", c->name,
                       text != NULL ? text : "unreadable");
    }
    return problem[0] == 0;
}
