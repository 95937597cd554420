#include "shared/wire/fields.h"

#include "shared/base/utf8.h"
#include "shared/wire/scan.h"

#include <float.h>
#include <math.h>
#include <msgpack.h>
#include <stdbool.h>
#include <string.h>

/* How many bytes from the start may stand in a text field: UTF-8 without control characters but \n. */
static size_t good_text(const char *text, size_t size) {
    size_t at = 0;
    while (at < size) {
        if (text[at] >= 0x20 && text[at] < 0x7f) {
            at++;
            continue;
        }
        uint32_t code = 0;
        size_t length = trib_utf8_next(text + at, size - at, &code);
        bool control = (code < 0x20 && code != '\n') || (code >= 0x7f && code < 0xa0);
        if (length == 0 || control) break;
        at += length;
    }
    return at;
}

/* ---- encoding ----
 * Unsigned integers, which nearly everything is, are written here; the rest is msgpack-c's work. */

enum { UINT_BYTES = 9 };

static int write_buf(void *ctx, const char *data, size_t bytes) {
    trib_buf_append(ctx, data, bytes);
    return 0; /* the buffer remembers */
}

/* The smallest form; returns its bytes. */
static size_t put_uint(uint8_t out[UINT_BYTES], uint64_t value) {
    if (value < 0x80) {
        out[0] = (uint8_t)value;
        return 1;
    }
    unsigned form = value <= UINT8_MAX ? 0 : value <= UINT16_MAX ? 1 : value <= UINT32_MAX ? 2 : 3;
    size_t bytes = (size_t)1 << form;
    out[0] = (uint8_t)(0xcc + form);
    for (size_t i = 0; i < bytes; i++) out[1 + i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    return 1 + bytes;
}

static void pack_uint(msgpack_packer *packer, uint64_t value) {
    uint8_t bytes[UINT_BYTES];
    trib_buf_append(packer->data, bytes, put_uint(bytes, value));
}

/* A value that cannot be written as a finite number is left out: what is encoded must decode, above all from
 * a journal. */
static bool writable(const struct trib_field *field, const void *object) {
    if (field->type != TRIB_FIELD_F32) return true;
    float value;
    memcpy(&value, (const char *)object + field->offset, sizeof value);
    return !isnan(value);
}

static void pack_float(msgpack_packer *packer, float value, bool whole_as_integer) {
    if (isinf(value)) value = value > 0 ? FLT_MAX : -FLT_MAX;
    if (whole_as_integer && signbit(value) == 0 && value <= 0x1p24F && value == truncf(value))
        pack_uint(packer, (uint64_t)value);
    else
        msgpack_pack_float(packer, value);
}

static void pack_text(msgpack_packer *packer, const struct trib_field *field, const struct trib_text *text) {
    TRIB_ASSERT(text->size <= field->max);
    msgpack_pack_str(packer, text->size);
    if (text->size == 0) return;
    size_t good = good_text(text->data, text->size);
    msgpack_pack_str_body(packer, text->data, good);
    while (good < text->size) { /* as many bytes, each bad one as a question mark */
        msgpack_pack_str_body(packer, "?", 1);
        good++;
        size_t more = good_text(text->data + good, text->size - good);
        msgpack_pack_str_body(packer, text->data + good, more);
        good += more;
    }
}

static void pack_u64s(msgpack_packer *packer, const struct trib_field *field, const struct trib_u64s *list) {
    TRIB_ASSERT(list->count <= field->max && list->count <= TRIB_U64S_MAX);
    msgpack_pack_array(packer, list->count);
    for (size_t i = 0; i < list->count; i++) pack_uint(packer, list->items[i]);
}

static void pack_value(msgpack_packer *packer, const struct trib_field *field, const void *object) {
    const void *at = (const char *)object + field->offset;
    switch ((enum trib_field_type)field->type) {
    case TRIB_FIELD_U64: break; /* written with its key */
    case TRIB_FIELD_F32: pack_float(packer, *(const float *)at, field->max != 0); break;
    case TRIB_FIELD_TEXT: pack_text(packer, field, at); break;
    case TRIB_FIELD_BIN: msgpack_pack_bin_with_body(packer, at, field->max); break;
    case TRIB_FIELD_U64S: pack_u64s(packer, field, at); break;
    }
}

static const struct trib_field *find_field(const struct trib_field *table, size_t count, uint64_t key) {
    /* Tables are in key order without holes as a rule. */
    if (key - 1 < count && table[key - 1].key == key) return &table[key - 1];
    for (size_t i = 0; i < count; i++) {
        if (table[i].key == key) return &table[i];
    }
    return NULL;
}

/* The field of the lowest bit, if it is to be written. */
static const struct trib_field *next_field(const struct trib_field *table, size_t count, uint64_t left,
                                           const void *object) {
    const struct trib_field *field = find_field(table, count, (uint64_t)__builtin_ctzll(left));
    return field != NULL && writable(field, object) ? field : NULL;
}

void trib_fields_encode(const struct trib_field *table, size_t count, const void *object, uint64_t present,
                        struct trib_buf *out) {
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, write_buf);
    size_t field_count = 0;
    for (uint64_t left = present; left != 0; left &= left - 1)
        field_count += next_field(table, count, left, object) != NULL;
    msgpack_pack_map(&packer, field_count);
    for (uint64_t left = present; left != 0; left &= left - 1) {
        const struct trib_field *field = next_field(table, count, left, object);
        if (field == NULL) continue;
        uint8_t head[1 + UINT_BYTES] = {field->key};
        size_t bytes = 1;
        if (field->type == TRIB_FIELD_U64) {
            uint64_t value = *(const uint64_t *)(const void *)((const char *)object + field->offset);
            TRIB_ASSERT(field->max == 0 || value <= field->max);
            bytes += put_uint(head + 1, value);
        }
        trib_buf_append(out, head, bytes);
        pack_value(&packer, field, object);
    }
}

