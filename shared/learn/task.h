/* What a plan asks to be learnt, ready to work on: the data set, the model, and who has which samples.
 * Immutable once opened; shared by all devices and threads of a process. */
#ifndef TRIB_LEARN_TASK_H
#define TRIB_LEARN_TASK_H

#include "shared/learn/dataset.h"
#include "shared/learn/net.h"
#include "shared/learn/partition.h"
#include "shared/learn/train.h"
#include "shared/model/plan.h"

struct trib_task {
    struct trib_dataset *dataset;
    const char *source; /* where the data came from, for people */
    struct trib_net *net;
    struct trib_schema schema;        /* of the plan's algorithm: control tensors behind the net's */
    struct trib_partition *partition; /* NULL unless asked for */
    struct trib_train_options train;  /* of the plan; seed and lr are set for each update */
    /* the rest of what shared/learn/local.h needs of the plan */
    enum trib_algorithm algorithm;
    double worker_momentum;
    uint64_t ewc_version, deadline_ms, seed;
    uint64_t devices;       /* plan.data.devices */
    uint64_t total_samples; /* of all devices; 0 unless partitioned */
};

/* `data_path`: as trib_dataset_open. Errors say what to do. Release with trib_task_close, also after a
 * failure. */
enum trib_status trib_task_open(struct trib_task *task, const struct trib_plan *plan, const char *data_path,
                                bool partitioned, struct trib_error *err) TRIB_MUST_USE;
/* What a model of the plan is used as: under train.qat its weights are rounded, else it stays as it is. */
void trib_task_round(const struct trib_task *task, float *parameters);
/* The samples of each class that a device of the partition has, into at most `room` counts: how many classes
 * there are, or 0, where these are more, there are none, or the device has no part. */
size_t trib_task_labels(const struct trib_task *task, size_t device, uint64_t *counts, size_t room);
/* What only the model can say of a plan: whether its codecs suit the tensors. The data set, which decides the
 * model's shape, is opened for that if a codec asks for the model; TRIB_OK where it is not there. */
enum trib_status trib_task_check_plan(const struct trib_plan *plan, const char *data_path,
                                      struct trib_error *err) TRIB_MUST_USE;
void trib_task_close(struct trib_task *task);

#endif
