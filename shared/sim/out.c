/* The folder of a result: made, or cleared of an older one. What no simulation has put there is not touched.
 */
#include "shared/sim/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 900 };

static const char mark[] = "# the scenario of this result, written by tributary simulate\n";
static const char *const files[] = {"ledger.db",      "ledger.db-wal",  "ledger.db-shm", "journal.db",
                                    "journal.db-wal", "journal.db-shm", "store.lock",    "image",
                                    "summary.json",   "summary.txt",    "ended.bin"};
static const char *const folders[] = {"segments", "checkpoints"};

static enum trib_status make_folders(const char *path, struct trib_error *err) {
    char part[PATH_BYTES];
    for (const char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        (void)snprintf(part, sizeof part, "%.*s", slash != NULL ? (int)(slash - path) : (int)strlen(path),
                       path);
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return trib_fail_errno(err, "cannot make the folder %s", part);
        if (slash == NULL) return TRIB_OK;
    }
}

/* It is ours as long as the descriptor is open; a second simulation would clear it under our feet. */
static enum trib_status lock_folder(struct trib_sim *sim, struct trib_error *err) {
    sim->folder = open(sim->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (sim->folder < 0) return trib_fail_errno(err, "cannot open the folder %s", sim->out);
    if (flock(sim->folder, LOCK_EX | LOCK_NB) == 0) return TRIB_OK;
    if (errno != EWOULDBLOCK) return trib_fail_errno(err, "cannot lock the folder %s", sim->out);
    return trib_fail(err, TRIB_AGAIN,
                     "another simulation is at work in %s: stop that one first, or use another --out",
                     sim->out);
}

/* Calls `each` with PATH/ENTRY for what is in a folder. A folder that is not there is empty. */
static bool each_entry(const char *path, bool (*each)(const char *entry_path)) {
    DIR *folder = opendir(path);
    if (folder == NULL) return errno == ENOENT;
    bool good = true;
    for (const struct dirent *entry; good && (entry = readdir(folder)) != NULL;) {
        char entry_path[PATH_BYTES];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        (void)snprintf(entry_path, sizeof entry_path, "%s/%s", path, entry->d_name);
        good = each(entry_path);
    }
    (void)closedir(folder);
    return good;
}

static bool remove_one(const char *path) {
    return unlink(path) == 0 || errno == ENOENT;
}

static bool clear_store(const char *path) {
    char at[PATH_BYTES];
    bool good = true;
    for (size_t i = 0; good && i < sizeof files / sizeof *files; i++) {
        (void)snprintf(at, sizeof at, "%.700s/%s", path, files[i]);
        good = remove_one(at);
    }
    for (size_t i = 0; good && i < sizeof folders / sizeof *folders; i++) {
        (void)snprintf(at, sizeof at, "%.700s/%s", path, folders[i]);
        good = each_entry(at, remove_one) && (rmdir(at) == 0 || errno == ENOENT);
    }
    return good;
}

static bool clear_edge(const char *path) {
    return clear_store(path) && rmdir(path) == 0;
}

static bool exists(const char *folder, const char *name) {
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%.700s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static enum trib_status write_scenario(const struct trib_sim *sim, struct trib_error *err) {
    char path[PATH_BYTES];
    struct trib_buf text;
    trib_buf_init(&text, 0);
    struct trib_scenario ours = *sim->scenario; /* its texts are borrowed */
    char none[] = "";
    ours.plan.seed = sim->options.seed;
    ours.seeds = none;
    trib_buf_append(&text, mark, strlen(mark));
    trib_options_dump(trib_scenario_options, trib_scenario_option_count, &ours, false, &text);
    (void)snprintf(path, sizeof path, "%.700s/scenario.yaml", sim->out);
    FILE *file = fopen(path, "w");
    bool good = file != NULL && !text.failed && fwrite(text.data, 1, text.size, file) == text.size;
    if (file != NULL && fclose(file) != 0) good = false;
    trib_buf_release(&text);
    return good ? TRIB_OK : trib_fail_errno(err, "cannot write %s", path);
}

enum trib_status trib_sim_out_name(struct trib_sim *sim, struct trib_error *err) {
    const struct trib_scenario *s = sim->scenario;
    if (strcmp(s->ledger.cloud, "none") == 0) return TRIB_OK;
    const char *out = sim->options.out != NULL && sim->options.out[0] != 0 ? sim->options.out : s->out;
    int length = out[0] != 0 ? snprintf(sim->out, sizeof sim->out, "%s", out)
                             : snprintf(sim->out, sizeof sim->out, "run/sim/%s-seed%" PRIu64, s->name,
                                        sim->options.seed);
    if (length >= 0 && (size_t)length < sizeof sim->out) return TRIB_OK;
    return trib_fail(err, TRIB_LIMIT, "the result's folder has a path of %d bytes, at most %zu are possible",
                     length, sizeof sim->out - 1);
}

enum trib_status trib_sim_out_open(struct trib_sim *sim, struct trib_error *err) {
    enum trib_status status = trib_sim_out_name(sim, err);
    if (status != TRIB_OK || sim->out[0] == 0) return status;
    status = make_folders(sim->out, err);
    if (status == TRIB_OK) status = lock_folder(sim, err);
    if (status != TRIB_OK) return status;
    if (exists(sim->out, "ledger.db") && !exists(sim->out, "scenario.yaml"))
        return trib_fail(err, TRIB_INVALID,
                         "%s has a ledger that no simulation wrote; name another folder with --out",
                         sim->out);
    status = trib_sim_resume(sim, err);
    if (status != TRIB_OK) return status;
    char edges[PATH_BYTES];
    (void)snprintf(edges, sizeof edges, "%s/edges", sim->out);
    if (!clear_store(sim->out) || !each_entry(edges, clear_edge))
        return trib_fail_errno(err, "cannot clear the older result in %s", sim->out);
    status = write_scenario(sim, err);
    return status == TRIB_OK ? trib_sim_keep_open(sim, err) : status;
}
