#include "shared/wire/message.h"

#include "shared/codec/specs.h"

#include <ctype.h>
#include <string.h>

static const uint8_t magic[4] = {'T', 'R', 'I', 'B'};

enum { PLAN_MAX = 16 * 1024, DETAIL_MAX = 512, CODECS_MAX = 1024, BUILD_MAX = 128, MILLION = 1000000 };

#define FIELD(KEY, TYPE, member, most)                                                                       \
    { TRIB_F_##KEY, TRIB_FIELD_##TYPE, (uint16_t)offsetof(struct trib_msg, member), (most), #member }
#define U64(KEY, member)       FIELD(KEY, U64, member, 0)
#define UPTO(KEY, member, max) FIELD(KEY, U64, member, max)
#define F32(KEY, member)       FIELD(KEY, F32, member, 1)
#define TEXT(KEY, member, max) FIELD(KEY, TEXT, member, max)
#define BIN(KEY, member)       FIELD(KEY, BIN, member, sizeof((struct trib_msg *)0)->member)
#define LIST(KEY, member)      FIELD(KEY, U64S, member, TRIB_U64S_MAX)

const struct trib_field trib_msg_fields[] = {
    U64(SESSION, session),
    U64(NUMBER, number),
    U64(AFTER, after),
    U64(BASE_VERSION, base_version),
    BIN(BASE_DIGEST, base_digest),
    U64(SAMPLES, samples),
    U64(WEIGHT, weight),
    F32(STEPS, steps),
    F32(LOSS, loss),
    TEXT(CODEC, codec, TRIB_SPECS_MAX),
    U64(PAYLOAD_BYTES, payload_bytes),
    UPTO(PAYLOAD_CRC, payload_crc, UINT32_MAX),
    U64(REGION, region),
    LIST(HISTOGRAM, histogram),
    U64(BELOW_UPDATES, below_updates),
    U64(BELOW_UP_BYTES, below_up_bytes),
    U64(BELOW_DOWN_BYTES, below_down_bytes),
    U64(BELOW_RAW_BYTES, below_raw_bytes),
    TEXT(NAME, name, TRIB_NAME_MAX),
    U64(INCARNATION, incarnation),
    U64(NEXT_NUMBER, next_number),
    U64(HELD_VERSION, held_version),
    BIN(HELD_DIGEST, held_digest),
    UPTO(PROTOCOL_MIN, protocol_min, UINT8_MAX),
    UPTO(PROTOCOL_MAX, protocol_max, UINT8_MAX),
    TEXT(BUILD, build, BUILD_MAX),
    BIN(FINGERPRINT, fingerprint),
    TEXT(CODECS, codecs, CODECS_MAX),
    UPTO(KIND, kind, UINT8_MAX),
    U64(PARENT_INCARNATION, parent_incarnation),
    U64(LAST_NUMBER, last_number),
    U64(CREDIT, credit),
    TEXT(PLAN, plan, PLAN_MAX),
    TEXT(SCHEMA, schema, TRIB_SCHEMA_MAX_TEXT),
    BIN(RUN, run),
    U64(HEARTBEAT_MS, heartbeat_ms),
    U64(FROM_VERSION, from_version),
    BIN(FROM_DIGEST, from_digest),
    U64(TO_VERSION, to_version),
    BIN(TO_DIGEST, to_digest),
    U64(APPLIED, applied),
    U64(FENCE, fence),
    LIST(PARTS, parts),
    U64(SEED, seed),
    BIN(FULL_DIGEST, full_digest),
    UPTO(VERDICT, verdict, UINT8_MAX),
    U64(STALENESS, staleness),
    UPTO(REASON, reason, UINT8_MAX),
    F32(APPLIED_WEIGHT, applied_weight),
    U64(OFFSET, offset),
    U64(CHUNK_BYTES, chunk_bytes),
    U64(WINDOW_BYTES, window_bytes),
    U64(WAIT_MS, wait_ms),
    UPTO(CODE, code, UINT8_MAX),
    TEXT(DETAIL, detail, DETAIL_MAX),
    U64(TOKEN, token),
    UPTO(SUBSCRIBE, subscribe, 1),
    UPTO(ACCURACY_PPM, accuracy_ppm, MILLION),
    TEXT(DEVICE_CLASS, device_class, TRIB_CLASS_MAX),
    UPTO(BATTERY, battery, 100),
    U64(LINK, link),
    LIST(LABELS, labels),
    U64(RATE, rate),
};
const size_t trib_msg_field_count = sizeof trib_msg_fields / sizeof trib_msg_fields[0];
_Static_assert(sizeof trib_msg_fields / sizeof trib_msg_fields[0] == TRIB_F_END - 1, "a row for every field");
_Static_assert(sizeof(struct trib_msg) <= UINT16_MAX, "offsets are 16 bits");

#define BIT(KEY) ((uint64_t)1 << TRIB_F_##KEY)
#define OFFER    (BIT(PAYLOAD_BYTES) | BIT(PAYLOAD_CRC))
#define REPORT   (BIT(DEVICE_CLASS) | BIT(BATTERY) | BIT(LINK))
#define BELOW    (BIT(BELOW_UPDATES) | BIT(BELOW_UP_BYTES) | BIT(BELOW_DOWN_BYTES) | BIT(BELOW_RAW_BYTES))

const struct trib_msg_row trib_msg_rows[TRIB_MSG_TYPES] = {
    [TRIB_HELLO] = {"HELLO",
                    BIT(NAME) | BIT(INCARNATION) | BIT(NEXT_NUMBER) | BIT(PROTOCOL_MIN) | BIT(PROTOCOL_MAX) |
                        BIT(KIND),
                    BIT(HELD_VERSION) | BIT(HELD_DIGEST) | BIT(BUILD) | BIT(FINGERPRINT) | BIT(CODECS) |
                        BIT(PARENT_INCARNATION) | BIT(REGION) | BIT(SUBSCRIBE) | BIT(BASE_VERSION) |
                        BIT(BASE_DIGEST) | REPORT,
                    false},
    [TRIB_WELCOME] = {"WELCOME",
                      BIT(SESSION) | BIT(INCARNATION) | BIT(LAST_NUMBER) | BIT(CREDIT) | BIT(PLAN) |
                          BIT(SCHEMA) | BIT(FINGERPRINT) | BIT(RUN) | BIT(HEARTBEAT_MS),
                      BIT(BUILD), false},
    [TRIB_PULL] = {"PULL", BIT(SESSION),
                   BIT(HELD_VERSION) | BIT(HELD_DIGEST) | BIT(CREDIT) | BIT(RATE) | REPORT, false},
    [TRIB_MODEL] = {"MODEL",
                    BIT(SESSION) | BIT(KIND) | BIT(TO_VERSION) | BIT(TO_DIGEST) | BIT(APPLIED) | BIT(FENCE),
                    BIT(FROM_VERSION) | BIT(FROM_DIGEST) | BIT(PARTS) | BIT(SEED) | BIT(FULL_DIGEST) |
                        BIT(CODEC) | OFFER,
                    true},
    [TRIB_PUSH] = {"PUSH", BIT(SESSION) | BIT(NUMBER) | BIT(BASE_VERSION) | BIT(SAMPLES) | BIT(STEPS),
                   BIT(AFTER) | BIT(BASE_DIGEST) | BIT(WEIGHT) | BIT(LOSS) | BIT(CODEC) | BIT(KIND) |
                       BIT(REASON) | BIT(REGION) | BIT(HISTOGRAM) | BIT(LABELS) | BIT(PARTS) | BELOW | OFFER,
                   true},
    [TRIB_ACK] = {"ACK", BIT(SESSION) | BIT(NUMBER) | BIT(VERDICT),
                  BIT(STALENESS) | BIT(REASON) | BIT(APPLIED_WEIGHT) | BIT(CREDIT), false},
    [TRIB_CHUNK] = {"CHUNK", BIT(SESSION) | BIT(NUMBER) | BIT(OFFSET), 0, true},
    [TRIB_CREDIT] = {"CREDIT", BIT(SESSION),
                     BIT(NUMBER) | BIT(OFFSET) | BIT(CHUNK_BYTES) | BIT(WINDOW_BYTES) | BIT(CREDIT), false},
    [TRIB_ADVANCE] = {"ADVANCE", BIT(SESSION) | BIT(TO_VERSION), BIT(ACCURACY_PPM), false},
    [TRIB_WAIT] = {"WAIT", BIT(SESSION) | BIT(WAIT_MS), 0, false},
    [TRIB_BYE] = {"BYE", BIT(SESSION) | BIT(REASON), 0, false},
    [TRIB_ERROR] = {"ERROR", BIT(CODE), BIT(SESSION) | BIT(NUMBER) | BIT(WAIT_MS) | BIT(DETAIL), false},
    [TRIB_PING] = {"PING", BIT(SESSION) | BIT(TOKEN), 0, false},
    [TRIB_PONG] = {"PONG", BIT(SESSION) | BIT(TOKEN), 0, false},
};

/* What a MODEL of a kind must carry besides. */
static const uint64_t model_required[] = {
    [TRIB_MODEL_CURRENT] = 0,
    [TRIB_MODEL_INCREMENTS] = BIT(FROM_VERSION) | BIT(FROM_DIGEST) | BIT(PARTS),
    [TRIB_MODEL_SEED] = BIT(SEED),
    [TRIB_MODEL_SNAPSHOT] = BIT(FULL_DIGEST),
};

static const char *lookup(const char *const *names, size_t count, uint64_t index) {
    return index < count && names[index] != NULL ? names[index] : "?";
}

const char *trib_msg_name(uint8_t type) {
    return type < TRIB_MSG_TYPES && trib_msg_rows[type].name != NULL ? trib_msg_rows[type].name : "?";
}

const char *trib_code_name(uint64_t code) {
    static const char *const names[TRIB_CODE_COUNT] = {
        [TRIB_CODE_HELLO] = "hello",     [TRIB_CODE_MALFORMED] = "malformed",
        [TRIB_CODE_VERSION] = "version", [TRIB_CODE_SCHEMA] = "schema",
        [TRIB_CODE_RETIRED] = "retired", [TRIB_CODE_DUPLICATE] = "duplicate",
        [TRIB_CODE_GAP] = "gap",         [TRIB_CODE_CONFLICT] = "conflict",
        [TRIB_CODE_CREDIT] = "credit",   [TRIB_CODE_BUSY] = "busy",
        [TRIB_CODE_DENIED] = "denied",   [TRIB_CODE_TYPE] = "type",
        [TRIB_CODE_STORE] = "store",
    };
    return lookup(names, TRIB_CODE_COUNT, code);
}

const char *trib_reason_name(uint64_t reason) {
    static const char *const names[TRIB_REASON_COUNT] = {
        [TRIB_REASON_NONE] = "none",
        [TRIB_REASON_STALE] = "stale",
        [TRIB_REASON_BASE] = "base",
        [TRIB_REASON_FENCE] = "fence",
        [TRIB_REASON_PAYLOAD] = "payload",
        [TRIB_REASON_NOT_FINITE] = "not_finite",
        [TRIB_REASON_ROUND] = "round",
        [TRIB_REASON_CODEC] = "codec",
        [TRIB_REASON_SUPERSEDED] = "superseded",
        [TRIB_REASON_WEIGHT] = "weight",
        [TRIB_REASON_FINISHED] = "finished",
        [TRIB_REASON_NORM] = "norm",
        [TRIB_REASON_DIRECTION] = "direction",
        [TRIB_REASON_QUARANTINE] = "quarantine",
    };
    return lookup(names, TRIB_REASON_COUNT, reason);
}

const char *trib_verdict_name(uint64_t verdict) {
    static const char *const names[TRIB_VERDICT_COUNT] = {
        [TRIB_ACCEPTED] = "accepted",
        [TRIB_REFUSED] = "refused",
    };
    return lookup(names, TRIB_VERDICT_COUNT, verdict);
}

/* The first field of a set, for the message that it is missing. */
static const char *first_field(uint64_t set) {
    return trib_msg_fields[__builtin_ctzll(set) - 1].name;
}

static enum trib_status check_range(const char *what, uint64_t found, uint64_t least, uint64_t most,
                                    struct trib_error *err) {
    if (found >= least && found <= most) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "%s is %llu, expected %llu to %llu", what, (unsigned long long)found,
                     (unsigned long long)least, (unsigned long long)most);
}

