#include "shared/learn/partition.h"

#include "shared/base/alloc.h"
#include "shared/learn/partition_internal.h"

#include <string.h>

struct trib_partition {
    size_t devices;
    size_t *start;     /* devices + 1 */
    uint32_t *indices; /* device by device, ascending within each */
};

static const struct trib_partitioner *const kinds[] = {
    &trib_partition_iid,     &trib_partition_dirichlet, &trib_partition_shards, &trib_partition_quantity,
    &trib_partition_natural, &trib_partition_pairs,     &trib_partition_apart,
};
enum {
    KINDS = sizeof kinds / sizeof kinds[0],
    STREAM = 0x70617274 /* of the seed's streams, this module's */
};

const struct trib_partition_row *trib_partition_row(size_t i) {
    return i < KINDS ? &kinds[i]->row : NULL;
}

/* ---- specs ---- */

static enum trib_status find(const char *name, size_t bytes, const struct trib_partitioner **out,
                             struct trib_error *err) {
    for (size_t i = 0; i < KINDS; i++)
        if (strlen(kinds[i]->row.name) == bytes && memcmp(kinds[i]->row.name, name, bytes) == 0) {
            *out = kinds[i];
            return TRIB_OK;
        }
    return trib_fail(err, TRIB_INVALID,
                     "unknown partition '%.*s'; there are iid, dirichlet(ALPHA), shards(EACH), "
                     "quantity(SIGMA), natural, pairs(FIRST), "
                     "apart(DEVICES, CLASSES)",
                     (int)(bytes < 60 ? bytes : 60), name);
}

static enum trib_status read_config(const struct trib_partition_row *row, void *config, const char *args,
                                    size_t args_bytes, struct trib_error *err) {
    if (row->param_count == 0)
        return args_bytes == 0 ? TRIB_OK
                               : trib_fail(err, TRIB_INVALID, "partition %s takes no parameters", row->name);
    enum trib_status status = trib_options_defaults(row->params, row->param_count, config, err);
    if (status != TRIB_OK) return status;
    return trib_options_args(row->params, row->param_count, config, args, args_bytes, row->name, err);
}

