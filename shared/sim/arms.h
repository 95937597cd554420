/* The forms of a scenario's arms and measures, for its option table. Private to this folder. */
#ifndef TRIB_SIM_ARMS_H
#define TRIB_SIM_ARMS_H

#include "shared/base/error.h"

/* "NAME: KEY=VALUE; KEY=VALUE"; NAME alone changes nothing. The keys are checked when the arm is taken. */
enum trib_status trib_scenario_check_arm(const char *value, struct trib_error *err);
/* "NAME: EXPRESSION; unit U; published P; at least B": the name and that something follows. */
enum trib_status trib_scenario_check_measure(const char *value, struct trib_error *err);

#endif
