#include "shared/state/record.h"

#include "shared/codec/specs.h"
#include "shared/rules/rule.h"

enum { PEER_MAX = 128, TEXT_MAX = 4096, EVENT_MAX = 64, RULE_MAX = TRIB_RULE_MAX_SPEC, PLAN_MAX = 16 * 1024 };

#define FIELD(KEY, TYPE, member, most)                                                                       \
    { TRIB_R_##KEY, TRIB_FIELD_##TYPE, (uint16_t)offsetof(struct trib_record, member), (most), #member }
#define U64(KEY, member)       FIELD(KEY, U64, member, 0)
#define UPTO(KEY, member, max) FIELD(KEY, U64, member, max)
#define F32(KEY, member)       FIELD(KEY, F32, member, 0)
#define TEXT(KEY, member, max) FIELD(KEY, TEXT, member, max)
#define BIN(KEY, member)       FIELD(KEY, BIN, member, sizeof((struct trib_record *)0)->member)
#define LIST(KEY, member)      FIELD(KEY, U64S, member, TRIB_U64S_MAX)

const struct trib_field trib_record_fields[] = {
    U64(NOW, now_ms),
    TEXT(PEER, peer, PEER_MAX),
    U64(INCARNATION, incarnation),
    U64(NUMBER, number),
    UPTO(VERDICT, verdict, UINT8_MAX),
    UPTO(REASON, reason, UINT8_MAX),
    U64(BASE, base_version),
    U64(STALENESS, staleness),
    F32(FACTOR, factor),
    F32(APPLIED, applied),
    F32(NORM_ADD, norm_add),
    U64(SAMPLES, samples),
    U64(WEIGHT, weight),
    U64(REGION, region),
    F32(STEPS, steps),
    F32(LOSS, loss),
    F32(UPDATE_NORM, update_norm),
    F32(COSINE, cosine),
    TEXT(CODEC, codec, TRIB_SPECS_MAX),
    U64(WIRE_BYTES, wire_bytes),
    U64(RAW_BYTES, raw_bytes),
    UPTO(PAYLOAD_CRC, payload_crc, UINT32_MAX),
    LIST(HISTOGRAM, histogram),
    U64(BELOW_UPDATES, below_updates),
    U64(BELOW_UP, below_up_bytes),
    U64(BELOW_DOWN, below_down_bytes),
    U64(BELOW_RAW, below_raw_bytes),
    U64(VERSION, version),
    U64(FROM, from_version),
    U64(COMMITS, commits),
    F32(SCALE, scale),
    U64(CONTRIBUTIONS, contributions),
    BIN(DIGEST, digest),
    BIN(CHAIN, chain),
    U64(FENCE, fence),
    U64(APPLIED_NUMBER, applied_number),
    UPTO(MODEL_KIND, model_kind, UINT8_MAX),
    LIST(INCREMENTS, increments),
    TEXT(PLAN, plan, PLAN_MAX),
    TEXT(SCHEMA, schema, TRIB_SCHEMA_MAX_TEXT),
    BIN(RUN, run),
    U64(SEED, seed),
    U64(PARENT_INCARNATION, parent_incarnation),
    TEXT(RULE, rule, RULE_MAX),
    UPTO(KIND_OF_PEER, kind_of_peer, UINT8_MAX),
    UPTO(LEVEL, level, UINT8_MAX),
    TEXT(EVENT, event, EVENT_MAX),
    TEXT(TEXT, text, TEXT_MAX),
    F32(ACCURACY, accuracy),
    U64(EVAL_SAMPLES, eval_samples),
    U64(DURATION_MS, duration_ms),
    BIN(LEDGER_CHAIN, ledger_chain),
    U64(DOWN_BYTES, down_bytes),
    U64(UP_BYTES, up_bytes),
    U64(LEDGER_FORMAT, ledger_format),
    U64(VERDICTS, verdicts),
    U64(SUPERSEDES, supersedes),
    LIST(AWAY, away),
    LIST(LABELS, labels),
    F32(EFFECT, effect),
    F32(DIVERGENCE, divergence),
    LIST(HOPS, hops),
};
const size_t trib_record_field_count = sizeof trib_record_fields / sizeof trib_record_fields[0];
_Static_assert(sizeof trib_record_fields / sizeof trib_record_fields[0] == TRIB_R_END - 1,
               "a row for every field");
_Static_assert(sizeof(struct trib_record) <= UINT16_MAX, "offsets are 16 bits");

void trib_record_encode(const struct trib_record *record, struct trib_buf *out) {
    TRIB_ASSERT(record->kind > 0 && record->kind < TRIB_REC_KINDS);
    TRIB_ASSERT(record->present >> TRIB_R_END == 0 && !TRIB_HAS(record->present, 0));
    trib_fields_encode(trib_record_fields, trib_record_field_count, record, record->present, out);
}

enum trib_status trib_record_decode(uint8_t kind, const void *data, size_t bytes, struct trib_record *record,
                                    struct trib_error *err) {
    *record = (struct trib_record){.kind = kind};
    if (kind == 0 || kind >= TRIB_REC_KINDS) {
        return trib_fail(err, TRIB_NEWER, "a record of kind %u, this program knows 1 to %d", kind,
                         TRIB_REC_KINDS - 1);
    }
    return trib_fields_decode(trib_record_fields, trib_record_field_count, data, bytes, record,
                              &record->present, err);
}

const char *trib_record_name(uint8_t kind) {
    static const char *const names[TRIB_REC_KINDS] = {
        [TRIB_REC_START] = "start",
        [TRIB_REC_PEER] = "peer",
        [TRIB_REC_VERDICT] = "verdict",
        [TRIB_REC_COMMIT] = "commit",
        [TRIB_REC_PUBLISH] = "publish",
        [TRIB_REC_FORWARD] = "forward",
        [TRIB_REC_ACKED] = "acked",
        [TRIB_REC_PARENT] = "parent",
        [TRIB_REC_VOID] = "void",
        [TRIB_REC_INCARNATION] = "incarnation",
        [TRIB_REC_EVALUATION] = "evaluation",
        [TRIB_REC_EVENT] = "event",
        [TRIB_REC_STOP] = "stop",
        [TRIB_REC_ROLLBACK] = "rollback",
    };
    return kind < TRIB_REC_KINDS && names[kind] != NULL ? names[kind] : "?";
}
