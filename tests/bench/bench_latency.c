/* How long a control message waits while a model is on its way: a cloud and a participant, each in a network
 * namespace of its own, joined by a line of 10 Mbit/s (a veth pair with tc's token buckets at both ends). An
 * update goes up and the model that it makes comes down, BYTES each (an environment variable), and all the
 * while the participant says PING. Needs root, ip and tc. */
#include "tests/bench/bench.h"
#include "tests/bench/programs.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/net/client.h"
#include "shared/participant/participant.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BYTES = 40 * 1000 * 1000, /* unless the environment says another number */
    PING_MS = 20,
    PINGS_MAX = 1 << 20,
    LINE_BYTES_PER_S = 1250000,
    BAR_MS = 50,
    SLACK_S = 60 /* beside the time that the line needs */
};

/* ---- the line ---- */

struct line {
    char parent[32], child[32]; /* namespaces; "" when they were not made */
};

static enum trib_status run(const char *text, struct trib_error *err) {
    char copy[256];
    const char *arguments[24];
    size_t count = 0;
    (void)snprintf(copy, sizeof copy, "%s", text);
    for (char *word = copy; word != NULL && count + 1 < 24;) {
        char *space = strchr(word, ' ');
        if (space != NULL) *space++ = 0;
        arguments[count++] = word;
        word = space;
    }
    arguments[count] = NULL;
    enum trib_status status = bench_command(arguments, err);
    return status == TRIB_IO ? trib_fail(err, TRIB_IO, "`%s` failed", text) : status;
}

static enum trib_status end_of_line(const char *space, const char *device, const char *address,
                                    struct trib_error *err) {
    static const char *const commands[] = {
        "ip -n %s addr add %s/24 dev %s", "ip -n %s link set %s up",
        /* Bursts of a few packets, and a queue of a fifth of a second as in a small router. */
        "tc -n %s qdisc add dev %s root tbf rate 10mbit burst 8kb limit 256kb"};
    char text[256];
    (void)snprintf(text, sizeof text, commands[0], space, address, device);
    enum trib_status status = run(text, err);
    for (size_t i = 1; i < 3 && status == TRIB_OK; i++) {
        (void)snprintf(text, sizeof text, commands[i], space, device);
        status = run(text, err);
    }
    return status;
}

static void line_remove(struct line *line) {
    char text[128];
    const char *const spaces[] = {line->parent, line->child};
    for (size_t i = 0; i < 2; i++) {
        if (spaces[i][0] == 0) continue;
        (void)snprintf(text, sizeof text, "ip netns del %s", spaces[i]);
        (void)run(text, NULL);
    }
    *line = (struct line){{0}, {0}};
}

static enum trib_status line_make(struct line *line, struct trib_error *err) {
    char text[256];
    *line = (struct line){{0}, {0}};
    enum trib_status status = TRIB_OK;
    char *const spaces[] = {line->parent, line->child};
    for (size_t i = 0; i < 2 && status == TRIB_OK; i++) {
        (void)snprintf(spaces[i], sizeof line->parent, "trib-%ld-%zu", (long)getpid(), i);
        (void)snprintf(text, sizeof text, "ip netns add %s", spaces[i]);
        status = run(text, err);
    }
    (void)snprintf(text, sizeof text, "ip -n %s link add ours type veth peer name theirs netns %s",
                   line->child, line->parent);
    if (status == TRIB_OK) status = run(text, err);
    if (status == TRIB_OK) status = end_of_line(line->parent, "theirs", "10.77.0.1", err);
    if (status == TRIB_OK) status = end_of_line(line->child, "ours", "10.77.0.2", err);
    return status;
}

