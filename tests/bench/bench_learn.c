/* Training: samples a second of what a device does with an update (batches gathered from bytes, forward,
 * backward, step), against the same matrix products alone, and against PyTorch.
 *
 * "The same products" are recorded: this program has a cblas_sgemm of its own in front of OpenBLAS's, which
 * keeps the arguments of one step, to be called again with the same matrices in the same memory. */
#include "tests/bench/bench.h"

#include "shared/base/alloc.h"
#include "shared/learn/blas.h"
#include "shared/learn/train.h"

#include <cblas.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void sgemm_call(enum CBLAS_ORDER, enum CBLAS_TRANSPOSE, enum CBLAS_TRANSPOSE, blasint, blasint,
                        blasint, float, const float *, blasint, const float *, blasint, float, float *,
                        blasint);

struct product {
    enum CBLAS_ORDER order;
    enum CBLAS_TRANSPOSE a_form, b_form;
    blasint m, n, k, a_stride, b_stride, c_stride;
    float alpha, beta;
    const float *a, *b;
    float *c;
};
enum { MOST_PRODUCTS = 8192 };

/* The recorder has to be where a call through a fixed name finds it. */
static struct {
    sgemm_call *real;
    bool on;
    size_t count;
    struct product products[MOST_PRODUCTS];
} recorder;

static void find_real(void) {
    void *symbol = dlsym(RTLD_NEXT, "cblas_sgemm");
    TRIB_ASSERT(symbol != NULL);
    memcpy(&recorder.real, &symbol, sizeof symbol);
}

void cblas_sgemm(enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE a_form, enum CBLAS_TRANSPOSE b_form, blasint m,
                 blasint n, blasint k, float alpha, const float *a, blasint a_stride, const float *b,
                 blasint b_stride, float beta, float *c, blasint c_stride) {
    if (recorder.real == NULL) find_real();
    if (recorder.on) {
        TRIB_ASSERT(recorder.count < MOST_PRODUCTS);
        recorder.products[recorder.count++] = (struct product){.order = order,
                                                               .a_form = a_form,
                                                               .b_form = b_form,
                                                               .m = m,
                                                               .n = n,
                                                               .k = k,
                                                               .alpha = alpha,
                                                               .a_stride = a_stride,
                                                               .b_stride = b_stride,
                                                               .beta = beta,
                                                               .a = a,
                                                               .b = b,
                                                               .c = c,
                                                               .c_stride = c_stride};
    }
    recorder.real(order, a_form, b_form, m, n, k, alpha, a, a_stride, b, b_stride, beta, c, c_stride);
}

static void replay(void) {
    for (size_t i = 0; i < recorder.count; i++) {
        const struct product *p = &recorder.products[i];
        recorder.real(p->order, p->a_form, p->b_form, p->m, p->n, p->k, p->alpha, p->a, p->a_stride, p->b,
                      p->b_stride, p->beta, p->c, p->c_stride);
    }
}

/* What pointed to `from` now points to `to`. */
static void redirect(const float *from, size_t count, float *to) {
    for (size_t i = 0; i < recorder.count; i++) {
        struct product *p = &recorder.products[i];
        if (p->a >= from && p->a < from + count) p->a = to + (p->a - from);
        if (p->b >= from && p->b < from + count) p->b = to + (p->b - from);
        if (p->c >= from && p->c < from + count) p->c = to + (p->c - from);
    }
}

struct job {
    struct trib_dataset *dataset;
    struct trib_net *net;
    struct trib_workspace *workspace;
    float *parameters;
    float *zeros; /* in their place for the products alone */
    uint32_t *indices;
    struct trib_train_options options;
    size_t samples; /* a round: whole batches */
    struct trib_error *err;
    enum trib_status status;
};

static void train(void *ctx) {
    struct job *job = ctx;
    struct trib_train_result result;
    enum trib_status status = trib_train(job->net, job->workspace, job->dataset, job->indices, job->samples,
                                         &job->options, job->parameters, &result, NULL, job->err);
    if (job->status == TRIB_OK) job->status = status;
}

static void products(void *ctx) {
    const struct job *job = ctx;
    for (size_t done = 0; done < job->samples; done += job->options.batch) replay();
}

static enum trib_status init(struct job *job, const char *model, size_t batch, size_t samples,
                             struct trib_error *err) {
    struct trib_schema schema;
    enum trib_status status = trib_dataset_open("glyphs(3000)", NULL, &job->dataset, NULL, err);
    if (status != TRIB_OK) return status;
    struct trib_shape shape = trib_dataset_shape(job->dataset);
    status = trib_net_new(model, NULL, &shape, trib_dataset_classes(job->dataset), &job->net, err);
    if (status == TRIB_OK) status = trib_workspace_new(job->net, batch, &job->workspace, err);
    if (status == TRIB_OK) status = trib_net_schema(job->net, &schema, err);
    if (status != TRIB_OK) return status;
    job->parameters = trib_alloc_floats(schema.parameters);
    job->zeros = trib_alloc_floats(schema.parameters);
    job->samples = samples / batch * batch;
    job->indices = trib_alloc_array(job->samples, sizeof *job->indices);
    job->options = (struct trib_train_options){.epochs = 1, .batch = batch, .lr = 0.01, .lr_decay = 1.0};
    job->err = err;
    if (job->parameters != NULL && job->zeros != NULL && job->indices != NULL) {
        trib_schema_draw(&schema, 1, job->parameters);
        for (size_t i = 0; i < job->samples; i++) job->indices[i] = (uint32_t)i;
    } else {
        status = trib_fail(err, TRIB_NOMEM, "no memory to train");
    }
    trib_schema_release(&schema);
    return status;
}

