/* The cloud around its node: begins or resumes a run, evaluates versions, decides when the run is over. */
#ifndef TRIB_CLOUD_CLOUD_H
#define TRIB_CLOUD_CLOUD_H

#include "shared/daemon/config.h"

/* Runs until the run has ended (on_finish: exit) or a signal comes. Config and log are borrowed. */
enum trib_status cloud_run(const struct trib_cloud_config *config, const struct trib_log *log,
                           struct trib_error *err) TRIB_MUST_USE;

#endif
