/* Resuming: a simulation that was interrupted is gone through again from its beginning, which gives the same
 * events, but what was trained and evaluated before, and so nearly all of the time, is read from
 * OUT/trained.bin. Of one that ended, OUT/ended.bin says which it was: such a file without entries.
 *
 * Trainings and evaluations are numbered as they are begun, an order that the events alone decide. One that
 * is forsaken before its result is needed is kept as such, so that it is not begun again. */
#include "shared/sim/internal.h"

#include "shared/base/alloc.h"
#include "shared/base/bytes.h"
#include "shared/kernels/kernels.h"
#include "shared/learn/blas.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = TRIB_SIM_OUT_BYTES + 32 };

static const char trained[] = "trained.bin", ended[] = "ended.bin";

enum outcome { RESULT, FAILED, FORSAKEN };

/* As it stands in the file: a build of another layout does not read it. Behind it the difference and the
 * memory vectors that `memory` has bits of, or an error's text. */
struct training {
    uint64_t version, turn, samples, weight;
    float steps, loss;
    uint32_t node, outcome, status, memory;
};

struct evaluation {
    uint64_t version;
    double loss, accuracy;
};

/* ---- whose file it is ---- */

/* Two builds of one version may differ in what they compute. 0: this system does not show what it runs. */
static uint32_t checksum_program(void) {
    uint8_t block[65536];
    uint32_t crc = 0;
    FILE *file = fopen("/proc/self/exe", "rb");
    for (size_t n; file != NULL && (n = fread(block, 1, sizeof block, file)) > 0;)
        crc = trib_kernels()->crc32c(crc, block, n);
    if (file != NULL) (void)fclose(file);
    return crc;
}

static uint32_t checksum_split(const struct trib_dataset *data, const struct trib_split *split,
                               uint32_t crc) {
    const struct trib_kernels *k = trib_kernels();
    struct trib_shape shape = trib_dataset_shape(data);
    size_t numbers = split->count * shape.channels * shape.height * shape.width;
    if (split->images != NULL) crc = k->crc32c(crc, split->images, numbers);
    if (split->features != NULL) crc = k->crc32c(crc, split->features, numbers * sizeof *split->features);
    if (split->labels != NULL) crc = k->crc32c(crc, split->labels, split->count);
    if (split->values != NULL) crc = k->crc32c(crc, split->values, split->count * sizeof *split->values);
    return crc;
}

/* Keys have the names of traces' files; what they hold decides as much. */
static enum trib_status identify_traces(const struct trib_scenario *s, struct trib_buf *out,
                                        struct trib_error *err) {
    const char *const specs[] = {s->fleet.join, s->fleet.speed, s->fleet.delay,   s->fleet.sample_delay,
                                 s->fleet.stay, s->fleet.away,  s->fleet.battery, s->fleet.link};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        struct trib_delay delay = {0};
        enum trib_status status = specs[i][0] != 0 ? trib_delay_parse(specs[i], &delay, err) : TRIB_OK;
        if (status != TRIB_OK) return status;
        if (delay.count > 0)
            trib_buf_printf(out, "%s: crc32c=%08x\n", specs[i],
                            trib_kernels()->crc32c(0, delay.values, delay.count * sizeof *delay.values));
        trib_delay_release(&delay);
    }
    return TRIB_OK;
}

