/* The rows of the plan's option table, as a macro: the plan alone has them without a prefix, the cloud's
 * config has the same rows under "plan.". */
#ifndef TRIB_MODEL_PLAN_TABLE_H
#define TRIB_MODEL_PLAN_TABLE_H

#include "shared/codec/ladder.h"
#include "shared/model/plan.h"
#include "shared/model/quantise.h"
#include "shared/rules/rule.h"
#include "shared/rules/select.h"

#include <math.h>
#include <stddef.h>

/* For option tables: is it `name` or `name(arguments)`? What may stand there is checked by who uses it. */
enum trib_status trib_plan_check_spec(const char *value, struct trib_error *err);

/* One row: P the prefix of its name, AT the offset of the struct trib_plan. */
#define TRIB_PLAN_ROW(P, AT, NAME, TYPE, FIELD, FALLBACK, MIN, MAX, CHECK, HELP)                             \
    {                                                                                                        \
        .name = P NAME, .type = (TYPE), .offset = (AT) + offsetof(struct trib_plan, FIELD),                  \
        .fallback = (FALLBACK), .min = (MIN), .max = (MAX), .check = (CHECK), .help = HELP                   \
    }

#define TRIB_PLAN_DATA_ROWS(P, AT)                                                                           \
    TRIB_PLAN_ROW(P, AT, "seed", TRIB_OPT_U64, seed, "1", 0, 0, NULL,                                        \
                  "Seed of version 0, of the partition and of everything drawn on the way."),                \
        TRIB_PLAN_ROW(P, AT, "model", TRIB_OPT_STRING, model, "cnn-small", 0, 0, trib_plan_check_spec,       \
                      "Model to train: softmax, 2nn, mlp, char-gru, cnn-small, lenet5, cnn; or layers, for " \
                      "the list in "                                                                         \
                      "layers."),                                                                            \
        TRIB_PLAN_ROW(P, AT, "layers", TRIB_OPT_LIST, layers, "", 0, 0, trib_plan_check_spec,                \
                      "Layers of the model, first to last, when model is layers; `tributary config options " \
                      "model` has them. Items with commas stand in quotes."),                                \
        TRIB_PLAN_ROW(                                                                                       \
            P, AT, "data.set", TRIB_OPT_STRING, dataset, "mnist", 0, 0, trib_plan_check_spec,                \
            "Data set: mnist, fashion-mnist, glyphs (generated), synthetic(ALPHA, BETA) (FedProx's), "       \
            "beijing-air (regression), shakespeare (next character), idx(HEIGHT, WIDTH) (your images), or "  \
            "csv(FILES, target=COLUMN, features=COLUMNS); `tributary config options data` has their "        \
            "options."),                                                                                     \
        TRIB_PLAN_ROW(P, AT, "data.partition", TRIB_OPT_STRING, partition, "dirichlet(0.5)", 0, 0,           \
                      trib_plan_check_spec,                                                                  \
                      "How the data is split among the devices: iid, dirichlet(ALPHA), shards(PER_DEVICE), " \
                      "quantity(SIGMA), natural (by the data's own users), pairs(FIRST) (two classes a "     \
                      "device), apart(DEVICES, CLASSES)."),                                                  \
        TRIB_PLAN_ROW(P, AT, "data.devices", TRIB_OPT_U64, devices, "20", 1, 1e6, NULL,                      \
                      "How many devices the data is split among; a device's index picks its part."),         \
        TRIB_PLAN_ROW(P, AT, "data.augment", TRIB_OPT_BOOL, augment, "false", 0, 0, NULL,                    \
                      "Devices rotate training images by up to 10 degrees and shift them by up to 10%.")

