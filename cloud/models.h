/* The model files of a run, models/DIGEST.safetensors in the cloud's folder, and which of them stay: those of
 * so many newest evaluated versions, and of the best one. */
#ifndef TRIB_CLOUD_MODELS_H
#define TRIB_CLOUD_MODELS_H

#include "shared/base/error.h"
#include "shared/model/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODELS_PATH_MAX = 600 };

struct models_kept {
    char digest[2 * TRIB_DIGEST_BYTES + 1]; /* lower-case hex, as in the ledger */
    double accuracy;
};

struct models {
    const char *store; /* borrowed */
    uint64_t keep;     /* 0: all; then nothing is listed */
    size_t count, capacity;
    struct models_kept *kept; /* oldest first */
};

/* Makes models/ in the cloud's folder `store`. Of a run that goes on (`resumed`) the files that are there are
 * taken over, as the ledger names them; those of other runs are never touched. */
enum trib_status models_open(struct models *models, const char *store, uint64_t keep, bool resumed,
                             struct trib_error *err) TRIB_MUST_USE;
void models_close(struct models *models);
const char *models_path(const struct models *models, const char *digest, char out[MODELS_PATH_MAX]);
/* A version's file has been written. Without memory it is not listed, and stays. */
void models_add(struct models *models, const char *digest, double accuracy);
/* Deletes the oldest files beyond the limit, but not the best. Called before the next version's turn, once
 * the ledger has the result that made room, so that no crash leaves it naming a best one that is gone. */
void models_trim(struct models *models);

#endif
