/* Every *.hex of this folder, both ways: see README.md beside it for the format. */
#include "shared/codec/codec.h"
#include "shared/model/digest.h"
#include "shared/wire/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 8192, TEXTS_MAX = 4, FRAME_MAX = 2048, FILES_MIN = 60 };

struct vector {
    struct trib_msg msg; /* the fields as written */
    bool read_only, has_payload;
    uint64_t refuse;                  /* code, 0: not refused */
    char texts[TEXTS_MAX][FRAME_MAX]; /* what texts of msg point into */
    size_t text_count;
    uint8_t frame[FRAME_MAX];
    size_t frame_bytes;
    uint8_t payload[FRAME_MAX];
    size_t payload_bytes;
    enum { HEAD, FRAME, PAYLOAD } part;
};

static uint64_t code_of(const char *name) {
    for (uint64_t code = 1; code < TRIB_CODE_COUNT; code++) {
        if (strcmp(trib_code_name(code), name) == 0) return code;
    }
    fail_msg("no code is called %s", name);
    return 0;
}

static uint8_t type_of(const char *name) {
    for (uint8_t type = 1; type < TRIB_MSG_TYPES; type++) {
        if (strcmp(trib_msg_name(type), name) == 0) return type;
    }
    fail_msg("no message is called %s", name);
    return 0;
}

static size_t read_hex(const char *text, uint8_t *out, size_t room) {
    size_t count = 0;
    for (const char *at = text; *at != 0;) {
        unsigned byte;
        int used = 0;
        if (*at == ' ') {
            at++;
            continue;
        }
        assert_int_equal(sscanf(at, "%2x%n", &byte, &used), 1);
        assert_int_equal(used, 2);
        assert_true(count < room);
        out[count++] = (uint8_t)byte;
        at += 2;
    }
    return count;
}

static struct trib_text read_text(struct vector *v, const char *at) {
    assert_true(v->text_count < TEXTS_MAX && *at == '"');
    char *out = v->texts[v->text_count++];
    size_t size = 0;
    for (at++; *at != '"'; at++) {
        assert_true(*at != 0 && size < FRAME_MAX);
        if (*at == '\\') {
            at++;
            out[size++] = *at == 'n' ? '\n' : *at;
        } else {
            out[size++] = *at;
        }
    }
    return (struct trib_text){.data = size > 0 ? out : NULL, .size = size};
}

static void read_value(struct vector *v, const struct trib_field *field, const char *form, const char *text) {
    static const char *const forms[] = {"u64", "f32", "text", "bin", "u64s"};
    assert_string_equal(form, forms[field->type]);
    void *at = (char *)&v->msg + field->offset;
    char *end = NULL;
    switch ((enum trib_field_type)field->type) {
    case TRIB_FIELD_U64: *(uint64_t *)at = strtoull(text, &end, 10); break;
    case TRIB_FIELD_F32: *(float *)at = strtof(text, &end); break;
    case TRIB_FIELD_TEXT: *(struct trib_text *)at = read_text(v, text); break;
    case TRIB_FIELD_BIN: assert_int_equal(read_hex(text, at, field->max), field->max); break;
    case TRIB_FIELD_U64S: {
        struct trib_u64s *list = at;
        for (; *text != 0; text = end) list->items[list->count++] = strtoull(text, &end, 10);
        break;
    }
    }
    assert_true(end == NULL || *end == 0);
    v->msg.present |= (uint64_t)1 << field->key;
}

static void read_field(struct vector *v, const char *line) {
    char name[64], form[8];
    int used = 0;
    assert_int_equal(sscanf(line, "%63s %7s %n", name, form, &used), 2);
    for (size_t i = 0; i < trib_msg_field_count; i++) {
        if (strcmp(trib_msg_fields[i].name, name) == 0) {
            read_value(v, &trib_msg_fields[i], form, line + used);
            return;
        }
    }
    fail_msg("no field is called %s", name);
}

