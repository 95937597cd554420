/* The simulator without training: events a second of one core, and the memory that its fleet takes. Each runs
 * in a process of its own. The ratios are to what is asked for: 1 M events/s, 1 and 4 GiB. */
#include "tests/bench/bench.h"

#include "shared/sim/sim.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB 1048576.0

enum { JOINED_MS = 65 * 1000, SLICE_MS = 20 };

struct fleet {
    const char *name; /* of a file in configs/scenarios */
    uint64_t events;  /* that are timed, once all have joined */
    double most_mib;
};

struct figures {
    double events_s, peak_mib;
    uint64_t updates;
    struct trib_error err;
};

static double cpu_seconds(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static enum trib_status run(struct trib_sim *sim, const struct fleet *fleet, struct figures *out) {
    enum trib_status status = TRIB_OK;
    bool over = false;
    while (status == TRIB_OK && !over && trib_sim_status(sim).virtual_ms < JOINED_MS)
        status = trib_sim_run(sim, SLICE_MS, &over, &out->err);
    uint64_t before = trib_sim_status(sim).events;
    double began = cpu_seconds();
    while (status == TRIB_OK && !over && trib_sim_status(sim).events < before + fleet->events)
        status = trib_sim_run(sim, SLICE_MS, &over, &out->err);
    struct trib_sim_status now = trib_sim_status(sim);
    out->events_s = (double)(now.events - before) / (cpu_seconds() - began);
    out->updates = now.updates.accepted;
    return status;
}

static void simulate(const struct fleet *fleet, struct figures *out) {
    struct trib_scenario scenario = {0};
    struct trib_sim *sim = NULL;
    struct trib_error *err = &out->err;
    enum trib_status status = trib_scenario_defaults(&scenario, err);
    char path[80];
    (void)snprintf(path, sizeof path, "configs/scenarios/%s.yaml", fleet->name);
    if (status == TRIB_OK)
        status = trib_options_load(trib_scenario_options, trib_scenario_option_count, &scenario, path, err);
    if (status == TRIB_OK) status = trib_scenario_finish(&scenario, fleet->name, err);
    struct trib_sim_options options = {.scenario = &scenario, .seed = 1, .out = ""};
    if (status == TRIB_OK) status = trib_sim_new(&options, &sim, err);
    if (status == TRIB_OK) status = run(sim, fleet, out);
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    out->peak_mib = (double)usage.ru_maxrss / 1024;
    err->status = status;
    trib_sim_free(&sim);
    trib_scenario_release(&scenario);
}

static enum trib_status in_a_child(const struct fleet *fleet, struct figures *out, struct trib_error *err) {
    int ends[2], how = 0;
    if (pipe(ends) != 0) return trib_fail_errno(err, "cannot make a pipe");
    pid_t child = fork();
    if (child == 0) {
        struct figures figures = {.events_s = 0};
        simulate(fleet, &figures);
        _exit(write(ends[1], &figures, sizeof figures) == (ssize_t)sizeof figures ? 0 : 1);
    }
    (void)close(ends[1]);
    bool good = child > 0 && read(ends[0], out, sizeof *out) == (ssize_t)sizeof *out;
    (void)close(ends[0]);
    if (child > 0) (void)waitpid(child, &how, 0);
    if (!good) return trib_fail(err, TRIB_IO, "the simulation ended without a figure");
    if (out->err.status != TRIB_OK) *err = out->err;
    return out->err.status;
}

static enum trib_status bench(struct bench *b, const struct fleet *fleet, struct trib_error *err) {
    struct figures figures;
    char name[64];
    enum trib_status status = in_a_child(fleet, &figures, err);
    if (status != TRIB_OK) return status;
    struct bench_result rate = {fleet->name, "events/s", "1M/s", figures.events_s, figures.events_s / 1e6,
                                1.0,         false};
    bench_report(b, &rate);
    (void)snprintf(name, sizeof name, "%s-memory", fleet->name);
    struct bench_result memory = {name, "MiB", "asked", figures.peak_mib, figures.peak_mib / fleet->most_mib,
                                  1.0,  true};
    bench_report(b, &memory);
    return TRIB_OK;
}

enum trib_status bench_sim_events(struct bench *b, struct trib_error *err) {
    static const struct fleet fleet = {"sim-events", 3000000, 1024};
    return bench(b, &fleet, err);
}

enum trib_status bench_sim_million(struct bench *b, struct trib_error *err) {
    static const struct fleet fleet = {"sim-million", 2000000, 4096};
    return bench(b, &fleet, err);
}