static enum trib_status check_hello(const struct trib_msg *msg, struct trib_error *err) {
    if (msg->name.size == 0) return trib_fail(err, TRIB_INVALID, "HELLO has an empty name");
    enum trib_status status = check_range("HELLO's kind", msg->kind, TRIB_CHILD_DEVICE, TRIB_CHILD_EDGE, err);
    if (status != TRIB_OK) return status;
    return check_range("HELLO's protocol_min", msg->protocol_min, 1, msg->protocol_max, err);
}

static enum trib_status check_model(const struct trib_msg *msg, struct trib_error *err) {
    enum trib_status status =
        check_range("MODEL's kind", msg->kind, TRIB_MODEL_CURRENT, TRIB_MODEL_SNAPSHOT, err);
    if (status != TRIB_OK) return status;
    uint64_t missing = model_required[msg->kind] & ~msg->present;
    if (missing == 0) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "MODEL of kind %u lacks field %s", (unsigned)msg->kind,
                     first_field(missing));
}

/* What the tables cannot say: fields that depend on each other. */
static enum trib_status check_fields(const struct trib_msg *msg, struct trib_error *err) {
    uint64_t offer = msg->present & OFFER;
    /* A payload that comes along with PUSH says itself how long it is. */
    if (offer == BIT(PAYLOAD_BYTES) || (offer == BIT(PAYLOAD_CRC) && msg->type != TRIB_PUSH)) {
        return trib_fail(err, TRIB_INVALID,
                         "%s has payload_bytes or payload_crc alone, expected both or none",
                         trib_msg_name(msg->type));
    }
    switch (msg->type) {
    case TRIB_HELLO: return check_hello(msg, err);
    case TRIB_MODEL: return check_model(msg, err);
    case TRIB_ACK: return check_range("ACK's verdict", msg->verdict, TRIB_ACCEPTED, TRIB_REFUSED, err);
    case TRIB_PUSH:
        if (trib_msg_has(msg, HISTOGRAM) && msg->histogram.count % 2 != 0) {
            return trib_fail(err, TRIB_INVALID, "PUSH's histogram has %zu items, expected pairs",
                             msg->histogram.count);
        }
        return TRIB_OK;
    default: return TRIB_OK;
    }
}

