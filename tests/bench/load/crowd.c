/* bench-crowd: many participants in one process, as shipped (shared/participant over shared/net), whose
 * training costs nothing: the difference is always the same. What is loaded is their parent.
 *
 * SIGUSR1 begins the counts below "since" again, SIGUSR2 ends the making of new updates. */
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/json.h"
#include "shared/base/rng.h"
#include "shared/daemon/args.h"
#include "shared/net/client.h"
#include "shared/net/descriptors.h"
#include "shared/net/health.h"
#include "shared/net/reactor.h"
#include "shared/participant/participant.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct config {
    struct trib_node_config node;
    char *endpoint, *parent_key, *allow;
    uint64_t count, think_ms, spread_ms;
    bool idle;
};

#define ROW(M, NAME, TYPE, FALLBACK, HELP)                                                                   \
    {                                                                                                        \
        .name = NAME, .type = TRIB_OPT_##TYPE, .offset = offsetof(struct config, M), .fallback = FALLBACK,   \
        .help = HELP, .max = 3600e3                                                                          \
    }
static const struct trib_option options[] = {
    ROW(node.name, "name", STRING, "crowd", "What names begin with."),
    ROW(node.log_level, "log.level", STRING, "warn", "As everywhere."),
    ROW(node.log_format, "log.format", STRING, "text", "As everywhere."),
    ROW(node.health, "health", STRING, "", "Where it is asked."),
    ROW(endpoint, "upstream.endpoint", STRING, "", "The parent."),
    ROW(parent_key, "upstream.key", STRING, "", "The parent's public key file; empty: plain."),
    ROW(allow, "allow", STRING, "", "With keys: the list that the new keys are written into."),
    ROW(count, "count", U64, "1", "Participants."),
    ROW(think_ms, "think", MS, "0", "Mean time from a model to an update, evenly distributed."),
    ROW(spread_ms, "spread", MS, "0", "They connect one after the other within this time."),
    ROW(idle, "idle", BOOL, "false", "They pull once and then only stay."),
};
enum { OPTIONS = sizeof options / sizeof *options };

static enum trib_status check(const void *config, struct trib_error *err) {
    const struct config *c = config;
    if (c->endpoint[0] != 0 && c->node.health[0] != 0) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "upstream.endpoint and health are needed");
}

static const struct trib_role_config role = {.role = "crowd",
                                             .program = "bench-crowd",
                                             .summary = "participants that cost nothing",
                                             .options = options,
                                             .option_count = OPTIONS,
                                             .bytes = sizeof(struct config),
                                             .check = check};

enum {
    STEPS = 16, /* of the histogram of latencies, an octave */
    BUCKETS = 32 * STEPS,
    RATE_MS = 100 /* windows in which attempts to connect are counted */
};

struct crowd;

struct agent {
    struct crowd *crowd;
    char name[TRIB_NAME_MAX + 1];
    struct trib_state *state;
    struct trib_outbox outbox;
    struct trib_participant *participant;
    struct trib_client *client;
    struct trib_timer *wake, *think;
    struct trib_keys keys;
    uint64_t judged; /* updates, as last seen */
    uint64_t submitted_us;
    uint64_t old_session;  /* at the mark */
    bool welcomed, served; /* since the mark: another session, an accepted update in it */
};

struct crowd {
    struct config config;
    struct trib_log log;
    struct trib_reactor *reactor;
    struct trib_context *context;
    struct trib_health *health;
    struct trib_keys parent;
    struct trib_rng rng;
    struct agent *agents;
    float *difference;
    size_t difference_count;
    bool draining;
    uint64_t submitted, accepted, refused, timeouts;
    struct { /* since the mark */
        uint64_t hellos, welcomed, served, window, window_hellos, peak_hellos;
        uint64_t count, latencies[BUCKETS];
    } since;
};

