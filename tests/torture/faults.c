/* What goes wrong, and when: drawn one after the other while the federation runs. */
#include "tests/torture/observer.h"

#include <inttypes.h>
#include <stdlib.h>

enum alarm { ALARM_FAULT, ALARM_RETURN, ALARM_MEND, ALARM_ROOM, ALARM_STRANGER };

enum {
    REBUILD_MS = 1000, /* as the daemons wait */
    DAY_MS = 24 * 3600 * 1000,
    BACK_MS = 900 * 1000 /* clocks go back by less than the time at which federations begin */
};

static void alarm_at(struct torture *t, uint64_t in_ms, enum alarm alarm, size_t node) {
    federation_at(t->fed, federation_now(t->fed) + in_ms, (uint64_t)node << 8 | alarm);
}

/* Short is usual, long happens. */
static uint64_t some_ms(struct torture *t, uint64_t longest) {
    uint64_t most = longest >> (2 * pick(&t->rng, 5));
    return 1 + trib_rng_below(&t->rng, most + 1);
}

static bool keeps(const struct torture *t, size_t node) {
    return node <= t->drawn.edges || t->drawn.spool[node];
}

static size_t any_aggregator(struct torture *t) {
    return pick(&t->rng, t->drawn.edges + 1);
}

static size_t any_device(struct torture *t) {
    return 1 + t->drawn.edges + pick(&t->rng, t->drawn.devices);
}

static size_t any_node(struct torture *t) {
    return chance(&t->rng, 0.65) ? any_aggregator(t) : any_device(t);
}

/* ---- down and up ---- */

/* `writing`: what was on its way to the disk may get there, all of it or in part. */
static void take_down(struct torture *t, size_t node, bool writing, const char *why) {
    if (!federation_up(t->fed, node)) return;
    bool power = chance(&t->rng, 0.5);
    bool written = chance(&t->rng, 0.6);
    writing = writing && federation_writing(t->fed, node);
    if (writing && written && chance(&t->rng, 0.6))
        disk_fail_at(t->disks, node, 1 + trib_rng_below(&t->rng, 24));
    tell(t, "%s dies: %s%s%s", federation_name(t->fed, node), why, power ? ", power" : "",
         writing ? written ? ", while writing" : ", before writing" : "");
    observer_stopping(t, node);
    federation_stop(t->fed, node, writing && written);
    disk_died(t->disks, node, power);
    t->crashes++;
}

static void come_back_in(struct torture *t, size_t node, uint64_t in_ms) {
    t->returns_ms[node] = federation_now(t->fed) + in_ms;
    alarm_at(t, in_ms, ALARM_RETURN, node);
}

static void bring_up(struct torture *t, size_t node) {
    struct trib_error err = {0};
    if (federation_up(t->fed, node) || t->violated) return;
    if (!keeps(t, node)) observer_forgotten(t, node);
    if (!federation_start(t->fed, node, &err)) {
        tell(t, "%s cannot start: %s", federation_name(t->fed, node), err.text);
        if (t->calm) violate(t, "%s cannot start: %s", federation_name(t->fed, node), err.text);
        come_back_in(t, node, REBUILD_MS);
        return;
    }
    tell(t, "%s is back at position %" PRIu64, federation_name(t->fed, node),
         federation_state(t->fed, node)->position);
    if (node == FED_CLOUD && !federation_state(t->fed, node)->started) federation_begin_run(t->fed);
    federation_settle(t->fed, node);
}

static void jump_clock(struct torture *t, size_t node) {
    if (!chance(&t->rng, 0.15)) return;
    int64_t ms = chance(&t->rng, 0.5) ? (int64_t)trib_rng_below(&t->rng, 2 * DAY_MS)
                                      : -(int64_t)trib_rng_below(&t->rng, BACK_MS);
    federation_skew(t->fed, node, ms);
}

static void crash(struct torture *t, size_t node, const char *why) {
    if (!federation_up(t->fed, node)) return;
    take_down(t, node, true, why);
    jump_clock(t, node);
    come_back_in(t, node, some_ms(t, 20000));
}

void faults_failed(struct torture *t, size_t node) {
    take_down(t, node, false, "a write failed");
    come_back_in(t, node, REBUILD_MS);
}

/* ---- faults ---- */

static void cut(struct torture *t) {
    size_t node = 1 + pick(&t->rng, t->drawn.nodes - 1);
    tell(t, "%s is cut off from its parent", federation_name(t->fed, node));
    federation_cut(t->fed, node, true);
    alarm_at(t, some_ms(t, 60000), ALARM_MEND, node);
}

static void change_weather(struct torture *t) {
    size_t node = 1 + pick(&t->rng, t->drawn.nodes - 1);
    struct federation_link *link = federation_link(t->fed, node);
    link->lose = chance(&t->rng, 0.5) ? trib_rng_unit(&t->rng) * 0.4 : 0;
    link->repeat = chance(&t->rng, 0.5) ? trib_rng_unit(&t->rng) * 0.3 : 0;
    link->late = chance(&t->rng, 0.5) ? trib_rng_unit(&t->rng) * 0.3 : 0;
    link->late_ms = some_ms(t, 20000);
    link->latency_ms = some_ms(t, chance(&t->rng, 0.2) ? 8000 : 200);
    link->jitter_ms = some_ms(t, 400);
}

static void wipe_device(struct torture *t) {
    size_t node = any_device(t);
    take_down(t, node, true, "wiped");
    if (federation_up(t->fed, node)) return;
    disk_wipe(t->disks, node);
    federation_forget(t->fed, node);
    observer_forgotten(t, node);
    come_back_in(t, node, some_ms(t, 4000));
}

