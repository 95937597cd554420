#include "shared/sim/scenario.h"

#include "shared/base/alloc.h"
#include "shared/base/number.h"
#include "shared/model/plan_table.h"
#include "shared/sim/arms.h"
#include "shared/sim/attack.h"
#include "shared/sim/delay.h"
#include "shared/wire/message.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { DEVICES_MAX = 1000000, CHILDREN_MAX = 65535 /* sessions of an aggregator */, NAME_MAX_BYTES = 80 };

static const char *const spreads[] = {"turn", "blocks", NULL};
static const char *const attackers[] = {"drawn", "first", NULL};
static const char *const attackers_data[] = {"own", "copies", "any", NULL};
static const char *const ledgers[] = {"full", "none", NULL};

static enum trib_status check_number(const char *value, struct trib_error *err) {
    uint64_t number;
    if (trib_parse_u64(value, strlen(value), &number)) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "found \"%.60s\", expected a whole number", value);
}

static enum trib_status check_edges(const char *value, struct trib_error *err) {
    uint64_t number;
    if (trib_parse_u64(value, strlen(value), &number) && number >= 1 && number <= CHILDREN_MAX)
        return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "found \"%.60s\", expected a number of edges from 1 to %d", value,
                     CHILDREN_MAX);
}

static enum trib_status check_name(const char *value, struct trib_error *err) {
    size_t bytes = strlen(value);
    if (bytes <= NAME_MAX_BYTES && strchr(value, '/') == NULL && value[0] != '.') return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "found \"%.100s\", expected at most %d characters without a slash, the first one no dot",
                     value, NAME_MAX_BYTES);
}

static enum trib_status check_told(const char *value, struct trib_error *err) {
    return value[0] == 0 ? TRIB_OK : trib_delay_check(value, err);
}

#define ROW(M, NAME, TYPE, FALLBACK, ...)                                                                    \
    {                                                                                                        \
        .name = NAME, .type = TRIB_OPT_##TYPE, .offset = offsetof(struct trib_scenario, M),                  \
        .fallback = FALLBACK, __VA_ARGS__                                                                    \
    }
#define LINK_ROWS(M, NAME, BETWEEN)                                                                          \
    ROW(M.up, "links." NAME ".up", BYTES, "0", .help = "Bytes a second up, " BETWEEN "; 0: no limit."),      \
        ROW(M.down, "links." NAME ".down", BYTES, "0", .help = "The same, down."),                           \
        ROW(M.latency_ms, "links." NAME ".latency", MS, "5ms", .max = 3600e3,                                \
            .help = "How long a message is on its way there, each way, beside the time that its bytes "      \
                    "take."),                                                                                \
        ROW(M.jitter_ms, "links." NAME ".jitter", MS, "0", .max = 3600e3,                                    \
            .help = "Up to so much is added to it, drawn for each message; messages keep their order.")