void trib_msg_encode(const struct trib_msg *msg, struct trib_buf *out) {
    TRIB_ASSERT(msg->type > 0 && msg->type < TRIB_MSG_TYPES);
    const struct trib_msg_row *row = &trib_msg_rows[msg->type];
    TRIB_ASSERT((row->required & ~msg->present) == 0);
    TRIB_ASSERT((msg->present & ~(row->required | row->optional)) == 0);
    TRIB_ASSERT(check_fields(msg, NULL) == TRIB_OK);
    uint8_t preamble[TRIB_PREAMBLE_BYTES] = {0};
    memcpy(preamble, magic, sizeof magic);
    preamble[4] = msg->version != 0 ? msg->version : TRIB_PROTOCOL_OLDEST;
    preamble[5] = msg->type;
    trib_buf_append(out, preamble, sizeof preamble);
    trib_fields_encode(trib_msg_fields, trib_msg_field_count, msg, msg->present, out);
}

static enum trib_status read_preamble(const uint8_t *frame, size_t bytes, struct trib_msg *msg,
                                      uint64_t *code, struct trib_error *err) {
    *code = TRIB_CODE_MALFORMED;
    if (bytes < TRIB_PREAMBLE_BYTES) {
        return trib_fail(err, TRIB_INVALID, "a frame of %zu bytes, expected at least %d", bytes,
                         TRIB_PREAMBLE_BYTES);
    }
    if (memcmp(frame, magic, sizeof magic) != 0) {
        return trib_fail(err, TRIB_INVALID, "a frame begins with %02x %02x %02x %02x, expected \"TRIB\"",
                         frame[0], frame[1], frame[2], frame[3]);
    }
    msg->version = frame[4];
    msg->type = frame[5];
    if (msg->version < TRIB_PROTOCOL_OLDEST || msg->version > TRIB_PROTOCOL_NEWEST) {
        *code = TRIB_CODE_VERSION;
        return trib_fail(err, TRIB_NEWER, "protocol version %u, this program speaks %d to %d", msg->version,
                         TRIB_PROTOCOL_OLDEST, TRIB_PROTOCOL_NEWEST);
    }
    if (msg->type == 0 || msg->type >= TRIB_MSG_TYPES) {
        *code = TRIB_CODE_TYPE;
        return trib_fail(err, TRIB_UNSUPPORTED, "message type %u, this program knows 1 to %d", msg->type,
                         TRIB_MSG_TYPES - 1);
    }
    if (frame[6] != 0 || frame[7] != 0) {
        return trib_fail(err, TRIB_INVALID, "preamble ends in %02x %02x, expected 00 00", frame[6], frame[7]);
    }
    return TRIB_OK;
}

