#include "shared/wire/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

/* Fills a field with something that is valid and like no other's. */
static void fill(struct trib_msg *msg, const struct trib_field *field) {
    void *at = (char *)msg + field->offset;
    uint64_t number = 1000u + field->key;
    if (field->type == TRIB_FIELD_U64 && field->max != 0 && number > field->max) number = 1;
    if (field->key == TRIB_F_PROTOCOL_MAX) number = 2;
    switch ((enum trib_field_type)field->type) {
    case TRIB_FIELD_U64: memcpy(at, &number, sizeof number); break;
    case TRIB_FIELD_F32: memcpy(at, &(float){(float)field->key + 0.25f}, sizeof(float)); break;
    case TRIB_FIELD_TEXT:
        memcpy(at, &(struct trib_text){field->name, strlen(field->name)}, sizeof(struct trib_text));
        break;
    case TRIB_FIELD_BIN: memset(at, field->key, field->max); break;
    case TRIB_FIELD_U64S:
        memcpy(at, &(struct trib_u64s){.count = 2, .items = {field->key, number}}, sizeof(struct trib_u64s));
        break;
    }
    msg->present |= (uint64_t)1 << field->key;
}

static struct trib_msg make(uint8_t type, uint64_t set) {
    struct trib_msg msg = {.type = type, .version = TRIB_PROTOCOL_NEWEST};
    for (size_t i = 0; i < trib_msg_field_count; i++) {
        if (TRIB_HAS(set, trib_msg_fields[i].key)) fill(&msg, &trib_msg_fields[i]);
    }
    return msg;
}

static bool same_value(const struct trib_field *field, const struct trib_msg *a, const struct trib_msg *b) {
    const char *x = (const char *)a + field->offset, *y = (const char *)b + field->offset;
    if (field->type == TRIB_FIELD_BIN) return memcmp(x, y, field->max) == 0;
    if (field->type == TRIB_FIELD_F32) return memcmp(x, y, sizeof(float)) == 0;
    if (field->type == TRIB_FIELD_U64) return memcmp(x, y, sizeof(uint64_t)) == 0;
    if (field->type == TRIB_FIELD_U64S) return memcmp(x, y, sizeof(struct trib_u64s)) == 0;
    struct trib_text s, t;
    memcpy(&s, x, sizeof s);
    memcpy(&t, y, sizeof t);
    return s.size == t.size && memcmp(s.data, t.data, s.size) == 0;
}

static void check_round_trip(uint8_t type, uint64_t set) {
    struct trib_msg in = make(type, set), out;
    struct trib_buf buf;
    struct trib_error err = {0};
    uint64_t code = 99;
    trib_buf_init(&buf, 0);
    trib_msg_encode(&in, &buf);
    if (trib_msg_decode(buf.data, buf.size, &out, &code, &err) != TRIB_OK) {
        fail_msg("%s: %s", trib_msg_name(type), err.text);
    }
    assert_int_equal(code, 0);
    assert_int_equal(out.type, type);
    assert_int_equal(out.version, TRIB_PROTOCOL_NEWEST);
    assert_true(out.present == in.present);
    for (size_t i = 0; i < trib_msg_field_count; i++) {
        if (!TRIB_HAS(in.present, trib_msg_fields[i].key)) continue;
        if (!same_value(&trib_msg_fields[i], &in, &out)) {
            fail_msg("%s: %s changed on the way", trib_msg_name(type), trib_msg_fields[i].name);
        }
    }
    trib_buf_release(&buf);
}

/* Hostile bytes are made with the table of fields alone, past the checks of trib_msg_encode. */
static void encode_raw(const struct trib_msg *msg, struct trib_buf *out) {
    uint8_t preamble[TRIB_PREAMBLE_BYTES] = {'T', 'R', 'I', 'B', msg->version, msg->type, 0, 0};
    trib_buf_init(out, 0);
    trib_buf_append(out, preamble, sizeof preamble);
    trib_fields_encode(trib_msg_fields, trib_msg_field_count, msg, msg->present, out);
}

static void refused(const struct trib_msg *msg, const char *part) {
    struct trib_buf buf;
    encode_raw(msg, &buf);
    struct trib_msg out;
    uint64_t code = 0;
    struct trib_error err = {0};
    assert_int_equal(trib_msg_decode(buf.data, buf.size, &out, &code, &err), TRIB_INVALID);
    assert_int_equal(code, TRIB_CODE_MALFORMED);
    if (strstr(err.text, part) == NULL) fail_msg("expected \"%s\" in: %s", part, err.text);
    trib_buf_release(&buf);
}

