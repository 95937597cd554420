/* `tributary watch`: a run as it happens, from its ledger: a line for each evaluated version, and each
 * second. */
#include "cli/cli.h"

#include "shared/base/clock.h"
#include "shared/base/number.h"
#include "shared/ledger/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    POLL_MS = 250,
    LINE_MS = 2000,       /* without an evaluation */
    UNREADABLE_MS = 3000, /* a ledger that was just made may not have its tables yet */
    RATES = 24,           /* polls that updates/s is the mean over: 6 s */
    BYTES_TEXT = 24
};

struct request {
    const char *ledger;
    bool has_target, summary;
    double target;
    uint64_t timeout_ms;
};

/* What the ledger says of the newest run. */
struct sample {
    bool ended;
    int64_t run_id, started_ms, versions, evaluated_version, updates, forwards, refused, staleness_p95,
        staleness_max, device_up, device_down, cloud_up, cloud_down, f32;
    double seconds, accuracy, best, staleness_mean;
    char reason[64];
};

struct watch {
    const struct request *request;
    struct trib_ledger_reader *reader;
    struct sample now;
    bool any, terminal, waiting_told, header_shown, line_open;
    uint64_t began_ms, unreadable_ms, line_ms;
    int64_t line_version;
    size_t rate_count; /* ever */
    struct {
        uint64_t at_ms;
        int64_t updates;
    } rates[RATES];
};

static int usage(FILE *to) {
    (void)fputs("usage: tributary watch LEDGER [--target ACCURACY] [--timeout TIME] [--summary]\n"
                "Shows the newest run of a ledger while it goes on: a line for each evaluated version.\n"
                "LEDGER is the cloud's ledger.db or its folder; it may not be there yet.\n"
                "  --target 0.97   exit with 0 only if a version reached this accuracy (without: if the run "
                "ended)\n"
                "  --timeout 300s  give up after this time (0: never)\n"
                "  --summary       end with a summary; its last line is for programs (demo: accuracy=...)\n"
                "Bytes are those of whole messages, headers included. What they are compared with: a whole "
                "model in f32 each\n"
                "way for every update.\n",
                to);
    return to == stdout ? CLI_DONE : CLI_USAGE;
}

/* ---- reading ---- */

static const struct trib_ledger_cell *cell(enum trib_ledger_table table, const struct trib_ledger_cell *cells,
                                           const char *name) {
    return &cells[trib_ledger_column(table, name)];
}

static enum trib_status take_run(void *ctx, const struct trib_ledger_cell *cells, size_t count,
                                 struct trib_error *err) {
    struct sample *s = ctx;
    (void)count;
    (void)err;
#define CELL(name) cell(TRIB_LEDGER_RUNS, cells, name)
    s->run_id = CELL("run_id")->integer;
    s->ended = strcmp(CELL("state")->text, "running") != 0;
    (void)snprintf(s->reason, sizeof s->reason, "%s", CELL("stop_reason")->text);
    s->started_ms = CELL("started_ms")->integer;
    s->seconds = CELL("seconds")->real;
    s->versions = CELL("versions")->integer;
    s->best = CELL("best_accuracy")->real;
    s->accuracy = CELL("last_accuracy")->real;
    s->forwards = CELL("updates")->integer;
    s->updates = CELL("below_updates")->integer;
    if (s->updates == 0) s->updates = s->forwards; /* no edges in between */
    s->refused = CELL("refused")->integer;
    s->staleness_mean = CELL("staleness_mean")->real;
    s->staleness_p95 = CELL("staleness_p95")->integer;
    s->staleness_max = CELL("staleness_max")->integer;
    s->device_up = CELL("device_edge_up_bytes")->integer;
    s->device_down = CELL("device_edge_down_bytes")->integer;
    s->cloud_up = CELL("cloud_up_bytes")->integer;
    s->cloud_down = CELL("cloud_down_bytes")->integer;
    s->f32 = 2 * CELL("up_f32_bytes")->integer;
#undef CELL
    return TRIB_OK;
}

