/* Models as files: what is written, to the byte, what is read back, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/model/digest.h"
#include "shared/model/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char folder[64], path[96];
    struct trib_schema schema; /* a 3x2, b 3, c-1 2x1x2x2 */
    float values[17];
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    (void)snprintf(f->folder, sizeof f->folder, "/tmp/trib-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    (void)snprintf(f->path, sizeof f->path, "%s/model", f->folder);
    assert_int_equal(trib_schema_add(&f->schema, "a", (const size_t[]){3, 2}, 2, 0, NULL), TRIB_OK);
    assert_int_equal(trib_schema_add(&f->schema, "b", (const size_t[]){3}, 1, 0, NULL), TRIB_OK);
    assert_int_equal(trib_schema_add(&f->schema, "c-1", (const size_t[]){2, 1, 2, 2}, 4, 0, NULL), TRIB_OK);
    assert_int_equal(trib_schema_finish(&f->schema, NULL), TRIB_OK);
    for (size_t i = 0; i < 17; i++) f->values[i] = (float)i * 0.5f - 2.0f;
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    trib_schema_release(&f->schema);
    (void)unlink(f->path);
    int left = rmdir(f->folder); /* fails if anything else was left there, a .tmp for one */
    free(f);
    return left;
}

static size_t read_file(const char *path, uint8_t *data, size_t room) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t bytes = fread(data, 1, room, file);
    (void)fclose(file);
    return bytes;
}