static enum trib_status parse(const char *spec, const struct trib_partitioner **kind, void **config,
                              struct trib_error *err) {
    const char *name, *args;
    size_t name_bytes, args_bytes;
    enum trib_status status =
        trib_spec_split(spec, strlen(spec), &name, &name_bytes, &args, &args_bytes, err);
    if (status == TRIB_OK) status = find(name, name_bytes, kind, err);
    if (status != TRIB_OK) return status;
    *config = trib_alloc((*kind)->config_bytes);
    if (*config == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a partition");
    status = read_config(&(*kind)->row, *config, args, args_bytes, err);
    if (status == TRIB_OK) return TRIB_OK;
    trib_free(*config);
    *config = NULL;
    return status;
}

enum trib_status trib_partition_check_spec(const char *spec, struct trib_error *err) {
    const struct trib_partitioner *kind;
    void *config = NULL;
    enum trib_status status = parse(spec, &kind, &config, err);
    trib_free(config);
    return status;
}

/* ---- dealing ---- */

static void sort_by_label(struct trib_deal *deal, uint32_t *shuffled) {
    for (size_t i = 0; i < deal->count; i++) shuffled[i] = (uint32_t)i;
    trib_rng_shuffle(deal->rng, shuffled, deal->count);
    for (size_t i = 0; i < deal->count; i++) deal->class_start[deal->labels[i] + 1u]++;
    for (size_t c = 0; c < deal->classes; c++) deal->class_start[c + 1] += deal->class_start[c];
    size_t next[257];
    memcpy(next, deal->class_start, (deal->classes + 1) * sizeof *next);
    for (size_t i = 0; i < deal->count; i++) deal->by_label[next[deal->labels[shuffled[i]]]++] = shuffled[i];
}

/* Counting sort of the samples by owner. */
static void collect(const struct trib_deal *deal, struct trib_partition *partition, size_t *next) {
    memset(partition->start, 0, (deal->devices + 1) * sizeof *partition->start);
    for (size_t i = 0; i < deal->count; i++) partition->start[deal->owner[i] + (size_t)1]++;
    for (size_t d = 0; d < deal->devices; d++) partition->start[d + 1] += partition->start[d];
    memcpy(next, partition->start, deal->devices * sizeof *next);
    for (size_t i = 0; i < deal->count; i++) partition->indices[next[deal->owner[i]]++] = (uint32_t)i;
}

/* Fills up the devices that have too few from the one that has most at the time, by changing owners. A device
 * that gets samples never becomes the largest: it is filled to `least`, and while one has less, the largest
 * has more. Returns whether anything changed. */
static bool fill_up(struct trib_deal *deal, const struct trib_partition *partition, size_t *have) {
    bool changed = false;
    for (size_t d = 0; d < deal->devices; d++) have[d] = partition->start[d + 1] - partition->start[d];
    for (size_t d = 0; d < deal->devices; d++)
        while (have[d] < deal->least) {
            size_t largest = 0;
            for (size_t e = 1; e < deal->devices; e++)
                if (have[e] > have[largest]) largest = e;
            TRIB_ASSERT(have[largest] > deal->least);
            uint32_t *items = partition->indices + partition->start[largest];
            size_t pick = (size_t)trib_rng_below(deal->rng, have[largest]--);
            deal->owner[items[pick]] = (uint32_t)d;
            items[pick] = items[have[largest]];
            have[d]++;
            changed = true;
        }
    return changed;
}

static enum trib_status deal_out(struct trib_deal *deal, const struct trib_partitioner *kind,
                                 const void *config, struct trib_partition *partition,
                                 struct trib_error *err) {
    size_t *scratch = trib_alloc_array(deal->devices, sizeof *scratch);
    if (scratch == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a partition");
    sort_by_label(deal, deal->owner); /* not needed yet */
    enum trib_status status = kind->deal(deal, config, err);
    if (status == TRIB_OK) {
        collect(deal, partition, scratch);
        if (fill_up(deal, partition, scratch)) collect(deal, partition, scratch);
    }
    trib_free(scratch);
    return status;
}

static enum trib_status make(const struct trib_partitioner *kind, const void *config, struct trib_deal *deal,
                             struct trib_partition **out, struct trib_error *err) {
    enum trib_status status = TRIB_NOMEM;
    struct trib_partition *partition = trib_alloc(sizeof *partition);
    deal->by_label = trib_alloc_array(deal->count, sizeof *deal->by_label);
    deal->owner = trib_alloc_array(deal->count, sizeof *deal->owner);
    deal->class_start = trib_alloc_array(deal->classes + 1, sizeof *deal->class_start);
    deal->share = trib_alloc_array(deal->devices, sizeof *deal->share);
    if (partition != NULL) {
        partition->devices = deal->devices;
        partition->start = trib_alloc_array(deal->devices + 1, sizeof *partition->start);
        partition->indices = trib_alloc_array(deal->count, sizeof *partition->indices);
    }
    if (partition != NULL && deal->by_label != NULL && deal->owner != NULL && deal->class_start != NULL &&
        deal->share != NULL && partition->start != NULL && partition->indices != NULL)
        status = deal_out(deal, kind, config, partition, err);
    else
        status = trib_fail(err, TRIB_NOMEM, "no memory to split %zu samples", deal->count);
    trib_free(deal->by_label);
    trib_free(deal->owner);
    trib_free(deal->class_start);
    trib_free(deal->share);
    if (status != TRIB_OK)
        trib_partition_free(&partition);
    else
        *out = partition;
    return status;
}

enum trib_status trib_partition_make(const char *spec, const uint8_t *labels, const uint32_t *users,
                                     size_t count, size_t classes, size_t devices, uint64_t seed,
                                     struct trib_partition **out, struct trib_error *err) {
    if (devices == 0 || devices > TRIB_PARTITION_MAX_DEVICES || devices > count || count > UINT32_MAX)
        return trib_fail(err, TRIB_INVALID,
                         "%zu samples cannot be split among %zu devices; 1 to %d, and not "
                         "more than there are samples, are possible",
                         count, devices, TRIB_PARTITION_MAX_DEVICES);
    TRIB_ASSERT(classes >= 1 && classes <= 256);
    for (size_t i = 0; i < count; i++) TRIB_ASSERT(labels[i] < classes);
    const struct trib_partitioner *kind;
    void *config = NULL;
    enum trib_status status = parse(spec, &kind, &config, err);
    if (status != TRIB_OK) return status;
    struct trib_rng rng = trib_rng_seed(seed, STREAM);
    size_t share = count / devices;
    struct trib_deal deal = {.labels = labels,
                             .users = users,
                             .count = count,
                             .classes = classes,
                             .devices = devices,
                             .least = share < TRIB_PARTITION_MIN ? share : TRIB_PARTITION_MIN,
                             .rng = &rng};
    status = make(kind, config, &deal, out, err);
    trib_free(config);
    return status;
}

void trib_partition_free(struct trib_partition **partition) {
    struct trib_partition *p = *partition;
    *partition = NULL;
    if (p == NULL) return;
    trib_free(p->start);
    trib_free(p->indices);
    trib_free(p);
}

void trib_partition_indices(const struct trib_partition *partition, size_t device, const uint32_t **indices,
                            size_t *count) {
    TRIB_ASSERT(device < partition->devices);
    *indices = partition->indices + partition->start[device];
    *count = partition->start[device + 1] - partition->start[device];
}