static void read_line(struct vector *v, const char *line) {
    if (line[0] == '#' || line[0] == 0) return;
    if (strcmp(line, "hex") == 0) {
        v->part = FRAME;
    } else if (strcmp(line, "payload") == 0) {
        v->part = PAYLOAD;
        v->has_payload = true;
    } else if (v->part == FRAME) {
        v->frame_bytes += read_hex(line, v->frame + v->frame_bytes, FRAME_MAX - v->frame_bytes);
    } else if (v->part == PAYLOAD) {
        v->payload_bytes += read_hex(line, v->payload + v->payload_bytes, FRAME_MAX - v->payload_bytes);
    } else if (strncmp(line, "type ", 5) == 0) {
        v->msg.type = type_of(line + 5);
    } else if (strncmp(line, "version ", 8) == 0) {
        v->msg.version = (uint8_t)strtoul(line + 8, NULL, 10);
    } else if (strncmp(line, "refuse ", 7) == 0) {
        v->refuse = code_of(line + 7);
    } else if (strcmp(line, "read-only") == 0) {
        v->read_only = true;
    } else {
        read_field(v, line);
    }
}

static void read_vector(struct vector *v, const char *path) {
    *v = (struct vector){.msg.version = TRIB_PROTOCOL_OLDEST};
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char line[LINE_MAX_BYTES];
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = 0;
        read_line(v, line);
    }
    assert_int_equal(fclose(file), 0);
}

static bool same_field(const struct trib_field *field, const struct trib_msg *a, const struct trib_msg *b) {
    const void *x = (const char *)a + field->offset, *y = (const char *)b + field->offset;
    switch ((enum trib_field_type)field->type) {
    case TRIB_FIELD_U64: return memcmp(x, y, sizeof(uint64_t)) == 0;
    case TRIB_FIELD_F32: return memcmp(x, y, sizeof(float)) == 0;
    case TRIB_FIELD_BIN: return memcmp(x, y, field->max) == 0;
    case TRIB_FIELD_U64S: return memcmp(x, y, sizeof(struct trib_u64s)) == 0;
    case TRIB_FIELD_TEXT: {
        const struct trib_text *s = x, *t = y;
        return s->size == t->size && (s->size == 0 || memcmp(s->data, t->data, s->size) == 0);
    }
    }
    return false;
}

static void check_decode(const struct vector *v, const char *path) {
    uint8_t *copy = malloc(v->frame_bytes > 0 ? v->frame_bytes : 1); /* no byte behind it, for sanitizers */
    assert_non_null(copy);
    memcpy(copy, v->frame, v->frame_bytes);
    struct trib_msg msg;
    struct trib_error err = {0};
    uint64_t code = 0;
    enum trib_status status = trib_msg_decode(copy, v->frame_bytes, &msg, &code, &err);
    if (v->refuse != 0) {
        if (status == TRIB_OK) fail_msg("%s: was taken", path);
        if (code != v->refuse) fail_msg("%s: %s, refused with %s", path, err.text, trib_code_name(code));
        free(copy);
        return;
    }
    if (status != TRIB_OK) fail_msg("%s: %s", path, err.text);
    assert_int_equal(msg.type, v->msg.type);
    if (msg.present != v->msg.present) fail_msg("%s: other fields than written", path);
    for (size_t i = 0; i < trib_msg_field_count; i++) {
        const struct trib_field *field = &trib_msg_fields[i];
        if (!TRIB_HAS(msg.present, field->key)) continue;
        if (!same_field(field, &msg, &v->msg)) fail_msg("%s: %s differs", path, field->name);
    }
    free(copy);
}

static void check_encode(const struct vector *v, const char *path) {
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_msg_encode(&v->msg, &buf);
    if (buf.size != v->frame_bytes || memcmp(buf.data, v->frame, buf.size) != 0) {
        fail_msg("%s: encodes to other bytes", path);
    }
    trib_buf_release(&buf);
}

