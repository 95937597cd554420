#include "shared/learn/task.h"

#include <string.h>

enum trib_status trib_task_open(struct trib_task *task, const struct trib_plan *plan, const char *data_path,
                                bool partitioned, struct trib_error *err) {
    *task = (struct trib_task){0};
    trib_schema_init(&task->schema);
    enum trib_status status = trib_dataset_open(plan->dataset, data_path, &task->dataset, &task->source, err);
    if (status != TRIB_OK) return status;
    struct trib_shape shape = trib_dataset_shape(task->dataset);
    size_t classes = trib_dataset_classes(task->dataset);
    status = trib_net_new(plan->model, plan->layers, &shape, classes, &task->net, err);
    if (status == TRIB_OK) status = trib_net_schema(task->net, &task->schema, err);
    if (status == TRIB_OK && partitioned) {
        const struct trib_split *split = trib_dataset_train(task->dataset);
        status = trib_partition_make(plan->partition, split->labels, split->users, split->count, classes,
                                     (size_t)plan->devices, plan->seed, &task->partition, err);
    }
    task->train = (struct trib_train_options){.epochs = plan->epochs,
                                              .batch = plan->batch,
                                              .max_samples = plan->max_samples,
                                              .lr = plan->lr,
                                              .lr_decay = plan->lr_decay,
                                              .momentum = plan->momentum,
                                              .weight_decay = plan->weight_decay,
                                              .clip = plan->clip,
                                              .augment = plan->augment};
    return status;
}

void trib_task_close(struct trib_task *task) {
    trib_partition_free(&task->partition);
    trib_schema_release(&task->schema);
    trib_net_free(&task->net);
    trib_dataset_free(&task->dataset);
    *task = (struct trib_task){0};
}