#define TRIB_PLAN_TRAIN_ROWS(P, AT)                                                                          \
    TRIB_PLAN_ROW(P, AT, "train.epochs", TRIB_OPT_U64, epochs, "1", 1, 1000, NULL,                           \
                  "Passes over the device's data for an update."),                                           \
        TRIB_PLAN_ROW(P, AT, "train.batch", TRIB_OPT_U64, batch, "10", 0, 65536, NULL,                       \
                      "Samples in a training step; 0: all of the device's (FedSGD)."),                       \
        TRIB_PLAN_ROW(P, AT, "train.max_samples", TRIB_OPT_U64, max_samples, "1200", 0, 1e12, NULL,          \
                      "At most so many samples an update, whatever train.epochs says; 0: no limit. The "     \
                      "update's weight stays the device's whole data."),                                     \
        TRIB_PLAN_ROW(P, AT, "train.lr", TRIB_OPT_F64, lr, "0.05", 1e-9, 1000, NULL, "Learning rate."),      \
        TRIB_PLAN_ROW(P, AT, "train.lr_decay", TRIB_OPT_F64, lr_decay, "1", 1e-6, 1, NULL,                   \
                      "The learning rate is multiplied by this with each version; 1: constant."),            \
        TRIB_PLAN_ROW(P, AT, "train.momentum", TRIB_OPT_F64, momentum, "0", 0, 0.9999, NULL,                 \
                      "Momentum of a device's SGD; 0: none."),                                               \
        TRIB_PLAN_ROW(P, AT, "train.weight_decay", TRIB_OPT_F64, weight_decay, "0", 0, 1, NULL,              \
                      "Weight decay of a device's SGD; 0: none."),                                           \
        {.name = P "train.qat",                                                                              \
         .type = TRIB_OPT_CHOICE,                                                                            \
         .offset = (AT) + offsetof(struct trib_plan, qat),                                                   \
         .fallback = "none",                                                                                 \
         .choices = trib_quantise_names,                                                                     \
         .help = "Quantisation-aware training: the passes see weights of so many bits, which the floats "    \
                 "follow, and evaluation too; tributary export --quantise writes them."},                    \
        TRIB_PLAN_ROW(P, AT, "train.clip", TRIB_OPT_F64, clip, "0", 0, INFINITY, NULL,                       \
                      "Gradients with a larger 2-norm are scaled down to it; 0: never."),                    \
        TRIB_PLAN_ROW(P, AT, "train.mu", TRIB_OPT_F64, mu, "0", 0, 1000, NULL,                               \
                      "FedProx: each gradient gets mu times the way from the model that the device started " \
                      "from; 0: none."),                                                                     \
        TRIB_PLAN_LOCAL_ROWS(P, AT)

extern const char *const trib_plan_algorithms[]; /* in the order of enum trib_algorithm */

#define TRIB_PLAN_LOCAL_ROWS(P, AT)                                                                          \
    {.name = P "train.algorithm",                                                                            \
     .type = TRIB_OPT_CHOICE,                                                                                \
     .offset = (AT) + offsetof(struct trib_plan, algorithm),                                                 \
     .fallback = "sgd",                                                                                      \
     .choices = trib_plan_algorithms,                                                                        \
     .help = "What a device computes: sgd, the change of its model; scaffold, the same with control "        \
             "variates (twice the bytes); area, its share of the change since its last update (with rule "   \
             "area at both tiers)."},                                                                        \
        TRIB_PLAN_ROW(P, AT, "train.ewc", TRIB_OPT_F64, ewc, "0", 0, 1e6, NULL,                              \
                      "Elastic weight consolidation: each gradient gets this times the Fisher information "  \
                      "times the way from the model of train.ewc_version; 0: none."),                        \
        TRIB_PLAN_ROW(P, AT, "train.ewc_version", TRIB_OPT_U64, ewc_version, "0", 0, 1e15, NULL,             \
                      "Version of the model that train.ewc pulls towards; a device takes the first one "     \
                      "that it holds from there on."),                                                       \
        TRIB_PLAN_ROW(P, AT, "train.deadline", TRIB_OPT_MS, deadline_ms, "0", 0, 86400e3, NULL,              \
                      "At most so many samples an update as the device can train on in this time, by what "  \
                      "its last update took, and at least one batch; 0: no limit."),                         \
        TRIB_PLAN_ROW(P, AT, "train.stop_loss", TRIB_OPT_F64, stop_loss, "0", 0, 1e6, NULL,                  \
                      "No further epoch after one whose mean loss is below this; 0: all epochs."),           \
        TRIB_PLAN_ROW(P, AT, "train.stop_gain", TRIB_OPT_F64, stop_gain, "0", 0, 0.9999, NULL,               \
                      "No further epoch after one whose mean loss is not smaller than the one before by "    \
                      "this share; 0: all epochs."),                                                         \
        TRIB_PLAN_ROW(P, AT, "train.worker_momentum", TRIB_OPT_F64, worker_momentum, "0", 0, 0.9999, NULL,   \
                      "A device sends the mean of its changes, each older one weighing this much less; for " \
                      "robust rules. 0: the last change alone."),                                            \
        TRIB_PLAN_ROW(P, AT, "train.tell_labels", TRIB_OPT_BOOL, tell_labels, "false", 0, 0, NULL,           \
                      "Devices are asked how many samples of each class they have, for the gate trust; "     \
                      "those alone tell it whose own config agrees (device.tell_labels).")

