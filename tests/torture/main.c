/* make torture: federations by their numbers, on as many processes as asked for. The history of a federation
 * follows from its number alone, so it does not matter who runs it. */
#include "tests/torture/torture.h"

#include "shared/base/clock.h"
#include "shared/base/number.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS_MAX = 64, STUCK_MS = 120 * 1000, PER_SEED = 1000 * 1000 };

struct options {
    uint64_t seed, federations, duration_s, jobs, one;
    bool first; /* stop at the first violation */
};

/* Shared with the workers; each writes its own. */
struct worker {
    pid_t pid;
    uint64_t next; /* the federation that it is at, counted from 0 */
    uint64_t done, events, crashes, violations, began_ms;
    bool finished;
};

struct board {
    bool stop;
    struct worker workers[WORKERS_MAX];
};

static void report(uint64_t number, const char *violation) {
    (void)printf("torture: federation %" PRIu64 ": %s\n         TORTURE_LOG=1 make torture ONE=%" PRIu64 "\n",
                 number, violation, number);
    (void)fflush(stdout);
}

static uint64_t number_of(const struct options *o, uint64_t index) {
    return o->seed * PER_SEED + index;
}

static void work(const struct options *o, struct board *board, struct worker *worker) {
    while (!board->stop && (o->federations == 0 || worker->next < o->federations)) {
        struct outcome outcome;
        worker->began_ms = trib_clock_ms();
        torture_one(number_of(o, worker->next), false, &outcome);
        worker->done++;
        worker->events += outcome.events;
        worker->crashes += outcome.crashes;
        if (outcome.violated) {
            worker->violations++;
            report(number_of(o, worker->next), outcome.violation);
            if (o->first) board->stop = true;
        }
        worker->next += o->jobs;
    }
    worker->finished = true;
    _exit(0);
}

static void start_worker(const struct options *o, struct board *board, struct worker *worker) {
    (void)fflush(stdout);
    worker->began_ms = trib_clock_ms();
    pid_t pid = fork();
    if (pid == 0) work(o, board, worker);
    worker->pid = pid;
    if (pid < 0) {
        perror("torture: fork");
        exit(2);
    }
}

/* A worker died in a federation: that is a violation of it, and the next one goes on behind it. */
static void bury(const struct options *o, struct board *board, struct worker *worker, int status) {
    char text[80];
    if (WIFSIGNALED(status))
        (void)snprintf(text, sizeof text, "the process died of signal %d", WTERMSIG(status));
    else
        (void)snprintf(text, sizeof text, "the process ended with %d", WEXITSTATUS(status));
    report(number_of(o, worker->next), text);
    worker->violations++;
    worker->done++;
    worker->next += o->jobs;
    if (o->first) board->stop = true;
    start_worker(o, board, worker);
}

static bool look_after(const struct options *o, struct board *board) {
    bool busy = false;
    for (size_t i = 0; i < o->jobs; i++) {
        struct worker *worker = &board->workers[i];
        int status;
        if (worker->pid == 0) continue;
        if (waitpid(worker->pid, &status, WNOHANG) == worker->pid) {
            worker->pid = 0;
            if (!worker->finished) bury(o, board, worker, status);
        } else if (trib_clock_ms() - worker->began_ms > STUCK_MS) {
            (void)kill(worker->pid, SIGKILL);
        }
        busy = busy || worker->pid != 0;
    }
    return busy;
}

static struct worker total_of(const struct options *o, const struct board *board) {
    struct worker total = {0};
    for (size_t i = 0; i < o->jobs; i++) {
        total.done += board->workers[i].done;
        total.events += board->workers[i].events;
        total.crashes += board->workers[i].crashes;
        total.violations += board->workers[i].violations;
    }
    return total;
}

static int run_all(const struct options *o) {
    struct board *board =
        mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        perror("torture: mmap");
        return 2;
    }
    uint64_t began = trib_clock_ms(), told = began;
    for (size_t i = 0; i < o->jobs; i++) {
        board->workers[i].next = i;
        start_worker(o, board, &board->workers[i]);
    }
    while (look_after(o, board)) {
        (void)usleep(20 * 1000);
        uint64_t now = trib_clock_ms();
        if (o->duration_s > 0 && now - began >= o->duration_s * 1000) board->stop = true;
        if (now - told < 5000 || !isatty(STDOUT_FILENO)) continue;
        told = now;
        struct worker total = total_of(o, board);
        (void)printf("  %4" PRIu64 " s  federations=%" PRIu64 " events=%" PRIu64 " crashes=%" PRIu64
                     " violations=%" PRIu64 "\n",
                     (now - began) / 1000, total.done, total.events, total.crashes, total.violations);
        (void)fflush(stdout);
    }
    struct worker total = total_of(o, board);
    (void)printf("torture: federations=%" PRIu64 " events=%" PRIu64 " crashes=%" PRIu64 " violations=%" PRIu64
                 "\n",
                 total.done, total.events, total.crashes, total.violations);
    return total.violations > 0 ? 1 : 0;
}

static int run_one(uint64_t number) {
    struct outcome outcome;
    torture_one(number, getenv("TORTURE_LOG") != NULL, &outcome);
    if (outcome.violated) report(number, outcome.violation);
    (void)printf("torture: federations=1 events=%" PRIu64 " crashes=%" PRIu64 " violations=%d\n",
                 outcome.events, outcome.crashes, outcome.violated ? 1 : 0);
    return outcome.violated ? 1 : 0;
}

static int usage(void) {
    (void)fputs("usage: torture [--seed N] [--federations N] [--duration SECONDS] [--jobs N] [--first] "
                "[--one NUMBER]\n",
                stderr);
    return 2;
}

int main(int argc, char **argv) {
    struct options o = {.seed = 1, .jobs = 2, .one = UINT64_MAX};
    const struct {
        const char *name;
        uint64_t *value;
    } rows[] = {{"--seed", &o.seed},
                {"--federations", &o.federations},
                {"--duration", &o.duration_s},
                {"--jobs", &o.jobs},
                {"--one", &o.one}};
    for (int i = 1; i < argc; i++) {
        bool known = strcmp(argv[i], "--first") == 0;
        o.first = o.first || known;
        for (size_t r = 0; !known && r < sizeof rows / sizeof rows[0]; r++)
            if (strcmp(argv[i], rows[r].name) == 0 && i + 1 < argc) {
                i++;
                known = trib_parse_u64(argv[i], strlen(argv[i]), rows[r].value);
            }
        if (!known) return usage();
    }
    if (o.jobs == 0 || o.jobs > WORKERS_MAX || o.seed > UINT64_MAX / PER_SEED - 1) return usage();
    if (o.one != UINT64_MAX) return run_one(o.one);
    if (o.federations == 0 && o.duration_s == 0) o.federations = 1000;
    return run_all(&o);
}
