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