enum trib_status trib_msg_decode(const void *frame, size_t bytes, struct trib_msg *msg, uint64_t *code,
                                 struct trib_error *err) {
    uint64_t unwanted;
    if (code == NULL) code = &unwanted;
    *msg = (struct trib_msg){0};
    enum trib_status status = read_preamble(frame, bytes, msg, code, err);
    if (status != TRIB_OK) return status;
    const struct trib_msg_row *row = &trib_msg_rows[msg->type];
    uint64_t present;
    status = trib_fields_decode(trib_msg_fields, trib_msg_field_count,
                                (const uint8_t *)frame + TRIB_PREAMBLE_BYTES, bytes - TRIB_PREAMBLE_BYTES,
                                msg, &present, err);
    if (status != TRIB_OK) return status;
    /* A field that this type does not carry is like an unknown key: not an error, and not there. */
    msg->present = present & (row->required | row->optional);
    uint64_t missing = row->required & ~present;
    if (missing != 0) {
        return trib_fail(err, TRIB_INVALID, "%s lacks field %s", row->name, first_field(missing));
    }
    if (msg->type == TRIB_PUSH && !trib_msg_has(msg, WEIGHT)) msg->weight = msg->samples;
    status = check_fields(msg, err);
    if (status == TRIB_OK) *code = 0;
    return status;
}

enum trib_status trib_class_check(const char *name, struct trib_error *err) {
    size_t bytes = strlen(name);
    bool fine = bytes > 0 && bytes <= TRIB_CLASS_MAX;
    for (size_t i = 0; i < bytes && fine; i++) fine = isgraph((unsigned char)name[i]) != 0 && name[i] != ',';
    if (fine) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "\"%.40s\" is no class: 1 to %d printable ASCII characters without "
                     "spaces and commas",
                     name, TRIB_CLASS_MAX);
}
