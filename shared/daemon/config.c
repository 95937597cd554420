#include "shared/daemon/config.h"

#include "shared/daemon/spread.h"
#include "shared/model/plan_table.h"
#include "shared/net/context.h"
#include "shared/wire/message.h"

#include <stddef.h>
#include <string.h>

static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const formats[] = {"text", "json", NULL};
static const char *const durabilities[] = {"full", "batched", "none", NULL};
static const char *const damage_choices[] = {"refuse", "keep", "begin", NULL};
static const char *const endings[] = {"exit", "wait", NULL};
static const char *const role_cloud[] = {"cloud", NULL};
static const char *const role_edge[] = {"edge", NULL};
static const char *const role_device[] = {"device", NULL};

/* ---- checks of one value ---- */

static enum trib_status check_name(const char *value, struct trib_error *err) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t bytes = strlen(value);
    bool fine = bytes >= 1 && bytes <= 48 && strspn(value, allowed) == bytes;
    if (fine && strchr("._-", value[0]) == NULL) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "found \"%.100s\", expected 1 to 48 letters, digits, dots, dashes or _, the first one a "
                     "letter or digit",
                     value);
}

static enum trib_status check_folder(const char *value, struct trib_error *err) {
    return value[0] != 0 ? TRIB_OK : trib_fail(err, TRIB_INVALID, "found \"\", expected a folder");
}

/* ---- rows ----
 * S is the config's struct and M the member that a row fills. */

#define ROW(S, M, NAME, TYPE, FALLBACK, ...)                                                                 \
    {                                                                                                        \
        .name = NAME, .type = TRIB_OPT_##TYPE, .offset = offsetof(struct S, M), .fallback = FALLBACK,        \
        __VA_ARGS__                                                                                          \
    }