/* ---- decoding ----
 * The bytes have passed trib_map_check, so heads cannot fail, and what they announce is there. */

struct number {
    enum { UNSIGNED, NEGATIVE, REAL } kind;
    uint64_t u64;
    int64_t i64;
    double f64;
};

static struct number real(uint64_t bits, bool is_double) {
    struct number number = {.kind = REAL};
    if (is_double) {
        memcpy(&number.f64, &bits, sizeof number.f64);
    } else {
        uint32_t single = (uint32_t)bits;
        float value;
        memcpy(&value, &single, sizeof value);
        number.f64 = (double)value;
    }
    return number;
}

/* An integer or a float, as its head has said. */
static struct number take_number(struct trib_cursor *cursor) {
    enum { FLOAT32 = 0xca, FLOAT64 = 0xcb, UINT8 = 0xcc, INT8 = 0xd0, NEGATIVE_FROM = 0xe0 };
    unsigned first = *cursor->at++;
    if (first < 0x80) return (struct number){.kind = UNSIGNED, .u64 = first};
    if (first >= NEGATIVE_FROM) return (struct number){.kind = NEGATIVE, .i64 = (int64_t)first - 256};
    bool is_real = first == FLOAT32 || first == FLOAT64;
    size_t bytes = is_real ? (first == FLOAT32 ? 4 : 8) : (size_t)1 << (first & 3);
    uint64_t bits = 0;
    TRIB_ASSERT(bytes > 0); /* for the static analyser */
    for (size_t i = 0; i < bytes; i++) bits = bits << 8 | *cursor->at++;
    if (is_real) return real(bits, first == FLOAT64);
    bool negative = first >= INT8 && (bits >> (8 * bytes - 1)) != 0;
    if (!negative) return (struct number){.kind = UNSIGNED, .u64 = bits};
    if (bytes < sizeof bits) bits |= UINT64_MAX << 8 * bytes;
    return (struct number){.kind = NEGATIVE, .i64 = (int64_t)bits};
}

static enum trib_status wrong_type(const struct trib_field *field, enum trib_scan_kind found,
                                   const char *expected, struct trib_error *err) {
    return trib_fail(err, TRIB_INVALID, "field %u (%s) is %s, expected %s", field->key, field->name,
                     trib_scan_kind_name(found), expected);
}