const struct trib_option trib_scenario_options[] = {
    ROW(name, "name", STRING, "", .check = check_name,
        .help = "What the run is called; empty: as the scenario's file."),
    ROW(seeds, "seeds", LIST, "", .check = check_number,
        .help = "One run with each of these instead of plan.seed."),
    ROW(out, "out", STRING, "", .help = "Folder of the result; empty: run/sim/NAME-seedN."),
    ROW(data_path, "data.path", STRING, "",
        .help = "Folder with the data set; empty: TRIBUTARY_DATA, then what `make data` fetched, then the "
                "sample that comes with the project."),
    ROW(threads, "threads", U64, "0", .max = 1024,
        .help = "Threads that train and evaluate; 0: one a processor. The result does not depend on it."),
    ROW(fleet.devices, "fleet.devices", U64, "20", .min = 1, .max = DEVICES_MAX, .help = "Devices."),
    ROW(fleet.edges, "fleet.edges", U64, "2", .max = CHILDREN_MAX,
        .help = "Edges below the cloud; 0: none, the devices are the cloud's own."),
    ROW(fleet.levels, "fleet.levels", LIST, "", .check = check_edges,
        .help =
            "More than one level of edges: how many at each, the first one below the cloud, devices below "
            "the last; replaces fleet.edges."),
    ROW(fleet.spread, "fleet.spread", CHOICE, "turn", .choices = spreads,
        .help = "How children are given to parents: turn: one to each in turn; blocks: the first ones to the "
                "first."),
    ROW(fleet.join, "fleet.join", STRING, "uniform(1, 2)", .check = trib_delay_check,
        .help = "When a device first connects, in seconds."),
    ROW(fleet.speed, "fleet.speed", STRING, "constant(1)", .check = trib_delay_check,
        .help = "How many times slower than the fastest a device is; drawn once for each."),
    ROW(fleet.delay, "fleet.delay", STRING, "constant(1)", .check = trib_delay_check,
        .help = "Seconds that an update takes to train, times the device's speed; drawn for each update."),
    ROW(fleet.sample_delay, "fleet.sample_delay", STRING, "constant(0)", .check = trib_delay_check,
        .help = "Seconds for each sample of an update, times the speed, added to fleet.delay; drawn for each "
                "update."),
    ROW(fleet.slow_share, "fleet.slow.share", F64, "0", .max = 1,
        .help =
            "Share of the devices, those with the highest numbers, that are slower than fleet.speed says..."),
    ROW(fleet.slow_times, "fleet.slow.times", F64, "10", .min = 1, .max = 1e6,
        .help = "... by so many times."),
    ROW(fleet.classes, "fleet.classes", LIST, "", .check = trib_class_check,
        .help = "What kinds of devices there are, for plan.select.policy stratified: each device draws one "
                "of these "
                "names and tells it; one that is listed twice is drawn twice as often. Empty: not told."),
    ROW(fleet.battery, "fleet.battery", STRING, "", .check = check_told,
        .help = "Percent of battery that a device tells (plan.select.min_battery), 100 at most; drawn once "
                "for each. "
                "Empty: not told."),
    ROW(fleet.link, "fleet.link", STRING, "", .check = check_told,
        .help = "Bytes a second of a device's line, each way, where links.device does not make it slower; it "
                "tells "
                "them (plan.select.min_link). Drawn once for each. Empty: not told."),
    ROW(fleet.partial, "fleet.partial", F64, "0", .max = 1,
        .help = "Chance that a device does only part of an update's work: a number of epochs drawn from 1 to "
                "below "
                "plan.train.epochs."),
    ROW(fleet.active, "fleet.active", U64, "0", .max = DEVICES_MAX,
        .help = "So many devices take part at a time, drawn at random; 0: all."),
    ROW(fleet.turn, "fleet.turn", U64, "1", .min = 1, .max = 1e9,
        .help =
            "With fleet.active: after so many of its updates were judged a device leaves, and another one "
            "comes."),
    ROW(fleet.stay, "fleet.stay", STRING, "constant(0)", .check = trib_delay_check,
        .help = "Churn: how long a device stays before it leaves, in seconds; constant(0): for good."),
    ROW(fleet.away, "fleet.away", STRING, "constant(60)", .check = trib_delay_check,
        .help = "How long it is away then."),
    ROW(fleet.goodbye, "fleet.goodbye", BOOL, "false",
        .help = "It says BYE when it leaves; false: it is gone without a word."),
    ROW(fleet.period_ms, "fleet.window.period", MS, "0", .max = 1e12,
        .help =
            "A device is there in a part of each period, which begins at another time at each; 0: always."),
    ROW(fleet.share, "fleet.window.share", F64, "0.5", .max = 1, .help = "How large that part is."),
    ROW(fleet.forget, "fleet.forget", BOOL, "false",
        .help = "A device that leaves keeps nothing: it comes back as somebody new."),
    ROW(fleet.tell_labels, "fleet.tell_labels", BOOL, "false",
        .help =
            "Devices agree to tell how many samples of each class they have, where plan.train.tell_labels "
            "asks for it."),
    ROW(fleet.drop, "fleet.drop", F64, "0", .max = 1,
        .help = "Chance that a device does not deliver an update that it has trained."),
    ROW(fleet.in_flight, "fleet.in_flight", BYTES, "64MiB", .min = 65536, .max = 1099511627776.0,
        .help = "Payload bytes that all children of a node together may have on their way to it."),
    LINK_ROWS(device_link, "device", "between a device and its parent"),
    LINK_ROWS(inner_link, "inner", "between an edge and an edge above it"),
    LINK_ROWS(edge_link, "edge", "between an edge and the cloud"),
    ROW(attack.kind, "attack.kind", STRING, "none", .check = trib_attack_check,
        .help = "What attackers do: none, sign_flip(SCALE), bit_flip(BIT), label_flip(SCALE), gaussian(STD), "
                "alie, ipm(EPS), mimic, min_max."),
    ROW(attack.share, "attack.share", F64, "0", .max = 1, .help = "Share of the devices that attack."),
    ROW(attack.count, "attack.count", U64, "0", .max = DEVICES_MAX,
        .help = "How many devices attack, instead of a share; 0: by attack.share."),
    ROW(attack.who, "attack.who", CHOICE, "drawn", .choices = attackers,
        .help = "Which devices attack: drawn by the seed, or the first ones."),
    ROW(attack.data, "attack.data", CHOICE, "own", .choices = attackers_data,
        .help =
            "own: attackers have parts of the data as all devices; else it is split among the honest ones "
            "alone, and attackers have copies of these parts, or any samples, drawn from all (any)."),
    ROW(train.none, "train.none", BOOL, "false",
        .help = "Nothing is trained: an update is a cheap pseudo-random one. For measuring the rest."),
    ROW(train.parameters, "train.parameters", U64, "0", .max = 1e8,
        .help =
            "With train.none: parameters of a model without data, which is not evaluated; 0: plan.model."),
    ROW(evaluate.every, "evaluate.every", U64, "1", .min = 1, .max = 1e12,
        .help = "Every so many versions of the cloud one is evaluated, and the last one."),
    ROW(evaluate.interval_ms, "evaluate.interval", MS, "0", .max = 1e12,
        .help = "At most one evaluation in this time."),
    ROW(evaluate.max_samples, "evaluate.max_samples", U64, "0", .max = 1e12,
        .help = "Held-out samples used in an evaluation; 0: all."),
    ROW(evaluate.classes, "evaluate.classes", LIST, "", .check = check_number,
        .help = "Only held-out samples of these classes count; none: all."),
    ROW(evaluate.delay_ms, "evaluate.delay", MS, "0", .max = 1e9,
        .help = "How long the cloud takes to evaluate a version."),
    ROW(ledger.cloud, "ledger.cloud", CHOICE, "full", .choices = ledgers,
        .help = "The cloud's store and ledger, in the result's folder; none: the run leaves nothing."),
    ROW(ledger.edges, "ledger.edges", BOOL, "false",
        .help = "The edges' too, in edges/NAME of the result's folder."),
    ROW(ledger.checkpoint_records, "ledger.checkpoint.records", U64, "1000", .min = 1, .max = 1e9,
        .help = "A checkpoint is written after so many journal records..."),
    ROW(ledger.checkpoint_bytes, "ledger.checkpoint.bytes", BYTES, "64MiB", .min = 4096,
        .max = 1099511627776.0,
        .help = "... or after so many bytes of payload, or as many as the last checkpoint has where "
                "that is more; whichever comes first."),
    ROW(ledger.checkpoint_keep, "ledger.checkpoint.keep", U64, "2", .max = 1e9,
        .help = "So many newest checkpoints stay, with the payloads after the oldest of them, for `tributary "
                "replay`; 0: all, and every payload since the beginning. The ledger's rows always stay."),
    ROW(resume.limit, "resume.limit", BYTES, "4GiB", .max = 1099511627776.0,
        .help =
            "Until the run is over what is trained is kept on disk, up to so many bytes, for --resume; 0: it "
            "is not kept. What goes beyond is trained again then."),
    ROW(stop.updates, "stop.updates", U64, "0", .max = 1e15,
        .help = "The run stops after so many accepted updates of devices; 0: never."),
    ROW(stop.events, "stop.events", U64, "0", .max = 1e15,
        .help = "The simulation ends after so many events, whatever the run says; 0: never."),
    ROW(arms, "arms", LIST, "", .check = trib_scenario_check_arm,
        .help = "Variants of the scenario to compare, each \"NAME: KEY=VALUE; KEY=VALUE\": what it sets "
                "instead; --arm NAME runs one."),
    ROW(arm, "arm", STRING, "", .help = "In a result: the arm that was run (set by --arm)."),
    ROW(experiment.measures, "experiment.measures", LIST, "", .check = trib_scenario_check_measure,
        .help =
            "For `make experiments` (docs/experiments.md): \"NAME: EXPRESSION; unit U; published P; at least "
            "B\", or \"at most B\"; what is computed from the arms' ledgers, and what it should be."),
    ROW(experiment.is_short, "experiment.short", BOOL, "false",
        .help = "Part of `make experiments`; otherwise of `make experiments-all` alone."),
    TRIB_PLAN_ROWS("plan.", offsetof(struct trib_scenario, plan)),
};
const size_t trib_scenario_option_count = sizeof trib_scenario_options / sizeof *trib_scenario_options;