/* What this thread starts from now on lives there; "" is where the program was started. */
static enum trib_status enter(const char *space, int home, struct trib_error *err) {
    char path[96];
    (void)snprintf(path, sizeof path, "/run/netns/%s", space);
    int fd = space[0] != 0 ? open(path, O_RDONLY | O_CLOEXEC) : home;
    bool entered = fd >= 0 && setns(fd, CLONE_NEWNET) == 0;
    if (fd >= 0 && fd != home) (void)close(fd);
    return entered ? TRIB_OK : trib_fail_errno(err, "cannot enter the network namespace %s", space);
}

/* ---- the participant ---- */

struct ping {
    double sent_s, answered_s; /* 0: not yet */
};

struct meter {           /* of one direction */
    double from_s, to_s; /* bytes were on their way; 0: not begun, not over */
};

struct peer {
    struct trib_reactor *reactor;
    struct trib_context *context;
    struct trib_client *client;
    struct trib_timer *wake, *ping;
    struct trib_state *state;
    struct trib_outbox outbox;
    struct trib_participant *participant;
    size_t bytes; /* of the model */
    bool trained, done;
    struct meter up, down;
    size_t ping_count;
    struct ping *pings;
};

static void train(struct peer *peer) {
    size_t n = trib_state_parameters(peer->state);
    if (peer->trained) { /* the second model is here */
        peer->done = true;
        return;
    }
    peer->trained = true;
    float *difference = trib_alloc_floats(n);
    if (difference == NULL) return;
    for (size_t i = 0; i < n; i++) difference[i] = (float)(i % 251) * 1e-6F;
    struct trib_submission work = {.difference = difference,
                                   .base_version = peer->state->parent_version,
                                   .parent_incarnation = peer->state->parent_incarnation,
                                   .samples = 100,
                                   .weight = 100,
                                   .steps = 10};
    trib_participant_submit(peer->participant, trib_clock_ms(), &work);
    trib_free(difference);
}

static void settle(struct peer *peer) {
    struct trib_action action;
    struct trib_error err;
    uint64_t now = trib_clock_ms(), wake = trib_participant_poll(peer->participant, now);
    bool trains = false;
    while (trib_outbox_take(&peer->outbox, &action)) {
        if (action.kind == TRIB_ACTION_SEND_PARENT) {
            (void)!trib_client_send(peer->client, action.frame, action.frame_bytes, action.payload);
        } else if (action.kind == TRIB_ACTION_RECONNECT) {
            (void)!trib_client_reopen(peer->client, &err);
            trib_participant_connected(peer->participant, now);
        } else if (action.kind == TRIB_ACTION_TRAIN) {
            trains = true;
        }
        trib_action_release(&action);
    }
    if (trains) {
        train(peer);
        wake = 0;
    }
    trib_timer_at(peer->wake, wake);
}

static void on_wake(void *ctx) {
    settle(ctx);
}

static void on_ping(void *ctx) {
    struct peer *peer = ctx;
    struct trib_msg msg = {.type = TRIB_PING};
    struct trib_buf buf;
    uint64_t session = trib_participant_status(peer->participant).session;
    if (session == 0 || peer->ping_count == PINGS_MAX) return;
    trib_buf_init(&buf, 0);
    trib_msg_set(&msg, SESSION, session, session);
    trib_msg_set(&msg, TOKEN, token, ((uint64_t)1 << 62) + peer->ping_count);
    trib_msg_encode(&msg, &buf);
    if (!buf.failed && trib_client_send(peer->client, buf.data, buf.size, NULL) == TRIB_OK)
        peer->pings[peer->ping_count++] = (struct ping){.sent_s = bench_seconds()};
    trib_buf_release(&buf);
}

