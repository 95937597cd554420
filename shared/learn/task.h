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
    struct trib_schema schema;
    struct trib_partition *partition; /* NULL unless asked for */
    struct trib_train_options train;  /* of the plan; seed and lr are set for each update */
};

/* `data_path`: as trib_dataset_open. Errors say what to do. Release with trib_task_close, also after a
 * failure. */
enum trib_status trib_task_open(struct trib_task *task, const struct trib_plan *plan, const char *data_path,
                                bool partitioned, struct trib_error *err) TRIB_MUST_USE;
void trib_task_close(struct trib_task *task);

#endif