enum trib_status trib_scenario_defaults(struct trib_scenario *s, struct trib_error *err) {
    enum trib_status status =
        trib_options_defaults(trib_scenario_options, trib_scenario_option_count, s, err);
    s->plan.devices = 0; /* not named: the fleet's */
    return status;
}

void trib_scenario_release(struct trib_scenario *s) {
    trib_options_release(trib_scenario_options, trib_scenario_option_count, s);
}

/* ---- lists ---- */

/* Line i of a list of numbers that was checked. */
static bool number_at(const char *list, size_t i, uint64_t *out) {
    for (; i > 0 && *list != 0; i--) {
        list += strcspn(list, "\n");
        list += *list == '\n';
    }
    return *list != 0 && trib_parse_u64(list, strcspn(list, "\n"), out);
}

bool trib_scenario_seed(const struct trib_scenario *s, size_t i, uint64_t *seed) {
    if (s->seeds[0] != 0) return number_at(s->seeds, i, seed);
    *seed = s->plan.seed;
    return i == 0;
}

size_t trib_scenario_levels(const struct trib_scenario *s, uint64_t counts[TRIB_SIM_LEVELS_MAX]) {
    size_t levels = 0;
    while (levels < TRIB_SIM_LEVELS_MAX && number_at(s->fleet.levels, levels, &counts[levels])) levels++;
    if (levels == 0 && s->fleet.edges > 0) counts[levels++] = s->fleet.edges;
    return levels;
}

