/* What a federation is made of: everything from its number. */
#include "tests/torture/torture.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void say(struct drawn *d, const char *fmt, ...) TRIB_PRINTF(2, 3);

static void say(struct drawn *d, const char *fmt, ...) {
    size_t at = strlen(d->plan);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(d->plan + at, sizeof d->plan - at, fmt, args);
    va_end(args);
}

static void draw_tree(struct trib_rng *rng, struct drawn *d) {
    d->edges = chance(rng, 0.1) ? 0 : 1 + pick(rng, 3);
    d->devices = 1 + pick(rng, chance(rng, 0.3) ? 8 : 4);
    d->nodes = 1 + d->edges + d->devices;
    /* One below another: an edge is the child of one before it. */
    for (size_t i = 2; i <= d->edges; i++)
        if (chance(rng, 0.25)) d->parents[i] = 1 + pick(rng, i - 1);
    for (size_t i = 1 + d->edges; i < d->nodes; i++) {
        d->parents[i] = d->edges > 0 ? 1 + pick(rng, d->edges) : FED_CLOUD;
        if (chance(rng, 0.05)) d->parents[i] = FED_CLOUD;
        d->spool[i] = chance(rng, 0.6);
    }
}

static bool all_have_devices(const struct drawn *d) {
    bool fed[NODES_MAX] = {false};
    for (size_t i = d->nodes; i-- > 1;) {
        if (i > d->edges) fed[i] = true;
        if (fed[i]) fed[d->parents[i]] = true;
        if (!fed[i]) return false;
    }
    return true;
}

/* A rule of a tier. Those that only add and halve leave no rounding behind. */
static void draw_rule(struct trib_rng *rng, struct drawn *d, const char *tier) {
    static const char *const stale[] = {"constant", "polynomial(0.5)", "hinge(2, 1)"};
    size_t kind = pick(rng, 22);
    if (kind < 6) {
        say(d, "%s.rule: fedasync(form=delta, alpha=%s, staleness=constant, relative=no, share=no)\n", tier,
            chance(rng, 0.5) ? "1" : "0.5");
    } else if (kind < 11) {
        say(d, "%s.rule: fedbuff(k=%u, by=count, staleness=constant, relative=no)\n", tier,
            chance(rng, 0.3) ? 1 : 2);
    } else if (kind < 16) {
        d->exact = false;
        if (chance(rng, 0.5))
            say(d, "%s.rule: fedbuff(k=%u, staleness=%s, deadline=%s)\n", tier, 1 + (unsigned)pick(rng, 4),
                stale[pick(rng, 3)], chance(rng, 0.5) ? "auto" : "4s");
        else
            say(d, "%s.rule: fedasync(staleness=%s)\n", tier, stale[pick(rng, 3)]);
    } else if (kind < 18) {
        d->exact = d->linear = d->settled = false;
        say(d, "%s.rule: fedasync(form=mix, alpha=0.5)\n", tier);
    } else if (kind < 20) {
        d->exact = d->linear = d->settled = false;
        say(d, "%s.rule: trimmed_mean(f=0) | fedbuff(k=%u, deadline=4s)\n", tier, 1 + (unsigned)pick(rng, 3));
    } else {
        d->exact = d->settled = false;
        /* Without a deadline a round waits for an edge that has no devices. */
        say(d, "%s.rule: fedavg(deadline=%s)\n", tier, all_have_devices(d) && chance(rng, 0.5) ? "0" : "6s");
    }
}

static void draw_codecs(struct trib_rng *rng, struct drawn *d) {
    static const char *const codecs[] = {"f32",
                                         "f16",
                                         "int8",
                                         "topk(0.4)+int8",
                                         "topk(0.5)+f32",
                                         "int4+zstd",
                                         "rotate+2bit",
                                         "threshold(1)+int4(round=stochastic)+rice",
                                         "randomk(0.5)+f32+zstd",
                                         "auto(min=int8, max=f32, loss=0.00001)"};
    static const char *const legs[] = {"up", "down", "forward", "global"};
    d->f32 = chance(rng, 0.7);
    for (size_t i = 0; i < 4; i++) {
        bool model = i == 1 || i == 3;
        /* What models travel in changes nothing in what is summed. */
        const char *codec = d->f32 && (!model || chance(rng, 0.6))
                                ? "f32"
                                : codecs[pick(rng, sizeof codecs / sizeof codecs[0])];
        say(d, "codec.%s: %s\n", legs[i], codec);
    }
    if (!d->f32) d->exact = false;
}

/* Few train at a time. With fairness each has its turn, as it must have in the end. */
static void draw_selection(struct trib_rng *rng, struct drawn *d) {
    static const char *const policies[] = {"random", "by_size", "fedcs",          "stratified",
                                           "oort",   "by_norm", "power_of_choice"};
    say(d, "select.policy: %s\nselect.count: %u\nselect.fairness: 1\nselect.patience: 20s\n",
        policies[pick(rng, sizeof policies / sizeof policies[0])], 1 + (unsigned)pick(rng, 3));
    if (chance(rng, 0.5)) say(d, "select.over: 1.5\n");
}

