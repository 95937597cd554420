/* Scenarios of simulations, from texts. */
#ifndef TRIB_TESTS_SCENARIOS_H
#define TRIB_TESTS_SCENARIOS_H

#include "shared/sim/scenario.h"

/* The defaults, then `base`, then `more`; a text that is wrong fails the test. Release it with
 * trib_scenario_release. */
void scenario_from(struct trib_scenario *scenario, const char *base, const char *more);

#endif
