#include "cloud/models.h"

#include "shared/base/alloc.h"
#include "shared/ledger/ledger.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *models_path(const struct models *models, const char *digest, char out[MODELS_PATH_MAX]) {
    (void)snprintf(out, MODELS_PATH_MAX, "%s/models/%s.safetensors", models->store, digest);
    return out;
}

/* ---- which stay ---- */

static void forget(struct models *models, size_t i) {
    models->count--;
    memmove(&models->kept[i], &models->kept[i + 1], (models->count - i) * sizeof *models->kept);
}

static size_t best(const struct models *models) {
    size_t at = 0;
    for (size_t i = 1; i < models->count; i++)
        if (models->kept[i].accuracy > models->kept[at].accuracy) at = i;
    return at;
}

static bool append(struct models *models, const char *digest, double accuracy) {
    if (models->count == models->capacity) {
        size_t capacity = models->capacity > 0 ? 2 * models->capacity : 32;
        struct models_kept *more = trib_realloc(models->kept, capacity * sizeof *more);
        if (more == NULL) return false;
        models->kept = more;
        models->capacity = capacity;
    }
    struct models_kept *last = &models->kept[models->count++];
    (void)snprintf(last->digest, sizeof last->digest, "%s", digest);
    last->accuracy = accuracy;
    return true;
}

void models_add(struct models *models, const char *digest, double accuracy) {
    if (models->keep == 0) return;
    for (size_t i = 0; i < models->count; i++) {
        if (strcmp(models->kept[i].digest, digest) != 0) continue;
        forget(models, i); /* evaluated again: one file, one entry */
        break;
    }
    (void)append(models, digest, accuracy);
}

void models_trim(struct models *models) {
    char path[MODELS_PATH_MAX];
    if (models->keep == 0) return;
    for (size_t i = 0; models->count > models->keep && i < models->count - models->keep;) {
        if (i == best(models)) {
            i++;
            continue;
        }
        (void)unlink(models_path(models, models->kept[i].digest, path)); /* gone already is as good */
        forget(models, i);
    }
}

/* ---- what an earlier process left ---- */

struct adoption {
    struct models *models;
    size_t digest, accuracy; /* columns */
};

static enum trib_status adopt(void *ctx, const struct trib_ledger_cell *cells, size_t count,
                              struct trib_error *err) {
    const struct adoption *adoption = ctx;
    char path[MODELS_PATH_MAX];
    TRIB_ASSERT(adoption->digest < count && adoption->accuracy < count);
    (void)err;
    const struct trib_ledger_cell *digest = &cells[adoption->digest], *mark = &cells[adoption->accuracy];
    if (digest->null || strlen(digest->text) != 2 * TRIB_DIGEST_BYTES) return TRIB_OK;
    if (access(models_path(adoption->models, digest->text, path), F_OK) != 0) return TRIB_OK;
    models_add(adoption->models, digest->text, mark->null ? 0.0 : mark->real);
    return TRIB_OK;
}

static enum trib_status adopt_all(struct models *models, struct trib_error *err) {
    struct trib_ledger_reader *reader = NULL;
    struct trib_ledger_run run;
    struct adoption adoption = {.models = models,
                                .digest = trib_ledger_column(TRIB_LEDGER_VERSIONS, "digest"),
                                .accuracy = trib_ledger_column(TRIB_LEDGER_VERSIONS, "accuracy")};
    enum trib_status status = trib_ledger_open_readonly(models->store, &reader, err);
    if (status == TRIB_OK) status = trib_ledger_find(reader, "last", &run, err);
    if (status == TRIB_OK)
        status = trib_ledger_read(reader, TRIB_LEDGER_VERSIONS, run.run_id, 0, adopt, &adoption, err);
    trib_ledger_close(&reader);
    return status;
}

enum trib_status models_open(struct models *models, const char *store, uint64_t keep, bool resumed,
                             struct trib_error *err) {
    char folder[MODELS_PATH_MAX];
    *models = (struct models){.store = store, .keep = keep};
    (void)snprintf(folder, sizeof folder, "%s/models", store);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return trib_fail_errno(err, "the folder %s for models cannot be made", folder);
    return resumed && keep > 0 ? adopt_all(models, err) : TRIB_OK;
}

void models_close(struct models *models) {
    trib_free(models->kept);
    *models = (struct models){.kept = NULL};
}
