#include "cli/progress.h"

#include "shared/base/clock.h"
#include "shared/base/json.h"
#include "shared/base/number.h"
#include "shared/model/digest.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TERMINAL_MS = 1000, PLAIN_MS = 10 * 1000, PATH_BYTES = 700, LEFT_BYTES = 160 };

void progress_begin(struct progress *p, const struct trib_scenario *scenario, uint64_t seed) {
    p->scenario = scenario;
    p->seed = seed;
    p->terminal = isatty(2) != 0;
    p->began_ms = p->shown_ms = trib_clock_ms();
}

/* How much of the run is done, by the stop condition that is nearest; 0: nobody knows. */
static double share_done(const struct progress *p, const struct trib_sim_status *s) {
    const struct trib_plan *plan = &p->scenario->plan;
    const double shares[] = {
        plan->stop_versions > 0 ? (double)s->version / (double)plan->stop_versions : 0,
        plan->stop_ms > 0 ? (double)s->virtual_ms / (double)plan->stop_ms : 0,
        p->scenario->stop.updates > 0 ? (double)s->updates.accepted / (double)p->scenario->stop.updates : 0,
        p->scenario->stop.events > 0 ? (double)s->events / (double)p->scenario->stop.events : 0};
    double most = 0;
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        if (shares[i] > most) most = shares[i];
    return most < 1 ? most : 1;
}

static void note_accuracy(struct progress *p, const struct trib_sim_status *s) {
    const struct progress_mark now = {(double)s->events, 1 - s->best_accuracy};
    if (!s->evaluated || s->evaluations == p->evaluations || s->events == 0) return;
    p->evaluations = s->evaluations;
    if (p->marks[1].events > 0 && now.events < 2 * p->marks[1].events) return;
    p->marks[0] = p->marks[1];
    p->marks[1] = now;
}

/* How many events it takes until the accuracy at which the run stops, as a multiple of those so far: with
 * error = a x events^-b through an older mark and now. False: nobody knows. */
static bool until_accuracy(const struct progress *p, const struct trib_sim_status *s, double *multiple) {
    const struct progress_mark *before = &p->marks[0];
    double wanted = 1 - p->scenario->plan.stop_accuracy, error = 1 - s->best_accuracy;
    if (!(wanted > 0 && wanted < 1) || before->events <= 0 || !(error > 0 && error < before->error))
        return false;
    double b = log(before->error / error) / log((double)s->events / before->events);
    *multiple = error > wanted ? pow(error / wanted, 1 / b) - 1 : 0;
    return *multiple < 1000;
}

static void duration(char out[32], double seconds) {
    if (seconds < 120)
        (void)snprintf(out, 32, "%.0fs", seconds);
    else if (seconds < 7200)
        (void)snprintf(out, 32, "%.0fm", seconds / 60);
    else
        (void)snprintf(out, 32, "%.1fh", seconds / 3600);
}

static uint64_t bytes_of(const struct trib_sim_status *s) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->hop_count; i++) bytes += s->hops[i].up_bytes + s->hops[i].down_bytes;
    return bytes;
}

/* "at most 12m left, roughly 3m by its accuracy"; where nobody knows, how long it has taken. */
static void time_left(const struct progress *p, const struct trib_sim_status *s, double spent,
                      char out[LEFT_BYTES]) {
    char most[32], roughly[32], so_far[32];
    double done = share_done(p, s), multiple = 0;
    bool capped = done > 0.001, may_stop = p->scenario->plan.stop_accuracy > 0;
    bool rough = may_stop && until_accuracy(p, s, &multiple);
    if (capped && rough && multiple >= (1 - done) / done) rough = false; /* the other end is nearer */
    duration(most, capped ? spent * (1 - done) / done : 0);
    duration(roughly, spent * multiple);
    duration(so_far, spent);
    if (s->catching_up)
        (void)snprintf(out, LEFT_BYTES, "catching up");
    else if (capped)
        (void)snprintf(out, LEFT_BYTES, "%s%s left%s%s%s", may_stop ? "at most " : "", most,
                       rough ? ", roughly " : "", rough ? roughly : "", rough ? " by its accuracy" : "");
    else if (rough)
        (void)snprintf(out, LEFT_BYTES, "roughly %s left by its accuracy", roughly);
    else
        (void)snprintf(out, LEFT_BYTES, "%s so far", so_far);
}