/* ---- checks of the whole ---- */

/* The scenario's own name or else its file's, with the arm's behind it, unless it is there (in a result). */
static enum trib_status name_after(struct trib_scenario *s, const char *path, struct trib_error *err) {
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    const char *base = slash != NULL ? slash + 1 : path != NULL ? path : "scenario";
    const char *dot = strrchr(base, '.');
    size_t bytes = dot != NULL && dot != base ? (size_t)(dot - base) : strlen(base);
    if (s->name[0] != 0) {
        base = s->name;
        bytes = strlen(base);
    }
    if (bytes > NAME_MAX_BYTES) bytes = NAME_MAX_BYTES;
    size_t arm = strlen(s->arm);
    bool there = bytes > arm && memcmp(base + bytes - arm, s->arm, arm) == 0 && base[bytes - arm - 1] == '-';
    char name[2 * NAME_MAX_BYTES + 2];
    (void)snprintf(name, sizeof name, "%.*s%s%.*s", (int)bytes, base, arm == 0 || there ? "" : "-",
                   NAME_MAX_BYTES, s->arm);
    char *copy = trib_strdup(name);
    if (copy == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a name");
    trib_free(s->name);
    s->name = copy;
    return TRIB_OK;
}

static enum trib_status check_tree(const struct trib_scenario *s, struct trib_error *err) {
    uint64_t counts[TRIB_SIM_LEVELS_MAX], extra;
    if (number_at(s->fleet.levels, TRIB_SIM_LEVELS_MAX, &extra))
        return trib_fail(err, TRIB_LIMIT, "fleet.levels: expected at most %d levels of edges",
                         TRIB_SIM_LEVELS_MAX);
    size_t levels = trib_scenario_levels(s, counts);
    uint64_t above = 1;
    for (size_t i = 0; i <= levels; i++) {
        uint64_t here = i < levels ? counts[i] : s->fleet.devices;
        if ((here + above - 1) / above > CHILDREN_MAX)
            return trib_fail(err, TRIB_LIMIT,
                             "a node would have %llu children (%llu below %llu), and takes at most %d; more "
                             "edges (fleet.edges, fleet.levels) share them",
                             (unsigned long long)((here + above - 1) / above), (unsigned long long)here,
                             (unsigned long long)above, CHILDREN_MAX);
        above = here;
    }
    return TRIB_OK;
}

static enum trib_status check_stop(const struct trib_scenario *s, struct trib_error *err) {
    const struct trib_plan *p = &s->plan;
    if (p->stop_ms > 0 || s->stop.events > 0) return TRIB_OK;
    if (s->fleet.drop >= 1.0 || (s->fleet.period_ms > 0 && s->fleet.share <= 0.0))
        return trib_fail(err, TRIB_INVALID,
                         "no update would ever arrive: lower fleet.drop, raise fleet.window.share, or set "
                         "plan.stop.time");
    bool measured = s->train.parameters == 0; /* such a model has no accuracy */
    if ((measured && p->stop_accuracy > 0) || p->stop_versions > 0 || s->stop.updates > 0) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "it would never end: set plan.stop.accuracy, plan.stop.versions, plan.stop.time or "
                     "stop.updates");
}

