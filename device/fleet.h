/* The devices of one process: each with its own identity, connection, numbers, data and speed; together they
 * share the data set in memory and a few training threads. */
#ifndef TRIB_DEVICE_FLEET_H
#define TRIB_DEVICE_FLEET_H

#include "shared/daemon/config.h"

struct fleet;

/* Config and log are borrowed. */
enum trib_status fleet_new(struct fleet **out, const struct trib_device_config *config,
                           const struct trib_log *log, struct trib_error *err) TRIB_MUST_USE;
/* Until SIGTERM, SIGINT, or (on_finish: exit) every device's run is over. */
enum trib_status fleet_run(struct fleet *fleet, struct trib_error *err) TRIB_MUST_USE;
void fleet_free(struct fleet **fleet);

#endif
