#include "cli/compare.h"

#include "shared/base/alloc.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 4 };

/* What is being loaded: the word's label (NULL: each run's own) and the run that its path names. */
struct loading {
    struct comparison *to;
    const char *label, *run;
};

void compare_release(struct comparison *comparison) {
    for (size_t i = 0; i < comparison->count; i++) {
        struct compare_label *label = &comparison->labels[i];
        for (size_t j = 0; j < label->count; j++) {
            trib_free(label->runs[j].path);
            trib_free(label->runs[j].stale);
            curve_release(&label->runs[j].curve);
        }
        trib_free(label->runs);
        trib_free(label->label);
    }
    comparison->count = 0;
}

/* ---- one run ---- */

static enum trib_status find_label(struct comparison *to, const char *name, struct compare_label **out,
                                   struct trib_error *err) {
    for (size_t i = 0; i < to->count; i++) {
        *out = &to->labels[i];
        if (strcmp(to->labels[i].label, name) == 0) return TRIB_OK;
    }
    if (to->count == COMPARE_LABELS)
        return trib_fail(err, TRIB_LIMIT, "found more than %d labels; compare fewer at a time",
                         COMPARE_LABELS);
    char *copy = trib_strdup(name);
    if (copy == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a label");
    *out = &to->labels[to->count++];
    **out = (struct compare_label){.label = copy};
    return TRIB_OK;
}

static enum trib_status add_run(struct compare_label *label, struct compare_run **out,
                                struct trib_error *err) {
    if (label->count == label->capacity) {
        size_t capacity = label->capacity == 0 ? 4 : 2 * label->capacity;
        struct compare_run *runs = trib_realloc(label->runs, capacity * sizeof *runs);
        if (runs == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for %zu runs", capacity);
        label->runs = runs;
        label->capacity = capacity;
    }
    *out = &label->runs[label->count++];
    **out = (struct compare_run){0};
    return TRIB_OK;
}

static enum trib_status take_stale(void *ctx, const struct trib_ledger_cell *cells, size_t count,
                                   struct trib_error *err) {
    struct compare_run *run = ctx;
    size_t staleness = trib_ledger_column(TRIB_LEDGER_STALENESS, "staleness");
    size_t accepted = trib_ledger_column(TRIB_LEDGER_STALENESS, "accepted");
    TRIB_ASSERT(staleness < count && accepted < count);
    if (cells[staleness].integer < 0) return TRIB_OK;
    if (run->stale_count == run->stale_capacity) {
        size_t capacity = run->stale_capacity == 0 ? 32 : 2 * run->stale_capacity;
        struct compare_stale *stale = trib_realloc(run->stale, capacity * sizeof *stale);
        if (stale == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a histogram");
        run->stale = stale;
        run->stale_capacity = capacity;
    }
    run->stale[run->stale_count++] = (struct compare_stale){.staleness = (uint64_t)cells[staleness].integer,
                                                            .updates = (double)cells[accepted].integer};
    return TRIB_OK;
}

/* The name of the folder that a ledger's file is in. */
static void folder_name(const char *file, char *out, size_t bytes) {
    const char *end = strrchr(file, '/');
    const char *from = end == NULL ? file : end;
    while (from > file && from[-1] != '/') from--;
    int used = end == NULL ? 0 : (int)(end - from);
    (void)snprintf(out, bytes, "%.*s", used, from);
    if (used == 0) (void)snprintf(out, bytes, "runs");
}

static enum trib_status load_run(const struct loading *l, struct trib_ledger_reader *reader, const char *file,
                                 const char *own_label, int64_t run_id, const char *name,
                                 struct trib_error *err) {
    char folder[256];
    struct compare_label *label = NULL;
    struct compare_run *run = NULL;
    folder_name(file, folder, sizeof folder);
    const char *chosen = l->label != NULL ? l->label : own_label[0] != 0 ? own_label : folder;
    enum trib_status status = find_label(l->to, chosen, &label, err);
    if (status == TRIB_OK) status = add_run(label, &run, err);
    if (status != TRIB_OK) return status;
    (void)snprintf(run->run, sizeof run->run, "%s", name);
    run->path = trib_strdup(file);
    if (run->path == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a path");
    status = curve_read(reader, run_id, &run->curve, err);
    if (status != TRIB_OK) return status;
    return trib_ledger_read(reader, TRIB_LEDGER_STALENESS, run_id, 0, take_stale, run, err);
}

/* ---- the runs of a ledger ---- */

struct listing {
    const struct loading *loading;
    struct trib_ledger_reader *reader;
    const char *file;
    int64_t wanted; /* 0: all */
};

static enum trib_status take_run(void *ctx, const struct trib_ledger_cell *cells, size_t count,
                                 struct trib_error *err) {
    const struct listing *list = ctx;
    int64_t run_id = cells[trib_ledger_column(TRIB_LEDGER_RUNS, "run_id")].integer;
    (void)count;
    if (list->wanted != 0 && run_id != list->wanted) return TRIB_OK;
    return load_run(list->loading, list->reader, list->file,
                    cells[trib_ledger_column(TRIB_LEDGER_RUNS, "label")].text, run_id,
                    cells[trib_ledger_column(TRIB_LEDGER_RUNS, "run")].text, err);
}

static enum trib_status load_ledger(const struct loading *l, const char *file, struct trib_error *err) {
    struct listing list = {.loading = l, .file = file};
    struct trib_ledger_run run = {0};
    enum trib_status status = trib_ledger_open_readonly(file, &list.reader, err);
    if (status == TRIB_OK && strcmp(l->run, "all") != 0) {
        status = trib_ledger_find(list.reader, l->run, &run, err);
        list.wanted = run.run_id;
    }
    if (status == TRIB_OK)
        status = trib_ledger_read(list.reader, TRIB_LEDGER_RUNS, 0, 0, take_run, &list, err);
    trib_ledger_close(&list.reader);
    return status;
}

/* ---- folders ---- */

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool has_file(const char *folder, const char *name) {
    char path[TRIB_LEDGER_PATH];
    struct stat st;
    return (size_t)snprintf(path, sizeof path, "%s/%s", folder, name) < sizeof path && stat(path, &st) == 0;
}

static int visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static enum trib_status load_below(const struct loading *l, const char *folder, int depth, size_t *found,
                                   struct trib_error *err);

/* A folder among others: its ledger, or those further down. Edges' journals are not looked for: the cloud's
 * ledger has the whole run. */
static enum trib_status load_entry(const struct loading *l, const char *folder, const char *name, int depth,
                                   size_t *found, struct trib_error *err) {
    char path[TRIB_LEDGER_PATH];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path)
        return trib_fail(err, TRIB_LIMIT, "the path %.100s... is too long", folder);
    if (!is_folder(path)) return TRIB_OK;
    if (!has_file(path, "ledger.db")) return load_below(l, path, depth + 1, found, err);
    char file[TRIB_LEDGER_PATH];
    enum trib_status status = trib_ledger_file(path, file, err);
    if (status == TRIB_OK) status = load_ledger(l, file, err);
    if (status == TRIB_OK) ++*found;
    return status;
}

static enum trib_status load_below(const struct loading *l, const char *folder, int depth, size_t *found,
                                   struct trib_error *err) {
    struct dirent **entries = NULL;
    if (depth > DEPTH_MAX) return TRIB_OK;
    int count = scandir(folder, &entries, visible, alphasort);
    if (count < 0) return trib_fail_errno(err, "cannot read the folder %s", folder);
    enum trib_status status = TRIB_OK;
    for (int i = 0; i < count; i++) {
        if (status == TRIB_OK) status = load_entry(l, folder, entries[i]->d_name, depth, found, err);
        free(entries[i]); /* scandir's own memory */
    }
    free(entries);
    return status;
}

static enum trib_status load_path(struct loading *l, char *path, struct trib_error *err) {
    char file[TRIB_LEDGER_PATH];
    size_t found = 0;
    char *at = strrchr(path, '@');
    l->run = "last";
    if (at != NULL && strchr(at, '/') == NULL) {
        *at = 0;
        l->run = at + 1;
    }
    if (!is_folder(path) || has_file(path, "ledger.db") || has_file(path, "journal.db")) {
        enum trib_status status = trib_ledger_file(path, file, err);
        return status == TRIB_OK ? load_ledger(l, file, err) : status;
    }
    enum trib_status status = load_below(l, path, 1, &found, err);
    if (status != TRIB_OK || found > 0) return status;
    return trib_fail(err, TRIB_NOT_FOUND,
                     "the folder %s has no ledger.db in it, nor have the folders below it; name a ledger",
                     path);
}

enum trib_status compare_load(struct comparison *out, const char *word, struct trib_error *err) {
    struct loading l = {.to = out};
    char *copy = trib_strdup(word);
    if (copy == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for \"%.100s\"", word);
    char *rest = copy, *equals = strchr(copy, '=');
    if (equals != NULL && equals != copy && memchr(copy, '/', (size_t)(equals - copy)) == NULL) {
        *equals = 0;
        l.label = copy;
        rest = equals + 1;
    }
    enum trib_status status = TRIB_OK;
    for (char *path; status == TRIB_OK && (path = strsep(&rest, ",")) != NULL;) {
        status = path[0] != 0 ? load_path(&l, path, err)
                              : trib_fail(err, TRIB_INVALID,
                                          "found no path in \"%.200s\", expected LABEL=PATH,PATH", word);
    }
    trib_free(copy);
    return status;
}

struct compare_cost compare_reach(const struct compare_label *label, double target) {
    struct compare_cost all = {0};
    double cost[CURVE_COSTS];
    for (size_t i = 0; i < label->count; i++) {
        if (!curve_reach(&label->runs[i].curve, target, cost)) continue;
        all.reached++;
        for (size_t c = 0; c < CURVE_COSTS; c++) curve_spread_add(&all.cost[c], cost[c]);
    }
    return all;
}

bool compare_has(const struct comparison *c, enum curve_cost cost) {
    for (size_t i = 0; i < c->count; i++) {
        for (size_t j = 0; j < c->labels[i].count; j++) {
            const struct curve *curve = &c->labels[i].runs[j].curve;
            if (curve->count > 0 && curve->points[curve->count - 1].cost[cost] > 0) return true;
        }
    }
    return false;
}
