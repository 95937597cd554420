/* A scenario: what `tributary simulate` runs. One option table reads the YAML file, --set, and fills the help
 * and docs/simulator.md. Times of the fleet are seconds of the virtual clock. */
#ifndef TRIB_SIM_SCENARIO_H
#define TRIB_SIM_SCENARIO_H

#include "shared/base/option.h"
#include "shared/model/plan.h"

enum { TRIB_SIM_LEVELS_MAX = 8 };

struct trib_sim_link {
    uint64_t up, down; /* bytes/s; 0: no limit */
    uint64_t latency_ms, jitter_ms;
};

struct trib_scenario {
    char *name;  /* "": of the file */
    char *seeds; /* numbers, one a line; "": plan.seed */
    char *data_path;
    char *out;
    uint64_t threads;
    struct {
        uint64_t devices, edges;
        char *levels; /* edges at each level below the cloud, one a line */
        char *spread;
        char *join, *speed, *delay, *sample_delay;
        double drop, partial, slow_share, slow_times;
        uint64_t in_flight;
        uint64_t active, turn;
        bool forget, goodbye, tell_labels;
        char *stay, *away;
        uint64_t period_ms;
        double share;
        char *classes;        /* one a line; "": not told */
        char *battery, *link; /* "": not told */
    } fleet;
    struct trib_sim_link device_link, inner_link, edge_link;
    struct {
        char *kind;
        double share;
        uint64_t count;
        char *who;
        char *data; /* own, copies, any */
    } attack;
    struct {
        bool none;
        uint64_t parameters;
    } train;
    struct {
        uint64_t every, interval_ms, max_samples, delay_ms;
        char *classes; /* numbers, one a line; "": all */
    } evaluate;
    struct {
        char *cloud;
        bool edges;
        uint64_t checkpoint_records, checkpoint_bytes, checkpoint_keep;
    } ledger;
    struct {
        uint64_t limit; /* bytes */
    } resume;
    struct {
        uint64_t updates, events;
    } stop;
    char *arm;  /* "": the scenario as it stands */
    char *arms; /* one a line: "NAME: KEY=VALUE; KEY=VALUE" */
    struct {
        char *measures; /* one a line */
        bool is_short;
    } experiment; /* what `make experiments` reads off the arms; nothing here uses it */
    struct trib_plan plan;
};

extern const struct trib_option trib_scenario_options[];
extern const size_t trib_scenario_option_count;

/* Defaults into zeroed memory. What is not named keeps following something else until trib_scenario_finish:
 * plan.data.devices the fleet, name the file. Release with trib_scenario_release, also after a failure. */
enum trib_status trib_scenario_defaults(struct trib_scenario *scenario, struct trib_error *err) TRIB_MUST_USE;
/* Sets what the arm of this name sets; its name goes behind the scenario's. Before trib_scenario_finish. */
enum trib_status trib_scenario_arm(struct trib_scenario *scenario, const char *name,
                                   struct trib_error *err) TRIB_MUST_USE;
/* After files and settings: fills in what was not named, and checks what no single option can say. `path` is
 * of the scenario's file, or NULL. */
enum trib_status trib_scenario_finish(struct trib_scenario *scenario, const char *path,
                                      struct trib_error *err) TRIB_MUST_USE;
void trib_scenario_release(struct trib_scenario *scenario);

/* Seed `i` of those to run, or false behind the last. */
bool trib_scenario_seed(const struct trib_scenario *scenario, size_t i, uint64_t *seed);
/* How many devices attack. */
uint64_t trib_scenario_attackers(const struct trib_scenario *scenario);
/* Class `i` of those that count in evaluations, or false behind the last; none: all count. */
bool trib_scenario_class(const struct trib_scenario *scenario, size_t i, uint64_t *label);
/* Edges at each level below the cloud, at most TRIB_SIM_LEVELS_MAX; returns how many levels there are. */
size_t trib_scenario_levels(const struct trib_scenario *scenario, uint64_t counts[TRIB_SIM_LEVELS_MAX]);

#endif
