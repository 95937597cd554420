/* Stratified: each class of devices has its share of the places, at random within the class, so that a class
 * that answers more slowly, or is rarer, is not left out. With P places in all (those that are taken already
 * included) class c has P p_c of them, p_c its share of the devices that are there, or the same for each.
 * Whole places are given first, to the class that lacks most; what is left of them is drawn with the
 * fractions as chances, so that a class whose share is below one place has it now and then. Source:
 * stratified sampling with proportional allocation, as in Cochran, "Sampling Techniques", 1977, section 5.5.
 */
#include "shared/rules/select_kind.h"

#include <string.h>

struct config {
    char *shares;
};

static const char *const shares_choices[] = {"proportional", "equal", NULL};

const struct trib_option trib_select_stratified_params[TRIB_SELECT_STRATIFIED_PARAMS] = {
    {"shares", TRIB_OPT_CHOICE, offsetof(struct config, shares), "proportional", 0, 0, shares_choices, NULL,
     "a class's share of the places: as its share of the devices that are there, or the same for each"},
};

/* Who of the class is left in chosen[from ..]? Its place there, or `count`. */
static size_t next_of(const struct trib_select_draw *draw, size_t from, uint32_t group) {
    while (from < draw->count && draw->candidates[draw->chosen[from]].group != group) from++;
    return from;
}

/* The class that lacks most, or, where none lacks a whole place, one drawn by what it lacks; `groups`: none
 * has anybody left. */
static size_t needy(const struct trib_select_draw *draw, const double *lacks, const uint32_t *left) {
    size_t most = draw->groups;
    double sum = 0;
    for (size_t g = 0; g < draw->groups; g++) {
        if (left[g] == 0) continue;
        if (most == draw->groups || lacks[g] > lacks[most]) most = g;
        sum += lacks[g] > 0 ? lacks[g] : 0;
    }
    if (most == draw->groups || lacks[most] >= 1 || !(sum > 0)) return most;
    double at = trib_rng_unit(draw->rng) * sum;
    for (size_t g = 0; g < draw->groups; g++) {
        if (left[g] == 0 || !(lacks[g] > 0)) continue;
        if (at < lacks[g]) return g;
        at -= lacks[g];
    }
    return most;
}

static void count_up(const struct trib_select_draw *draw, bool equal, double *lacks, uint32_t *left) {
    double here = 0, classes = 0, in_all = (double)draw->want;
    memset(left, 0, draw->groups * sizeof *left);
    for (size_t i = 0; i < draw->count; i++) left[draw->candidates[i].group]++;
    for (size_t g = 0; g < draw->groups; g++) {
        here += (double)draw->group_size[g];
        classes += draw->group_size[g] > 0;
        in_all += (double)draw->group_busy[g];
    }
    for (size_t g = 0; g < draw->groups; g++) {
        double share =
            equal ? (double)(draw->group_size[g] > 0) / classes : (double)draw->group_size[g] / here;
        lacks[g] = in_all * share - (double)draw->group_busy[g];
    }
}

static size_t choose(const void *config, const struct trib_select_draw *draw) {
    const struct config *c = config;
    double lacks[TRIB_SELECT_GROUPS] = {0};
    uint32_t left[TRIB_SELECT_GROUPS] = {0};
    TRIB_ASSERT(draw->groups <= TRIB_SELECT_GROUPS);
    count_up(draw, strcmp(c->shares, "equal") == 0, lacks, left);
    trib_select_shuffle(draw);
    for (size_t taken = 0; taken < draw->want; taken++) {
        size_t g = needy(draw, lacks, left), at = next_of(draw, taken, (uint32_t)g);
        uint32_t who = draw->chosen[at];
        draw->chosen[at] = draw->chosen[taken];
        draw->chosen[taken] = who;
        lacks[g] -= 1;
        left[g]--;
    }
    return draw->want;
}

const struct trib_select_kind trib_select_stratified = {
    .name = "stratified", .config_bytes = sizeof(struct config), .choose = choose};