static void on_message(void *ctx, const struct trib_incoming *in) {
    struct peer *peer = ctx;
    struct trib_msg msg;
    double now = bench_seconds();
    if (trib_msg_decode(in->head, in->head_bytes, &msg, NULL, NULL) == TRIB_OK) {
        uint64_t i = msg.token - ((uint64_t)1 << 62);
        if (msg.type == TRIB_PONG && i < peer->ping_count) peer->pings[i].answered_s = now;
        if (msg.type == TRIB_CREDIT && peer->up.from_s == 0) peer->up.from_s = now;
        if (msg.type == TRIB_CREDIT && msg.offset + msg.window_bytes < peer->bytes) peer->up.to_s = now;
        if (msg.type == TRIB_CHUNK && peer->down.from_s == 0) peer->down.from_s = now;
        if (msg.type == TRIB_CHUNK) peer->down.to_s = now;
    }
    trib_participant_message(peer->participant, trib_clock_ms(), in->head, in->head_bytes, in->payload);
    settle(peer);
}

static enum trib_status open_peer(struct peer *peer, const char *endpoint, struct trib_error *err) {
    struct trib_state_limits limits = {0};
    struct trib_participant_options options = {.name = "pinger", .seed = 1};
    *peer = (struct peer){.pings = trib_alloc_array(PINGS_MAX, sizeof(struct ping))};
    if (peer->pings == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for pings");
    trib_outbox_init(&peer->outbox);
    enum trib_status status = trib_reactor_new(&peer->reactor, err);
    if (status == TRIB_OK) status = trib_context_new(&peer->context, 16, err);
    struct trib_client_options client = {.context = peer->context,
                                         .reactor = peer->reactor,
                                         .endpoint = endpoint,
                                         .allow_insecure = true,
                                         .events = {.ctx = peer, .message = on_message}};
    if (status == TRIB_OK) status = trib_client_new(&peer->client, &client, err);
    if (status == TRIB_OK) status = trib_state_new(TRIB_ROLE_DEVICE, &limits, &peer->state, err);
    if (status == TRIB_OK)
        status = trib_participant_new(&options, peer->state, &peer->outbox, &peer->participant, err);
    if (status == TRIB_OK) status = trib_timer_new(peer->reactor, on_wake, peer, &peer->wake, err);
    if (status == TRIB_OK) status = trib_timer_new(peer->reactor, on_ping, peer, &peer->ping, err);
    return status;
}

static void close_peer(struct peer *peer) {
    trib_participant_free(&peer->participant);
    trib_client_free(&peer->client, 0);
    trib_outbox_release(&peer->outbox);
    trib_state_free(&peer->state);
    trib_timer_free(&peer->wake);
    trib_timer_free(&peer->ping);
    trib_context_free(&peer->context);
    trib_reactor_free(&peer->reactor);
    trib_free(peer->pings);
}

/* Up, and down again. */
static enum trib_status talk(struct peer *peer, size_t bytes, struct trib_error *err) {
    double limit = bench_seconds() + SLACK_S + 3.0 * (double)bytes / LINE_BYTES_PER_S;
    enum trib_status status = TRIB_OK;
    peer->bytes = bytes;
    trib_timer_every(peer->ping, PING_MS);
    settle(peer);
    while (status == TRIB_OK && !peer->done && bench_seconds() < limit)
        status = trib_reactor_turn(peer->reactor, 100, err);
    if (status != TRIB_OK || peer->done) return status;
    return trib_fail(err, TRIB_AGAIN, "the update %s, and the model did not come in time",
                     peer->up.from_s > 0 ? "began to go up" : "never began");
}

/* ---- the figures ---- */

static void report(struct bench *bench, const struct peer *peer, const char *direction,
                   const struct meter *meter) {
    char name[64];
    size_t count = 0;
    double *ms = trib_alloc_array(peer->ping_count + 1, sizeof *ms), worst = 0;
    if (ms == NULL) return;
    for (size_t i = 0; i < peer->ping_count; i++) {
        const struct ping *ping = &peer->pings[i];
        if (ping->sent_s < meter->from_s || ping->sent_s > meter->to_s - 0.1) continue;
        ms[count] = ping->answered_s > 0 ? 1e3 * (ping->answered_s - ping->sent_s) : 1e6; /* never */
        if (ms[count] > worst) worst = ms[count];
        count++;
    }
    if (count > 0) (void)bench_median(ms, count); /* sorts */
    double p99 = count > 0 ? ms[count * 99 / 100] : 1e6, median = count > 0 ? ms[count / 2] : 1e6;
    double used = (double)peer->bytes / (meter->to_s - meter->from_s) / LINE_BYTES_PER_S;
    printf("# %s: %zu bytes in %.1f s, %.3f of the line; %zu pings: median %.1f ms, p99 %.1f, max %.1f\n",
           direction, peer->bytes, meter->to_s - meter->from_s, used, count, median, p99, worst);
    (void)snprintf(name, sizeof name, "control-latency-%s", direction);
    bench_report(bench, &(struct bench_result){name, "ms", "50ms", p99, p99 / BAR_MS, 1.0, true});
    (void)snprintf(name, sizeof name, "control-latency-%s-max", direction);
    bench_report(bench, &(struct bench_result){name, "ms", "50ms", worst, worst / BAR_MS, 1.0, true});
    trib_free(ms);
}

static enum trib_status measure(struct bench *bench, const struct line *line, int home, size_t bytes,
                                struct trib_error *err) {
    struct bench_folder folder = {""};
    struct bench_program cloud = {0};
    struct peer peer = {0};
    char layers[96];
    /* Of 784 inputs: 785 x H, then 1,000 x (H + 1), then 10 x 1,001 parameters. */
    size_t hidden = (bytes / sizeof(float) - 11010) / 1785, parameters = 1785 * hidden + 11010;
    (void)snprintf(layers, sizeof layers, "plan.layers=[dense(%zu), dense(1000), dense(10)]", hidden);
    const char *const options[] = {"listen=[\"tcp://10.77.0.1:*\"]",
                                   "allow_insecure=true",
                                   "plan.model=layers",
                                   layers,
                                   "plan.data.set=glyphs(1000)",
                                   "plan.codec.up=f32",
                                   "plan.codec.down=f32",
                                   "plan.codec.global=f32",
                                   "plan.codec.forward=f32",
                                   "plan.publish.global_interval=0",
                                   "evaluation.interval=24h",
                                   NULL};
    enum trib_status status = bench_folder_make(&folder, err);
    if (status == TRIB_OK) status = enter(line->parent, home, err);
    if (status == TRIB_OK)
        status = bench_program_start(&cloud, &folder, "tributary-cloud", "cloud", options, err);
    if (status == TRIB_OK) status = enter(line->child, home, err);
    if (status == TRIB_OK) status = open_peer(&peer, cloud.endpoint, err);
    if (status == TRIB_OK) status = talk(&peer, parameters * sizeof(float), err);
    if (status == TRIB_OK) report(bench, &peer, "up", &peer.up);
    if (status == TRIB_OK) report(bench, &peer, "down", &peer.down);
    if (peer.pings != NULL) close_peer(&peer);
    (void)!enter("", home, NULL);
    bench_program_stop(&cloud);
    bench_folder_remove(&folder);
    return status;
}

enum trib_status bench_control_latency(struct bench *bench, struct trib_error *err) {
    const char *asked = getenv("BYTES");
    size_t bytes = asked != NULL ? (size_t)strtoull(asked, NULL, 10) : BYTES;
    if (bytes < 1000000) return trib_fail(err, TRIB_INVALID, "BYTES is at least 1000000");
    if (geteuid() != 0) {
        bench_skip(bench, "control-latency", "network namespaces need root");
        return TRIB_OK;
    }
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    struct line line;
    struct trib_error why = {0};
    enum trib_status status = home >= 0 ? line_make(&line, &why) : trib_fail_errno(err, "no namespaces");
    if (home >= 0 && status != TRIB_OK) {
        bench_skip(bench, "control-latency", why.text);
        status = TRIB_OK;
    } else if (status == TRIB_OK) {
        status = measure(bench, &line, home, bytes, err);
    }
    if (home >= 0) {
        line_remove(&line);
        (void)close(home);
    }
    return status;
}