static void release(struct job *job) {
    trib_free(job->parameters);
    trib_free(job->zeros);
    trib_free(job->indices);
    trib_workspace_free(&job->workspace);
    trib_net_free(&job->net);
    trib_dataset_free(&job->dataset);
}

/* Records the products of one step. Without what happens between them, one product's result would be the next
 * one's operand with nothing to bound it, and infinities or denormal numbers would change the timing: with
 * parameters of 0, in memory of their own, no number grows. */
static void record(struct job *job) {
    size_t samples = job->samples;
    job->samples = (size_t)job->options.batch;
    recorder.count = 0;
    recorder.on = true;
    train(job);
    recorder.on = false;
    job->samples = samples;
    redirect(job->parameters, trib_net_parameters(job->net), job->zeros);
}

static enum trib_status race(struct bench *bench, const char *model, size_t batch, size_t samples,
                             struct trib_error *err) {
    enum { ROUNDS = 9 };
    struct job job = {.status = TRIB_OK};
    enum trib_status status = init(&job, model, batch, samples, err);
    if (status == TRIB_OK) {
        char name[64];
        record(&job);
        struct bench_race result = bench_race(train, products, &job, ROUNDS);
        (void)snprintf(name, sizeof name, "train-%s-batch%zu", model, batch);
        bench_report(bench, &(struct bench_result){.name = name,
                                                   .unit = "samples/s",
                                                   .limit = "same-sgemm-calls-alone",
                                                   .value = (double)job.samples / result.ours_s,
                                                   .ratio = result.limit_s / result.ours_s,
                                                   .bar = 0.60});
        status = job.status;
    }
    release(&job);
    return status;
}

enum trib_status bench_train_2nn(struct bench *bench, struct trib_error *err) {
    enum trib_status status = race(bench, "2nn", 10, 1280, err);
    return status == TRIB_OK ? race(bench, "2nn", 64, 2560, err) : status;
}

enum trib_status bench_train_cnn(struct bench *bench, struct trib_error *err) {
    enum trib_status status = race(bench, "cnn-small", 10, 640, err);
    if (status == TRIB_OK) status = race(bench, "cnn-small", 64, 640, err);
    if (status == TRIB_OK) status = race(bench, "cnn", 10, 160, err);
    return status == TRIB_OK ? race(bench, "cnn", 64, 192, err) : status;
}

/* ---- PyTorch ---- */

/* Samples a second, or 0 where it does not run. TRIBUTARY_TORCH is another command than Debian's Python with
 * the script. */
static double torch_speed(const char *model, size_t batch) {
    char command[400], line[64];
    const char *python = getenv("TRIBUTARY_TORCH");
    (void)snprintf(command, sizeof command,
                   "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 %s %s %zu 2 2>/dev/null",
                   python != NULL ? python : "/usr/bin/python3 tests/bench/torch_train.py", model, batch);
    FILE *pipe = popen(command, "r");
    if (pipe == NULL) return 0.0;
    bool got = fgets(line, sizeof line, pipe) != NULL;
    return pclose(pipe) == 0 && got ? strtod(line, NULL) : 0.0;
}

/* The best of several rounds, as the script measures. */
static double our_speed(struct job *job) {
    double best = 0.0;
    for (int i = 0; i < 12; i++) {
        double start = bench_seconds();
        train(job);
        double speed = (double)job->samples / (bench_seconds() - start);
        best = speed > best ? speed : best;
    }
    return best;
}

static enum trib_status race_torch(struct bench *bench, const char *model, size_t batch, size_t samples,
                                   double bar, struct trib_error *err) {
    struct job job = {.status = TRIB_OK};
    char name[64];
    (void)snprintf(name, sizeof name, "train-torch-%s-batch%zu", model, batch);
    enum trib_status status = init(&job, model, batch, samples, err);
    if (status == TRIB_OK) {
        double torch = torch_speed(model, batch);
        double ours = our_speed(&job);
        double again = torch_speed(model, batch);
        torch = again > torch ? again : torch;
        if (torch > 0.0)
            bench_report(bench, &(struct bench_result){.name = name,
                                                       .unit = "samples/s",
                                                       .limit = "pytorch-one-thread",
                                                       .value = ours,
                                                       .ratio = ours / torch,
                                                       .bar = bar});
        else
            bench_skip(bench, name, "PyTorch does not run; apt-get install python3-torch");
        status = job.status;
    }
    release(&job);
    return status;
}

enum trib_status bench_train_torch(struct bench *bench, struct trib_error *err) {
    static const struct {
        const char *model;
        size_t batch, samples;
        double bar;
    } runs[] = {{"2nn", 10, 1280, 3.0},      {"2nn", 64, 2560, 0.0}, {"cnn-small", 10, 640, 3.0},
                {"cnn-small", 64, 640, 0.0}, {"cnn", 10, 160, 1.1},  {"cnn", 64, 192, 0.0}};
    enum trib_status status = TRIB_OK;
    for (size_t i = 0; i < sizeof runs / sizeof runs[0] && status == TRIB_OK; i++)
        status = race_torch(bench, runs[i].model, runs[i].batch, runs[i].samples, runs[i].bar, err);
    return status;
}
