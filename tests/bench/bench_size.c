/* What the programs take: memory of an edge with a hundred participants, of a device beside its data, and the
 * size of both on disk. The ratios are measured / limit: at most 1. */
#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/programs.h"

#include "shared/base/alloc.h"
#include "shared/learn/dataset.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#define MIB 1048576.0

enum {
    PARAMETERS = 1663370,
    CHILDREN = 100,
    UPDATES = 3, /* of each child, and as many snapshots */
    UPDATES_S = 120,
    DEVICE_UPDATES = 5
};

static void report(struct bench *bench, const char *name, const char *unit, const char *limit, double value,
                   double most) {
    struct bench_result result = {name, unit, limit, value, value / most, 1.0, true};
    bench_report(bench, &result);
}

/* ---- an edge ---- */

struct crowd {
    void *context;
    struct bench_child children[CHILDREN];
    uint64_t models[CHILDREN]; /* seen, when it last pushed */
    double asked_s[CHILDREN];
};

/* What a child does next: session -> snapshot -> update -> snapshot -> ... True: it is done. */
static bool go_on(struct crowd *crowd, size_t i) {
    struct bench_child *child = &crowd->children[i];
    double now = bench_seconds();
    if (child->accepted >= UPDATES) return true;
    if (child->unanswered > 0) return false;
    if (child->models > crowd->models[i]) {
        crowd->models[i] = child->models;
        crowd->asked_s[i] = 0;
        bench_child_offer(child);
    } else if (now - crowd->asked_s[i] > 1.0 && child->incoming.have == child->incoming.total) {
        crowd->asked_s[i] = now; /* the answer may have been: wait */
        if (child->session == 0)
            bench_child_hello(child);
        else
            bench_child_pull(child, true, TRIB_FREE_PAYLOAD);
    }
    return false;
}

static enum trib_status work(struct crowd *crowd, struct trib_error *err) {
    zmq_pollitem_t items[CHILDREN];
    for (size_t i = 0; i < CHILDREN; i++)
        items[i] = (zmq_pollitem_t){.socket = crowd->children[i].socket, .events = ZMQ_POLLIN};
    double limit = bench_seconds() + UPDATES_S;
    for (size_t done = 0; done < CHILDREN;) {
        if (bench_seconds() > limit)
            return trib_fail(err, TRIB_AGAIN, "only %zu of %d participants got through in %d s", done,
                             CHILDREN, UPDATES_S);
        (void)zmq_poll(items, CHILDREN, 50);
        done = 0;
        for (size_t i = 0; i < CHILDREN; i++) {
            struct bench_child *child = &crowd->children[i];
            if (items[i].revents != 0) (void)bench_child_receive(child);
            if (child->refused > 0)
                return trib_fail(err, TRIB_INVALID, "%s: %s", child->name, child->problem);
            done += go_on(crowd, i);
        }
    }
    return TRIB_OK;
}

static enum trib_status gather(struct crowd *crowd, const char *endpoint, struct trib_blob *payload,
                               struct trib_error *err) {
    crowd->context = zmq_ctx_new();
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; i < CHILDREN && status == TRIB_OK; i++) {
        char name[TRIB_NAME_MAX];
        (void)snprintf(name, sizeof name, "participant-%zu", i);
        status = bench_child_open(&crowd->children[i], crowd->context, endpoint, name, payload, err);
        crowd->asked_s[i] = bench_seconds();
    }
    if (status == TRIB_OK) status = work(crowd, err);
    for (size_t i = 0; i < CHILDREN; i++) bench_child_close(&crowd->children[i]);
    (void)zmq_ctx_term(crowd->context);
    return status;
}

enum trib_status bench_edge_memory(struct bench *bench, struct trib_error *err) {
    static const char *const plan[] = {"plan.model=cnn", "plan.data.set=glyphs(1000)",
                                       "evaluation.interval=24h", NULL};
    static const char *const options[] = {NULL};
    struct bench_tree tree;
    uint64_t peak = 0;
    struct crowd *crowd = trib_alloc(sizeof *crowd);
    struct trib_blob *payload = bench_update(PARAMETERS, err);
    enum trib_status status = crowd != NULL && payload != NULL
                                  ? bench_tree_start(&tree, plan, options, err)
                                  : trib_fail(err, TRIB_NOMEM, "no memory for participants");
    if (status == TRIB_OK) status = gather(crowd, tree.edge.endpoint, payload, err);
    if (status == TRIB_OK) status = bench_program_peak(&tree.edge, &peak, err);
    if (crowd != NULL && payload != NULL) bench_tree_stop(&tree);
    trib_blob_unref(&payload);
    trib_free(crowd);
    if (status != TRIB_OK) return status;
    double most = 4.0 * PARAMETERS * sizeof(float) + 32.0 * MIB;
    report(bench, "edge-memory", "MiB", "4_models+32MiB", (double)peak / MIB, most / MIB);
    return TRIB_OK;
}

