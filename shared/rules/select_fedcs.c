/* FedCS: as many as will be done before a deadline. Of `among` children drawn at random (the paper's resource
 * request; 0: all) those are taken whose last answer came within the deadline, the shortest first; the rest
 * would hold up the round. Who has never answered is tried once. Source: Nishio, Yonetani 2019
 * (arXiv 1804.08333), algorithms 2 and 3; there a shared uplink makes uploads queue, here a child's time is
 * what it took from the model to the answer, whatever it took it for.
 *
 * If nobody is fast enough, the fastest is taken: a round of one is better than none. Where others are at
 * work already, nobody is. */
#include "shared/rules/select_kind.h"

#include <math.h>

struct config {
    uint64_t deadline_ms;
    uint64_t among;
};

const struct trib_option trib_select_fedcs_params[TRIB_SELECT_FEDCS_PARAMS] = {
    {"deadline", TRIB_OPT_MS, offsetof(struct config, deadline_ms), "60s", 1, 86400000, NULL, NULL,
     "children whose last answer took longer, from the model to the answer, are left out"},
    {"among", TRIB_OPT_U64, offsetof(struct config, among), "0", 0, 1000000, NULL, NULL,
     "so many children drawn at random are looked at; 0: all, so that the fastest take part in each round"},
};

static size_t choose(const void *config, const struct trib_select_draw *draw) {
    const struct config *c = config;
    for (size_t i = 0; i < draw->count; i++)
        draw->score[i] = draw->candidates[i].known ? -draw->candidates[i].duration_ms : 0;
    trib_select_shuffle(draw);
    size_t among = c->among > 0 && c->among < draw->count ? (size_t)c->among : draw->count;
    size_t want = draw->want < among ? draw->want : among, fast = 0;
    trib_select_highest(draw, among, want);
    for (size_t i = 0; i < want; i++)
        if (-draw->score[draw->chosen[i]] <= (double)c->deadline_ms) draw->chosen[fast++] = draw->chosen[i];
    if (fast > 0 || draw->busy > 0) return fast;
    trib_select_highest(draw, want, 1);
    return 1;
}

const struct trib_select_kind trib_select_fedcs = {
    .name = "fedcs", .config_bytes = sizeof(struct config), .choose = choose};