static void write_file(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* A file of that header (its length put before it) and data. */
static void write_safetensors(const char *path, const char *header, const void *data, size_t bytes) {
    uint8_t whole[4096];
    size_t length = strlen(header);
    assert_true(8 + length + bytes <= sizeof whole);
    trib_put_u64(whole, length);
    memcpy(whole + 8, header, length);
    if (bytes > 0) memcpy(whole + 8 + length, data, bytes);
    write_file(path, whole, 8 + length + bytes);
}

/* ---- safetensors ---- */

static const char header_of_three[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"note\":\"a \\\"b\\\"\"},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[0,24]},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[24,36]},"
    "\"c-1\":{\"dtype\":\"F32\",\"shape\":[2,1,2,2],\"data_offsets\":[36,68]}}";

static void test_bytes_of_a_file(void **state) {
    struct fixture *f = *state;
    static const char *const metadata[] = {"format", "pt", "note", "a \"b\"", NULL};
    assert_int_equal(trib_safetensors_save(f->path, &f->schema, f->values, metadata, NULL), TRIB_OK);
    uint8_t found[1024];
    size_t bytes = read_file(f->path, found, sizeof found), length = strlen(header_of_three);
    size_t padded = (length + 7) / 8 * 8;
    assert_int_equal(bytes, 8 + padded + 68);
    assert_int_equal(trib_get_u64(found), padded);
    assert_memory_equal(found + 8, header_of_three, length);
    for (size_t i = length; i < padded; i++) assert_int_equal(found[8 + i], ' ');
    assert_memory_equal(found + 8 + padded, f->values, 68);
}

static void test_round_trip(void **state) {
    struct fixture *f = *state;
    float back[17] = {0};
    f->values[3] = -0.0f;
    f->values[4] = 0x1p-149f;
    assert_int_equal(trib_safetensors_save(f->path, &f->schema, f->values, NULL, NULL), TRIB_OK);
    assert_int_equal(trib_safetensors_load(f->path, &f->schema, back, NULL), TRIB_OK);
    assert_memory_equal(back, f->values, sizeof back);
    struct trib_schema schema;
    assert_int_equal(trib_safetensors_schema(f->path, &schema, NULL), TRIB_OK);
    assert_memory_equal(schema.fingerprint, f->schema.fingerprint, TRIB_DIGEST_BYTES); /* bounds 0 here too */
    trib_schema_release(&schema);
}

/* Other programs order keys, spaces and tensors as they like. */
static void test_other_spellings(void **state) {
    struct fixture *f = *state;
    float data[17], back[17];
    memcpy(data, f->values + 6, 3 * sizeof *data);     /* b first */
    memcpy(data + 3, f->values, 6 * sizeof *data);     /* then a */
    memcpy(data + 9, f->values + 9, 8 * sizeof *data); /* then c-1 */
    write_safetensors(f->path,
                      "{ \"a\" : {\"shape\": [3, 2],\t\"data_offsets\":[12, 36], \"dtype\":\"F32\"} ,\n"
                      "\"c-1\":{\"data_offsets\":[36,68],\"dtype\":\"F32\",\"shape\":[2,1,2,2]},"
                      "\"__metadata__\":{\"\\u00e9\\n\":\"\\\\\"},"
                      "\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}   ",
                      data, sizeof data);
    struct trib_error err;
    if (trib_safetensors_load(f->path, &f->schema, back, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_memory_equal(back, f->values, sizeof back);
    struct trib_schema schema;
    assert_int_equal(trib_safetensors_schema(f->path, &schema, NULL), TRIB_OK);
    assert_string_equal(schema.tensors[0].name, "b"); /* in the order of the data */
    assert_string_equal(schema.tensors[1].name, "a");
    assert_int_equal(schema.parameters, 17);
    trib_schema_release(&schema);
}

static struct trib_schema one_tensor(size_t count) {
    struct trib_schema schema;
    trib_schema_init(&schema);
    assert_int_equal(trib_schema_add(&schema, "h", &count, 1, 0, NULL), TRIB_OK);
    assert_int_equal(trib_schema_finish(&schema, NULL), TRIB_OK);
    return schema;
}

static void test_halves(void **state) {
    struct fixture *f = *state;
    static const uint16_t halves[] = {0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x83ff, 0x0400, 0x3555};
    static const float expected[] = {0.0f,     -0.0f,       1.0f,     -2.0f,          65504.0f,
                                     0x1p-24f, -0x3ffp-24f, 0x1p-14f, 0.333251953125f};
    struct trib_schema schema = one_tensor(9);
    float back[9];
    write_safetensors(f->path, "{\"h\":{\"dtype\":\"F16\",\"shape\":[9],\"data_offsets\":[0,18]}}", halves,
                      18);
    assert_int_equal(trib_safetensors_load(f->path, &schema, back, NULL), TRIB_OK);
    assert_memory_equal(back, expected, sizeof back);
    trib_schema_release(&schema);
}

static void test_many_halves(void **state) {
    struct fixture *f = *state;
    enum { COUNT = 10001 }; /* several pieces and a rest */
    struct trib_schema schema = one_tensor(COUNT);
    uint8_t *whole = trib_alloc(8 + 64 + 2 * COUNT);
    float *back = trib_alloc_floats(COUNT);
    int length =
        snprintf((char *)whole + 8, 65, "{\"h\":{\"dtype\":\"F16\",\"shape\":[%d],\"data_offsets\":[0,%d]}}",
                 COUNT, 2 * COUNT);
    trib_put_u64(whole, (uint64_t)length);
    for (size_t i = 0; i < COUNT; i++) /* 1 + (i mod 1024) / 1024 */
        trib_put_u16(whole + 8 + length + 2 * i, (uint16_t)(0x3c00 + i % 1024));
    write_file(f->path, whole, 8 + (size_t)length + 2 * COUNT);
    assert_int_equal(trib_safetensors_load(f->path, &schema, back, NULL), TRIB_OK);
    for (size_t i = 0; i < COUNT; i++) assert_true(back[i] == 1.0f + (float)(i % 1024) / 1024.0f);
    trib_free(whole);
    trib_free(back);
    trib_schema_release(&schema);
}

static void test_values_that_are_no_numbers(void **state) {
    struct fixture *f = *state;
    struct trib_error err;
    float back[17];
    static const uint16_t halves[] = {0x3c00, 0x7c00};
    f->values[7] = NAN;
    assert_int_equal(trib_safetensors_save(f->path, &f->schema, f->values, NULL, NULL), TRIB_OK);
    assert_int_equal(trib_safetensors_load(f->path, &f->schema, back, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "value 1 of tensor \"b\" is NaN or infinite"));
    struct trib_schema schema = one_tensor(2);
    write_safetensors(f->path, "{\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}", halves, 4);
    assert_int_equal(trib_safetensors_load(f->path, &schema, back, &err), TRIB_INVALID);
    trib_schema_release(&schema);
}

static void test_another_model(void **state) {
    struct fixture *f = *state;
    struct trib_error err;
    float back[17] = {0};
    const float data[17] = {1};
    static const struct {
        const char *header, *says;
        size_t bytes;
    } cases[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[0,24]}}", "lacks the tensor \"b\"", 24},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}",
         "tensor \"a\" has 2 dimensions, the "
         "first 2",
         24},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", "has 1 dimensions", 24},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[0,24]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[24,36]},"
         "\"extra\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[68,70]},"
         "\"c-1\":{\"dtype\":\"F32\",\"shape\":[2,1,2,2],\"data_offsets\":[36,68]}}",
         "\"extra\", which the model does not have", 70},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t padded[70] = {0};
        memcpy(padded, data, 68);
        write_safetensors(f->path, cases[i].header, padded, cases[i].bytes);
        assert_int_equal(trib_safetensors_load(f->path, &f->schema, back, &err), TRIB_INVALID);
        if (strstr(err.text, cases[i].says) == NULL) fail_msg("case %zu: %s", i, err.text);
        assert_true(back[0] == 0.0f); /* refused before anything is read */
    }
}

