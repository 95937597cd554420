#include "tests/bench/programs.h"

#include "tests/bench/bench.h"

#include "shared/base/buf.h"
#include "shared/net/health.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MS = 10000, START_MS = 10000, STOP_MS = 5000, LOOK_MS = 5, MOST_OPTIONS = 32 };

void bench_pause_ms(long ms) {
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* ---- folders ---- */

static enum trib_status own_folder(char out[BENCH_PATH_MAX], struct trib_error *err) {
    ssize_t bytes = readlink("/proc/self/exe", out, BENCH_PATH_MAX - 1);
    if (bytes < 0) return trib_fail_errno(err, "cannot tell where this program is");
    out[bytes] = 0;
    char *slash = strrchr(out, '/');
    if (slash != NULL) *slash = 0;
    return TRIB_OK;
}

enum trib_status bench_program_path(const char *program, char out[BENCH_PATH_MAX], struct trib_error *err) {
    char folder[BENCH_PATH_MAX];
    enum trib_status status = own_folder(folder, err);
    if (status != TRIB_OK) return status;
    if (snprintf(out, BENCH_PATH_MAX, "%s/%s", folder, program) >= BENCH_PATH_MAX)
        return trib_fail(err, TRIB_LIMIT, "the path of %s is too long", program);
    if (access(out, X_OK) == 0) return TRIB_OK;
    return trib_fail_errno(err, "%s cannot be run: build it first (`make`)", out);
}

enum trib_status bench_folder_make(struct bench_folder *folder, struct trib_error *err) {
    char own[BENCH_PATH_MAX];
    enum trib_status status = own_folder(own, err);
    if (status != TRIB_OK) return status;
    if (snprintf(folder->path, sizeof folder->path, "%s/bench.XXXXXX", own) >= (int)sizeof folder->path)
        return trib_fail(err, TRIB_LIMIT, "the path %s is too long", own);
    if (mkdtemp(folder->path) != NULL) return TRIB_OK;
    folder->path[0] = 0;
    return trib_fail_errno(err, "cannot make a folder in %s", own);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void bench_folder_remove(struct bench_folder *folder) {
    if (folder->path[0] != 0) (void)nftw(folder->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    folder->path[0] = 0;
}

/* ---- starting and stopping ---- */

/* "log's last line" for an error. */
static const char *last_line(const char *path, char *out, size_t bytes) {
    out[0] = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) return out;
    char line[400];
    while (fgets(line, sizeof line, file) != NULL) (void)snprintf(out, bytes, "%s", line);
    (void)fclose(file);
    out[strcspn(out, "\n")] = 0;
    return out;
}

/* The endpoint behind "listening ... endpoint=" in the log: the free port that it took. */
static bool find_endpoint(const struct bench_program *p, char out[BENCH_ENDPOINT_MAX]) {
    FILE *file = fopen(p->log, "r");
    if (file == NULL) return false;
    char line[400];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        const char *at = strstr(line, " endpoint=tcp://");
        found = strstr(line, "listening") != NULL && at != NULL && strchr(line, '\n') != NULL;
        if (found) (void)snprintf(out, BENCH_ENDPOINT_MAX, "%.*s", (int)strcspn(at + 10, " \n"), at + 10);
    }
    (void)fclose(file);
    return found;
}

static bool is_up(struct bench_program *p, bool listens) {
    if (listens) return find_endpoint(p, p->endpoint);
    uint64_t uptime_ms;
    return bench_program_ask(p, "devices", &uptime_ms, NULL) == TRIB_OK;
}

static enum trib_status await_up(struct bench_program *p, bool listens, struct trib_error *err) {
    char line[400];
    for (int waited = 0; waited < START_MS; waited += LOOK_MS) {
        if (is_up(p, listens)) return TRIB_OK;
        if (waitpid(p->pid, NULL, WNOHANG) == p->pid) {
            p->pid = 0;
            return trib_fail(err, TRIB_IO, "%s ended at once: %s", p->name,
                             last_line(p->log, line, sizeof line));
        }
        bench_pause_ms(LOOK_MS);
    }
    return trib_fail(err, TRIB_AGAIN, "%s did not start within %d ms: %s", p->name, START_MS,
                     last_line(p->log, line, sizeof line));
}

static void redirect(const char *path, int flags, int to) {
    int fd = open(path, flags, 0600);
    if (fd >= 0 && fd != to) (void)dup2(fd, to);
}

/* The child ends with us, however we end. */
static enum trib_status spawn(pid_t *pid, const char *path, const char *const *arguments, const char *log,
                              struct trib_error *err) {
    *pid = fork();
    if (*pid < 0) {
        *pid = 0;
        return trib_fail_errno(err, "cannot run %s", path);
    }
    if (*pid > 0) return TRIB_OK;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    redirect("/dev/null", O_RDONLY, STDIN_FILENO);
    redirect("/dev/null", O_WRONLY, STDOUT_FILENO);
    redirect(log, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    /* execvp changes nothing in the arguments; its type is older than const. */
    (void)execvp(path, (char *const *)(uintptr_t)arguments);
    _exit(127);
}

enum trib_status bench_program_start(struct bench_program *p, const struct bench_folder *folder,
                                     const char *program, const char *name, const char *const *options,
                                     struct trib_error *err) {
    char path[BENCH_PATH_MAX], set[4][BENCH_PATH_MAX];
    const char *arguments[2 * MOST_OPTIONS + 12];
    bool listens = strcmp(program, "tributary-device") != 0 && strcmp(program, "bench-crowd") != 0;
    size_t count = 0;
    *p = (struct bench_program){.name = program};
    enum trib_status status = bench_program_path(program, path, err);
    if (status != TRIB_OK) return status;
    (void)snprintf(p->log, sizeof p->log, "%s/%s.log", folder->path, name);
    (void)snprintf(p->health, sizeof p->health, "ipc://@tributary-bench-%ld-%s", (long)getpid(), name);
    (void)snprintf(set[0], sizeof set[0], "name=%s", name);
    (void)snprintf(set[1], sizeof set[1], "health=%s", p->health);
    (void)snprintf(set[2], sizeof set[2], "store.path=%s/%s", folder->path, name);
    (void)snprintf(set[3], sizeof set[3], "listen=[\"tcp://127.0.0.1:*\"]");
    arguments[count++] = path;
    for (size_t i = 0; i < (listens ? 4 : 2); i++) {
        arguments[count++] = "--set";
        arguments[count++] = set[i];
    }
    for (size_t i = 0; options[i] != NULL; i++) {
        TRIB_ASSERT(i < MOST_OPTIONS);
        arguments[count++] = "--set";
        arguments[count++] = options[i];
    }
    arguments[count] = NULL;
    status = spawn(&p->pid, path, arguments, p->log, err);
    if (status == TRIB_OK) status = await_up(p, listens, err);
    if (status != TRIB_OK) bench_program_stop(p);
    return status;
}

void bench_program_stop(struct bench_program *p) {
    if (p->pid == 0) return;
    (void)kill(p->pid, SIGTERM);
    for (int waited = 0; waited < STOP_MS; waited += LOOK_MS) {
        if (waitpid(p->pid, NULL, WNOHANG) == p->pid) {
            p->pid = 0;
            return;
        }
        bench_pause_ms(LOOK_MS);
    }
    (void)kill(p->pid, SIGKILL);
    (void)waitpid(p->pid, NULL, 0);
    p->pid = 0;
}

void bench_program_kill(struct bench_program *p) {
    if (p->pid == 0) return;
    (void)kill(p->pid, SIGKILL);
    (void)waitpid(p->pid, NULL, 0);
    p->pid = 0;
}

/* ---- a cloud and an edge ---- */

enum trib_status bench_tree_edge(struct bench_tree *tree, struct bench_program *p, const char *name,
                                 const char *listen, const char *const *options, struct trib_error *err) {
    const char *all[MOST_OPTIONS];
    char where[BENCH_ENDPOINT_MAX + 16];
    size_t count = 0;
    all[count++] = tree->upstream;
    if (listen != NULL) {
        (void)snprintf(where, sizeof where, "listen=[\"%s\"]", listen);
        all[count++] = where;
    }
    for (size_t i = 0; options[i] != NULL; i++) {
        TRIB_ASSERT(count + 1 < MOST_OPTIONS);
        all[count++] = options[i];
    }
    all[count] = NULL;
    return bench_program_start(p, &tree->folder, "tributary-edge", name, all, err);
}

enum trib_status bench_tree_start(struct bench_tree *tree, const char *const *cloud, const char *const *edge,
                                  struct trib_error *err) {
    *tree = (struct bench_tree){.folder = {""}};
    enum trib_status status = bench_folder_make(&tree->folder, err);
    if (status == TRIB_OK)
        status = bench_program_start(&tree->cloud, &tree->folder, "tributary-cloud", "cloud", cloud, err);
    if (status != TRIB_OK) return status;
    (void)snprintf(tree->upstream, sizeof tree->upstream, "upstream.endpoint=%s", tree->cloud.endpoint);
    return bench_tree_edge(tree, &tree->edge, "edge", NULL, edge, err);
}

void bench_tree_stop(struct bench_tree *tree) {
    bench_program_stop(&tree->edge);
    bench_program_stop(&tree->cloud);
    bench_folder_remove(&tree->folder);
}

enum trib_status bench_command(const char *const *arguments, struct trib_error *err) {
    pid_t pid = 0;
    int state = 0;
    enum trib_status status = spawn(&pid, arguments[0], arguments, "/dev/null", err);
    if (status != TRIB_OK) return status;
    while (waitpid(pid, &state, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return TRIB_OK;
    if (WIFEXITED(state) && WEXITSTATUS(state) == 127)
        return trib_fail(err, TRIB_NOT_FOUND, "%s is not installed", arguments[0]);
    return trib_fail(err, TRIB_IO, "%s failed", arguments[0]);
}

/* ---- asking ---- */

/* The number behind "key": in a line of JSON. */
static bool number_of(const char *json, const char *key, uint64_t *value) {
    char quoted[64];
    (void)snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(json, quoted);
    return at != NULL && sscanf(at + strlen(quoted), " %" SCNu64, value) == 1;
}

enum trib_status bench_program_ask(const struct bench_program *p, const char *key, uint64_t *value,
                                   struct trib_error *err) {
    struct trib_buf line;
    bool well = false;
    trib_buf_init(&line, 0);
    enum trib_status status = trib_health_ask(p->health, ANSWER_MS, &line, &well, err);
    if (status == TRIB_OK && !number_of(trib_buf_text(&line), key, value))
        status = trib_fail(err, TRIB_NOT_FOUND, "%s has no %s in its health line", p->name, key);
    trib_buf_release(&line);
    return status;
}

enum trib_status bench_program_await(const struct bench_program *p, const char *key, uint64_t least,
                                     double patience_s, struct trib_error *err) {
    double limit = bench_seconds() + patience_s;
    for (uint64_t value = 0;;) {
        enum trib_status status = bench_program_ask(p, key, &value, err);
        if (status != TRIB_OK || value >= least) return status;
        if (bench_seconds() > limit)
            return trib_fail(err, TRIB_AGAIN, "%s has %s %" PRIu64 " of %" PRIu64 " after %.0f s", p->name,
                             key, value, least, patience_s);
        bench_pause_ms(4 * LOOK_MS);
    }
}

/* ---- what the kernel says ---- */

/* The number behind `key` in /proc/PID/FILE. */
static enum trib_status proc_number(const struct bench_program *p, const char *file_name, const char *key,
                                    uint64_t *value, struct trib_error *err) {
    char path[64], line[256];
    size_t length = strlen(key);
    bool found = false;
    (void)snprintf(path, sizeof path, "/proc/%ld/%s", (long)p->pid, file_name);
    FILE *file = fopen(path, "r");
    if (file == NULL) return trib_fail_errno(err, "cannot read %s", path);
    while (!found && fgets(line, sizeof line, file) != NULL)
        found = strncmp(line, key, length) == 0 && sscanf(line + length, ": %" SCNu64, value) == 1;
    (void)fclose(file);
    return found ? TRIB_OK : trib_fail(err, TRIB_NOT_FOUND, "%s has no line %s", path, key);
}

enum trib_status bench_program_peak(const struct bench_program *p, uint64_t *bytes, struct trib_error *err) {
    enum trib_status status = proc_number(p, "status", "VmHWM", bytes, err);
    *bytes *= 1024;
    return status;
}

enum trib_status bench_program_memory(const struct bench_program *p, uint64_t *bytes,
                                      struct trib_error *err) {
    enum trib_status status = proc_number(p, "status", "VmRSS", bytes, err);
    *bytes *= 1024;
    return status;
}

enum trib_status bench_program_cpu(const struct bench_program *p, double *seconds, struct trib_error *err) {
    char path[64], line[512];
    unsigned long user = 0, system = 0;
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)p->pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) return trib_fail_errno(err, "cannot read %s", path);
    const char *after = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
    (void)fclose(file);
    if (after == NULL ||
        sscanf(after + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu", &user, &system) != 2)
        return trib_fail(err, TRIB_INVALID, "%s is not as expected", path);
    *seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    return TRIB_OK;
}