/* The newest version that has an accuracy. */
static enum trib_status take_version(void *ctx, const struct trib_ledger_cell *cells, size_t count,
                                     struct trib_error *err) {
    struct sample *s = ctx;
    (void)count;
    (void)err;
    if (!cell(TRIB_LEDGER_VERSIONS, cells, "accuracy")->null)
        s->evaluated_version = cell(TRIB_LEDGER_VERSIONS, cells, "version")->integer;
    return TRIB_OK;
}

static enum trib_status read_sample(struct watch *w, struct trib_error *err) {
    struct sample s = {.run_id = -1, .evaluated_version = -1};
    enum trib_status status = TRIB_OK;
    if (w->reader == NULL) status = trib_ledger_open_readonly(w->request->ledger, &w->reader, err);
    if (status == TRIB_OK) status = trib_ledger_read(w->reader, TRIB_LEDGER_RUNS, 0, 1, take_run, &s, err);
    if (status == TRIB_OK && s.run_id >= 0)
        status = trib_ledger_read(w->reader, TRIB_LEDGER_VERSIONS, s.run_id, 0, take_version, &s, err);
    if (status != TRIB_OK || s.run_id < 0) return status;
    w->any = true;
    w->now = s;
    return TRIB_OK;
}

/* ---- showing ---- */

static const char *bytes_text(char out[BYTES_TEXT], int64_t bytes) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    (void)snprintf(out, BYTES_TEXT, "%.*f %s", digits, value, units[unit]);
    return out;
}

static int64_t sent(const struct sample *s) {
    return s->device_up + s->device_down + s->cloud_up + s->cloud_down;
}

static double compression(const struct sample *s) {
    return sent(s) > 0 ? (double)s->f32 / (double)sent(s) : 0;
}

static double rate(struct watch *w, uint64_t now_ms) {
    size_t first =
        w->rate_count < RATES ? 0 : w->rate_count % RATES; /* the oldest, about to be overwritten */
    size_t at = w->rate_count % RATES;
    uint64_t from_ms = w->rate_count > 0 ? w->rates[first].at_ms : now_ms;
    int64_t from = w->rate_count > 0 ? w->rates[first].updates : w->now.updates;
    w->rates[at].at_ms = now_ms;
    w->rates[at].updates = w->now.updates;
    w->rate_count++;
    return now_ms > from_ms ? (double)(w->now.updates - from) * 1000.0 / (double)(now_ms - from_ms) : 0;
}

/* 79 columns: what is drawn again must not wrap. */
static void show_header(struct watch *w) {
    if (w->header_shown) return;
    w->header_shown = true;
    (void)printf("%19s%12s%10s%16s%16s%6s\n", "", "updates", "staleness", "device-edge", "edge-cloud", "vs");
    (void)printf("%5s %4s %8s %5s %5s %5s %3s %7s %7s %7s %7s %5s\n", "time", "ver", "accuracy", "all", "/s",
                 "mean", "p95", "up", "down", "up", "down", "f32");
}

/* A line of a version that was evaluated, or of the newest one, whose accuracy is not known yet. */
static void show_line(struct watch *w, double updates_per_s, bool evaluated, bool for_good) {
    const struct sample *s = &w->now;
    char accuracy[16] = "", a[BYTES_TEXT], b[BYTES_TEXT], c[BYTES_TEXT], d[BYTES_TEXT], times[16] = "-";
    if (evaluated) (void)snprintf(accuracy, sizeof accuracy, "%.4f", s->accuracy);
    if (sent(s) > 0 && s->f32 > 0) (void)snprintf(times, sizeof times, "%.1fx", compression(s));
    double seconds = s->ended ? s->seconds : (double)((int64_t)trib_clock_wall_ms() - s->started_ms) / 1000.0;
    (void)printf("%s%5.1f %4" PRId64 " %8s %5" PRId64 " %5.1f %5.1f %3" PRId64 " %7s %7s %7s %7s %5s%s",
                 w->line_open ? "\r\033[K" : "", seconds > 0 ? seconds : 0.0,
                 evaluated ? s->evaluated_version : s->versions, accuracy, s->updates, updates_per_s,
                 s->staleness_mean, s->staleness_p95, bytes_text(a, s->device_up),
                 bytes_text(b, s->device_down), bytes_text(c, s->cloud_up), bytes_text(d, s->cloud_down),
                 times, for_good ? "\n" : "");
    (void)fflush(stdout);
    w->line_open = !for_good;
}