static void test_the_tables(void **state) {
    (void)state;
    size_t end = offsetof(struct trib_msg, session);
    for (size_t i = 0; i < trib_msg_field_count; i++) {
        const struct trib_field *field = &trib_msg_fields[i];
        assert_int_equal(field->key, i + 1);
        assert_true(field->offset >= end); /* in the struct's order, so none overlaps another */
        static const size_t sizes[] = {sizeof(uint64_t), sizeof(float), sizeof(struct trib_text), 0,
                                       sizeof(struct trib_u64s)};
        end = field->offset + (field->type == TRIB_FIELD_BIN ? field->max : sizes[field->type]);
        uint64_t carriers = 0;
        for (size_t t = 1; t < TRIB_MSG_TYPES; t++) {
            carriers += TRIB_HAS(trib_msg_rows[t].required | trib_msg_rows[t].optional, field->key);
        }
        if (carriers == 0) fail_msg("no message carries %s", field->name);
    }
    for (uint8_t t = 1; t < TRIB_MSG_TYPES; t++) {
        const struct trib_msg_row *row = &trib_msg_rows[t];
        assert_non_null(row->name);
        assert_true((row->required & row->optional) == 0);
        assert_true(((row->required | row->optional) & 1) == 0);
        assert_int_equal(row->payload, t == TRIB_PUSH || t == TRIB_MODEL || t == TRIB_CHUNK);
        bool session = TRIB_HAS(row->required, TRIB_F_SESSION);
        assert_int_equal(session, t != TRIB_HELLO && t != TRIB_ERROR);
    }
    assert_null(trib_msg_rows[0].name);
}

static void test_every_type_both_ways(void **state) {
    (void)state;
    for (uint8_t t = 1; t < TRIB_MSG_TYPES; t++) {
        check_round_trip(t, trib_msg_rows[t].required);
        check_round_trip(t, trib_msg_rows[t].required | trib_msg_rows[t].optional);
    }
}

static void test_a_required_field_is_missed(void **state) {
    (void)state;
    for (uint8_t t = 1; t < TRIB_MSG_TYPES; t++) {
        for (size_t i = 0; i < trib_msg_field_count; i++) {
            const struct trib_field *field = &trib_msg_fields[i];
            if (!TRIB_HAS(trib_msg_rows[t].required, field->key)) continue;
            struct trib_msg msg = make(t, trib_msg_rows[t].required & ~((uint64_t)1 << field->key));
            refused(&msg, field->name);
        }
    }
}

static void test_what_a_type_does_not_carry_is_not_there(void **state) {
    (void)state;
    struct trib_msg msg = make(TRIB_WAIT, trib_msg_rows[TRIB_WAIT].required | (uint64_t)1 << TRIB_F_LOSS);
    struct trib_buf buf;
    encode_raw(&msg, &buf);
    struct trib_msg out;
    assert_int_equal(trib_msg_decode(buf.data, buf.size, &out, NULL, NULL), TRIB_OK);
    assert_true(out.present == trib_msg_rows[TRIB_WAIT].required);
    trib_buf_release(&buf);
}

static void test_fields_that_depend_on_each_other(void **state) {
    (void)state;
    struct trib_msg msg = make(TRIB_HELLO, trib_msg_rows[TRIB_HELLO].required);
    msg.kind = 3;
    refused(&msg, "HELLO's kind is 3, expected 1 to 2");
    msg.kind = 2;
    msg.protocol_min = 3;
    refused(&msg, "protocol_min is 3, expected 1 to 2");
    msg.protocol_min = 0;
    refused(&msg, "protocol_min is 0");
    msg.protocol_min = 1;
    msg.name.size = 0;
    refused(&msg, "empty name");

    msg = make(TRIB_MODEL, trib_msg_rows[TRIB_MODEL].required);
    msg.kind = 0;
    refused(&msg, "MODEL's kind is 0");
    msg.kind = 5;
    refused(&msg, "MODEL's kind is 5");
    msg.kind = TRIB_MODEL_INCREMENTS;
    refused(&msg, "lacks field from_version");
    msg.kind = TRIB_MODEL_SEED;
    refused(&msg, "lacks field seed");
    msg.kind = TRIB_MODEL_SNAPSHOT;
    refused(&msg, "lacks field full_digest");

    msg = make(TRIB_ACK, trib_msg_rows[TRIB_ACK].required);
    msg.verdict = 0;
    refused(&msg, "verdict is 0");
    msg.verdict = 3;
    refused(&msg, "verdict is 3");

    msg = make(TRIB_PUSH, trib_msg_rows[TRIB_PUSH].required | (uint64_t)1 << TRIB_F_HISTOGRAM);
    msg.histogram.count = 3;
    refused(&msg, "3 items, expected pairs");
    msg = make(TRIB_PUSH, trib_msg_rows[TRIB_PUSH].required | (uint64_t)1 << TRIB_F_PAYLOAD_BYTES);
    refused(&msg, "payload_bytes or payload_crc alone");
    msg = make(TRIB_PUSH, trib_msg_rows[TRIB_PUSH].required | (uint64_t)1 << TRIB_F_PAYLOAD_CRC);
    struct trib_buf buf;
    struct trib_msg out;
    encode_raw(&msg, &buf); /* its payload says how long it is */
    assert_int_equal(trib_msg_decode(buf.data, buf.size, &out, NULL, NULL), TRIB_OK);
    trib_buf_release(&buf);
    msg = make(TRIB_MODEL, trib_msg_rows[TRIB_MODEL].required | (uint64_t)1 << TRIB_F_PAYLOAD_CRC);
    refused(&msg, "payload_bytes or payload_crc alone");
}

