/* What an edge's journal costs: time until it serves again, syncs, bytes on the disk. All on the shipped
 * program, under the plan's defaults: updates gathered by three, a forward at each commit, a publication
 * every 250 ms. */
#include "tests/bench/bench.h"
#include "tests/bench/feeders.h"
#include "tests/bench/preload/count_io.h"
#include "tests/bench/programs.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zmq.h>

enum {
    PARAMETERS_2NN = 199210,
    PARAMETERS_SMALL = 11386,
    JOURNALLED = 1000,
    RECOVERIES = 5,
    FEEDERS = 12,
    WAITING = 36, /* updates waiting for a sync */
    UPDATES = 2000
};

static const char *const plan_2nn[] = {"plan.model=2nn", "plan.data.set=glyphs(1000)",
                                       "evaluation.interval=24h", "plan.staleness_cap=1000000000", NULL};
static const char *const plan_small[] = {"plan.model=cnn-small", "plan.data.set=glyphs(1000)",
                                         "evaluation.interval=24h", "plan.staleness_cap=1000000000", NULL};

/* ---- recovery ---- */

struct reading {
    bool cold; /* drop them from memory instead */
    uint64_t bytes;
};

static void read_file(const char *path, struct reading *reading) {
    static char buffer[1 << 20];
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (reading->cold) {
        (void)fsync(fd);
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    while (!reading->cold && (got = read(fd, buffer, sizeof buffer)) > 0) reading->bytes += (uint64_t)got;
    (void)close(fd);
}

/* All files of the folder and the folders in it. */
static void read_folder(const char *folder, struct reading *reading) {
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[BENCH_PATH_MAX + 256];
        if (entry->d_name[0] == '.') continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_type == DT_DIR)
            read_folder(path, reading);
        else
            read_file(path, reading);
    }
    (void)closedir(dir);
}

static double time_reading(const struct bench_tree *tree, bool cold) {
    char folder[BENCH_PATH_MAX];
    (void)snprintf(folder, sizeof folder, "%s/edge", tree->folder.path);
    struct reading drop = {.cold = true}, reading = {.cold = false};
    if (cold) read_folder(folder, &drop);
    double start = bench_seconds();
    read_folder(folder, &reading);
    double seconds = bench_seconds() - start;
    if (cold) read_folder(folder, &drop);
    return seconds;
}

/* Seconds from exec until a participant has its WELCOME; then the edge is killed again. */
static enum trib_status recover_once(struct bench_tree *tree, const char *const *options, double *seconds,
                                     struct trib_error *err) {
    char endpoint[BENCH_ENDPOINT_MAX];
    struct bench_child child = {0};
    void *context = zmq_ctx_new();
    memcpy(endpoint, tree->edge.endpoint, sizeof endpoint);
    double start = bench_seconds();
    enum trib_status status = bench_tree_edge(tree, &tree->edge, "edge", endpoint, options, err);
    if (status == TRIB_OK) status = bench_child_open(&child, context, endpoint, "newcomer", NULL, err);
    if (status == TRIB_OK) status = bench_child_await_session(&child, err);
    *seconds = bench_seconds() - start;
    bench_child_close(&child);
    (void)zmq_ctx_term(context);
    bench_program_kill(&tree->edge);
    return status;
}