uint64_t trib_scenario_attackers(const struct trib_scenario *s) {
    if (strcmp(s->attack.kind, "none") == 0) return 0;
    if (s->attack.count == 0) return (uint64_t)floor(s->attack.share * (double)s->fleet.devices + 0.5);
    return s->attack.count < s->fleet.devices ? s->attack.count : s->fleet.devices;
}

bool trib_scenario_class(const struct trib_scenario *s, size_t i, uint64_t *label) {
    return number_at(s->evaluate.classes, i, label);
}

enum trib_status trib_scenario_finish(struct trib_scenario *s, const char *path, struct trib_error *err) {
    enum trib_status status = name_after(s, path, err);
    if (status != TRIB_OK) return status;
    bool own = strcmp(s->attack.data, "own") == 0;
    uint64_t parts = own ? s->fleet.devices : s->fleet.devices - trib_scenario_attackers(s);
    if (parts == 0)
        return trib_fail(
            err, TRIB_INVALID,
            "attack.data is %s and all devices attack: nobody has data that they could copy; lower "
            "attack.share or attack.count, or set attack.data: own",
            s->attack.data);
    if (s->plan.devices == 0) s->plan.devices = parts;
    if (s->plan.devices < parts)
        return trib_fail(err, TRIB_INVALID,
                         "plan.data.devices is %llu, and %llu devices need a part of the data of their own; "
                         "raise it, or leave it out",
                         (unsigned long long)s->plan.devices, (unsigned long long)parts);
    bool listed = strcmp(s->plan.model, "layers") == 0;
    if (listed != (s->plan.layers[0] != 0))
        return trib_fail(
            err, TRIB_INVALID,
            listed ? "plan.model is layers and plan.layers is empty; list the layers"
                   : "plan.layers is given and plan.model is not layers; set plan.model: layers, or "
                     "drop the list");
    if (s->train.parameters > 0 && !s->train.none)
        return trib_fail(err, TRIB_INVALID,
                         "train.parameters is for train.none: true; a model that is trained "
                         "is plan.model");
    if (s->ledger.edges && strcmp(s->ledger.cloud, "none") == 0)
        return trib_fail(
            err, TRIB_INVALID,
            "ledger.edges is set and ledger.cloud is none; set ledger.cloud: full, or drop ledger.edges");
    status = check_tree(s, err);
    return status == TRIB_OK ? check_stop(s, err) : status;
}
