#include "tests/support/scenarios.h"

#include "tests/support/cmocka.h"

#include <string.h>

void scenario_from(struct trib_scenario *scenario, const char *base, const char *more) {
    const char *const texts[] = {base, more};
    struct trib_error err = {0};
    memset(scenario, 0, sizeof *scenario);
    assert_int_equal(trib_scenario_defaults(scenario, &err), TRIB_OK);
    for (size_t i = 0; i < 2; i++)
        if (trib_options_parse(trib_scenario_options, trib_scenario_option_count, scenario, texts[i],
                               strlen(texts[i]), "test", &err) != TRIB_OK)
            fail_msg("%s", err.text);
    if (trib_scenario_finish(scenario, "test.yaml", &err) != TRIB_OK) fail_msg("%s", err.text);
}