static void draw_plan(struct trib_rng *rng, struct drawn *d) {
    static const char *const intervals[] = {"0", "100ms", "500ms", "4s"};
    d->exact = d->linear = d->settled = true;
    draw_rule(rng, d, "edge");
    draw_rule(rng, d, "cloud");
    draw_codecs(rng, d);
    say(d, "publish.interval: %s\npublish.global_interval: %s\n", intervals[pick(rng, 4)],
        intervals[pick(rng, 4)]);
    if (chance(rng, 0.4)) say(d, "forward.updates: %u\n", 1 + (unsigned)pick(rng, 5));
    if (chance(rng, 0.3)) say(d, "forward.interval: %us\n", 1 + (unsigned)pick(rng, 8));
    /* Below an edge whose buffer waits for others, who holds waits for ever: it is meant for rounds. */
    bool hold = chance(rng, 0.1);
    if (hold && strstr(d->plan, "edge.rule: fedbuff") == NULL) say(d, "forward.hold: true\n");
    if (chance(rng, 0.15)) {
        d->settled = false;
        say(d, "staleness_cap: %u\n", 1 + (unsigned)pick(rng, 6));
    }
    say(d, "heartbeat: %us\n", chance(rng, 0.3) ? 2 : 15);
    if (chance(rng, 0.2)) draw_selection(rng, d);
}

/* Most are tiny; some are so large that a payload needs credit, or travels in pieces. */
static void draw_size(struct trib_rng *rng, struct drawn *d) {
    d->parameters = 4 + pick(rng, 9);
    if (chance(rng, 0.04)) d->parameters = 4200 + pick(rng, 6000);
    (void)snprintf(d->schema, sizeof d->schema, "a.weight %zu 0x0p+0\n", d->parameters);
    size_t bytes = d->parameters * sizeof(float);
    if (d->parameters <= 64) return;
    if (chance(rng, 0.7)) d->budget_bytes = bytes + pick(rng, 4 * bytes);
    if (chance(rng, 0.7)) d->frame_bytes = bytes / 4 + pick(rng, bytes);
}

static void draw_weather(struct trib_rng *rng, struct drawn *d) {
    d->latency_ms = 1 + pick(rng, 40);
    d->jitter_ms = pick(rng, 60);
    d->commit_ms = pick(rng, 3) == 0 ? 0 : 1 + pick(rng, chance(rng, 0.2) ? 400 : 30);
    d->train_ms = 300 + pick(rng, 3000);
    d->lose = chance(rng, 0.6) ? trib_rng_unit(rng) * 0.15 : 0;
    d->repeat = chance(rng, 0.6) ? trib_rng_unit(rng) * 0.15 : 0;
    d->late = chance(rng, 0.3) ? trib_rng_unit(rng) * 0.1 : 0;
    d->faulty_ms = 20000 + pick(rng, 80000);
    d->calamity_ms = 1000 + pick(rng, 6000);
}

/* Most federations see what is rare in life: disks that are lost, backups that come back. */
static void draw_faults(struct trib_rng *rng, struct drawn *d) {
    d->weight[FAULT_CRASH] = 10;
    d->weight[FAULT_CUT] = 3;
    d->weight[FAULT_WEATHER] = 2;
    d->weight[FAULT_WIPE] = chance(rng, 0.5) ? 2 : 0;
    bool rounds = strstr(d->plan, "fedavg(deadline=0)") != NULL;
    d->weight[FAULT_ROAM] = d->edges > 1 && !rounds && chance(rng, 0.5) ? 3 : 0;
    d->weight[FAULT_IO] = chance(rng, 0.5) ? 4 : 0;
    d->weight[FAULT_FULL] = chance(rng, 0.2) ? 2 : 0;
    d->weight[FAULT_STRANGER] = chance(rng, 0.35) ? 8 : 0;
    d->weight[FAULT_ROLLBACK] = chance(rng, 0.4) ? 4 : 0;
    if (chance(rng, 0.4)) return;
    d->weight[FAULT_LOST_DISK] = chance(rng, 0.5) ? 4 : 0;
    d->weight[FAULT_BACKUP] = 5;
    d->weight[FAULT_RESTORE] = 8;
}

void draw_federation(uint64_t number, struct drawn *out) {
    struct trib_rng rng = trib_rng_seed(number, 1);
    *out = (struct drawn){0};
    draw_tree(&rng, out);
    draw_plan(&rng, out);
    draw_size(&rng, out);
    draw_weather(&rng, out);
    draw_faults(&rng, out);
}
