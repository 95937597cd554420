#include "shared/model/plan.h"

#include "shared/model/plan_table.h"

#include <string.h>

enum trib_status trib_plan_check_spec(const char *value, struct trib_error *err) {
    const char *name, *args;
    size_t name_bytes, args_bytes;
    return trib_spec_split(value, strlen(value), &name, &name_bytes, &args, &args_bytes, err);
}

const struct trib_option trib_plan_options[] = {TRIB_PLAN_ROWS("", (size_t)0)};
const size_t trib_plan_option_count = sizeof trib_plan_options / sizeof *trib_plan_options;

static bool is_known(const char *line, size_t bytes) {
    const char *colon = memchr(line, ':', bytes);
    size_t length = colon != NULL ? (size_t)(colon - line) : bytes;
    for (size_t i = 0; i < trib_plan_option_count; i++)
        if (strlen(trib_plan_options[i].name) == length &&
            memcmp(trib_plan_options[i].name, line, length) == 0)
            return true;
    return false;
}

enum trib_status trib_plan_read(const char *text, size_t bytes, const char *origin, struct trib_plan *plan,
                                struct trib_error *err) {
    struct trib_buf known;
    trib_buf_init(&known, 0);
    for (size_t at = 0; at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t length = end != NULL ? (size_t)(end - (text + at)) + 1 : bytes - at;
        if (is_known(text + at, length)) trib_buf_append(&known, text + at, length);
        at += length;
    }
    enum trib_status status =
        known.failed ? trib_fail(err, TRIB_NOMEM, "out of memory for the plan") : TRIB_OK;
    if (status == TRIB_OK)
        status = trib_options_defaults(trib_plan_options, trib_plan_option_count, plan, err);
    if (status == TRIB_OK)
        status = trib_options_parse(trib_plan_options, trib_plan_option_count, plan, trib_buf_text(&known),
                                    known.size, origin, err);
    trib_buf_release(&known);
    return status;
}