static void decodes_to(const char *bytes, size_t size, enum trib_status status, uint64_t code,
                       const char *part) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    struct trib_msg out;
    uint64_t found = 0;
    struct trib_error err = {0};
    assert_int_equal(trib_msg_decode(copy, size, &out, &found, &err), status);
    assert_int_equal(found, code);
    if (strstr(err.text, part) == NULL) fail_msg("expected \"%s\" in: %s", part, err.text);
    free(copy);
}
#define DECODES_TO(bytes, ...) decodes_to(bytes, sizeof bytes - 1, __VA_ARGS__)

static void test_preambles(void **state) {
    (void)state;
    DECODES_TO("", TRIB_INVALID, TRIB_CODE_MALFORMED, "0 bytes");
    DECODES_TO("TRIB\1\15\0", TRIB_INVALID, TRIB_CODE_MALFORMED, "7 bytes");
    DECODES_TO("GET / HTTP/1.1\r\n\r\n", TRIB_INVALID, TRIB_CODE_MALFORMED, "47 45 54 20");
    DECODES_TO("TRIB\3\15\0\0\x80", TRIB_NEWER, TRIB_CODE_VERSION, "protocol version 3");
    DECODES_TO("TRIB\0\15\0\0\x80", TRIB_NEWER, TRIB_CODE_VERSION, "protocol version 0");
    DECODES_TO("TRIB\1\0\0\0\x80", TRIB_UNSUPPORTED, TRIB_CODE_TYPE, "type 0");
    DECODES_TO("TRIB\1\17\0\0\x80", TRIB_UNSUPPORTED, TRIB_CODE_TYPE, "type 15");
    DECODES_TO("TRIB\1\377\0\0\x80", TRIB_UNSUPPORTED, TRIB_CODE_TYPE, "type 255");
    DECODES_TO("TRIB\1\15\0\1\x80", TRIB_INVALID, TRIB_CODE_MALFORMED, "00 01");
    DECODES_TO("TRIB\1\15\0\0", TRIB_INVALID, TRIB_CODE_MALFORMED, "no bytes");
    DECODES_TO("TRIB\1\15\0\0\x80", TRIB_INVALID, TRIB_CODE_MALFORMED, "PING lacks field session");
    DECODES_TO("TRIB\1\15\0\0\xdd\x10\0\0\0", TRIB_LIMIT, TRIB_CODE_MALFORMED, "items");
    DECODES_TO("TRIB\1\15\0\0\x82\1\5\x38\6", TRIB_OK, 0, "");
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(trib_msg_name(TRIB_PUSH), "PUSH");
    assert_string_equal(trib_msg_name(TRIB_PONG), "PONG");
    assert_string_equal(trib_msg_name(0), "?");
    assert_string_equal(trib_msg_name(TRIB_MSG_TYPES), "?");
    assert_string_equal(trib_code_name(TRIB_CODE_GAP), "gap");
    assert_string_equal(trib_reason_name(TRIB_REASON_STALE), "stale");
    assert_string_equal(trib_reason_name(TRIB_REASON_NONE), "none");
    assert_string_equal(trib_verdict_name(TRIB_ACCEPTED), "accepted");
    assert_string_equal(trib_verdict_name(TRIB_REFUSED), "refused");
    for (uint64_t i = 1; i < TRIB_CODE_COUNT; i++) assert_string_not_equal(trib_code_name(i), "?");
    for (uint64_t i = 0; i < TRIB_REASON_COUNT; i++) assert_string_not_equal(trib_reason_name(i), "?");
    assert_string_equal(trib_code_name(0), "?");
    assert_string_equal(trib_code_name(UINT64_MAX), "?");
    assert_string_equal(trib_reason_name(TRIB_REASON_COUNT), "?");
    assert_string_equal(trib_verdict_name(0), "?");
}

