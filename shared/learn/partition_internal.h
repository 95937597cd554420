/* What a partitioner provides. Private to shared/learn. */
#ifndef TRIB_LEARN_PARTITION_INTERNAL_H
#define TRIB_LEARN_PARTITION_INTERNAL_H

#include "shared/base/rng.h"
#include "shared/learn/partition.h"

#include <stdbool.h>

struct trib_deal {
    const uint8_t *labels;
    const uint32_t *users; /* or NULL */
    size_t count, classes, devices;
    size_t least; /* samples that every device should have */
    struct trib_rng *rng;
    uint32_t *by_label;  /* all samples, in random order within ascending labels */
    size_t *class_start; /* classes + 1: where each label begins in by_label */
    double *share;       /* one for each device, for the partitioner's use */
    uint32_t *owner;     /* to be filled: the device of each sample */
};

/* A partitioner: one line in partition.c. No parameters are strings. */
struct trib_partitioner {
    struct trib_partition_row row;
    size_t config_bytes;
    enum trib_status (*deal)(struct trib_deal *deal, const void *config, struct trib_error *err);
};
extern const struct trib_partitioner trib_partition_iid, trib_partition_dirichlet, trib_partition_shards,
    trib_partition_quantity, trib_partition_natural, trib_partition_pairs, trib_partition_apart;

/* Gives items[0..count) to the devices, one behind the other, in proportion to their shares. */
void trib_partition_split(struct trib_deal *deal, const uint32_t *items, size_t count);

#endif
