#include "shared/learn/task.h"

#include "shared/model/quantise.h"

#include <string.h>

/* The rest of the plan, and what it comes to. */
static void note_plan(struct trib_task *task, const struct trib_plan *plan) {
    task->train = (struct trib_train_options){.epochs = plan->epochs,
                                              .batch = plan->batch,
                                              .max_samples = plan->max_samples,
                                              .lr = plan->lr,
                                              .lr_decay = plan->lr_decay,
                                              .momentum = plan->momentum,
                                              .weight_decay = plan->weight_decay,
                                              .clip = plan->clip,
                                              .mu = plan->mu,
                                              .ewc = plan->ewc,
                                              .stop_loss = plan->stop_loss,
                                              .stop_gain = plan->stop_gain,
                                              .qat = (unsigned)trib_quantise_bits(plan->qat),
                                              .augment = plan->augment};
    task->algorithm = trib_plan_algorithm(plan);
    task->worker_momentum = plan->worker_momentum;
    task->ewc_version = plan->ewc_version;
    task->deadline_ms = plan->deadline_ms;
    task->seed = plan->seed;
    task->devices = plan->devices;
    for (size_t device = 0; task->partition != NULL && device < plan->devices; device++) {
        const uint32_t *indices;
        size_t count;
        trib_partition_indices(task->partition, device, &indices, &count);
        task->total_samples += count;
    }
}

static enum trib_status open_schema(struct trib_task *task, const struct trib_plan *plan,
                                    struct trib_error *err) {
    enum trib_status status = trib_net_schema(task->net, &task->schema, err);
    if (status != TRIB_OK || trib_plan_algorithm(plan) != TRIB_ALGORITHM_SCAFFOLD) return status;
    status = trib_schema_add_control(&task->schema, err);
    return status == TRIB_OK ? trib_schema_finish(&task->schema, err) : status;
}

enum trib_status trib_task_open(struct trib_task *task, const struct trib_plan *plan, const char *data_path,
                                bool partitioned, struct trib_error *err) {
    *task = (struct trib_task){0};
    trib_schema_init(&task->schema);
    enum trib_status status = trib_plan_check(plan, err);
    if (status == TRIB_OK)
        status = trib_dataset_open(plan->dataset, data_path, &task->dataset, &task->source, err);
    if (status != TRIB_OK) return status;
    struct trib_shape shape = trib_dataset_shape(task->dataset);
    size_t classes = trib_dataset_classes(task->dataset);
    status = trib_net_new(plan->model, plan->layers, &shape, classes, &task->net, err);
    if (status == TRIB_OK) status = open_schema(task, plan, err);
    if (status == TRIB_OK && partitioned) {
        const struct trib_split *split = trib_dataset_train(task->dataset);
        status = trib_partition_make(plan->partition, split->labels, split->users, split->count, classes,
                                     (size_t)plan->devices, plan->seed, &task->partition, err);
    }
    if (status == TRIB_OK) note_plan(task, plan);
    return status;
}

void trib_task_round(const struct trib_task *task, float *parameters) {
    if (task->train.qat > 0) trib_quantise_round(&task->schema, task->train.qat, parameters, parameters);
}

size_t trib_task_labels(const struct trib_task *task, size_t device, uint64_t *counts, size_t room) {
    size_t classes = trib_dataset_classes(task->dataset), count;
    const uint8_t *labels = trib_dataset_train(task->dataset)->labels;
    const uint32_t *indices;
    if (classes < 2 || classes > room || task->partition == NULL || device >= task->devices) return 0;
    memset(counts, 0, classes * sizeof *counts);
    trib_partition_indices(task->partition, device, &indices, &count);
    for (size_t i = 0; i < count; i++) counts[labels[indices[i]]]++;
    return classes;
}

enum trib_status trib_task_check_plan(const struct trib_plan *plan, const char *data_path,
                                      struct trib_error *err) {
    struct trib_task task;
    struct trib_error unheeded;
    if (trib_plan_check_codecs(plan, NULL, NULL) == TRIB_OK) return TRIB_OK; /* they do for any model */
    enum trib_status status = trib_task_open(&task, plan, data_path, false, &unheeded);
    status = status == TRIB_OK ? trib_plan_check_codecs(plan, &task.schema, err) : TRIB_OK;
    trib_task_close(&task);
    return status;
}

void trib_task_close(struct trib_task *task) {
    trib_partition_free(&task->partition);
    trib_schema_release(&task->schema);
    trib_net_free(&task->net);
    trib_dataset_free(&task->dataset);
    *task = (struct trib_task){0};
}