static enum trib_status fill_journal(struct bench_tree *tree, const char *const *options,
                                     struct trib_error *err) {
    struct bench_feeders *feeders = calloc(1, sizeof *feeders);
    if (feeders == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for participants");
    enum trib_status status = bench_tree_start(tree, plan_2nn, options, err);
    if (status == TRIB_OK)
        status = bench_feeders_open(feeders, FEEDERS, tree->edge.endpoint, PARAMETERS_2NN, err);
    if (status == TRIB_OK) status = bench_feeders_push(feeders, JOURNALLED, err);
    bench_program_kill(&tree->edge);
    bench_feeders_close(feeders);
    free(feeders);
    return status;
}

enum trib_status bench_recovery(struct bench *bench, struct trib_error *err) {
    static const char *const options[] = {"store.checkpoint.records=1000000", "store.checkpoint.bytes=100GiB",
                                          NULL};
    static const char *const names[] = {"recovery", "recovery-cold"};
    struct bench_tree tree;
    enum trib_status status = fill_journal(&tree, options, err);
    for (int cold = 0; cold < 2 && status == TRIB_OK; cold++) {
        double ours[RECOVERIES], limit[RECOVERIES];
        for (size_t i = 0; i < RECOVERIES && status == TRIB_OK; i++) {
            limit[i] = time_reading(&tree, cold == 1);
            status = recover_once(&tree, options, &ours[i], err);
        }
        if (status != TRIB_OK) break;
        char text[80];
        (void)snprintf(text, sizeof text, "1s,reading_it_takes_%.3fs", bench_median(limit, RECOVERIES));
        double value = bench_median(ours, RECOVERIES);
        struct bench_result result = {names[cold], "s", text, value, value, 1.0, true};
        bench_report(bench, &result);
    }
    bench_tree_stop(&tree);
    return status;
}

/* ---- syncs and blocks ---- */

/* An edge whose syncs and blocks are counted, and participants that push into it. */
struct counted {
    struct bench_tree tree;
    struct bench_feeders feeders;
    struct count_io *counts; /* in a file that the preloaded library adds to */
};

static enum trib_status make_counts(struct counted *c, const char *path, struct trib_error *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool made = fd >= 0 && ftruncate(fd, sizeof *c->counts) == 0;
    void *page = made ? mmap(NULL, sizeof *c->counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    enum trib_status status = page != MAP_FAILED ? TRIB_OK : trib_fail_errno(err, "cannot make %s", path);
    if (fd >= 0) (void)close(fd);
    c->counts = page;
    return status;
}

/* The tree's edge again, in a folder of its own, with its file operations counted. */
static enum trib_status start_counted(struct counted *c, const char *const *plan, const char *const *options,
                                      struct trib_error *err) {
    static const char *const defaults[] = {NULL};
    char preload[BENCH_PATH_MAX], path[BENCH_PATH_MAX];
    enum trib_status status = bench_tree_start(&c->tree, plan, defaults, err);
    bench_program_stop(&c->tree.edge);
    if (status == TRIB_OK) status = bench_program_path("libcountio.so", preload, err);
    (void)snprintf(path, sizeof path, "%s/counts", c->tree.folder.path);
    if (status == TRIB_OK) status = make_counts(c, path, err);
    if (status != TRIB_OK) return status;
    (void)setenv("LD_PRELOAD", preload, 1);
    (void)setenv("COUNT_IO", path, 1);
    status = bench_tree_edge(&c->tree, &c->tree.edge, "counted", NULL, options, err);
    (void)unsetenv("LD_PRELOAD");
    (void)unsetenv("COUNT_IO");
    return status;
}

struct load {
    const char *const *plan, *const *options;
    size_t parameters, feeders, updates;
};

struct cost {
    double syncs_per_update, bytes_per_byte;
};

/* Pushes a tenth as much before anything is counted. */
static enum trib_status push_counted(struct counted *c, const struct load *load, struct cost *cost,
                                     struct trib_error *err) {
    uint64_t bytes = 0, bytes_before = 0;
    enum trib_status status = bench_feeders_push(&c->feeders, load->updates / 10, err);
    if (status == TRIB_OK) status = bench_program_ask(&c->tree.edge, "up_bytes", &bytes_before, err);
    if (status != TRIB_OK) return status;
    uint64_t syncs = atomic_load(&c->counts->syncs), blocks = atomic_load(&c->counts->blocks);
    status = bench_feeders_push(&c->feeders, load->updates, err);
    syncs = atomic_load(&c->counts->syncs) - syncs;
    blocks = atomic_load(&c->counts->blocks) - blocks;
    if (status == TRIB_OK) status = bench_program_ask(&c->tree.edge, "up_bytes", &bytes, err);
    if (status == TRIB_OK && syncs == 0)
        return trib_fail(err, TRIB_INVALID, "nothing was counted: is libcountio.so of this build?");
    cost->syncs_per_update = (double)syncs / (double)load->updates;
    cost->bytes_per_byte = 4096.0 * (double)blocks / (double)(bytes - bytes_before);
    return status;
}

static enum trib_status run_counted(const struct load *load, struct cost *cost, struct trib_error *err) {
    struct counted *c = calloc(1, sizeof *c);
    if (c == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for participants");
    enum trib_status status = start_counted(c, load->plan, load->options, err);
    if (status == TRIB_OK)
        status = bench_feeders_open(&c->feeders, load->feeders, c->tree.edge.endpoint, load->parameters, err);
    if (status == TRIB_OK) status = push_counted(c, load, cost, err);
    bench_feeders_close(&c->feeders);
    bench_tree_stop(&c->tree);
    free(c);
    return status;
}

enum trib_status bench_fsyncs(struct bench *bench, struct trib_error *err) {
    static const char *const options[] = {"store.durability=batched", "limits.in_flight=64MiB", NULL};
    const struct load load = {plan_2nn, options, PARAMETERS_2NN, WAITING, UPDATES};
    struct cost cost;
    enum trib_status status = run_counted(&load, &cost, err);
    if (status != TRIB_OK) return status;
    struct bench_result result = {
        "fsyncs", "syncs/update", "1", cost.syncs_per_update, cost.syncs_per_update, 0.1, true};
    bench_report(bench, &result);
    return TRIB_OK;
}

enum trib_status bench_disk_writes(struct bench *bench, struct trib_error *err) {
    static const char *const options[] = {NULL};
    static const struct {
        const char *name;
        struct load load;
        double bar;
    } rows[] = {{"disk-writes", {plan_2nn, options, PARAMETERS_2NN, FEEDERS, UPDATES}, 1.5},
                {"disk-writes-small", {plan_small, options, PARAMETERS_SMALL, FEEDERS, UPDATES}, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cost cost;
        enum trib_status status = run_counted(&rows[i].load, &cost, err);
        if (status != TRIB_OK) return status;
        struct bench_result result = {rows[i].name,        "bytes/byte", "received", cost.bytes_per_byte,
                                      cost.bytes_per_byte, rows[i].bar,  true};
        bench_report(bench, &result);
    }
    return TRIB_OK;
}
