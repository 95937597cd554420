/* The plan: what the cloud decides for the whole tree. It is a part of the cloud's config (`plan.`), travels
 * down in WELCOME as flat "name: value" lines, and is recorded with the run. Specs (rules, codecs, layers)
 * are strings here; the modules that know them check them. */
#ifndef TRIB_MODEL_PLAN_H
#define TRIB_MODEL_PLAN_H

#include "shared/base/option.h"

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
    double lr, lr_decay, momentum, weight_decay, clip;
    /* tiers */
    char *edge_rule, *cloud_rule;
    char *codec_up, *codec_down;        /* device <-> edge */
    char *codec_forward, *codec_global; /* edge <-> cloud */
    uint64_t publish_interval_ms;       /* edge; at most one publication in so many ms */
    uint64_t global_interval_ms;        /* cloud; the same */
    uint64_t forward_updates,
        forward_ms;         /* an edge forwards at the first commit after so many updates or ms */
    bool hold;              /* synchronous tiers: an edge waits for its forward to be contained */
    uint64_t staleness_cap; /* an update staler than this is refused */
    uint64_t heartbeat_ms;
    /* stop */
    double stop_accuracy;   /* 0: off */
    uint64_t stop_versions; /* 0: off */
    uint64_t stop_ms;       /* 0: off */
};

/* Reads flat "name: value" lines on top of the defaults; *plan must be zeroed or released. Names that this
 * version does not know are passed over (a newer cloud may send more); known ones are checked. `origin`
 * stands in errors. */
enum trib_status trib_plan_read(const char *text, size_t bytes, const char *origin, struct trib_plan *plan,
                                struct trib_error *err) TRIB_MUST_USE;

extern const struct trib_option trib_plan_options[]; /* names without the "plan." */
extern const size_t trib_plan_option_count;

#endif
