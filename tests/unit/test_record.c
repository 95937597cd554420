#include "shared/state/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

static struct trib_text text(const char *s) {
    return (struct trib_text){.data = s, .size = strlen(s)};
}

static struct trib_record full_verdict(void) {
    struct trib_record r = {.kind = TRIB_REC_VERDICT};
    trib_rec_set(&r, NOW, now_ms, 1700000000123u);
    trib_rec_set(&r, PEER, peer, text("device-7"));
    trib_rec_set(&r, INCARNATION, incarnation, 0xfedcba9876543210u);
    trib_rec_set(&r, NUMBER, number, 12);
    trib_rec_set(&r, VERDICT, verdict, TRIB_ACCEPTED);
    trib_rec_set(&r, REASON, reason, TRIB_REASON_NONE);
    trib_rec_set(&r, BASE, base_version, 40);
    trib_rec_set(&r, STALENESS, staleness, 3);
    trib_rec_set(&r, FACTOR, factor, 0.5f);
    trib_rec_set(&r, APPLIED, applied, 300.0f);
    trib_rec_set(&r, SAMPLES, samples, 1200);
    trib_rec_set(&r, LOSS, loss, 0.125f);
    trib_rec_set(&r, CODEC, codec, text("int8"));
    trib_rec_set(&r, PAYLOAD_CRC, payload_crc, UINT32_MAX);
    trib_rec_set(&r, HISTOGRAM, histogram, ((struct trib_u64s){4, {38, 600, 39, 600}}));
    return r;
}

static void test_a_verdict_both_ways(void **state) {
    (void)state;
    struct trib_record in = full_verdict(), out;
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_record_encode(&in, &buf);
    struct trib_error err = {0};
    assert_int_equal(trib_record_decode(TRIB_REC_VERDICT, buf.data, buf.size, &out, &err), TRIB_OK);
    assert_int_equal(out.kind, TRIB_REC_VERDICT);
    assert_true(out.present == in.present);
    assert_int_equal(out.now_ms, in.now_ms);
    assert_int_equal(out.peer.size, 8);
    assert_memory_equal(out.peer.data, "device-7", 8);
    assert_true(out.peer.data > (char *)buf.data && out.peer.data < (char *)buf.data + buf.size);
    assert_true(out.incarnation == in.incarnation && out.number == 12 && out.base_version == 40);
    assert_true(out.factor == 0.5f && out.applied == 300.0f && out.loss == 0.125f);
    assert_int_equal(out.payload_crc, UINT32_MAX);
    assert_memory_equal(&out.histogram, &in.histogram, sizeof in.histogram);
    assert_int_equal(out.position, 0);
    assert_null(out.payload);
    /* The same record gives the same bytes. */
    struct trib_buf again;
    trib_buf_init(&again, 0);
    trib_record_encode(&out, &again);
    assert_int_equal(again.size, buf.size);
    assert_memory_equal(again.data, buf.data, buf.size);
    trib_buf_release(&again);
    trib_buf_release(&buf);
}

/* What older stores hold must stay readable: these bytes are never to change. */
static void test_the_bytes_of_a_record(void **state) {
    (void)state;
    struct trib_record r = {.kind = TRIB_REC_COMMIT};
    trib_rec_set(&r, NOW, now_ms, 1000);
    trib_rec_set(&r, VERSION, version, 7);
    trib_rec_set(&r, COMMITS, commits, 128);
    trib_rec_set(&r, SCALE, scale, 1.0f);
    trib_rec_set(&r, UP_BYTES, up_bytes, 65536);
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_record_encode(&r, &buf);
    static const uint8_t expected[] = {0x85, 1,    0xcd, 0x03, 0xe8, 28,   7,    30, 0xcc, 128, 31,
                                       0xca, 0x3f, 0x80, 0,    0,    0x36, 0xce, 0,  1,    0,   0};
    assert_int_equal(buf.size, sizeof expected);
    assert_memory_equal(buf.data, expected, sizeof expected);
    trib_buf_release(&buf);
}

