/* Specs of rules and staleness functions: "name(arguments)" to a row of a table and a filled struct, and
 * back. */
#include "shared/rules/kind.h"

#include "shared/base/number.h"

#include <string.h>

enum { MAX_NAME = 31, MAX_ROWS = 64 };

/* An unknown name: says what is known, and which of it was perhaps meant. */
static enum trib_status unknown(const struct trib_rule_row *const *rows, size_t count, const char *what,
                                const char *word, struct trib_error *err) {
    const char *names[MAX_ROWS];
    struct trib_buf list;
    TRIB_ASSERT(count <= MAX_ROWS);
    trib_buf_init(&list, 0);
    for (size_t i = 0; i < count; i++) {
        names[i] = rows[i]->name;
        trib_buf_printf(&list, i == 0 ? "%s" : ", %s", names[i]);
    }
    const char *near = trib_nearest(word, names, count);
    enum trib_status status =
        near != NULL
            ? trib_fail(err, TRIB_INVALID, "\"%s\" is no %s; did you mean \"%s\"? Known are %s", word, what,
                        near, trib_buf_text(&list))
            : trib_fail(err, TRIB_INVALID, "\"%s\" is no %s; known are %s", word, what, trib_buf_text(&list));
    trib_buf_release(&list);
    return status;
}

static enum trib_status find(const struct trib_rule_row *const *rows, size_t count, const char *what,
                             const char *name, size_t bytes, size_t *index, struct trib_error *err) {
    for (size_t i = 0; i < count; i++)
        if (strlen(rows[i]->name) == bytes && memcmp(rows[i]->name, name, bytes) == 0) {
            *index = i;
            return TRIB_OK;
        }
    char word[MAX_NAME + 1] = {0};
    memcpy(word, name, bytes < MAX_NAME ? bytes : MAX_NAME);
    return unknown(rows, count, what, word, err);
}

enum trib_status trib_variant_read(const struct trib_rule_row *const *rows, size_t count, const char *what,
                                   const char *spec, size_t bytes, size_t *index, void *config,
                                   size_t config_bytes, struct trib_error *err) {
    const char *name = NULL, *args = NULL;
    size_t name_bytes = 0, args_bytes = 0;
    *index = 0;
    memset(config, 0, config_bytes);
    if (bytes > TRIB_RULE_MAX_SPEC)
        return trib_fail(err, TRIB_LIMIT, "the %s \"%.20s...\" is longer than %d characters", what, spec,
                         TRIB_RULE_MAX_SPEC);
    enum trib_status status = trib_spec_split(spec, bytes, &name, &name_bytes, &args, &args_bytes, err);
    if (status == TRIB_OK) status = find(rows, count, what, name, name_bytes, index, err);
    if (status != TRIB_OK) return status;
    const struct trib_rule_row *row = rows[*index];
    status = trib_options_defaults(row->params, row->param_count, config, err);
    if (status != TRIB_OK) return status;
    return trib_options_args(row->params, row->param_count, config, args, args_bytes, row->name, err);
}

enum trib_status trib_variant_parse(const struct trib_rule_row *rows, size_t count, const char *what,
                                    const char *spec, size_t *index, void *config, size_t config_bytes,
                                    struct trib_error *err) {
    const struct trib_rule_row *list[MAX_ROWS];
    TRIB_ASSERT(count <= MAX_ROWS);
    for (size_t i = 0; i < count; i++) list[i] = &rows[i];
    return trib_variant_read(list, count, what, spec, strnlen(spec, TRIB_RULE_MAX_SPEC + 1), index, config,
                             config_bytes, err);
}

static void print_value(const struct trib_option *param, const void *config, struct trib_buf *out) {
    const char *field = (const char *)config + param->offset;
    char text[TRIB_NUMBER_TEXT];
    uint64_t whole = 0;
    bool flag = false;
    double real = 0;
    const char *string = NULL;
    switch (param->type) {
    case TRIB_OPT_U64:
        memcpy(&whole, field, sizeof whole);
        trib_buf_printf(out, "%llu", (unsigned long long)whole);
        break;
    case TRIB_OPT_BOOL:
        memcpy(&flag, field, sizeof flag);
        trib_buf_printf(out, "%s", flag ? "true" : "false");
        break;
    case TRIB_OPT_MS:
        memcpy(&whole, field, sizeof whole);
        trib_buf_printf(out, "%s", trib_format_ms(text, whole));
        break;
    case TRIB_OPT_F64:
        memcpy(&real, field, sizeof real);
        trib_buf_printf(out, "%s", trib_format_f64(text, real));
        break;
    default: /* the tables of this folder hold nothing else */
        TRIB_ASSERT(param->type == TRIB_OPT_STRING || param->type == TRIB_OPT_CHOICE);
        memcpy(&string, field, sizeof string);
        trib_buf_printf(out, "%s", string);
    }
}

void trib_variant_print(const struct trib_rule_row *row, const void *config, struct trib_buf *out) {
    trib_buf_printf(out, "%s", row->name);
    for (size_t i = 0; i < row->param_count; i++) {
        trib_buf_printf(out, i == 0 ? "(%s=" : ", %s=", row->params[i].name);
        print_value(&row->params[i], config, out);
    }
    if (row->param_count > 0) trib_buf_append(out, ")", 1);
}