#define TRIB_PLAN_TIER_ROWS(P, AT)                                                                           \
    TRIB_PLAN_ROW(P, AT, "edge.rule", TRIB_OPT_STRING, edge_rule, "fedbuff(k=3, staleness=polynomial(0.5))", \
                  0, 0, trib_rule_check_edge_spec, "Aggregation rule of the edges."),                        \
        TRIB_PLAN_ROW(P, AT, "cloud.rule", TRIB_OPT_STRING, cloud_rule,                                      \
                      "fedasync(form=delta, alpha=1, staleness=polynomial(0.5))", 0, 0,                      \
                      trib_rule_check_cloud_spec, "Aggregation rule of the cloud."),                         \
        TRIB_PLAN_ROW(P, AT, "codec.up", TRIB_OPT_STRING, codec_up, "int8", 0, 0, trib_ladder_check_spec,    \
                      "Codec of updates, device to edge: int8, rotate+1bit, topk(0.01)+int4+rice, ..., or "  \
                      "auto(min=rotate+1bit, max=int8), chosen for each update: docs/codecs.md."),           \
        TRIB_PLAN_ROW(P, AT, "codec.down", TRIB_OPT_STRING, codec_down, "int8", 0, 0,                        \
                      trib_ladder_check_spec,                                                                \
                      "Codec of models, edge to device; auto(...) is chosen for each publication."),         \
        TRIB_PLAN_ROW(P, AT, "codec.forward", TRIB_OPT_STRING, codec_forward, "int8", 0, 0,                  \
                      trib_ladder_check_spec, "Codec of regional updates, edge to cloud; auto(...) too."),   \
        TRIB_PLAN_ROW(P, AT, "codec.global", TRIB_OPT_STRING, codec_global, "int8", 0, 0,                    \
                      trib_ladder_check_spec, "Codec of models, cloud to edge; auto(...) too."),             \
        TRIB_PLAN_ROW(P, AT, "codec.residual_cap", TRIB_OPT_F64, residual_cap, "20", 0, 1e9, NULL,           \
                      "What a device's codec left over is cut to so many times the 2-norm of its new "       \
                      "update, so that who seldom comes brings nothing that is long out of date; 0: never. " \
                      "Not with train.algorithm area, whose sums need all of it."),                          \
        TRIB_PLAN_ROW(P, AT, "publish.interval", TRIB_OPT_MS, publish_interval_ms, "250ms", 0, 3600e3, NULL, \
                      "An edge publishes at most once in this time."),                                       \
        TRIB_PLAN_ROW(P, AT, "publish.global_interval", TRIB_OPT_MS, global_interval_ms, "100ms", 0, 3600e3, \
                      NULL, "The cloud publishes at most once in this time."),                               \
        TRIB_PLAN_ROW(P, AT, "forward.updates", TRIB_OPT_U64, forward_updates, "1", 1, 1e6, NULL,            \
                      "An edge forwards at the first commit after so many updates; 1: at each commit."),     \
        TRIB_PLAN_ROW(P, AT, "forward.interval", TRIB_OPT_MS, forward_ms, "0", 0, 86400e3, NULL,             \
                      "... or when the oldest commit that it holds is so old, whichever comes first; what "  \
                      "its buffer has stays there. 0: by updates, or commits, alone."),                      \
        TRIB_PLAN_ROW(P, AT, "forward.commits", TRIB_OPT_U64, forward_commits, "0", 0, 1e6, NULL,            \
                      "An edge forwards after so many commits of its own (HierFAVG's kappa2) and not by "    \
                      "updates; 0: by updates."),                                                            \
        TRIB_PLAN_ROW(P, AT, "forward.elastic", TRIB_OPT_F64, elastic, "0", 0, 1, NULL,                      \
                      "EASGD: an edge forwards this part of what its model differs from the cloud's, moves " \
                      "as far towards it, and keeps the rest when a new one comes; at most 0.9 by the "      \
                      "number of edges, more may diverge; 0: off. The cloud's rule takes it whole: "         \
                      "fedasync(share=no, staleness=constant)."),                                            \
        TRIB_PLAN_ROW(P, AT, "forward.hold", TRIB_OPT_BOOL, hold, "false", 0, 0, NULL,                       \
                      "Synchronous tiers: an edge gives its devices no model until its forward is "          \
                      "contained in the parent's or refused."),                                              \
        TRIB_PLAN_ROW(P, AT, "staleness_cap", TRIB_OPT_U64, staleness_cap, "1000", 0, 1e12, NULL,            \
                      "An update staler than this, in commits of its receiver, is refused."),                \
        TRIB_PLAN_ROW(P, AT, "heartbeat", TRIB_OPT_MS, heartbeat_ms, "5s", 100, 3600e3, NULL,                \
                      "A participant says something at least this often.")