#define NODE_ROWS(S, ROLE)                                                                                   \
    ROW(S, node.role, "role", CHOICE, #ROLE, .choices = role_##ROLE, .help = "Which program this is for."),  \
        ROW(S, node.name, "name", STRING, #ROLE, .check = check_name,                                        \
            .help = "Name of the node in logs and in the ledger; of a device process: what its devices' "    \
                    "names begin with."),                                                                    \
        ROW(S, node.log_level, "log.level", CHOICE, "info", .choices = levels,                               \
            .help = "Events below this level are not logged."),                                              \
        ROW(S, node.log_format, "log.format", CHOICE, "text", .choices = formats,                            \
            .help = "One line an event on stderr, key=value or JSON."),                                      \
        ROW(S, node.health, "health", STRING, "", .check = trib_endpoint_check_health,                       \
            .help = "Local endpoint (ipc://PATH) on which --health asks whether this program is well; "      \
                    "empty: none."),                                                                         \
        ROW(S, node.allow_insecure, "allow_insecure", BOOL, "false",                                         \
            .help = "Allow connections without keys to and from other machines.")

#define STORE_ROWS(S, PATH, KEEP, ON_DAMAGE)                                                                 \
    ROW(S, store.path, "store.path", STRING, PATH, .check = check_folder,                                    \
        .help = "Folder of the node's database and payload files; made if it is not there."),                \
        ROW(S, store.durability, "store.durability", CHOICE, "full", .choices = durabilities,                \
            .help = "When an update is acknowledged: full: once it is synced to disk; batched: the same, "   \
                    "but a sync waits for more; none: written, never synced, for benchmarks."),              \
        ROW(S, store.batch_ms, "store.batch", MS, "10ms", .max = 10e3,                                       \
            .help = "With batched durability: how long a sync may wait for more."),                          \
        ROW(S, store.checkpoint_records, "store.checkpoint.records", U64, "1000", .min = 1, .max = 1e9,      \
            .help = "A checkpoint is written after so many journal records..."),                             \
        ROW(S, store.checkpoint_bytes, "store.checkpoint.bytes", BYTES, "64MiB", .min = 4096,                \
            .max = 1099511627776.0,                                                                          \
            .help = "... or after so many bytes of payload, or as many as the last checkpoint has where "    \
                    "that is more; whichever comes first."),                                                 \
        ROW(S, store.checkpoint_keep, "store.checkpoint.keep", U64, KEEP, .max = 1e9,                        \
            .help = "So many newest checkpoints stay, with the records after the oldest of them, for "       \
                    "`tributary replay` and to fall back on when files are damaged; 0: all, and every "      \
                    "record since the beginning."),                                                          \
        ROW(S, store.on_damage, "store.on_damage", CHOICE, ON_DAMAGE, .choices = damage_choices,             \
            .help =                                                                                          \
                "When files of the store are damaged: keep: set them aside, go on from what can be proved "  \
                "good, and do not start if nothing can; begin: then begin anew; refuse: do not start.")

#define PARENT_ROWS(S, LISTEN, IN_FLIGHT, SPOOL, RING)                                                       \
    ROW(S, parent.listen, "listen", LIST, LISTEN, .check = trib_endpoint_check_listen,                       \
        .help = "Endpoints that participants connect to: tcp://HOST:PORT (* for any), ipc://PATH."),         \
        ROW(S, parent.secret_key, "keys.secret", STRING, "",                                                 \
            .help = "This node's CURVE key file, NAME.key (`tributary keys new` makes it); empty: no "       \
                    "encryption."),                                                                          \
        ROW(S, parent.allow_keys, "keys.allow", STRING, "",                                                  \
            .help =                                                                                          \
                "File with the public keys of the participants that may connect (`tributary keys allow`)."), \
        ROW(S, parent.max_peers, "limits.peers", U64, "1000", .min = 1, .max = 65535,                        \
            .help = "Participants that a run may have, also those that left; more are told to come back. "   \
                    "A connection takes some 31 KB of memory, with keys 42."),                               \
        ROW(S, parent.in_flight_bytes, "limits.in_flight", BYTES, IN_FLIGHT, .min = 65536,                   \
            .max = 1099511627776.0,                                                                          \
            .help = "Payload bytes that all participants together may have on their way to this node."),     \
        ROW(S, parent.spool_bytes, "limits.spool", BYTES, SPOOL, .min = 65536, .max = 1099511627776.0,       \
            .help = "The same of payloads larger than half of limits.in_flight, which come into files in "   \
                    "the store's folder and take no memory; one is always let in."),                         \
        ROW(S, parent.ring_bytes, "limits.ring", BYTES, RING, .min = 65536, .max = 1099511627776.0,          \
            .help = "Published increments that are kept for participants some versions behind; one that "    \
                    "is farther behind gets a snapshot.")

#define UPSTREAM_ROWS(S, ENDPOINT)                                                                           \
    ROW(S, upstream.endpoint, "upstream.endpoint", STRING, ENDPOINT, .check = trib_endpoint_check,           \
        .help = "The parent: tcp://HOST:PORT or ipc://PATH."),                                               \
        ROW(S, upstream.public_key, "upstream.key", STRING, "",                                              \
            .help = "The parent's CURVE key file, NAME.pub; empty: no encryption.")

#define FINISH_ROW(S)                                                                                        \
    ROW(S, on_finish, "on_finish", CHOICE, "exit", .choices = endings,                                       \
        .help = "What to do when the run is over: exit with status 0, or wait for the next run or SIGTERM.")

#define DATA_PATH_ROW(S)                                                                                     \
    ROW(S, data_path, "data.path", STRING, "",                                                               \
        .help = "Folder with the data set; empty: TRIBUTARY_DATA, then what `make data` fetched, then the "  \
                "sample that comes with the project.")

const struct trib_option trib_cloud_options[] = {
    NODE_ROWS(trib_cloud_config, cloud),
    ROW(trib_cloud_config, run_label, "run.label", STRING, "",
        .help = "What people call this run; in the ledger and in `tributary history`."),
    ROW(trib_cloud_config, run_resume, "run.resume", BOOL, "true",
        .help = "Go on with a run that has not ended, under the plan that it began with; false begins a new "
                "one."),
    ROW(trib_cloud_config, start_model, "run.start_model", STRING, "",
        .help = "Safetensors file to start from; empty: drawn from plan.seed."),
    FINISH_ROW(trib_cloud_config),
    PARENT_ROWS(trib_cloud_config, "tcp://127.0.0.1:7400", "64MiB", "4GiB", "256MiB"),
    STORE_ROWS(trib_cloud_config, "run/cloud", "8", "keep"),
    ROW(trib_cloud_config, keep_models, "store.keep_models", U64, "20", .max = 1e9,
        .help = "Model files of so many newest evaluated versions of a run are kept, and of its best one; "
                "0: all."),
    DATA_PATH_ROW(trib_cloud_config),
    ROW(trib_cloud_config, eval_interval_ms, "evaluation.interval", MS, "500ms", .max = 86400e3,
        .help = "A version is evaluated at most once in this time; the newest is never skipped at the end."),
    ROW(trib_cloud_config, eval_max_samples, "evaluation.max_samples", U64, "0", .max = 1e12,
        .help = "Held-out samples used in an evaluation; 0: all."),
    TRIB_PLAN_ROWS("plan.", offsetof(struct trib_cloud_config, plan)),
};

const struct trib_option trib_edge_options[] = {
    NODE_ROWS(trib_edge_config, edge),
    FINISH_ROW(trib_edge_config),
    UPSTREAM_ROWS(trib_edge_config, "tcp://127.0.0.1:7400"),
    PARENT_ROWS(trib_edge_config, "tcp://127.0.0.1:7410", "6MiB", "256MiB", "64MiB"),
    ROW(trib_edge_config, max_parameters, "limits.parameters", U64, "16777216", .min = 1, .max = 1073741824.0,
        .help = "A run whose model has more parameters than this is refused; an edge needs about four times "
                "its model in memory."),
    STORE_ROWS(trib_edge_config, "run/edge", "2", "begin"),
};

const struct trib_option trib_device_options[] = {
    NODE_ROWS(trib_device_config, device),
    FINISH_ROW(trib_device_config),
    UPSTREAM_ROWS(trib_device_config, "tcp://127.0.0.1:7410"),
    ROW(trib_device_config, keys_path, "keys.folder", STRING, "",
        .help = "Folder with NAME-INDEX.key, one CURVE key file a device; empty: no encryption."),
    ROW(trib_device_config, first, "devices.first", U64, "0", .max = 1e6,
        .help = "Index of the first device in this process; its index picks a device's part of the data."),
    ROW(trib_device_config, count, "devices.count", U64, "1", .min = 1, .max = 100000,
        .help = "Devices in this process; each is a participant of its own."),
    ROW(trib_device_config, workers, "devices.workers", U64, "0", .max = 1024,
        .help = "Training threads, shared by the devices; 0: one a processor."),
    DATA_PATH_ROW(trib_device_config),
    ROW(trib_device_config, spool.path, "spool.path", STRING, "",
        .help = "Folder in which each device keeps NAME-INDEX.spool: who it is, its update that has no "
                "verdict yet, and what its codec left over, so that it goes on after a restart; for this "
                "process alone. Empty: a device begins anew each time."),
    ROW(trib_device_config, spool.sync, "spool.sync", BOOL, "true",
        .help = "Sync the spool before an update leaves; false: what it holds survives the process, not "
                "the machine."),
    ROW(trib_device_config, spool.model, "spool.model", BOOL, "false",
        .help = "Keep the parent's model in the spool too: after a restart only what is newer is fetched, "
                "and each update writes 4 bytes a parameter more to the disk."),
    ROW(trib_device_config, speed_factor, "speed.factor", LIST, "1", .check = trib_spread_check,
        .help =
            "How many times slower than the fastest a device is: numbers that the devices take in turn, or "
            "one distribution that each draws from: constant(1), uniform(1, 10), loguniform(1, 10), "
            "lognormal(0, 0.5), exponential(2)."),
    ROW(trib_device_config, speed_delay, "speed.delay", STRING, "constant(0)", .check = trib_spread_check,
        .help = "Milliseconds added to each update, times the device's factor: a number or a distribution."),
    ROW(trib_device_config, seed, "seed", U64, "1", .help = "Seed of factors and delays."),
    ROW(trib_device_config, device_class, "device.class", LIST, "", .check = trib_class_check,
        .help =
            "What kind of device it is, for plan.select.policy stratified: names that the devices take in "
            "turn; empty: not told."),
    ROW(trib_device_config, battery, "device.battery", STRING, "", .check = trib_report_check_battery,
        .help = "Percent of battery that is told the parent (plan.select.min_battery): a number, or "
                "file:PATH, read each time a model is asked for, as in "
                "file:/sys/class/power_supply/BAT0/capacity; empty: not told."),
    ROW(trib_device_config, link, "device.link", STRING, "", .check = trib_report_check_link,
        .help = "Bytes a second of the device's line that are told the parent (plan.select.min_link): a size "
                "as 125KiB, or file:PATH; empty: not told."),
    ROW(trib_device_config, tell_labels, "device.tell_labels", BOOL, "false",
        .help = "The devices agree to tell their parent how many samples of each class they have, where the "
                "plan asks for it (plan.train.tell_labels); false: never told, whatever the plan says."),
};

#define COUNT(array) (sizeof(array) / sizeof *(array))
const size_t trib_cloud_option_count = COUNT(trib_cloud_options);
const size_t trib_edge_option_count = COUNT(trib_edge_options);
const size_t trib_device_option_count = COUNT(trib_device_options);

/* ---- checks of a whole config ---- */

static enum trib_status check_exposed(const char *option, const char *endpoint, const char *key_option,
                                      const char *key, bool allow_insecure, struct trib_error *err) {
    if (key[0] != 0 || allow_insecure || trib_net_is_local(endpoint)) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "%s: %.200s leaves this machine without encryption; set %s (`tributary keys` makes "
                     "keys), or allow_insecure: true",
                     option, endpoint, key_option);
}

