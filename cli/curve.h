/* A run's accuracy over what it took, as its ledger tells it, and statistics over several runs. */
#ifndef TRIB_CLI_CURVE_H
#define TRIB_CLI_CURVE_H

#include "shared/ledger/ledger.h"

#include <stdbool.h>
#include <stddef.h>

enum { CURVE_EDGE_HOPS = 7 };

/* What a run had taken when it made a version; the columns of TRIB_LEDGER_CURVE. */
enum curve_cost {
    CURVE_SECONDS, /* from the run's beginning to the version */
    CURVE_UPDATES, /* of devices */
    CURVE_SAMPLES,
    CURVE_VERSIONS,      /* commits */
    CURVE_CONTRIBUTIONS, /* judged by the node that keeps the ledger */
    CURVE_DEVICE_EDGE_UP,
    CURVE_DEVICE_EDGE_DOWN,
    CURVE_EDGE_EDGE, /* up, down of the lowest hop between edges, then of those above it */
    CURVE_CLOUD = CURVE_EDGE_EDGE + 2 * CURVE_EDGE_HOPS,
    CURVE_CLOUD_UP = CURVE_CLOUD,
    CURVE_CLOUD_DOWN,
    CURVE_BROADCAST,
    CURVE_COSTS
};

const char *curve_cost_name(enum curve_cost cost); /* "seconds" */
/* "device-edge up", "edge-edge-2 down"; NULL: no hop's bytes */
const char *curve_hop_title(enum curve_cost cost);
static inline bool curve_between_edges(enum curve_cost cost) {
    return cost >= CURVE_EDGE_EDGE && cost < CURVE_CLOUD;
}
enum trib_ledger_unit curve_cost_unit(enum curve_cost cost);

struct curve_point {
    double accuracy;
    double cost[CURVE_COSTS];
};

/* Evaluations in the order of their versions. Zeroed is empty. */
struct curve {
    struct curve_point *points;
    size_t count, capacity;
};

/* Reads a run's. TRIB_NOMEM and what reading a ledger fails with. */
enum trib_status curve_read(struct trib_ledger_reader *reader, int64_t run_id, struct curve *out,
                            struct trib_error *err) TRIB_MUST_USE;
void curve_release(struct curve *curve);
enum trib_status curve_add(struct curve *curve, const struct curve_point *point,
                           struct trib_error *err) TRIB_MUST_USE;

/* What it took to reach an accuracy: the curve of the best accuracy so far, with straight lines between
 * evaluations (McMahan et al. 2017, section 3). False: it was not reached. The first evaluation has no line
 * before it: if it is there already, its own cost counts. */
bool curve_reach(const struct curve *curve, double accuracy, double cost[CURVE_COSTS]);
/* The highest accuracy, and the newest. False: there is no evaluation. */
bool curve_ends(const struct curve *curve, double *best, double *final);
/* The accuracy at x on a cost's axis, by straight lines; x must lie between the first point's and the last's.
 */
double curve_at(const struct curve *curve, enum curve_cost cost, double x);

/* Of n numbers; the deviation is a sample's (n - 1), 0 for one number. */
struct curve_spread {
    size_t n;
    double mean, squares /* of differences from the mean, summed */, min, max;
};
void curve_spread_add(struct curve_spread *spread, double value);
double curve_spread_sd(const struct curve_spread *spread);

#endif