/* What decides bits: the build and its kernels, the data, every key that the history depends on. */
static enum trib_status identify(const struct trib_sim *sim, struct trib_buf *out, struct trib_error *err) {
    char none[] = "";
    struct trib_scenario ours = *sim->scenario; /* its texts are borrowed */
    trib_buf_printf(out, "build: %s program=%08x kernels=%s openblas=%s\n", TRIB_VERSION, checksum_program(),
                    trib_kernels()->name, trib_blas_kernel());
    if (sim->has_task) {
        const struct trib_dataset *data = sim->task.dataset;
        uint32_t crc = checksum_split(data, trib_dataset_train(data), 0);
        trib_buf_printf(out, "data: crc32c=%08x\n", checksum_split(data, trib_dataset_test(data), crc));
    }
    enum trib_status status = identify_traces(&ours, out, err);
    ours.plan.seed = sim->options.seed;
    ours.seeds = ours.out = ours.arms = ours.experiment.measures = none; /* an arm's keys are set by now */
    ours.threads = ours.resume.limit = 0;
    ours.experiment.is_short = false;
    struct trib_buf keys;
    trib_buf_init(&keys, 0);
    trib_options_flat(trib_scenario_options, trib_scenario_option_count, &ours, &keys);
    trib_buf_append(out, keys.data, keys.size);
    out->failed = out->failed || keys.failed;
    trib_buf_release(&keys);
    if (status == TRIB_OK && out->failed)
        return trib_fail(err, TRIB_NOMEM, "out of memory for what this simulation is");
    return status;
}

static void path_of(const struct trib_sim *sim, const char *name, char path[PATH_BYTES]) {
    (void)snprintf(path, PATH_BYTES, "%s/%s", sim->out, name);
}

/* Opens or makes a file of this simulation. */
static enum trib_status with_identity(const struct trib_sim *sim, const char *path, bool make,
                                      struct trib_kept **out, struct trib_error *err) {
    struct trib_buf identity;
    uint64_t limit = sim->scenario->resume.limit;
    trib_buf_init(&identity, 0);
    enum trib_status status = identify(sim, &identity, err);
    if (status == TRIB_OK)
        status = make ? trib_kept_create(path, trib_buf_text(&identity), limit, out, err)
                      : trib_kept_open(path, trib_buf_text(&identity), limit, out, err);
    trib_buf_release(&identity);
    return status;
}

enum trib_status trib_sim_resume(struct trib_sim *sim, struct trib_error *err) {
    char path[PATH_BYTES];
    path_of(sim, trained, path);
    if (!sim->options.resume || access(path, F_OK) != 0) return TRIB_OK;
    enum trib_status status = with_identity(sim, path, false, &sim->kept, err);
    sim->status.resumed = status == TRIB_OK;
    return status;
}

enum trib_status trib_sim_keep_open(struct trib_sim *sim, struct trib_error *err) {
    char path[PATH_BYTES];
    if (sim->kept != NULL) return TRIB_OK;
    path_of(sim, trained, path);
    if (unlink(path) != 0 && errno != ENOENT) return trib_fail_errno(err, "cannot remove %s", path);
    if (sim->scenario->resume.limit == 0 || sim->scenario->train.none) return TRIB_OK;
    return with_identity(sim, path, true, &sim->kept, err);
}

void trib_sim_keep_close(struct trib_sim *sim) {
    trib_kept_close(&sim->kept);
    trib_buf_release(&sim->entry);
}

void trib_sim_keep_nothing(struct trib_sim *sim) {
    char path[PATH_BYTES];
    if (sim->kept == NULL) return;
    trib_sim_keep_close(sim);
    path_of(sim, trained, path);
    (void)unlink(path); /* one that stays is replaced by the next simulation there */
}

void trib_sim_keep_flush(struct trib_sim *sim) {
    struct trib_error err;
    if (sim->kept != NULL && trib_kept_flush(sim->kept, &err) != TRIB_OK) trib_sim_fail(sim, &err);
}

bool trib_sim_has_kept(const struct trib_sim *sim, enum trib_kept_kind kind, uint64_t number) {
    return sim->kept != NULL && trib_kept_has(sim->kept, kind, number);
}

/* ---- keeping ---- */

static void add(struct trib_sim *sim, enum trib_kept_kind kind, uint64_t number) {
    struct trib_error err;
    if (sim->entry.failed)
        trib_sim_out_of_memory(sim);
    else if (trib_kept_add(sim->kept, kind, number, &sim->entry, &err) != TRIB_OK)
        trib_sim_fail(sim, &err);
}