static enum trib_status check_parent(const struct trib_node_config *node,
                                     const struct trib_parent_config *parent, struct trib_error *err) {
    if (parent->listen[0] == 0) {
        return trib_fail(err, TRIB_INVALID, "listen: found an empty list, expected an endpoint or more");
    }
    for (const char *line = parent->listen; *line != 0;) {
        char endpoint[TRIB_ENDPOINT_MAX + 1];
        size_t bytes = strcspn(line, "\n");
        TRIB_ASSERT(bytes < sizeof endpoint); /* trib_endpoint_check saw it */
        memcpy(endpoint, line, bytes);
        endpoint[bytes] = 0;
        enum trib_status status =
            check_exposed("listen", endpoint, "keys.secret", parent->secret_key, node->allow_insecure, err);
        if (status != TRIB_OK) return status;
        line += bytes + (line[bytes] != 0);
    }
    if ((parent->secret_key[0] != 0) == (parent->allow_keys[0] != 0)) return TRIB_OK;
    const char *given = parent->secret_key[0] != 0 ? "keys.secret" : "keys.allow";
    const char *missing = parent->secret_key[0] != 0 ? "keys.allow" : "keys.secret";
    return trib_fail(err, TRIB_INVALID, "%s is set and %s is not; encryption needs both", given, missing);
}