static void test_vectors(void **state) {
    (void)state;
    glob_t files = {0};
    assert_int_equal(glob("tests/vectors/*.hex", 0, NULL, &files), 0);
    assert_true(files.gl_pathc >= FILES_MIN);
    uint64_t seen = 0;
    struct vector *v = malloc(sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *path = files.gl_pathv[i];
        read_vector(v, path);
        check_decode(v, path);
        if (v->refuse != 0) continue;
        if (!v->read_only) check_encode(v, path);
        assert_true(!v->has_payload || trib_msg_rows[v->msg.type].payload);
        seen |= (uint64_t)1 << v->msg.type;
    }
    assert_int_equal(seen, (1u << TRIB_MSG_TYPES) - 2); /* each type at least once */
    free(v);
    globfree(&files);
}

/* Every single-bit change of every vector is either refused or decodes; a sanitizer sees the rest. */
static void test_flipped_bits(void **state) {
    (void)state;
    glob_t files = {0};
    assert_int_equal(glob("tests/vectors/*.hex", 0, NULL, &files), 0);
    struct vector *v = malloc(sizeof *v);
    assert_non_null(v);
    size_t refused = 0;
    for (size_t i = 0; i < files.gl_pathc; i++) {
        read_vector(v, files.gl_pathv[i]);
        for (size_t bit = 0; bit < 8 * v->frame_bytes; bit++) {
            v->frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
            struct trib_msg msg;
            uint64_t code = 0;
            enum trib_status status = trib_msg_decode(v->frame, v->frame_bytes, &msg, &code, NULL);
            assert_true((status == TRIB_OK) == (code == 0));
            refused += status != TRIB_OK;
            v->frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    assert_true(refused > 1000);
    free(v);
    globfree(&files);
}

/* The vectors tell a story: a schema, version 0 from its seed, an increment, a snapshot of what it gives. */
static void test_the_models_follow_each_other(void **state) {
    (void)state;
    struct vector *v = malloc(sizeof *v);
    assert_non_null(v);
    struct trib_schema schema;
    struct trib_codec *codec = NULL;
    uint8_t full[TRIB_DIGEST_BYTES], chain[TRIB_DIGEST_BYTES];
    float model[10];
    read_vector(v, "tests/vectors/welcome.hex");
    assert_int_equal(trib_schema_parse(&schema, v->msg.schema.data, v->msg.schema.size, NULL), TRIB_OK);
    assert_memory_equal(schema.fingerprint, v->msg.fingerprint, sizeof schema.fingerprint);
    assert_int_equal(schema.parameters, 10);

    read_vector(v, "tests/vectors/model_seed.hex");
    trib_schema_draw(&schema, v->msg.seed, model);
    trib_digest_floats(model, 10, NULL, full);
    trib_digest_chain_start(schema.fingerprint, full, chain);
    assert_memory_equal(full, v->msg.full_digest, sizeof full);
    assert_memory_equal(chain, v->msg.to_digest, sizeof chain);

    read_vector(v, "tests/vectors/model_increments.hex");
    assert_int_equal(trib_codec_new("int8", &codec, NULL), TRIB_OK);
    assert_int_equal(trib_codec_check(codec, v->payload, v->payload_bytes, 10, NULL, NULL), TRIB_OK);
    trib_codec_add(codec, v->payload, v->payload_bytes, 10, 1.0f, model);
    trib_digest_chain(chain, v->payload, v->payload_bytes, chain);
    assert_memory_equal(chain, v->msg.to_digest, sizeof chain);

    read_vector(v, "tests/vectors/model_snapshot.hex");
    assert_int_equal(v->payload_bytes, sizeof model);
    assert_memory_equal(v->payload, model, sizeof model);
    trib_digest_floats(model, 10, NULL, full);
    assert_memory_equal(full, v->msg.full_digest, sizeof full);

    read_vector(v, "tests/vectors/push.hex");
    assert_int_equal(trib_codec_check(codec, v->payload, v->payload_bytes, 10, NULL, NULL), TRIB_OK);
    trib_codec_free(&codec);
    trib_schema_release(&schema);
    free(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_the_models_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
