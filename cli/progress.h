/* What `tributary simulate` shows: a line while it goes on, a summary at the end. */
#ifndef TRIB_CLI_PROGRESS_H
#define TRIB_CLI_PROGRESS_H

#include "shared/sim/sim.h"

/* How many events the simulation had handled when its best accuracy left this error. */
struct progress_mark {
    double events, error;
};

struct progress {
    const struct trib_scenario *scenario;
    uint64_t seed;
    bool terminal;
    uint64_t began_ms, shown_ms; /* by the monotonic clock */
    uint64_t shown_events;
    bool line_open;
    uint64_t evaluations; /* that were looked at */
    struct progress_mark
        marks[2]; /* each after at least twice the events of the one before; 0 events: none */
};

void progress_begin(struct progress *progress, const struct trib_scenario *scenario, uint64_t seed);
/* Shows it, if it is time: every second on a terminal, in one line that it writes anew; every ten elsewhere,
 * a line each. On stderr. Told is how long it still takes: by the stop condition that is nearest, and where
 * it stops at an accuracy, roughly, as if the error went on to fall as a power of the events. */
void progress_show(struct progress *progress, const struct trib_sim_status *status);
void progress_end(struct progress *progress);
/* Both ways into the result's folder, which is sealed then if it is `whole`; and to stdout, as text or JSON:
 * last, for nobody may be reading there any more. */
enum trib_status summary_write(const struct progress *progress, const struct trib_sim *sim, bool json,
                               bool whole, struct trib_error *err) TRIB_MUST_USE;
/* To stdout what it wrote into the folder of a simulation that ended. */
enum trib_status summary_show(const char *folder, bool json, struct trib_error *err) TRIB_MUST_USE;

#endif