/* ---- a device ---- */

/* Real data where there is some, as the device itself would find it; else drawn. */
static const char *data_set(size_t *bytes, struct trib_error *err) {
    static const char *const specs[] = {"mnist", "glyphs(10000)"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        struct trib_dataset *data = NULL;
        if (trib_dataset_open(specs[i], "", &data, NULL, err) != TRIB_OK) continue;
        *bytes = trib_dataset_bytes(data);
        trib_dataset_free(&data);
        return specs[i];
    }
    return NULL;
}

enum trib_status bench_device_memory(struct bench *bench, struct trib_error *err) {
    char set[64], upstream[BENCH_ENDPOINT_MAX + 32], spool[BENCH_PATH_MAX + 32];
    const char *const plan[] = {"plan.model=cnn-small", set, "evaluation.interval=24h", NULL};
    const char *const options[] = {upstream, spool, NULL}, *const none[] = {NULL};
    struct bench_tree tree;
    struct bench_program device = {0};
    size_t bytes = 0;
    uint64_t peak = 0;
    const char *spec = data_set(&bytes, err);
    if (spec == NULL) return err->status;
    (void)snprintf(set, sizeof set, "plan.data.set=%s", spec);
    enum trib_status status = bench_tree_start(&tree, plan, none, err);
    (void)snprintf(upstream, sizeof upstream, "upstream.endpoint=%s", tree.edge.endpoint);
    (void)snprintf(spool, sizeof spool, "spool.path=%s/spool", tree.folder.path);
    if (status == TRIB_OK)
        status = bench_program_start(&device, &tree.folder, "tributary-device", "device", options, err);
    if (status == TRIB_OK)
        status = bench_program_await(&tree.edge, "accepted", DEVICE_UPDATES, UPDATES_S, err);
    if (status == TRIB_OK) status = bench_program_peak(&device, &peak, err);
    bench_program_stop(&device);
    bench_tree_stop(&tree);
    if (status != TRIB_OK) return status;
    double beyond = peak > bytes ? (double)(peak - bytes) : 0;
    report(bench, "device-memory", "MiB", "24MiB_beyond_its_data", beyond / MIB, 24.0);
    return TRIB_OK;
}

/* ---- on disk ---- */

static enum trib_status stripped(struct bench *bench, const struct bench_folder *folder, const char *program,
                                 struct trib_error *err) {
    char path[BENCH_PATH_MAX], out[BENCH_PATH_MAX], name[64];
    const char *const strip[] = {"strip", "-o", out, path, NULL};
    struct stat st;
    (void)snprintf(out, sizeof out, "%s/stripped", folder->path);
    (void)snprintf(name, sizeof name, "binary-size-%s", strchr(program, '-') + 1);
    enum trib_status status = bench_program_path(program, path, err);
    if (status == TRIB_OK) status = bench_command(strip, err);
    if (status != TRIB_OK) return status;
    if (stat(out, &st) != 0) return trib_fail_errno(err, "cannot look at %s", out);
    report(bench, name, "kB", "1MB", (double)st.st_size / 1e3, 1e3);
    return TRIB_OK;
}

enum trib_status bench_binary_size(struct bench *bench, struct trib_error *err) {
    struct bench_folder folder = {""};
    enum trib_status status = bench_folder_make(&folder, err);
    if (status == TRIB_OK) status = stripped(bench, &folder, "tributary-edge", err);
    if (status == TRIB_OK) status = stripped(bench, &folder, "tributary-device", err);
    bench_folder_remove(&folder);
    if (status != TRIB_NOT_FOUND) return status;
    bench_skip(bench, "binary-size", err->text);
    return TRIB_OK;
}
