/* Where data sets come from: the order of dataset.h. */
#include "shared/learn/dataset_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef TRIB_DATA_DIR
#define TRIB_DATA_DIR "/usr/local/share/tributary/data"
#endif

bool trib_source_file(const char *folder, const char *name, char path[TRIB_DATASET_MAX_SOURCE]) {
    static const char *const endings[] = {".gz", ""};
    for (size_t i = 0; i < 2; i++) {
        int length = snprintf(path, TRIB_DATASET_MAX_SOURCE, "%s/%s%s", folder, name, endings[i]);
        if (length > 0 && length < TRIB_DATASET_MAX_SOURCE && access(path, F_OK) == 0) return true;
    }
    return false;
}

/* Does `root`/`name``ending` hold the files? Its path goes into folder. An empty name: `root` itself. */
static bool holds(const char *root, const char *name, const char *ending, const char *file, char *folder) {
    char path[TRIB_DATASET_MAX_SOURCE];
    int length =
        snprintf(folder, TRIB_DATASET_MAX_SOURCE, "%s%s%s%s", root, *name != '\0' ? "/" : "", name, ending);
    return length > 0 && length < TRIB_DATASET_MAX_SOURCE && trib_source_file(folder, file, path);
}

/* 1: what the user asked for. NAME's own folder goes before the folder itself, so that a folder of folders
 * never gives one data set for another. */
static enum trib_status find_asked(const char *name, const char *file, const char *asked, const char *by,
                                   char *folder, struct trib_error *err) {
    if (holds(asked, name, "", file, folder) || holds(asked, "", "", file, folder)) return TRIB_OK;
    return trib_fail(err, TRIB_NOT_FOUND,
                     "%s is '%.200s', and neither it nor its folder '%s' holds %s (or .gz); correct it, or "
                     "leave it empty to use what make data fetched or the project carries",
                     by, asked, name, file);
}

enum trib_status trib_source_find(const char *name, const char *file, const char *path,
                                  char folder[TRIB_DATASET_MAX_SOURCE], const char **what,
                                  struct trib_error *err) {
    static const char *const roots[] = {"data", TRIB_DATA_DIR, "/usr/share/tributary/data"};
    enum { ROOTS = sizeof roots / sizeof roots[0] };
    const char *environment = getenv("TRIBUTARY_DATA");
    bool by_path = path != NULL && *path != '\0';
    if (by_path || (environment != NULL && *environment != '\0')) {
        *what = by_path ? "data.path" : "TRIBUTARY_DATA";
        return find_asked(name, file, by_path ? path : environment, *what, folder, err);
    }
    char full[64];
    (void)snprintf(full, sizeof full, "full/%s", name);
    *what = "fetched by make data";
    for (size_t i = 0; i < ROOTS; i++)
        if (holds(roots[i], full, "", file, folder)) return TRIB_OK;
    *what = "the carried sample";
    for (size_t i = 0; i < ROOTS; i++)
        if (holds(roots[i], name, "-sample", file, folder)) return TRIB_OK;
    return trib_fail(
        err, TRIB_NOT_FOUND,
        "no files of %s: not in data/full/%s, data/%s-sample, nor the same in %s; fetch them with "
        "`make data DATASET=%s`, or set TRIBUTARY_DATA (or data.path) to a folder that has them",
        name, name, name, TRIB_DATA_DIR, name);
}