void progress_show(struct progress *p, const struct trib_sim_status *s) {
    uint64_t now = trib_clock_ms(), since = now - p->shown_ms;
    note_accuracy(p, s);
    if (since < (p->terminal ? TERMINAL_MS : PLAIN_MS)) return;
    char left[LEFT_BYTES], accuracy[32] = "-", wanted[32] = "", failed[40] = "";
    time_left(p, s, (double)(now - p->began_ms) / 1000, left);
    if (s->evaluated) (void)snprintf(accuracy, sizeof accuracy, "%.4f", s->accuracy);
    if (p->scenario->plan.stop_accuracy > 0)
        (void)snprintf(wanted, sizeof wanted, " of %.4f", p->scenario->plan.stop_accuracy);
    if (s->failed > 0) (void)snprintf(failed, sizeof failed, "  failed %" PRIu64, s->failed);
    double rate = (double)(s->events - p->shown_events) * 1000 / (double)(since > 0 ? since : 1);
    (void)fprintf(stderr,
                  "%s%s seed %" PRIu64 ": %.1f s  version %" PRIu64 "  accuracy %s%s  updates %" PRIu64
                  "%s  %.0f events/s  %.1f MB  %s%s",
                  p->terminal ? "\r\033[K" : "", p->scenario->name, p->seed, (double)s->virtual_ms / 1000,
                  s->version, accuracy, wanted, s->updates.accepted, failed, rate, (double)bytes_of(s) / 1e6,
                  left, p->terminal ? "" : "\n");
    (void)fflush(stderr);
    p->line_open = p->terminal;
    p->shown_ms = now;
    p->shown_events = s->events;
}

void progress_end(struct progress *p) {
    if (p->line_open) (void)fputs("\r\033[K", stderr);
    p->line_open = false;
}

/* ---- the summary ---- */

struct digests {
    char model[2 * TRIB_DIGEST_BYTES + 1], all[2 * TRIB_DIGEST_BYTES + 1];
};

static void key_u64(struct trib_json *json, const char *key, uint64_t value) {
    trib_json_key(json, key);
    trib_json_u64(json, value);
}

static void key_f64(struct trib_json *json, const char *key, double value) {
    trib_json_key(json, key);
    trib_json_f64(json, value);
}

static void key_string(struct trib_json *json, const char *key, const char *value) {
    trib_json_key(json, key);
    trib_json_string(json, value);
}

static double staleness_mean(const struct trib_sim_judged *judged) {
    return judged->accepted > 0 ? judged->staleness_sum / (double)judged->accepted : 0;
}

static void put_judged(struct trib_json *json, const char *key, const struct trib_sim_judged *judged) {
    trib_json_key(json, key);
    trib_json_begin(json, '{');
    key_u64(json, "accepted", judged->accepted);
    key_u64(json, "refused", judged->refused);
    key_f64(json, "staleness_mean", staleness_mean(judged));
    key_u64(json, "staleness_max", judged->staleness_max);
    trib_json_end(json, '}');
}

static void put_hops(struct trib_json *json, const struct trib_sim_status *s) {
    trib_json_key(json, "hops");
    trib_json_begin(json, '[');
    for (size_t i = 0; i < s->hop_count; i++) {
        trib_json_begin(json, '{');
        key_u64(json, "up_bytes", s->hops[i].up_bytes);
        key_u64(json, "down_bytes", s->hops[i].down_bytes);
        key_u64(json, "up_messages", s->hops[i].up_messages);
        key_u64(json, "down_messages", s->hops[i].down_messages);
        trib_json_end(json, '}');
    }
    trib_json_end(json, ']');
}

static void put_json(const struct progress *p, const struct trib_sim_status *s, const struct digests *digests,
                     struct trib_buf *out) {
    struct trib_json json = {.out = out};
    double spent = (double)(trib_clock_ms() - p->began_ms) / 1000;
    trib_json_begin(&json, '{');
    key_string(&json, "name", p->scenario->name);
    key_u64(&json, "seed", p->seed);
    key_string(&json, "out", s->out);
    key_string(&json, "reason", s->reason);
    key_f64(&json, "virtual_s", (double)s->virtual_ms / 1000);
    key_u64(&json, "version", s->version);
    key_u64(&json, "trained", s->trained);
    key_u64(&json, "dropped", s->dropped);
    key_u64(&json, "failed", s->failed);
    key_u64(&json, "present", s->present);
    key_u64(&json, "left", s->left);
    put_judged(&json, "updates", &s->updates);
    if (s->hop_count > 1) put_judged(&json, "forwards", &s->forwards);
    if (s->evaluated) {
        key_f64(&json, "accuracy", s->accuracy);
        key_f64(&json, "best_accuracy", s->best_accuracy);
        key_f64(&json, "loss", s->loss);
        key_u64(&json, "evaluated_version", s->evaluated_version);
    }
    put_hops(&json, s);
    key_u64(&json, "events", s->events);
    key_f64(&json, "wall_s", spent);
    key_f64(&json, "events_per_s", spent > 0 ? (double)s->events / spent : 0);
    key_string(&json, "model_digest", digests->model);
    key_string(&json, "digest", digests->all);
    trib_json_end(&json, '}');
    trib_buf_printf(out, "\n");
}

static void put_hop(struct trib_buf *out, const char *name, const struct trib_sim_hop *hop) {
    trib_buf_printf(out, "  %-10s %.3f MB up, %.3f MB down (%" PRIu64 " and %" PRIu64 " messages)\n", name,
                    (double)hop->up_bytes / 1e6, (double)hop->down_bytes / 1e6, hop->up_messages,
                    hop->down_messages);
}