#define H(fields) "{\"h\":{" fields "}}"

static const struct {
    const char *header;
    enum trib_status status;
    const char *says;
} hostile[] = {
    /* with 8 bytes of data behind each */
    {"", TRIB_INVALID, "'{' expected"},
    {"   {}", TRIB_INVALID, "byte 0: '{' expected"},
    {"{", TRIB_INVALID, "byte 1"},
    {"{}", TRIB_INVALID, "'\"' expected"},
    {"{\"__metadata__\":{}}", TRIB_INVALID, "no tensors"},
    {"[]", TRIB_INVALID, "'{' expected"},
    {"{\"h\"}", TRIB_INVALID, "':' expected"},
    {"{\"h\":1}", TRIB_INVALID, "'{' expected"},
    {"{\"h\":{}}", TRIB_INVALID, "'\"' expected"},
    {H("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]") "x", TRIB_INVALID, "header's end"},
    {H("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]") "{}", TRIB_INVALID, "header's end"},
    {"{\"h\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},}", TRIB_INVALID, "'\"' expected"},
    {H("\"dtype\":\"F32\",\"shape\":[2]"), TRIB_INVALID, "lacks"},
    {H("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1"), TRIB_INVALID, "key \"x\""},
    {H("\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,8]"), TRIB_INVALID,
     "\"dtype\" twice"},
    {H("\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]"), TRIB_UNSUPPORTED, "type BF16"},
    {H("\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]"), TRIB_UNSUPPORTED, "F32 and F16"},
    {H("\"dtype\":\"F\\u0033\",\"shape\":[1],\"data_offsets\":[0,8]"), TRIB_INVALID, "data type expected"},
    {H("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,8]"), TRIB_INVALID, "whole number"},
    {H("\"dtype\":\"F32\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8]"), TRIB_INVALID, "4 dimensions"},
    {H("\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]"), TRIB_LIMIT, "is 0"},
    {H("\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]"), TRIB_INVALID, "whole number"},
    {H("\"dtype\":\"F32\",\"shape\":[02],\"data_offsets\":[0,8]"), TRIB_INVALID, "leading zeros"},
    {H("\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]"), TRIB_INVALID, "',' or ']'"},
    {H("\"dtype\":\"F32\",\"shape\":[2e0],\"data_offsets\":[0,8]"), TRIB_INVALID, "',' or ']'"},
    {H("\"dtype\":\"F32\",\"shape\":[18446744073709551618],\"data_offsets\":[0,8]"), TRIB_INVALID, "2^64"},
    {H("\"dtype\":\"F32\",\"shape\":[1073741824,1073741824,1073741824,4],\"data_offsets\":[0,8]"), TRIB_LIMIT,
     "parameters"},
    {H("\"dtype\":\"F32\",\"shape\":[4294967298],\"data_offsets\":[0,8]"), TRIB_LIMIT, "dimension 1"},
    {H("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]"), TRIB_INVALID, "two numbers"},
    {H("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]"), TRIB_INVALID, "two numbers"},
    {H("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]"), TRIB_INVALID, "gap"},
    {H("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,16]"), TRIB_INVALID, "needs 8 bytes"},
    {H("\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]"), TRIB_INVALID, "of which the file has 8"},
    {H("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), TRIB_INVALID, "of which the file has 8"},
    {H("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]"), TRIB_INVALID, "gap"},
    {H("\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,8]"), TRIB_INVALID, "needs 4 bytes"},
    {H("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[18446744073709551608,0]"), TRIB_INVALID, "gap"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
     TRIB_INVALID, "before the preceding one ends"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
     TRIB_INVALID, "\"a\" is there twice"},
    {"{\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", TRIB_INVALID,
     "without escapes"},
    {"{\"0123456789012345678901234567890123456789012345678901234567890123\":{}}", TRIB_INVALID,
     "at most 63 characters"},
    {"{\"__metadata__\":{\"a\":1}}", TRIB_INVALID, "'\"' expected"},
    {"{\"__metadata__\":{\"a\":\"\\x\"}}", TRIB_INVALID, "an escape of JSON"},
    {"{\"__metadata__\":{\"a\":\"\\u12", TRIB_INVALID, "an escape of JSON"},
    {"{\"__metadata__\":{\"a\":\"\n\"}}", TRIB_INVALID, "control character"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", TRIB_INVALID, "twice"},
    {"{\"__metadata__\":{\"a\":{\"b\":{\"c\":{}}}}}", TRIB_INVALID, "'\"' expected"},
    {"{\"a b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", TRIB_INVALID, "0x20"},
};

static void test_hostile_headers(void **state) {
    struct fixture *f = *state;
    const float data[2] = {1, 2};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct trib_schema schema;
        struct trib_error err = {0};
        write_safetensors(f->path, hostile[i].header, data, sizeof data);
        enum trib_status status = trib_safetensors_schema(f->path, &schema, &err);
        if (status != hostile[i].status || strstr(err.text, hostile[i].says) == NULL)
            fail_msg("%s: got %s: %s", hostile[i].header, trib_status_name(status), err.text);
        assert_null(schema.tensors);
    }
}

/* Every file cut short is refused, whatever the cut hits. */
static void test_cut_files(void **state) {
    struct fixture *f = *state;
    uint8_t whole[1024];
    float back[17];
    assert_int_equal(trib_safetensors_save(f->path, &f->schema, f->values, NULL, NULL), TRIB_OK);
    size_t bytes = read_file(f->path, whole, sizeof whole);
    for (size_t n = 0; n < bytes; n++) {
        write_file(f->path, whole, n);
        assert_int_equal(trib_safetensors_load(f->path, &f->schema, back, NULL), TRIB_INVALID);
    }
    whole[bytes] = 0; /* and one byte too many */
    write_file(f->path, whole, bytes + 1);
    assert_int_equal(trib_safetensors_load(f->path, &f->schema, back, NULL), TRIB_INVALID);
}

static void test_lengths_that_lie(void **state) {
    struct fixture *f = *state;
    struct trib_error err;
    struct trib_schema schema;
    uint8_t start[16] = {0};
    static const uint64_t lengths[] = {9, 1u << 30, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < 4; i++) {
        trib_put_u64(start, lengths[i]);
        write_file(f->path, start, sizeof start);
        trib_alloc_fail_after(0); /* refused before anything of that length is allocated */
        enum trib_status status = trib_safetensors_schema(f->path, &schema, &err);
        trib_alloc_fail_after(-1);
        assert_int_equal(status, TRIB_INVALID);
        assert_non_null(strstr(err.text, "is no safetensors file"));
    }
    trib_put_u64(start,
                 2u << 20); /* a sparse file that is as long as it says, with a header over the limit */
    write_file(f->path, start, sizeof start);
    assert_int_equal(truncate(f->path, 4 << 20), 0);
    assert_int_equal(trib_safetensors_schema(f->path, &schema, &err), TRIB_LIMIT);
}

static void test_no_file(void **state) {
    struct fixture *f = *state;
    float back[17];
    struct trib_error err;
    assert_int_equal(trib_safetensors_load(f->path, &f->schema, back, &err), TRIB_NOT_FOUND);
    assert_non_null(strstr(err.text, f->path));
    assert_int_equal(trib_safetensors_load(f->folder, &f->schema, back, &err), TRIB_INVALID);
    char nowhere[128];
    (void)snprintf(nowhere, sizeof nowhere, "%s/no/model", f->folder);
    assert_int_equal(trib_safetensors_save(nowhere, &f->schema, f->values, NULL, &err), TRIB_NOT_FOUND);
    assert_int_equal(trib_npz_save(nowhere, &f->schema, f->values, &err), TRIB_NOT_FOUND);
    assert_non_null(strstr(err.text, "No such file"));
}

/* Saving over a file that cannot be replaced leaves it, and no .tmp (tear_down looks). */
static void test_failed_save_leaves_what_was(void **state) {
    struct fixture *f = *state;
    assert_int_equal(mkdir(f->path, 0755), 0); /* a rename over a folder fails */
    struct trib_error err;
    assert_int_equal(trib_safetensors_save(f->path, &f->schema, f->values, NULL, &err), TRIB_IO);
    assert_non_null(strstr(err.text, "cannot rename"));
    assert_int_equal(trib_npz_save(f->path, &f->schema, f->values, &err), TRIB_IO);
    assert_int_equal(rmdir(f->path), 0);
}

static enum trib_status save_and_load(const struct fixture *f, const char *npz) {
    float back[17];
    struct trib_schema schema;
    trib_schema_init(&schema);
    enum trib_status status = trib_safetensors_save(f->path, &f->schema, f->values, NULL, NULL);
    if (status == TRIB_OK) status = trib_safetensors_load(f->path, &f->schema, back, NULL);
    if (status == TRIB_OK) status = trib_safetensors_schema(f->path, &schema, NULL);
    if (status == TRIB_OK) status = trib_npz_save(npz, &f->schema, f->values, NULL);
    trib_schema_release(&schema);
    return status;
}

static void test_failing_allocations(void **state) {
    struct fixture *f = *state;
    char npz[128];
    long n = 0;
    (void)snprintf(npz, sizeof npz, "%s/model.npz", f->folder);
    for (;; n++) {
        trib_alloc_fail_after(n);
        enum trib_status status = save_and_load(f, npz);
        trib_alloc_fail_after(-1);
        if (status == TRIB_OK) break;
        assert_int_equal(status, TRIB_NOMEM);
    }
    assert_true(n > 15);
    assert_int_equal(unlink(npz), 0);
}

/* ---- npz ---- */

/* The expected bytes were put together in Python, with struct, zlib.crc32 and, for the members, numpy.save:
 *     local = lambda n, d: struct.pack("<IHHHHHIIIHH", 0x04034b50, 20, 0, 0, 0, 0x21, zlib.crc32(d), len(d),
 *                                      len(d), len(n), 0) + n + d
 *     central = lambda n, d, at: struct.pack("<IHHHHHHIIIHHHHHII", 0x02014b50, 20, 20, 0, 0, 0, 0x21,
 *                                            zlib.crc32(d), len(d), len(d), len(n), 0, 0, 0, 0, 0, at) + n
 * and the end record. numpy.load reads the file that we write, every value equal. */
static void test_npz(void **state) {
    struct fixture *f = *state;
    uint8_t found[4096], digest[TRIB_DIGEST_BYTES];
    char hex[2 * TRIB_DIGEST_BYTES + 1];
    assert_int_equal(trib_npz_save(f->path, &f->schema, f->values, NULL), TRIB_OK);
    size_t bytes = read_file(f->path, found, sizeof found);
    assert_int_equal(bytes, 736);
    trib_digest_bytes(found, bytes, digest);
    assert_string_equal(trib_digest_hex(digest, hex),
                        "06ad0f33811bb1f57e9193270c79bce3e4a8e6c1531fee2a195f483c07422168");
}

static void test_npz_too_large(void **state) {
    struct fixture *f = *state;
    struct trib_schema schema;
    trib_schema_init(&schema);
    assert_int_equal(trib_schema_add(&schema, "t", (const size_t[]){TRIB_SCHEMA_MAX_PARAMETERS}, 1, 0, NULL),
                     TRIB_OK);
    assert_int_equal(trib_npz_save(f->path, &schema, f->values, NULL),
                     TRIB_LIMIT); /* before it reads a float */
    trib_schema_release(&schema);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_bytes_of_a_file),
        TEST(test_round_trip),
        TEST(test_other_spellings),
        TEST(test_halves),
        TEST(test_many_halves),
        TEST(test_values_that_are_no_numbers),
        TEST(test_another_model),
        TEST(test_hostile_headers),
        TEST(test_cut_files),
        TEST(test_lengths_that_lie),
        TEST(test_no_file),
        TEST(test_failed_save_leaves_what_was),
        TEST(test_failing_allocations),
        TEST(test_npz),
        TEST(test_npz_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