#define TRIB_PLAN_SELECT_ROWS(P, AT)                                                                         \
    TRIB_PLAN_ROW(P, AT, "select.policy", TRIB_OPT_STRING, select_policy, "random", 0, 0,                    \
                  trib_select_check_spec,                                                                    \
                  "Who trains next where select.count or select.fraction is set: random, by_size, fedcs, "   \
                  "stratified, oort, power_of_choice, by_norm."),                                            \
        TRIB_PLAN_ROW(P, AT, "select.count", TRIB_OPT_U64, select_count, "0", 0, 1e6, NULL,                  \
                      "So many devices of each aggregator train at a time: the cohort of a round, or, "      \
                      "without rounds, at most so many at work; 0: as select.fraction says."),               \
        TRIB_PLAN_ROW(                                                                                       \
            P, AT, "select.fraction", TRIB_OPT_F64, select_fraction, "0", 0, 1, NULL,                        \
            "... as a share of the devices that are there, where select.count is 0; 0: everybody."),         \
        TRIB_PLAN_ROW(P, AT, "select.over", TRIB_OPT_F64, select_over, "1", 1, 10, NULL,                     \
                      "A round asks so many times as many and ends with the first select.count answers; "    \
                      "the rest come too late and are refused (round)."),                                    \
        TRIB_PLAN_ROW(P, AT, "select.patience", TRIB_OPT_MS, select_patience_ms, "10m", 0, 86400e3, NULL,    \
                      "A chosen device that has not answered in this time gives its place to another; 0: "   \
                      "only when it is gone."),                                                              \
        TRIB_PLAN_ROW(                                                                                       \
            P, AT, "select.fairness", TRIB_OPT_F64, select_fairness, "0", 0, 1e6, NULL,                      \
            "Nobody is chosen who was chosen more than so many times the mean; 0: no such limit."),          \
        TRIB_PLAN_ROW(                                                                                       \
            P, AT, "select.min_battery", TRIB_OPT_U64, select_min_battery, "0", 0, 100, NULL,                \
            "Only devices that report at least so many percent of battery are chosen; 0: not asked for."),   \
        TRIB_PLAN_ROW(P, AT, "select.min_link", TRIB_OPT_BYTES, select_min_link, "0", 0, 1e15, NULL,         \
                      "Only devices that report a link of at least so many bytes a second are chosen; 0: "   \
                      "not asked for.")

#define TRIB_PLAN_STOP_ROWS(P, AT)                                                                           \
    TRIB_PLAN_ROW(P, AT, "stop.accuracy", TRIB_OPT_F64, stop_accuracy, "0", 0, 1, NULL,                      \
                  "The run stops when a version reaches this accuracy (for regression the share of "         \
                  "variance explained); 0: never."),                                                         \
        TRIB_PLAN_ROW(P, AT, "stop.versions", TRIB_OPT_U64, stop_versions, "0", 0, 1e15, NULL,               \
                      "The run stops after so many versions of the cloud; 0: never."),                       \
        TRIB_PLAN_ROW(P, AT, "stop.time", TRIB_OPT_MS, stop_ms, "0", 0, 1e15, NULL,                          \
                      "The run stops after this time; 0: never.")

#define TRIB_PLAN_ROWS(P, AT)                                                                                \
    TRIB_PLAN_DATA_ROWS(P, AT), TRIB_PLAN_TRAIN_ROWS(P, AT), TRIB_PLAN_TIER_ROWS(P, AT),                     \
        TRIB_PLAN_SELECT_ROWS(P, AT), TRIB_PLAN_STOP_ROWS(P, AT)

#endif