static void test_the_table(void **state) {
    (void)state;
    size_t end = offsetof(struct trib_record, now_ms);
    for (size_t i = 0; i < trib_record_field_count; i++) {
        const struct trib_field *field = &trib_record_fields[i];
        assert_int_equal(field->key, i + 1);
        assert_true(field->offset >= end);
        static const size_t sizes[] = {sizeof(uint64_t), sizeof(float), sizeof(struct trib_text), 0,
                                       sizeof(struct trib_u64s)};
        end = field->offset + (field->type == TRIB_FIELD_BIN ? field->max : sizes[field->type]);
    }
    assert_true(end <= offsetof(struct trib_record, payload));
}

/* A run's start holds a plan and a schema at their limits and the largest lists: it must fit into one map. */
static void test_the_largest_record_fits(void **state) {
    (void)state;
    static char x[TRIB_SCHEMA_MAX_TEXT];
    memset(x, 'x', sizeof x);
    struct trib_record r = {.kind = TRIB_REC_START}, out;
    for (size_t i = 0; i < trib_record_field_count; i++) {
        const struct trib_field *field = &trib_record_fields[i];
        void *at = (char *)&r + field->offset;
        r.present |= (uint64_t)1 << field->key;
        if (field->type == TRIB_FIELD_TEXT) {
            memcpy(at, &(struct trib_text){x, field->max}, sizeof(struct trib_text));
        } else if (field->type == TRIB_FIELD_U64S) {
            struct trib_u64s list = {.count = TRIB_U64S_MAX};
            memset(list.items, 0xff, sizeof list.items);
            memcpy(at, &list, sizeof list);
        } else if (field->type == TRIB_FIELD_U64 && field->max == 0) {
            memset(at, 0xff, sizeof(uint64_t));
        }
    }
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_record_encode(&r, &buf);
    assert_int_equal(trib_record_decode(TRIB_REC_START, buf.data, buf.size, &out, NULL), TRIB_OK);
    assert_true(out.present == r.present);
    assert_int_equal(out.schema.size, TRIB_SCHEMA_MAX_TEXT);
    trib_buf_release(&buf);
}

/* A diverged training must not make a journal that cannot be read. */
static void test_what_is_not_finite(void **state) {
    (void)state;
    struct trib_record r = {.kind = TRIB_REC_FORWARD}, out;
    trib_rec_set(&r, NUMBER, number, 1);
    trib_rec_set(&r, LOSS, loss, NAN);
    trib_rec_set(&r, UPDATE_NORM, update_norm, INFINITY);
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_record_encode(&r, &buf);
    assert_int_equal(trib_record_decode(TRIB_REC_FORWARD, buf.data, buf.size, &out, NULL), TRIB_OK);
    assert_false(trib_rec_has(&out, LOSS));
    assert_true(trib_rec_has(&out, UPDATE_NORM) && isfinite(out.update_norm));
    trib_buf_release(&buf);
}

static void test_bad_records(void **state) {
    (void)state;
    struct trib_record out;
    struct trib_error err = {0};
    assert_int_equal(trib_record_decode(0, "\x80", 1, &out, &err), TRIB_NEWER);
    assert_int_equal(trib_record_decode(TRIB_REC_KINDS, "\x80", 1, &out, &err), TRIB_NEWER);
    assert_int_equal(trib_record_decode(TRIB_REC_STOP, "\x81\x01", 2, &out, &err), TRIB_INVALID);
    assert_int_equal(trib_record_decode(TRIB_REC_STOP, "\x81\x30\x05", 3, &out, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "text"));
    assert_int_equal(trib_record_decode(TRIB_REC_STOP, "\x80", 1, &out, &err), TRIB_OK);
    assert_int_equal(out.kind, TRIB_REC_STOP);
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(trib_record_name(TRIB_REC_VERDICT), "verdict");
    assert_string_equal(trib_record_name(TRIB_REC_STOP), "stop");
    for (uint8_t kind = 1; kind < TRIB_REC_KINDS; kind++) {
        assert_string_not_equal(trib_record_name(kind), "?");
    }
    assert_string_equal(trib_record_name(0), "?");
    assert_string_equal(trib_record_name(TRIB_REC_KINDS), "?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_verdict_both_ways),
        cmocka_unit_test(test_the_bytes_of_a_record),
        cmocka_unit_test(test_the_table),
        cmocka_unit_test(test_the_largest_record_fits),
        cmocka_unit_test(test_what_is_not_finite),
        cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
