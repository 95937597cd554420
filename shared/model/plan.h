/* The plan: what the cloud decides for the whole tree. It is a part of the cloud's config (`plan.`), travels
 * down in WELCOME as flat "name: value" lines, and is recorded with the run. Specs (rules, codecs, layers)
 * are strings here; the modules that know them check them. */
#ifndef TRIB_MODEL_PLAN_H
#define TRIB_MODEL_PLAN_H

#include "shared/base/option.h"
#include "shared/model/schema.h"

struct trib_plan {
    uint64_t seed;
    /* model */
    char *model;  /* "cnn-small", or "layers" for plan.layers */
    char *layers; /* one layer spec a line, when model is "layers" */
    /* data, for devices and evaluation */
    char *dataset;    /* "mnist", "fashion-mnist", "glyphs", "synthetic(1, 1)" */
    char *partition;  /* "iid", "dirichlet(0.5)", "shards(2)", "quantity(1.0)" */
    uint64_t devices; /* how many devices the data is split among; a device's index picks its part */
    bool augment;
    /* local training */
    uint64_t epochs, batch, max_samples;
    char *algorithm; /* "sgd", "scaffold", "area" */
    double lr, lr_decay, momentum, weight_decay, clip, mu;
    double ewc;                  /* lambda; 0: none */
    uint64_t ewc_version;        /* the anchor */
    double stop_loss, stop_gain; /* 0: off */
    uint64_t deadline_ms;        /* 0: none */
    double worker_momentum;
    char *qat; /* "none", "int8", "int4" */
    bool tell_labels;
    /* tiers */
    char *edge_rule, *cloud_rule;
    char *codec_up, *codec_down;        /* device <-> edge */
    char *codec_forward, *codec_global; /* edge <-> cloud */
    double residual_cap;                /* device; 0: off */
    uint64_t publish_interval_ms;       /* edge; at most one publication in so many ms */
    uint64_t global_interval_ms;        /* cloud; the same */
    uint64_t forward_updates,
        forward_ms;           /* an edge forwards so many updates, or what it has held for so many ms */
    uint64_t forward_commits; /* ... or commits; 0: by updates and time */
    double elastic;           /* EASGD's beta; 0: an edge forwards all that it has gathered */
    bool hold;                /* synchronous tiers: an edge waits for its forward to be contained */
    uint64_t staleness_cap;   /* an update staler than this is refused */
    uint64_t heartbeat_ms;
    /* who trains next (shared/aggregator/cohort.h) */
    char *select_policy;
    uint64_t select_count;       /* devices of each aggregator that train at a time; 0: by fraction */
    double select_fraction;      /* ... of those that are there; 0 too: everybody */
    double select_over;          /* in rounds: so many times as many are asked */
    uint64_t select_patience_ms; /* 0: for ever */
    double select_fairness;      /* 0: off */
    uint64_t select_min_battery, select_min_link; /* percent, bytes/s; 0: not asked for */
    /* stop */
    double stop_accuracy;   /* 0: off */
    uint64_t stop_versions; /* 0: off */
    uint64_t stop_ms;       /* 0: off */
};

/* What a device keeps between its updates beside its residual: vectors of schema.model_parameters floats,
 * each NULL until something was kept. The plan says which are used. */
enum trib_local_memory {
    TRIB_LOCAL_VARIATE,  /* SCAFFOLD: c_i */
    TRIB_LOCAL_LAST,     /* AREA: the model that it trained last */
    TRIB_LOCAL_MOMENTUM, /* worker momentum: m_i */
    TRIB_LOCAL_ANCHOR,   /* EWC: w*, */
    TRIB_LOCAL_FISHER,   /* and the diagonal of the Fisher information there, on the device's data */
    TRIB_LOCAL_MAX
};

enum trib_algorithm { TRIB_ALGORITHM_SGD, TRIB_ALGORITHM_SCAFFOLD, TRIB_ALGORITHM_AREA };
enum trib_algorithm trib_plan_algorithm(const struct trib_plan *plan);
/* What no single option can say: choices that exclude each other. TRIB_INVALID with the reason. */
enum trib_status trib_plan_check(const struct trib_plan *plan, struct trib_error *err) TRIB_MUST_USE;

/* Reads flat "name: value" lines on top of the defaults; *plan must be zeroed or released. Names that this
 * version does not know are passed over (a newer cloud may send more); known ones are checked. `origin`
 * stands in errors. */
enum trib_status trib_plan_read(const char *text, size_t bytes, const char *origin, struct trib_plan *plan,
                                struct trib_error *err) TRIB_MUST_USE;

/* Can the plan's codecs encode this model (NULL: any model)? The error names the option: "plan.codec.up:
 * ...". */
enum trib_status trib_plan_check_codecs(const struct trib_plan *plan, const struct trib_schema *schema,
                                        struct trib_error *err) TRIB_MUST_USE;

extern const struct trib_option trib_plan_options[]; /* names without the "plan." */
extern const size_t trib_plan_option_count;

#endif