static void roam(struct torture *t) {
    size_t node = any_device(t), to = chance(&t->rng, 0.1) ? FED_CLOUD : 1 + pick(&t->rng, t->drawn.edges);
    take_down(t, node, true, "roams");
    federation_move(t->fed, node, to);
    tell(t, "%s goes to %s", federation_name(t->fed, node), federation_name(t->fed, to));
    come_back_in(t, node, some_ms(t, 4000));
}

static void lose_disk(struct torture *t) {
    size_t node = any_aggregator(t);
    if (node == FED_CLOUD && chance(&t->rng, 0.7)) return; /* ends the run */
    take_down(t, node, true, "its disk is lost");
    disk_wipe(t->disks, node);
    federation_forget(t->fed, node);
    observer_wiped(t, node);
    come_back_in(t, node, some_ms(t, 10000));
}

static void back_up(struct torture *t) {
    size_t node = chance(&t->rng, 0.8) ? any_aggregator(t) : any_device(t);
    if (!federation_up(t->fed, node) || !keeps(t, node)) return;
    if (disk_has_backup(t->disks, node) && chance(&t->rng, 0.8)) return; /* old ones do more harm */
    tell(t, "%s is backed up", federation_name(t->fed, node));
    disk_backup(t->disks, node);
    observer_backup(t, node);
}

static void restore(struct torture *t) {
    size_t node = any_node(t);
    for (size_t i = 0; i < t->drawn.nodes && !disk_has_backup(t->disks, node); i++)
        node = (node + 1) % t->drawn.nodes;
    if (!disk_has_backup(t->disks, node)) return;
    take_down(t, node, true, "a backup is restored");
    disk_restore(t->disks, node);
    federation_forget(t->fed, node);
    observer_restored(t, node);
    come_back_in(t, node, some_ms(t, 10000));
}

static void fill_disk(struct torture *t) {
    size_t node = any_aggregator(t);
    tell(t, "the disk of %s is full", federation_name(t->fed, node));
    disk_fill(t->disks, node, true);
    alarm_at(t, some_ms(t, 20000), ALARM_ROOM, node);
}

static void roll_back(struct torture *t) {
    uint64_t version;
    struct trib_blob *model = observer_earlier_model(t, pick(&t->rng, 6), &version);
    if (model == NULL || !federation_up(t->fed, FED_CLOUD)) return;
    struct trib_aggregator *cloud = federation_aggregator(t->fed, FED_CLOUD);
    if (trib_aggregator_rollback(cloud, federation_node_now(t->fed, FED_CLOUD), version, model))
        tell(t, "the cloud goes back to version %" PRIu64, version);
    federation_settle(t->fed, FED_CLOUD);
}

static void carry_out(struct torture *t, enum fault fault) {
    switch (fault) {
    case FAULT_CRASH: crash(t, any_node(t), "killed"); break;
    case FAULT_CUT: cut(t); break;
    case FAULT_WEATHER: change_weather(t); break;
    case FAULT_WIPE: wipe_device(t); break;
    case FAULT_ROAM: roam(t); break;
    case FAULT_LOST_DISK: lose_disk(t); break;
    case FAULT_BACKUP: back_up(t); break;
    case FAULT_RESTORE: restore(t); break;
    case FAULT_IO: disk_fail_at(t->disks, any_aggregator(t), 1 + trib_rng_below(&t->rng, 200)); break;
    case FAULT_FULL: fill_disk(t); break;
    case FAULT_STRANGER: stranger_acts(t); break;
    case FAULT_ROLLBACK: roll_back(t); break;
    case FAULT_KINDS: break;
    }
}

static enum fault draw_fault(struct torture *t) {
    unsigned total = 0;
    for (size_t i = 0; i < FAULT_KINDS; i++) total += t->drawn.weight[i];
    size_t at = pick(&t->rng, total);
    enum fault fault = FAULT_CRASH;
    while (at >= t->drawn.weight[fault]) at -= t->drawn.weight[fault++];
    return fault;
}

static void next_fault(struct torture *t) {
    uint64_t in_ms = 1 + (uint64_t)(trib_rng_exponential(&t->rng) * (double)t->drawn.calamity_ms);
    alarm_at(t, in_ms, ALARM_FAULT, 0);
}

void faults_begin(struct torture *t) {
    for (size_t i = 1; i < t->drawn.nodes; i++) {
        struct federation_link *link = federation_link(t->fed, i);
        link->late = t->drawn.late;
        link->late_ms = 5000;
    }
    next_fault(t);
}

void faults_alarm(struct torture *t, uint64_t what) {
    enum alarm alarm = (enum alarm)(what & 0xFF);
    size_t node = (size_t)(what >> 8);
    if (t->violated) return;
    switch (alarm) {
    case ALARM_FAULT:
        if (t->calm) return;
        carry_out(t, draw_fault(t));
        while (chance(&t->rng, 0.25)) carry_out(t, draw_fault(t)); /* at once */
        next_fault(t);
        break;
    case ALARM_RETURN:
        if (federation_now(t->fed) >= t->returns_ms[node]) bring_up(t, node);
        break;
    case ALARM_MEND: federation_cut(t->fed, node, false); break;
    case ALARM_ROOM: disk_fill(t->disks, node, false); break;
    case ALARM_STRANGER: stranger_acts(t); break;
    }
}

void faults_end(struct torture *t) {
    t->calm = true;
    tell(t, "faults end");
    for (size_t i = 0; i < t->drawn.nodes; i++) {
        *federation_link(t->fed, i) =
            (struct federation_link){.latency_ms = t->drawn.latency_ms, .jitter_ms = t->drawn.jitter_ms};
        disk_mend(t->disks, i);
    }
    for (size_t i = 0; i < t->drawn.nodes; i++) bring_up(t, i);
}