static void put_text(const struct progress *p, const struct trib_sim_status *s, const struct digests *digests,
                     struct trib_buf *out) {
    double spent = (double)(trib_clock_ms() - p->began_ms) / 1000;
    trib_buf_printf(out, "%s, seed %" PRIu64 ": %s after %.3f s of virtual time\n", p->scenario->name,
                    p->seed, s->reason[0] != 0 ? s->reason : "interrupted", (double)s->virtual_ms / 1000);
    trib_buf_printf(out, "  %-10s %" PRIu64, "version", s->version);
    if (s->evaluated)
        trib_buf_printf(out, ", accuracy %.4f (best %.4f), loss %.4f", s->accuracy, s->best_accuracy,
                        s->loss);
    trib_buf_printf(out, "\n  %-10s %" PRIu64 " accepted, %" PRIu64 " refused", "updates",
                    s->updates.accepted, s->updates.refused);
    if (s->dropped > 0) trib_buf_printf(out, ", %" PRIu64 " not delivered", s->dropped);
    if (s->failed > 0) trib_buf_printf(out, ", %" PRIu64 " trainings failed", s->failed);
    trib_buf_printf(out, "; staleness %.2f mean, %" PRIu64 " at most\n", staleness_mean(&s->updates),
                    s->updates.staleness_max);
    if (s->hop_count > 1)
        trib_buf_printf(out, "  %-10s %" PRIu64 " accepted; staleness %.2f mean, %" PRIu64 " at most\n",
                        "forwards", s->forwards.accepted, staleness_mean(&s->forwards),
                        s->forwards.staleness_max);
    put_hop(out, "last hop", &s->hops[s->hop_count - 1]);
    for (size_t i = s->hop_count - 1; i-- > 0;) put_hop(out, i == 0 ? "WAN" : "between", &s->hops[i]);
    trib_buf_printf(out, "  %-10s %" PRIu64 " in %.2f s: %.0f/s\n", "events", s->events, spent,
                    spent > 0 ? (double)s->events / spent : 0);
    trib_buf_printf(out, "  %-10s %s\n", "digest", digests->all);
    if (s->out[0] != 0) trib_buf_printf(out, "  %-10s tributary history %s last\n", "see", s->out);
}

static void path_of(const char *folder, bool json, char path[PATH_BYTES]) {
    (void)snprintf(path, PATH_BYTES, "%.600s/summary.%s", folder, json ? "json" : "txt");
}

static enum trib_status keep(const struct trib_sim_status *s, bool json, const struct trib_buf *content,
                             struct trib_error *err) {
    char path[PATH_BYTES];
    if (s->out[0] == 0) return TRIB_OK;
    path_of(s->out, json, path);
    FILE *file = fopen(path, "w");
    bool good = file != NULL && fwrite(content->data, 1, content->size, file) == content->size;
    if (file != NULL && fclose(file) != 0) good = false;
    return good ? TRIB_OK : trib_fail_errno(err, "cannot write %s", path);
}

enum trib_status summary_write(const struct progress *p, const struct trib_sim *sim, bool as_json, bool whole,
                               struct trib_error *err) {
    struct trib_sim_status s = trib_sim_status(sim);
    struct digests digests;
    uint8_t all[TRIB_DIGEST_BYTES];
    enum trib_status status = trib_sim_digest(sim, all, err);
    if (status != TRIB_OK) return status;
    trib_digest_hex(all, digests.all);
    trib_digest_hex(trib_sim_model_digest(sim), digests.model);
    struct trib_buf json, text;
    trib_buf_init(&json, 0);
    trib_buf_init(&text, 0);
    put_json(p, &s, &digests, &json);
    put_text(p, &s, &digests, &text);
    status = json.failed || text.failed ? trib_fail(err, TRIB_NOMEM, "out of memory for a summary")
                                        : keep(&s, true, &json, err);
    if (status == TRIB_OK) status = keep(&s, false, &text, err);
    if (status == TRIB_OK && whole) status = trib_sim_seal(sim, err);
    (void)fputs(trib_buf_text(as_json ? &json : &text), stdout);
    if (fflush(stdout) != 0 && status == TRIB_OK) status = trib_fail_errno(err, "cannot write the summary");
    trib_buf_release(&json);
    trib_buf_release(&text);
    return status;
}

enum trib_status summary_show(const char *folder, bool json, struct trib_error *err) {
    char path[PATH_BYTES], bytes[4096];
    path_of(folder, json, path);
    FILE *file = fopen(path, "r");
    if (file == NULL) return trib_fail_errno(err, "cannot read %s", path);
    bool good = true;
    for (size_t got; good && (got = fread(bytes, 1, sizeof bytes, file)) > 0;)
        good = fwrite(bytes, 1, got, stdout) == got;
    good = good && !ferror(file) && fflush(stdout) == 0;
    enum trib_status status = good ? TRIB_OK : trib_fail_errno(err, "cannot show %s", path);
    (void)fclose(file);
    return status;
}