/* `own` is where this side's secret keys are. */
static enum trib_status check_upstream(const struct trib_node_config *node,
                                       const struct trib_upstream_config *upstream, const char *own_option,
                                       const char *own, struct trib_error *err) {
    if (upstream->public_key[0] != 0 && own[0] == 0) {
        return trib_fail(err, TRIB_INVALID, "upstream.key is set and %s is not; encryption needs both",
                         own_option);
    }
    return check_exposed("upstream.endpoint", upstream->endpoint, "upstream.key", upstream->public_key,
                         node->allow_insecure, err);
}

/* Of a spec that its option has let pass; where memory runs out nothing is warned of. */
static enum trib_rule_patience patience_of(const char *spec, enum trib_tier tier) {
    struct trib_rule *rule = NULL;
    struct trib_error err;
    if (trib_rule_new(spec, tier, &rule, &err) != TRIB_OK) return TRIB_RULE_WAITS_NOT;
    enum trib_rule_patience patience = trib_rule_patience(rule);
    trib_rule_free(&rule);
    return patience;
}

static const char *doubt_of(const char *spec, enum trib_tier tier) {
    struct trib_rule *rule = NULL;
    struct trib_error err;
    if (trib_rule_new(spec, tier, &rule, &err) != TRIB_OK) return NULL;
    const char *doubt = trib_rule_warning(rule);
    trib_rule_free(&rule);
    return doubt;
}

static enum trib_status check_cloud(const void *config, struct trib_error *err) {
    const struct trib_cloud_config *cloud = config;
    bool listed = strcmp(cloud->plan.model, "layers") == 0;
    if (listed && cloud->plan.layers[0] == 0) {
        return trib_fail(err, TRIB_INVALID, "plan.model is layers and plan.layers is empty; list the layers");
    }
    if (!listed && cloud->plan.layers[0] != 0) {
        return trib_fail(
            err, TRIB_INVALID,
            "plan.layers is given and plan.model is %s; set plan.model: layers, or drop the list",
            cloud->plan.model);
    }
    struct trib_error why = {0};
    enum trib_status status = trib_plan_check(&cloud->plan, &why);
    if (status != TRIB_OK) return trib_fail(err, status, "plan.%s", why.text);
    if (trib_plan_algorithm(&cloud->plan) == TRIB_ALGORITHM_AREA && cloud->start_model[0] != 0)
        return trib_fail(err, TRIB_INVALID,
                         "run.start_model is set and plan.train.algorithm is area: every device counts from "
                         "version 0 as plan.seed draws it; drop run.start_model");
    return check_parent(&cloud->node, &cloud->parent, err);
}

