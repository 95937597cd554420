/* What training and evaluation share. Private to shared/learn. */
#ifndef TRIB_LEARN_TRAIN_INTERNAL_H
#define TRIB_LEARN_TRAIN_INTERNAL_H

#include "shared/learn/train.h"

/* Does the net take what the data set has? */
enum trib_status trib_train_check_net(const struct trib_net *net, const struct trib_dataset *dataset,
                                      struct trib_error *err) TRIB_MUST_USE;

static inline bool trib_train_stopped(const atomic_bool *stop) {
    return stop != NULL && atomic_load_explicit(stop, memory_order_relaxed);
}

#endif