static uint64_t now_us(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void settle(struct agent *agent);
static void on_message(void *ctx, const struct trib_incoming *in);

/* ---- work ---- */

static bool make_difference(struct crowd *crowd, size_t count) {
    if (crowd->difference_count == count) return true;
    trib_free(crowd->difference);
    crowd->difference = trib_alloc_floats(count);
    crowd->difference_count = crowd->difference != NULL ? count : 0;
    for (size_t i = 0; i < crowd->difference_count; i++) crowd->difference[i] = 1e-6F * sinf((float)i);
    return crowd->difference != NULL;
}

static void submit(void *ctx) {
    struct agent *agent = ctx;
    struct crowd *crowd = agent->crowd;
    const struct trib_state *state = agent->state;
    if (crowd->draining || !make_difference(crowd, trib_state_parameters(state))) return;
    struct trib_submission submission = {.difference = crowd->difference,
                                         .base_version = state->parent_version,
                                         .parent_incarnation = state->parent_incarnation,
                                         .samples = 100,
                                         .weight = 100,
                                         .steps = 10,
                                         .loss = 0.5F};
    uint64_t before = state->next_number;
    agent->submitted_us = now_us();
    trib_participant_submit(agent->participant, trib_clock_ms(), &submission);
    crowd->submitted += state->next_number - before;
    settle(agent);
}

static void train(struct agent *agent) {
    const struct config *config = &agent->crowd->config;
    if (config->idle) return;
    double wait_ms = 2 * trib_rng_unit(&agent->crowd->rng) * (double)config->think_ms;
    trib_timer_after(agent->think, (uint64_t)wait_ms);
}

static size_t bucket_of(uint64_t us) {
    int exponent;
    double fraction = frexp((double)us + 1, &exponent); /* 0.5 to 1 */
    size_t bucket = (size_t)exponent * STEPS + (size_t)((fraction - 0.5) * 2 * STEPS);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* The middle of the bucket that so much of the updates is at or below. */
static uint64_t percentile(const struct crowd *crowd, double part) {
    uint64_t seen = 0;
    size_t bucket = 0;
    while (bucket < BUCKETS - 1 &&
           (double)(seen += crowd->since.latencies[bucket]) < part * (double)crowd->since.count)
        bucket++;
    double fraction = 0.5 + ((double)(bucket % STEPS) + 0.5) / (2 * STEPS);
    return (uint64_t)ldexp(fraction, (int)(bucket / STEPS));
}

static void count_answers(struct agent *agent) {
    struct crowd *crowd = agent->crowd;
    struct trib_participant_status status = trib_participant_status(agent->participant);
    if (status.ready && !agent->welcomed && status.session != agent->old_session) {
        agent->welcomed = true;
        crowd->since.welcomed++;
    }
    uint64_t judged = status.accepted + status.refused;
    if (judged == agent->judged) return;
    crowd->since.count++;
    crowd->since.latencies[bucket_of(now_us() - agent->submitted_us)]++;
    if (status.accepted > 0 && agent->welcomed && !agent->served) {
        agent->served = true;
        crowd->since.served++;
    }
    agent->judged = judged;
}

/* ---- carrying out ---- */

static bool text_is(const struct trib_text *text, const char *what) {
    return text->size >= strlen(what) && memcmp(text->data, what, strlen(what)) == 0;
}

static enum trib_status open_client(struct agent *agent, struct trib_error *err) {
    struct crowd *crowd = agent->crowd;
    const struct config *c = &crowd->config;
    if (agent->client != NULL) return trib_client_reopen(agent->client, err);
    bool keys = c->parent_key[0] != 0;
    struct trib_client_options client = {.context = crowd->context,
                                         .reactor = crowd->reactor,
                                         .endpoint = c->endpoint,
                                         .keys = keys ? &agent->keys : NULL,
                                         .server_key = keys ? crowd->parent.public_key : NULL,
                                         .events = {.ctx = agent, .message = on_message}};
    return trib_client_new(&agent->client, &client, err);
}

static void reconnect(struct agent *agent) {
    struct crowd *crowd = agent->crowd;
    struct trib_error err;
    uint64_t window = trib_clock_ms() / RATE_MS;
    if (open_client(agent, &err) != TRIB_OK)
        trib_log(&crowd->log, TRIB_LOG_ERROR, "connect_failed", "error=\"%s\"", err.text);
    trib_participant_connected(agent->participant, trib_clock_ms());
    if (window != crowd->since.window) crowd->since.window_hellos = 0;
    crowd->since.window = window;
    crowd->since.hellos++;
    if (++crowd->since.window_hellos > crowd->since.peak_hellos)
        crowd->since.peak_hellos = crowd->since.window_hellos;
}

static void note(struct crowd *crowd, const struct agent *agent, const struct trib_record *record) {
    if (text_is(&record->event, "uplink_closed")) {
        agent->crowd->timeouts +=
            text_is(&record->text, "reason=silence") || text_is(&record->text, "reason=no_welcome");
    } else if (record->level >= TRIB_LOG_WARN) {
        trib_log(&crowd->log, TRIB_LOG_WARN, "participant", "name=%s event=%.*s %.*s", agent->name,
                 (int)record->event.size, record->event.data, (int)record->text.size, record->text.data);
    }
}

static void carry_out(struct agent *agent) {
    struct trib_action action;
    while (trib_outbox_take(&agent->outbox, &action)) {
        switch (action.kind) {
        case TRIB_ACTION_SEND_PARENT:
            if (trib_client_send(agent->client, action.frame, action.frame_bytes, action.payload) != TRIB_OK)
                trib_log(&agent->crowd->log, TRIB_LOG_DEBUG, "send_dropped", "name=%s", agent->name);
            break;
        case TRIB_ACTION_RECONNECT: reconnect(agent); break;
        case TRIB_ACTION_TRAIN: train(agent); break;
        case TRIB_ACTION_LOG: note(agent->crowd, agent, action.record); break;
        default: break; /* no journal, no children */
        }
        trib_action_release(&action);
    }
}

static void settle(struct agent *agent) {
    carry_out(agent);
    uint64_t now = trib_clock_ms(), wake = trib_participant_poll(agent->participant, now);
    carry_out(agent);
    count_answers(agent);
    if (wake == UINT64_MAX)
        trib_timer_cancel(agent->wake);
    else
        trib_timer_at(agent->wake, wake > now ? wake : 0);
}

static void on_wake(void *ctx) {
    settle(ctx);
}

static void on_message(void *ctx, const struct trib_incoming *in) {
    struct agent *agent = ctx;
    struct trib_participant_status before = trib_participant_status(agent->participant);
    trib_participant_message(agent->participant, trib_clock_ms(), in->head, in->head_bytes, in->payload);
    struct trib_participant_status after = trib_participant_status(agent->participant);
    agent->crowd->accepted += after.accepted - before.accepted;
    agent->crowd->refused += after.refused - before.refused;
    settle(agent);
}

/* ---- counts ---- */

static void on_mark(void *ctx) {
    struct crowd *crowd = ctx;
    memset(&crowd->since, 0, sizeof crowd->since);
    for (size_t i = 0; i < crowd->config.count; i++) {
        struct agent *agent = &crowd->agents[i];
        agent->served = agent->welcomed = false;
        agent->old_session = trib_participant_status(agent->participant).session;
    }
}

static void on_drain(void *ctx) {
    ((struct crowd *)ctx)->draining = true;
}

static void put(struct trib_json *json, const char *key, uint64_t value) {
    trib_json_key(json, key);
    trib_json_u64(json, value);
}

static bool answer_health(void *ctx, struct trib_buf *line) {
    struct crowd *crowd = ctx;
    uint64_t ready = 0;
    for (size_t i = 0; i < crowd->config.count; i++)
        ready += trib_participant_status(crowd->agents[i].participant).ready;
    struct trib_json json = {.out = line};
    trib_json_begin(&json, '{');
    trib_json_key(&json, "well");
    trib_json_bool(&json, true);
    put(&json, "devices", crowd->config.count);
    put(&json, "ready", ready);
    put(&json, "submitted", crowd->submitted);
    put(&json, "accepted", crowd->accepted);
    put(&json, "refused", crowd->refused);
    put(&json, "judged", crowd->accepted + crowd->refused);
    put(&json, "timeouts", crowd->timeouts);
    put(&json, "hellos", crowd->since.hellos);
    put(&json, "peak_hellos", crowd->since.peak_hellos);
    put(&json, "welcomed", crowd->since.welcomed);
    put(&json, "served", crowd->since.served);
    put(&json, "p50_us", percentile(crowd, 0.50));
    put(&json, "p99_us", percentile(crowd, 0.99));
    trib_json_end(&json, '}');
    return true;
}

/* ---- making ---- */

static enum trib_status open_agent(struct crowd *crowd, size_t i, struct trib_error *err) {
    struct agent *agent = &crowd->agents[i];
    const struct config *c = &crowd->config;
    struct trib_state_limits limits = {0};
    agent->crowd = crowd;
    trib_outbox_init(&agent->outbox);
    enum trib_status status = trib_state_new(TRIB_ROLE_DEVICE, &limits, &agent->state, err);
    if (status != TRIB_OK) return status;
    struct trib_participant_options participant = {.name = agent->name, .seed = trib_random_u64()};
    status = trib_participant_new(&participant, agent->state, &agent->outbox, &agent->participant, err);
    if (status == TRIB_OK) status = trib_timer_new(crowd->reactor, on_wake, agent, &agent->wake, err);
    if (status == TRIB_OK) status = trib_timer_new(crowd->reactor, submit, agent, &agent->think, err);
    if (status != TRIB_OK) return status;
    /* Its first connection, some time in `spread`. */
    trib_timer_after(agent->wake, (uint64_t)(trib_rng_unit(&crowd->rng) * (double)c->spread_ms));
    return TRIB_OK;
}

static void copy_text(const char *path, FILE *to) {
    char line[200];
    FILE *from = fopen(path, "r");
    while (from != NULL && fgets(line, sizeof line, from) != NULL) (void)fputs(line, to);
    if (from != NULL) (void)fclose(from);
}

/* Adds to the list in one step, before anybody connects: the parent reads it when it has changed. */
static enum trib_status make_keys(struct crowd *crowd, struct trib_error *err) {
    const struct config *c = &crowd->config;
    char path[600];
    if (c->parent_key[0] == 0) return TRIB_OK;
    (void)snprintf(path, sizeof path, "%s.new", c->allow);
    FILE *file = fopen(path, "w");
    if (file == NULL) return trib_fail_errno(err, "cannot write %s", path);
    copy_text(c->allow, file);
    enum trib_status status = trib_keys_load(c->parent_key, false, &crowd->parent, NULL, err);
    for (size_t i = 0; i < c->count && status == TRIB_OK; i++) {
        status = trib_keys_generate(&crowd->agents[i].keys, err);
        (void)fprintf(file, "%s %s\n", crowd->agents[i].keys.public_key, crowd->agents[i].name);
    }
    bool written = fclose(file) == 0 && rename(path, c->allow) == 0;
    return written || status != TRIB_OK ? status : trib_fail_errno(err, "cannot write %s", c->allow);
}

static void on_end(void *ctx) {
    trib_reactor_stop(((struct crowd *)ctx)->reactor);
}

static enum trib_status open_all(struct crowd *crowd, struct trib_error *err) {
    struct config *c = &crowd->config;
    crowd->agents = trib_alloc_array((size_t)c->count, sizeof *crowd->agents);
    if (crowd->agents == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for participants");
    for (size_t i = 0; i < c->count; i++)
        (void)snprintf(crowd->agents[i].name, sizeof crowd->agents[i].name, "%s-%zu", c->node.name, i);
    (void)trib_net_raise_descriptors();
    enum trib_status status = make_keys(crowd, err);
    if (status == TRIB_OK) status = trib_reactor_new(&crowd->reactor, err);
    if (status == TRIB_OK) status = trib_reactor_on_signal(crowd->reactor, SIGTERM, on_end, crowd, err);
    if (status == TRIB_OK) status = trib_reactor_on_signal(crowd->reactor, SIGUSR1, on_mark, crowd, err);
    if (status == TRIB_OK) status = trib_reactor_on_signal(crowd->reactor, SIGUSR2, on_drain, crowd, err);
    if (status == TRIB_OK) status = trib_context_new(&crowd->context, 2 * (size_t)c->count + 64, err);
    if (status == TRIB_OK)
        status = trib_health_new(&crowd->health, crowd->context, crowd->reactor, c->node.health,
                                 answer_health, crowd, err);
    for (size_t i = 0; i < c->count && status == TRIB_OK; i++) status = open_agent(crowd, i, err);
    return status;
}

static void close_all(struct crowd *crowd) {
    for (size_t i = 0; crowd->agents != NULL && i < crowd->config.count; i++) {
        struct agent *agent = &crowd->agents[i];
        trib_client_free(&agent->client, 0);
        trib_participant_free(&agent->participant);
        trib_outbox_release(&agent->outbox);
        trib_state_free(&agent->state);
    }
    trib_health_free(&crowd->health);
    trib_context_free(&crowd->context);
    trib_reactor_free(&crowd->reactor);
    trib_free(crowd->agents);
    trib_free(crowd->difference);
}

int main(int argc, char **argv) {
    struct crowd *crowd = calloc(1, sizeof *crowd);
    enum trib_args_action action;
    struct trib_error err = {0};
    int exit_status;
    if (crowd == NULL || !trib_args_start(&role, argc, argv, &crowd->config, &action, &exit_status)) {
        free(crowd);
        return 2;
    }
    crowd->log = trib_node_log(&crowd->config.node);
    crowd->rng = trib_rng_seed(trib_random_u64(), 0);
    enum trib_status status = open_all(crowd, &err);
    if (status == TRIB_OK) status = trib_reactor_run(crowd->reactor, &err);
    if (status != TRIB_OK) trib_log(&crowd->log, TRIB_LOG_ERROR, "failed", "error=\"%s\"", err.text);
    close_all(crowd);
    trib_options_release(options, OPTIONS, &crowd->config);
    free(crowd);
    return status == TRIB_OK ? 0 : 1;
}