static enum trib_status take_u64(struct trib_cursor *cursor, const struct trib_field *field, uint64_t *out,
                                 struct trib_error *err) {
    struct number value = take_number(cursor);
    if (value.kind == NEGATIVE) {
        return trib_fail(err, TRIB_INVALID, "field %u (%s) is negative (%lld), expected 0 or more",
                         field->key, field->name, (long long)value.i64);
    }
    *out = value.u64;
    return TRIB_OK;
}

static enum trib_status read_u64(struct trib_cursor *cursor, const struct trib_field *field, uint64_t *out,
                                 struct trib_error *err) {
    enum trib_status status = take_u64(cursor, field, out, err);
    if (status != TRIB_OK) return status;
    if (field->max != 0 && *out > field->max) {
        return trib_fail(err, TRIB_LIMIT, "field %u (%s) is %llu, at most %llu is allowed", field->key,
                         field->name, (unsigned long long)*out, (unsigned long long)field->max);
    }
    return TRIB_OK;
}

static enum trib_status read_f32(struct trib_cursor *cursor, const struct trib_field *field, float *out,
                                 struct trib_error *err) {
    struct number value = take_number(cursor);
    double number = value.kind == UNSIGNED   ? (double)value.u64
                    : value.kind == NEGATIVE ? (double)value.i64
                                             : value.f64;
    /* Compared as double: what would round to a finite float is taken, what would not is refused. */
    if (!(fabs(number) <= (double)FLT_MAX)) {
        return trib_fail(err, TRIB_INVALID, "field %u (%s) is %g, expected a finite 32-bit float", field->key,
                         field->name, number);
    }
    *out = (float)number;
    return TRIB_OK;
}

static enum trib_status read_text(struct trib_cursor *cursor, const struct trib_field *field, size_t size,
                                  struct trib_text *out, struct trib_error *err) {
    *out = (struct trib_text){.data = size > 0 ? (const char *)cursor->at : NULL, .size = size};
    cursor->at += size;
    if (size > field->max) {
        return trib_fail(err, TRIB_LIMIT, "field %u (%s) has %zu bytes, at most %llu are allowed", field->key,
                         field->name, size, (unsigned long long)field->max);
    }
    size_t good = good_text(out->data, size);
    if (good < size) {
        return trib_fail(err, TRIB_INVALID,
                         "field %u (%s) has byte 0x%02x at %zu, expected UTF-8 without control characters",
                         field->key, field->name, (uint8_t)out->data[good], good);
    }
    return TRIB_OK;
}

static enum trib_status read_bin(struct trib_cursor *cursor, const struct trib_field *field, size_t size,
                                 uint8_t *out, struct trib_error *err) {
    if (size != field->max) {
        return trib_fail(err, TRIB_INVALID, "field %u (%s) has %zu bytes, expected %llu", field->key,
                         field->name, size, (unsigned long long)field->max);
    }
    memcpy(out, cursor->at, size);
    cursor->at += size;
    return TRIB_OK;
}

static enum trib_status read_u64s(struct trib_cursor *cursor, const struct trib_field *field, size_t items,
                                  struct trib_u64s *out, struct trib_error *err) {
    if (items > field->max) {
        return trib_fail(err, TRIB_LIMIT, "field %u (%s) has %zu items, at most %llu are allowed", field->key,
                         field->name, items, (unsigned long long)field->max);
    }
    out->count = items;
    for (size_t i = 0; i < items; i++) {
        struct trib_cursor ahead = *cursor;
        struct trib_head head;
        enum trib_status status = trib_scan_head(&ahead, &head, err);
        if (status != TRIB_OK) return status;
        if (head.kind != TRIB_SCAN_INT) return wrong_type(field, head.kind, "only integers inside", err);
        status = take_u64(cursor, field, &out->items[i], err);
        if (status != TRIB_OK) return status;
    }
    return TRIB_OK;
}