/* The largest texts together still fit: a WELCOME with a schema and a plan at their limits. */
static void test_the_largest_welcome_fits(void **state) {
    (void)state;
    static char text[TRIB_SCHEMA_MAX_TEXT];
    memset(text, 'x', sizeof text);
    struct trib_msg msg = make(TRIB_WELCOME, trib_msg_rows[TRIB_WELCOME].required);
    trib_msg_set(&msg, PLAN, plan, ((struct trib_text){text, trib_msg_fields[TRIB_F_PLAN - 1].max}));
    trib_msg_set(&msg, SCHEMA, schema, ((struct trib_text){text, sizeof text}));
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_msg_encode(&msg, &buf);
    struct trib_msg out;
    assert_int_equal(trib_msg_decode(buf.data, buf.size, &out, NULL, NULL), TRIB_OK);
    assert_int_equal(out.schema.size, sizeof text);
    trib_buf_release(&buf);
}

/* The most that a device says with an update, in so few bytes, and what it leaves out. When it says what:
 * test_update_bytes. */
static void test_an_update_is_brief(void **state) {
    (void)state;
    struct trib_msg msg = {.type = TRIB_PUSH, .version = TRIB_PROTOCOL_BRIEF}, read;
    struct trib_buf frame;
    trib_msg_set(&msg, SESSION, session, UINT32_MAX);
    trib_msg_set(&msg, NUMBER, number, 65535);
    trib_msg_set(&msg, BASE_VERSION, base_version, 65535);
    trib_msg_set(&msg, SAMPLES, samples, 65535);
    trib_msg_set(&msg, STEPS, steps, 6553.5f);
    trib_msg_set(&msg, LOSS, loss, 0.7f);
    trib_msg_set(&msg, PAYLOAD_CRC, payload_crc, UINT32_MAX);
    trib_buf_init(&frame, 0);
    trib_msg_encode(&msg, &frame);
    assert_false(frame.failed);
    assert_int_equal(frame.size, 45);
    assert_int_equal(trib_msg_decode(frame.data, frame.size, &read, NULL, NULL), TRIB_OK);
    assert_true(read.steps == 6553.5f && read.loss == 0.7f && read.session == UINT32_MAX);
    assert_int_equal(read.weight, 65535); /* as many as its samples, where it does not say */
    trib_msg_set(&msg, WEIGHT, weight, 65535);
    trib_msg_set(&msg, KIND, kind, 11);
    trib_msg_set(&msg, REASON, reason, 6);
    trib_buf_release(&frame);
    trib_buf_init(&frame, 0);
    trib_msg_encode(&msg, &frame);
    assert_int_equal(frame.size, 45 + 4 + 2 + 2);
    trib_buf_release(&frame);
}

/* Floats that are whole numbers go as integers, and come back to the bit. */
static void test_whole_floats(void **state) {
    (void)state;
    static const struct {
        float value;
        size_t bytes; /* of its number */
    } cases[] = {{0.0f, 1},           {-0.0f, 5}, {1.0f, 1}, {127.0f, 1},    {128.0f, 2},  {0x1p24f, 5},
                 {0x1.000002p24f, 5}, {-1.0f, 5}, {0.5f, 5}, {0x1.8p16f, 5}, {65535.0f, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct trib_msg msg = make(TRIB_PUSH, trib_msg_rows[TRIB_PUSH].required), read;
        struct trib_buf with, zero;
        trib_buf_init(&with, 0);
        trib_buf_init(&zero, 0);
        msg.steps = 0.0f;
        trib_msg_encode(&msg, &zero);
        msg.steps = cases[i].value;
        trib_msg_encode(&msg, &with);
        assert_int_equal(with.size - zero.size + 1, cases[i].bytes);
        assert_int_equal(trib_msg_decode(with.data, with.size, &read, NULL, NULL), TRIB_OK);
        assert_memory_equal(&read.steps, &cases[i].value, sizeof read.steps);
        trib_buf_release(&with);
        trib_buf_release(&zero);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_tables),
        cmocka_unit_test(test_an_update_is_brief),
        cmocka_unit_test(test_whole_floats),
        cmocka_unit_test(test_every_type_both_ways),
        cmocka_unit_test(test_a_required_field_is_missed),
        cmocka_unit_test(test_what_a_type_does_not_carry_is_not_there),
        cmocka_unit_test(test_fields_that_depend_on_each_other),
        cmocka_unit_test(test_preambles),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_the_largest_welcome_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
