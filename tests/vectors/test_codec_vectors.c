/* tests/vectors/codecs.txt: payloads in hex, what they decode to, and which are refused with what text. */
#include "tests/support/cmocka.h"

#include "shared/base/alloc.h"
#include "shared/codec/codec.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };

struct vector {
    char spec[TRIB_CODEC_MAX_SPEC];
    struct trib_schema schema;
    size_t count, bytes;
    uint8_t data[MOST];
    bool refused;
    const char *expected; /* values, or a part of the error's text */
};

static size_t read_hex(const char *hex, size_t digits, uint8_t *out) {
    assert_true(digits % 2 == 0 && digits / 2 <= MOST);
    for (size_t i = 0; i < digits; i += 2) {
        char byte[3] = {hex[i], hex[i + 1], 0}, *end;
        out[i / 2] = (uint8_t)strtoul(byte, &end, 16);
        assert_true(*end == 0);
    }
    return digits / 2;
}

/* "6" or, for a code that looks at tensors, their shapes: "4x2,3". */
static size_t read_tensors(const char *text, struct trib_schema *out) {
    static const char *const names[] = {"conv", "fc.weight", "fc.bias", "d"};
    trib_schema_init(out);
    for (size_t t = 0; *text != ' '; t++) {
        size_t dims[TRIB_SCHEMA_MAX_RANK], rank = 0;
        for (char *end; *text != ' ' && *text != ','; text = *end == 'x' ? end + 1 : end)
            dims[rank++] = strtoul(text, &end, 10);
        if (*text == ',') text++;
        if (dims[0] > 0) assert_int_equal(trib_schema_add(out, names[t], dims, rank, 0, NULL), TRIB_OK);
    }
    return out->parameters;
}

/* SPEC COUNT HEX = VALUES, or SPEC COUNT HEX ! TEXT; the hex digits may be none, written as a dash. */
static void read_line(char *line, struct vector *out) {
    char *spec = line, *count = strchr(spec, ' '), *hex = strchr(count + 1, ' '),
         *rest = strchr(hex + 1, ' ');
    assert_non_null(rest);
    *out = (struct vector){.refused = rest[1] == '!', .expected = rest + 3};
    assert_true(rest[1] == '!' || rest[1] == '=');
    memcpy(out->spec, spec, (size_t)(count - spec));
    out->count = read_tensors(count + 1, &out->schema);
    if (hex[1] != '-') out->bytes = read_hex(hex + 1, (size_t)(rest - hex - 1), out->data);
}

static void check_refused(const struct vector *v, const struct trib_codec *codec, const uint8_t *data) {
    struct trib_error err = {0};
    enum trib_status status = trib_codec_check(codec, data, v->bytes, v->count, NULL, &err);
    bool finite = strstr(v->expected, "NaN or infinity") == NULL;
    if (status != (finite ? TRIB_INVALID : TRIB_LIMIT) || strstr(err.text, v->expected) == NULL)
        fail_msg("%s %zu: found '%s' (%s), expected '%s'", v->spec, v->count, err.text,
                 trib_status_name(status), v->expected);
}

static void check_values(const struct vector *v, const struct trib_codec *codec, const uint8_t *data) {
    struct trib_error err = {0};
    float values[MOST] = {0};
    if (trib_codec_check(codec, data, v->bytes, v->count, NULL, &err) != TRIB_OK)
        fail_msg("%s %zu: %s", v->spec, v->count, err.text);
    trib_codec_add(codec, data, v->bytes, v->count, 1.0F, values);
    const char *at = v->expected;
    for (size_t i = 0; i < v->count; i++) {
        char *end;
        float expected = strtof(at, &end);
        if (end == at || values[i] != expected)
            fail_msg("%s %zu: value %zu is %.9g, expected %.20s", v->spec, v->count, i, (double)values[i],
                     at);
        at = end;
    }
    assert_true(*at == 0);
}

static void check(const struct vector *v) {
    struct trib_codec *codec = NULL;
    struct trib_error err = {0};
    if (trib_codec_new_for(v->spec, &v->schema, &codec, &err) != TRIB_OK) fail_msg("%s", err.text);
    /* an exact copy, so that a sanitizer sees any read behind its end */
    struct trib_blob *blob = trib_blob_copy(v->data, v->bytes);
    assert_non_null(blob);
    (v->refused ? check_refused : check_values)(v, codec, trib_blob_data(blob));
    trib_blob_unref(&blob);
    trib_codec_free(&codec);
}

static void test_codecs(void **state) {
    (void)state;
    FILE *file = fopen("tests/vectors/codecs.txt", "r");
    char line[8 * MOST];
    size_t good = 0, refused = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        struct vector v;
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#' || line[0] == 0) continue;
        read_line(line, &v);
        check(&v);
        trib_schema_release(&v.schema);
        if (v.refused)
            refused++;
        else
            good++;
    }
    assert_int_equal(fclose(file), 0);
    assert_true(good >= 15 && refused >= 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_codecs)};
    return cmocka_run_group_tests_name("codec_vectors", tests, NULL, NULL);
}