/* One value of a known key; its head says whether it is of the right type. */
static enum trib_status read_value(struct trib_cursor *cursor, const struct trib_field *field, void *object,
                                   struct trib_error *err) {
    void *at = (char *)object + field->offset;
    struct trib_cursor behind = *cursor;
    struct trib_head head;
    enum trib_status status = trib_scan_head(&behind, &head, err);
    if (status != TRIB_OK) return status;
    switch ((enum trib_field_type)field->type) {
    case TRIB_FIELD_U64:
        if (head.kind != TRIB_SCAN_INT) return wrong_type(field, head.kind, "an unsigned integer", err);
        return read_u64(cursor, field, at, err);
    case TRIB_FIELD_F32:
        if (head.kind != TRIB_SCAN_INT && head.kind != TRIB_SCAN_FLOAT) {
            return wrong_type(field, head.kind, "a float", err);
        }
        return read_f32(cursor, field, at, err);
    case TRIB_FIELD_TEXT:
        if (head.kind != TRIB_SCAN_STR) return wrong_type(field, head.kind, "a string", err);
        *cursor = behind;
        return read_text(cursor, field, head.body, at, err);
    case TRIB_FIELD_BIN:
        if (head.kind != TRIB_SCAN_BIN) return wrong_type(field, head.kind, "binary", err);
        *cursor = behind;
        return read_bin(cursor, field, head.body, at, err);
    case TRIB_FIELD_U64S:
        if (head.kind != TRIB_SCAN_ARRAY) return wrong_type(field, head.kind, "an array", err);
        *cursor = behind;
        return read_u64s(cursor, field, head.items, at, err);
    }
    trib_assert_failed("field->type is in the enum", __FILE__, __LINE__);
}

/* Keys may be any integer; those in use are one byte. */
static enum trib_status read_long_key(struct trib_cursor *cursor, uint64_t *key, struct trib_error *err) {
    struct trib_cursor behind = *cursor;
    struct trib_head head;
    enum trib_status status = trib_scan_head(&behind, &head, err);
    if (status != TRIB_OK) return status;
    if (head.kind != TRIB_SCAN_INT) {
        return trib_fail(err, TRIB_INVALID, "a key is %s, expected an integer",
                         trib_scan_kind_name(head.kind));
    }
    struct number value = take_number(cursor);
    if (value.kind == NEGATIVE) {
        return trib_fail(err, TRIB_INVALID, "a key is negative (%lld), expected 0 or more",
                         (long long)value.i64);
    }
    *key = value.u64;
    return TRIB_OK;
}

static enum trib_status read_key(struct trib_cursor *cursor, uint64_t *seen, uint64_t *key,
                                 struct trib_error *err) {
    if (*cursor->at < 0x80) {
        *key = *cursor->at++;
    } else {
        enum trib_status status = read_long_key(cursor, key, err);
        if (status != TRIB_OK) return status;
    }
    if (*key >= 64) return TRIB_OK; /* of a later version; never ours */
    if (TRIB_HAS(*seen, *key)) {
        return trib_fail(err, TRIB_INVALID, "key %llu is there twice", (unsigned long long)*key);
    }
    *seen |= (uint64_t)1 << *key;
    return TRIB_OK;
}

enum trib_status trib_fields_decode(const struct trib_field *table, size_t count, const void *data,
                                    size_t bytes, void *object, uint64_t *present, struct trib_error *err) {
    *present = 0;
    enum trib_status status = trib_map_check(data, bytes, err);
    if (status != TRIB_OK) return status;
    struct trib_cursor cursor = {.at = data, .end = (const uint8_t *)data + bytes};
    struct trib_head map;
    status = trib_scan_head(&cursor, &map, err);
    uint64_t seen = 0;
    for (size_t i = 0; i < map.items && status == TRIB_OK; i++) {
        uint64_t key = 0;
        status = read_key(&cursor, &seen, &key, err);
        if (status != TRIB_OK) break;
        const struct trib_field *field = find_field(table, count, key);
        if (field == NULL) {
            status = trib_scan_skip(&cursor, TRIB_MAP_MAX_DEPTH - 1, err);
            continue;
        }
        status = read_value(&cursor, field, object, err);
        *present |= (uint64_t)1 << key;
    }
    return status;
}