/* A line stays for each evaluated version, and where there was none for a while; on a terminal the newest
 * state is drawn below it, again and again. */
static void show(struct watch *w) {
    uint64_t now_ms = trib_clock_ms();
    double updates_per_s = rate(w, now_ms);
    bool evaluated = w->now.evaluated_version != w->line_version;
    bool for_good = evaluated || (now_ms - w->line_ms >= LINE_MS && !w->terminal);
    if (!for_good && !w->terminal) return;
    show_header(w);
    show_line(w, updates_per_s, evaluated, for_good);
    if (!for_good) return;
    w->line_ms = now_ms;
    w->line_version = w->now.evaluated_version;
}

static void show_summary(const struct watch *w, bool reached) {
    const struct sample *s = &w->now;
    char a[BYTES_TEXT], b[BYTES_TEXT], target[48] = "";
    if (w->request->has_target)
        (void)snprintf(target, sizeof target, "; the target %.4f was %s", w->request->target,
                       reached ? "reached" : "not reached");
    (void)printf("\naccuracy     %.4f, of the best version%s\n", s->best, target);
    (void)printf("time         %.1f s for %" PRId64 " versions%s%s\n", s->seconds, s->versions,
                 s->ended ? "; it stopped by " : "; it has not ended", s->ended ? s->reason : "");
    (void)printf("updates      %" PRId64 " of devices, in %" PRId64
                 " that the cloud took; it refused %" PRId64 "\n",
                 s->updates, s->forwards, s->refused);
    (void)printf("staleness    mean %.1f, p95 %" PRId64 ", at most %" PRId64 " commits of the cloud\n",
                 s->staleness_mean, s->staleness_p95, s->staleness_max);
    (void)printf("device-edge  %s up, %s down\n", bytes_text(a, s->device_up), bytes_text(b, s->device_down));
    (void)printf("edge-cloud   %s up, %s down\n", bytes_text(a, s->cloud_up), bytes_text(b, s->cloud_down));
    (void)printf("all          %s; a whole model in f32 each way for every update: %s, %.1f times as much\n",
                 bytes_text(a, sent(s)), bytes_text(b, s->f32), compression(s));
    (void)printf("next         %s history %s last\n\n", program_invocation_name, w->request->ledger);
    (void)printf("demo: accuracy=%.4f target=%.4f seconds=%.1f versions=%" PRId64 " updates=%" PRId64
                 " staleness_p95=%" PRId64 " device_up_bytes=%" PRId64 " edge_up_bytes=%" PRId64
                 " down_bytes=%" PRId64 " f32_bytes=%" PRId64 "\n",
                 s->best, w->request->target, s->seconds, s->versions, s->updates, s->staleness_p95,
                 s->device_up, s->cloud_up, s->device_down + s->cloud_down, s->f32);
}

/* ---- following ---- */

static void pause_ms(long ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    (void)nanosleep(&t, NULL);
}

/* May it still become readable? A file that is missing is waited for; one that is no ledger, but for a
 * moment. */