/* Rules that wait for children which may have nothing to say, as an edge without devices. */
static const char *warn_cloud(const void *config, size_t i) {
    const struct trib_plan *plan = &((const struct trib_cloud_config *)config)->plan;
    enum trib_rule_patience cloud = patience_of(plan->cloud_rule, TRIB_TIER_CLOUD),
                            edge = patience_of(plan->edge_rule, TRIB_TIER_EDGE);
    const char *found[4];
    size_t count = 0;
    const char *doubts[] = {doubt_of(plan->edge_rule, TRIB_TIER_EDGE),
                            doubt_of(plan->cloud_rule, TRIB_TIER_CLOUD)};
    for (size_t d = 0; d < 2; d++)
        if (doubts[d] != NULL) found[count++] = doubts[d];
    if (cloud == TRIB_RULE_WAITS_FOR_ALL)
        found[count++] =
            "plan.cloud.rule: without a deadline a round waits for every edge that is connected, also for "
            "one without devices; give it one, as in fedavg(deadline=5m)";
    else if (cloud == TRIB_RULE_WAITS_FOR_SOME && plan->hold)
        found[count++] =
            "plan.forward.hold: an edge forwards once and waits, and plan.cloud.rule has no deadline: where "
            "fewer edges have devices than it needs updates, the run stands still; give it one, as in "
            "deadline=5m";
    if (edge != TRIB_RULE_WAITS_NOT && plan->hold)
        found[count++] =
            "plan.forward.hold: an edge below another edge forwards once and waits, and plan.edge.rule has "
            "no deadline: one without devices holds up its neighbours; where edges stand above edges give "
            "it one, as in deadline=1m";
    return i < count ? found[i] : NULL;
}

static enum trib_status check_edge(const void *config, struct trib_error *err) {
    const struct trib_edge_config *edge = config;
    enum trib_status status = check_parent(&edge->node, &edge->parent, err);
    if (status != TRIB_OK) return status;
    return check_upstream(&edge->node, &edge->upstream, "keys.secret", edge->parent.secret_key, err);
}

static enum trib_status check_device(const void *config, struct trib_error *err) {
    const struct trib_device_config *device = config;
    bool several = strchr(device->speed_factor, '\n') != NULL;
    if (device->speed_factor[0] == 0) {
        return trib_fail(err, TRIB_INVALID, "speed.factor: found an empty list, expected a factor or more");
    }
    if (several && strchr(device->speed_factor, '(') != NULL) {
        return trib_fail(err, TRIB_INVALID,
                         "speed.factor: found a list with a distribution in it, expected numbers, or one "
                         "distribution alone");
    }
    return check_upstream(&device->node, &device->upstream, "keys.folder", device->keys_path, err);
}

/* ---- the roles ---- */

static const struct trib_shortcut cloud_shortcuts[] = {
    {"--name", "name"}, {"--listen", "listen"}, {"--store", "store.path"}, {"--data", "data.path"}};
static const struct trib_shortcut edge_shortcuts[] = {{"--name", "name"},
                                                      {"--listen", "listen"},
                                                      {"--store", "store.path"},
                                                      {"--upstream", "upstream.endpoint"}};
static const struct trib_shortcut device_shortcuts[] = {{"--name", "name"},
                                                        {"--devices", "devices.count"},
                                                        {"--first", "devices.first"},
                                                        {"--workers", "devices.workers"},
                                                        {"--upstream", "upstream.endpoint"},
                                                        {"--data", "data.path"},
                                                        {"--spool", "spool.path"}};

static const struct trib_role_config roles[] = {
    {"cloud", "tributary-cloud", "merges regional updates, evaluates, and keeps the history",
     trib_cloud_options, COUNT(trib_cloud_options), sizeof(struct trib_cloud_config), cloud_shortcuts,
     COUNT(cloud_shortcuts), check_cloud, warn_cloud},
    {"edge", "tributary-edge", "averages its devices' updates as they arrive, and forwards regional ones",
     trib_edge_options, COUNT(trib_edge_options), sizeof(struct trib_edge_config), edge_shortcuts,
     COUNT(edge_shortcuts), check_edge, NULL},
    {"device", "tributary-device", "trains on data that stays here, and pushes updates", trib_device_options,
     COUNT(trib_device_options), sizeof(struct trib_device_config), device_shortcuts, COUNT(device_shortcuts),
     check_device, NULL},
};

const struct trib_role_config *trib_role_configs(size_t *count) {
    *count = COUNT(roles);
    return roles;
}

const struct trib_role_config *trib_role_config_find(const char *role) {
    for (size_t i = 0; i < COUNT(roles); i++) {
        if (strcmp(roles[i].role, role) == 0) return &roles[i];
    }
    return NULL;
}

struct trib_log trib_node_log(const struct trib_node_config *node) {
    struct trib_log log = {
        .level = TRIB_LOG_INFO, .json = strcmp(node->log_format, "json") == 0, .fd = 2, .node = node->name};
    enum trib_status status = trib_level_parse(node->log_level, &log.level);
    TRIB_ASSERT(status == TRIB_OK); /* the table has the same names */
    return log;
}