static void put_vectors(struct trib_sim *sim, const struct trib_local *local) {
    size_t n = sim->parameters, m = sim->task.schema.model_parameters;
    trib_buf_append(&sim->entry, local->difference, n * sizeof(float));
    for (size_t i = 0; i < TRIB_LOCAL_MAX; i++)
        if (local->memory[i] != NULL) trib_buf_append(&sim->entry, local->memory[i], m * sizeof(float));
}

void trib_sim_keep_training(struct trib_sim *sim, const struct sim_job *job) {
    if (sim->kept == NULL || trib_kept_full(sim->kept) || sim->err.status != TRIB_OK) return;
    if (job->status == TRIB_NOMEM) return; /* it ends the simulation, and may go well another time */
    struct training entry = {.version = job->submission.base_version,
                             .turn = job->turn,
                             .samples = job->submission.samples,
                             .weight = job->submission.weight,
                             .steps = job->submission.steps,
                             .loss = job->submission.loss,
                             .node = job->node,
                             .outcome = job->forsaken            ? FORSAKEN
                                        : job->status == TRIB_OK ? RESULT
                                                                 : FAILED,
                             .status = job->forsaken ? TRIB_OK : job->status};
    for (size_t i = 0; entry.outcome == RESULT && i < TRIB_LOCAL_MAX; i++)
        if (job->local->memory[i] != NULL) entry.memory |= 1u << i;
    trib_buf_clear(&sim->entry);
    trib_buf_append(&sim->entry, &entry, sizeof entry);
    if (entry.outcome == RESULT) put_vectors(sim, job->local);
    if (entry.outcome == FAILED) trib_buf_append(&sim->entry, job->err.text, strlen(job->err.text));
    add(sim, TRIB_KEPT_TRAINING, job->number);
}

void trib_sim_keep_evaluation(struct trib_sim *sim, const struct sim_evaluation *e, double loss,
                              double accuracy) {
    struct evaluation entry = {.version = e->version, .loss = loss, .accuracy = accuracy};
    if (sim->kept == NULL || sim->err.status != TRIB_OK) return;
    trib_buf_clear(&sim->entry);
    trib_buf_append(&sim->entry, &entry, sizeof entry);
    add(sim, TRIB_KEPT_EVALUATION, e->number);
}

/* ---- taking what was kept ---- */

static enum trib_status another_way(const struct trib_sim *sim, uint64_t number, struct trib_error *err) {
    return trib_fail(
        err, TRIB_CORRUPT,
        "%s/trained.bin: number %llu is not what this simulation begins there; without --resume it "
        "begins from the start",
        sim->out, (unsigned long long)number);
}

static bool take_floats(const struct trib_buf *content, size_t *at, size_t count, float *out) {
    size_t bytes = count * sizeof *out;
    if (content->size - *at < bytes) return false;
    memcpy(out, content->data + *at, bytes);
    *at += bytes;
    return true;
}