static bool may_come(struct watch *w, const struct trib_error *err) {
    uint64_t now_ms = trib_clock_ms();
    if (w->reader != NULL) trib_ledger_close(&w->reader);
    if (err->status == TRIB_NEWER || err->status == TRIB_CORRUPT || err->status == TRIB_NOMEM) return false;
    if (err->status == TRIB_NOT_FOUND) {
        if (!w->waiting_told && now_ms - w->began_ms > 1000) {
            (void)fprintf(stderr, "tributary watch: waiting for %s\n", w->request->ledger);
            w->waiting_told = true;
        }
        return true;
    }
    if (w->unreadable_ms == 0) w->unreadable_ms = now_ms;
    return now_ms - w->unreadable_ms < UNREADABLE_MS;
}

/* Until the run has ended or time is up. */
static enum trib_status follow(struct watch *w, struct trib_error *err) {
    const struct request *request = w->request;
    w->began_ms = trib_clock_ms();
    w->terminal = isatty(STDOUT_FILENO) == 1;
    w->line_version = -1;
    for (bool first = true;; first = false) {
        struct trib_error problem = {.status = TRIB_OK};
        enum trib_status status = read_sample(w, &problem);
        if (status == TRIB_OK) w->unreadable_ms = 0;
        if (status != TRIB_OK && !may_come(w, &problem)) return trib_fail(err, status, "%s", problem.text);
        bool was_over = first && w->any && w->now.ended && request->summary; /* nothing to watch */
        if (w->any && !was_over) show(w);
        if (w->any && w->now.ended) break;
        if (request->timeout_ms > 0 && trib_clock_ms() - w->began_ms >= request->timeout_ms) break;
        pause_ms(POLL_MS);
    }
    if (w->line_open) (void)putchar('\n');
    if (w->any && w->now.ended) return TRIB_OK;
    char text[TRIB_NUMBER_TEXT];
    return trib_fail(err, TRIB_AGAIN, "%s after %s; --timeout sets how long to wait",
                     w->any ? "the run has not ended" : "there is no run in the ledger yet",
                     trib_format_ms(text, request->timeout_ms));
}

static enum trib_status read_request(int argc, char **argv, struct request *out, struct trib_error *err) {
    *out = (struct request){.timeout_ms = 300 * 1000};
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(word, "--summary") == 0) {
            out->summary = true;
        } else if (strcmp(word, "--target") == 0) {
            if (!trib_parse_f64(value, strlen(value), &out->target) || !(out->target >= 0) || out->target > 1)
                return trib_fail(err, TRIB_INVALID, "--target: found \"%.60s\", expected 0 to 1", value);
            out->has_target = true;
            i++;
        } else if (strcmp(word, "--timeout") == 0) {
            if (!trib_parse_ms(value, strlen(value), &out->timeout_ms))
                return trib_fail(err, TRIB_INVALID, "--timeout: found \"%.60s\", expected a time like 300s",
                                 value);
            i++;
        } else if (word[0] == '-' || out->ledger != NULL) {
            return trib_fail(err, TRIB_INVALID, "found \"%.60s\", expected one ledger and options", word);
        } else {
            out->ledger = word;
        }
    }
    return out->ledger != NULL ? TRIB_OK : trib_fail(err, TRIB_INVALID, "a ledger is needed");
}

int cli_watch(int argc, char **argv) {
    struct trib_error err = {.status = TRIB_OK};
    struct request request;
    if (argc > 1 && cli_asks_for_help(argv[1])) return usage(stdout);
    if (read_request(argc, argv, &request, &err) != TRIB_OK) {
        (void)fprintf(stderr, "tributary watch: %s\n", err.text);
        return usage(stderr);
    }
    struct watch watch = {.request = &request};
    enum trib_status status = follow(&watch, &err);
    trib_ledger_close(&watch.reader);
    bool reached = request.has_target ? watch.now.best >= request.target : status == TRIB_OK;
    if (status != TRIB_OK) (void)fprintf(stderr, "tributary watch: %s\n", err.text);
    if (watch.any && request.summary) show_summary(&watch, reached);
    return reached && watch.any ? CLI_DONE : CLI_FAILED;
}
