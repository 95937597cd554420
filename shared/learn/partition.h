/* Partitions: which device of a simulated or demonstrated fleet has which samples. Every sample belongs to
 * exactly one device, and every device has at least TRIB_PARTITION_MIN of them (or its equal share, where
 * that is less): a partitioner may draw again to get there, and what is still missing is then taken, sample
 * by sample, from the largest device.
 *
 *   iid            samples dealt at random, in equal numbers
 *   dirichlet(0.5) each class is split by a draw from a Dirichlet distribution: the smaller alpha, the more
 *                  one-sided the devices (Hsu, Qi, Brown, "Measuring the effects of non-identical data
 *                  distribution for federated visual classification", 2019)
 *   shards(2)      samples sorted by label, cut into shards, so many to each device (McMahan et al. 2017)
 *   quantity(1.0)  labels at random, sizes log-normal with this sigma
 *   natural        each sample stays with the user it comes from (data sets that know: dataset.h); with fewer
 *                  devices than users, the users are dealt in turn, those with most samples first
 *   pairs(0.8)     two classes a device, so much of the first; first classes go round (Async-HFL's fleets)
 *   apart(devices=0.2, classes=2)   the last share of the devices has the last classes, and nobody else has
 *                  these; at random within both parts
 *
 * The same spec, labels, number of devices and seed give the same partition. */
#ifndef TRIB_LEARN_PARTITION_H
#define TRIB_LEARN_PARTITION_H

#include "shared/base/option.h"

#include <stddef.h>
#include <stdint.h>

enum { TRIB_PARTITION_MIN = 10, TRIB_PARTITION_MAX_DEVICES = 1000000 };

struct trib_partition;

/* Splits `count` samples with `labels` (each below `classes`, at most 256) among `devices`. `users` is
 * whose sample each is, or NULL where nobody knows. TRIB_INVALID for a wrong spec, more devices (or shards)
 * than samples, or a natural partition without users or with more devices than users. Free with
 * trib_partition_free. */
enum trib_status trib_partition_make(const char *spec, const uint8_t *labels, const uint32_t *users,
                                     size_t count, size_t classes, size_t devices, uint64_t seed,
                                     struct trib_partition **out, struct trib_error *err) TRIB_MUST_USE;
void trib_partition_free(struct trib_partition **partition);
/* The samples of a device (below the number of devices), ascending; they live as long as the partition. */
void trib_partition_indices(const struct trib_partition *partition, size_t device, const uint32_t **indices,
                            size_t *count);
enum trib_status trib_partition_check_spec(const char *spec, struct trib_error *err) TRIB_MUST_USE;

/* The table, for --help, docs and tests: row i, or NULL behind the last. */
struct trib_partition_row {
    const char *name, *summary, *example;
    const struct trib_option *params;
    size_t param_count;
};
const struct trib_partition_row *trib_partition_row(size_t i);

#endif
