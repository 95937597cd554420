/* What the three programs share around the roles: their configs. One struct and one option table a program;
 * the same rows serve the file, --set, --dump-config, --help and docs/config.md.
 *
 * Every struct begins with a struct trib_node_config, so that what is common can be read from any of them.
 * Strings are never NULL once defaults are set; "" means none. */
#ifndef TRIB_DAEMON_CONFIG_H
#define TRIB_DAEMON_CONFIG_H

#include "shared/base/log.h"
#include "shared/base/option.h"
#include "shared/model/plan.h"

enum { TRIB_ENDPOINT_MAX = 255, TRIB_SOCKET_PATH_MAX = 100 /* the system allows 107 */ };

/* Every program. */
struct trib_node_config {
    char *role;          /* "cloud", "edge", "device" */
    char *name;          /* of the node; a device's: what its names begin with */
    char *log_level;     /* "debug", "info", "warn", "error" */
    char *log_format;    /* "text", "json" */
    char *health;        /* ipc endpoint that --health asks; "": none */
    bool allow_insecure; /* plain on other endpoints than loopback and ipc */
};

/* Programs with a store: cloud and edge. */
struct trib_store_config {
    char *path;                  /* folder */
    char *durability;            /* "full", "batched", "none" */
    uint64_t batch_ms;           /* batched: how long a sync may wait for more */
    uint64_t checkpoint_records; /* a checkpoint after so many journal records */
    uint64_t checkpoint_bytes;   /* ... or after so many bytes of payload, at least the last one's */
    uint64_t checkpoint_keep;    /* newest ones that stay, with the records after them; 0: all */
    char *on_damage;             /* "refuse", "keep", "begin" */
};

/* Programs with participants of their own: cloud and edge. */
struct trib_parent_config {
    char *listen;             /* endpoints, one a line */
    char *secret_key;         /* the node's CURVE key file (NAME.key), for both hops; "": plain */
    char *allow_keys;         /* file with the public keys that may connect; set if secret_key is */
    uint64_t max_peers;       /* participants in a run, also those that left */
    uint64_t in_flight_bytes; /* payload bytes granted to all participants together */
    uint64_t spool_bytes;     /* the same of large payloads, which come into files */
    uint64_t ring_bytes;      /* published increments that are kept */
};

/* Programs with a parent: edge and device. */
struct trib_upstream_config {
    char *endpoint;
    char *public_key; /* the parent's CURVE key file (NAME.pub); "": plain */
};

struct trib_cloud_config {
    struct trib_node_config node;
    struct trib_parent_config parent;
    struct trib_store_config store;
    char *run_label;           /* for people */
    bool run_resume;           /* go on with a run that has not ended */
    char *start_model;         /* safetensors file that is version 0; "": drawn from plan.seed */
    char *data_path;           /* folder with the data set; "": TRIBUTARY_DATA, fetched, the sample */
    uint64_t keep_models;      /* newest versions whose model files stay; 0: all */
    uint64_t eval_interval_ms; /* a version is evaluated at most once in this time */
    uint64_t eval_max_samples; /* 0: the whole test set */
    char *on_finish;           /* "exit", "wait" */
    struct trib_plan plan;
};

struct trib_edge_config {
    struct trib_node_config node;
    struct trib_parent_config parent;
    struct trib_upstream_config upstream;
    struct trib_store_config store;
    uint64_t max_parameters; /* a larger model than this is refused */
    char *on_finish;         /* "exit", "wait" */
};

/* Where devices keep what they cannot have again. */
struct trib_spool_config {
    char *path; /* folder; "": they keep nothing */
    bool sync;
    bool model; /* the parent's model too */
};

struct trib_device_config {
    struct trib_node_config node; /* its devices are called NAME-INDEX */
    struct trib_upstream_config upstream;
    struct trib_spool_config spool;
    char *keys_path;    /* folder with a key file NAME-INDEX.key for each device; "": plain */
    uint64_t first;     /* index of the first device: which part of the data it has */
    uint64_t count;     /* devices in this process */
    uint64_t workers;   /* training threads; 0: one a processor */
    char *data_path;    /* as the cloud's */
    char *speed_factor; /* one number a device, taken in turn, or one spread; a line each */
    char *speed_delay;  /* spread of the time in ms that is added to an update, before its factor */
    uint64_t seed;      /* of speeds and delays; device i uses stream i */
    char *device_class; /* one a device, taken in turn; a line each; "": none is told */
    char *battery;      /* percent, or file:PATH; "": none is told */
    char *link;         /* bytes/s, or file:PATH; "": none is told */
    bool tell_labels;   /* it agrees to tell how many samples of each class it has */
    char *on_finish;    /* "exit", "wait" */
};

extern const struct trib_option trib_cloud_options[], trib_edge_options[], trib_device_options[];
extern const size_t trib_cloud_option_count, trib_edge_option_count, trib_device_option_count;

/* A command-line word that stands for one option: "--devices 20" is "--set devices.count=20". */
struct trib_shortcut {
    const char *flag, *option;
};

struct trib_role_config {
    const char *role;    /* "edge" */
    const char *program; /* "tributary-edge" */
    const char *summary;
    const struct trib_option *options;
    size_t option_count;
    size_t bytes; /* of the struct */
    const struct trib_shortcut *shortcuts;
    size_t shortcut_count;
    /* What no single option can say: endpoints without keys, a spread with too many numbers. Called once all
     * options are in. */
    enum trib_status (*check)(const void *config, struct trib_error *err);
    /* What is allowed and may not be meant: for the i-th of these (from 0) a text with the option's name and
     * what to do; NULL: there are no more. For a config that `check` has let pass. NULL: never any. */
    const char *(*warning)(const void *config, size_t i);
};

/* The three, in the order cloud, edge, device. */
const struct trib_role_config *trib_role_configs(size_t *count);
/* By its name, or NULL. */
const struct trib_role_config *trib_role_config_find(const char *role);

/* The log that a config asks for, on stderr. `node` is borrowed: the config must live as long. */
struct trib_log trib_node_log(const struct trib_node_config *node);

/* What a device reports of itself: a number as it stands, or what stands in the file of file:PATH now. Of a
 * battery 0 to 100 are taken, of a link sizes as 125KiB. False: there is none (""), or the file has none. */
bool trib_report_read(const char *spec, bool battery, uint64_t *out);
/* For option tables. */
enum trib_status trib_report_check_battery(const char *spec, struct trib_error *err);
enum trib_status trib_report_check_link(const char *spec, struct trib_error *err);

/* For option tables: tcp://HOST:PORT or ipc://PATH; to listen on, HOST and PORT may be an asterisk (any). */
enum trib_status trib_endpoint_check(const char *endpoint, struct trib_error *err);
enum trib_status trib_endpoint_check_listen(const char *endpoint, struct trib_error *err);
/* ipc://PATH alone, or nothing. */
enum trib_status trib_endpoint_check_health(const char *endpoint, struct trib_error *err);

#endif