/* The difference and the memory vectors, as trib_local_train would have left them. */
static enum trib_status take_vectors(struct trib_sim *sim, struct sim_job *job, uint32_t memory,
                                     struct trib_error *err) {
    size_t at = sizeof(struct training), m = sim->task.schema.model_parameters;
    struct trib_local *local = job->local = trib_local_new(&sim->task, job->G, NULL);
    if (local == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for a training that was kept");
    bool whole = take_floats(&sim->entry, &at, sim->parameters, local->difference);
    for (size_t i = 0; whole && i < TRIB_LOCAL_MAX; i++) {
        if ((memory >> i & 1) == 0) continue;
        local->memory[i] = trib_alloc_floats(m);
        if (local->memory[i] == NULL)
            return trib_fail(err, TRIB_NOMEM, "out of memory for a training that was kept");
        whole = take_floats(&sim->entry, &at, m, local->memory[i]);
    }
    job->submission.local = (const float *const *)local->memory;
    return whole && at == sim->entry.size ? TRIB_OK : another_way(sim, job->number, err);
}

static void take_error(struct sim_job *job, const struct trib_buf *content, uint32_t status) {
    job->status =
        trib_fail(&job->err, (enum trib_status)status, "%.*s", (int)(content->size - sizeof(struct training)),
                  (const char *)content->data + sizeof(struct training));
}

enum trib_status trib_sim_take_training(struct trib_sim *sim, struct sim_job *job, struct trib_error *err) {
    struct training entry;
    enum trib_status status = trib_kept_read(sim->kept, TRIB_KEPT_TRAINING, job->number, &sim->entry, err);
    if (status != TRIB_OK) return status;
    if (sim->entry.size < sizeof entry) return another_way(sim, job->number, err);
    memcpy(&entry, sim->entry.data, sizeof entry);
    if (entry.version != job->submission.base_version || entry.turn != job->turn || entry.node != job->node ||
        entry.outcome > FAILED || (entry.outcome == FAILED && entry.status == TRIB_OK))
        return another_way(sim, job->number, err);
    if (entry.outcome == FAILED) {
        take_error(job, &sim->entry, entry.status);
        return TRIB_OK;
    }
    job->submission.samples = entry.samples;
    job->submission.weight = entry.weight;
    job->submission.steps = entry.steps;
    job->submission.loss = entry.loss;
    return take_vectors(sim, job, entry.memory, err);
}

enum trib_status trib_sim_take_evaluation(struct trib_sim *sim, const struct sim_evaluation *e, double *loss,
                                          double *accuracy, struct trib_error *err) {
    struct evaluation entry;
    enum trib_status status = trib_kept_read(sim->kept, TRIB_KEPT_EVALUATION, e->number, &sim->entry, err);
    if (status != TRIB_OK) return status;
    if (sim->entry.size != sizeof entry) return another_way(sim, e->number, err);
    memcpy(&entry, sim->entry.data, sizeof entry);
    if (entry.version != e->version) return another_way(sim, e->number, err);
    *loss = entry.loss;
    *accuracy = entry.accuracy;
    return TRIB_OK;
}

void trib_sim_resume_status(const struct trib_sim *sim, struct trib_sim_status *status) {
    if (sim->kept == NULL) return;
    status->keeps = true;
    status->keeps_no_more = trib_kept_full(sim->kept);
    status->kept = trib_kept_count(sim->kept, TRIB_KEPT_TRAINING);
    status->catching_up = sim->trainings < trib_kept_end(sim->kept, TRIB_KEPT_TRAINING);
}

/* ---- results that are whole ---- */

enum trib_status trib_sim_seal(const struct trib_sim *sim, struct trib_error *err) {
    char path[PATH_BYTES];
    struct trib_kept *kept = NULL;
    if (sim->out[0] == 0) return TRIB_OK;
    path_of(sim, ended, path);
    enum trib_status status = with_identity(sim, path, true, &kept, err);
    trib_kept_close(&kept);
    return status;
}

/* Only so much of a simulation is made as it takes to say which one it is. */
static enum trib_status look(struct trib_sim *sim, const char *path, struct trib_error *err) {
    struct trib_kept *kept = NULL;
    enum trib_status status = trib_sim_task_open(sim, err);
    if (status == TRIB_OK) status = with_identity(sim, path, false, &kept, err);
    trib_kept_close(&kept);
    return status;
}

enum trib_status trib_sim_ended(const struct trib_sim_options *options, char folder[TRIB_SIM_OUT_BYTES],
                                struct trib_error *err) {
    char path[PATH_BYTES];
    folder[0] = 0;
    struct trib_sim *sim = trib_alloc(sizeof *sim);
    if (sim == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for a simulation");
    sim->options = *options;
    sim->scenario = options->scenario;
    sim->plan = options->scenario->plan;
    sim->plan.seed = options->seed;
    enum trib_status status = trib_sim_out_name(sim, err);
    path_of(sim, ended, path);
    if (status == TRIB_OK && sim->out[0] != 0 && access(path, F_OK) == 0) {
        status = look(sim, path, err);
        if (status == TRIB_OK) (void)snprintf(folder, TRIB_SIM_OUT_BYTES, "%s", sim->out);
        trib_sim_work_close(sim);
    }
    trib_free(sim);
    return status;
}
