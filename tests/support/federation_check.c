/* What can be read off the states of a federation. */
#include "tests/support/federation_internal.h"

#include "shared/model/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

size_t federation_node_count(const struct federation *fed) {
    return fed->node_count;
}

size_t federation_device(const struct federation *fed, size_t device) {
    return 1 + fed->options.edges + device;
}

size_t federation_parent(const struct federation *fed, size_t node) {
    return fed->nodes[node].parent;
}

const char *federation_name(const struct federation *fed, size_t node) {
    return fed->nodes[node].name;
}

enum trib_role federation_role(const struct federation *fed, size_t node) {
    return fed->nodes[node].role;
}

bool federation_up(const struct federation *fed, size_t node) {
    return fed->nodes[node].state != NULL;
}

const struct trib_state *federation_state(const struct federation *fed, size_t node) {
    return fed->nodes[node].state;
}

struct trib_aggregator *federation_aggregator(struct federation *fed, size_t node) {
    return fed->nodes[node].aggregator;
}

struct trib_participant *federation_participant(struct federation *fed, size_t node) {
    return fed->nodes[node].participant;
}

struct federation_link *federation_link(struct federation *fed, size_t node) {
    return &fed->nodes[node].link;
}

uint64_t federation_now(const struct federation *fed) {
    return fed->now_ms;
}

uint64_t federation_node_now(const struct federation *fed, size_t node) {
    return (uint64_t)((int64_t)fed->now_ms + fed->nodes[node].skew_ms);
}

uint64_t federation_events(const struct federation *fed) {
    return fed->events;
}

uint64_t federation_committed(const struct federation *fed, size_t node) {
    return fed->nodes[node].committed;
}

bool federation_writing(const struct federation *fed, size_t node) {
    return fed->nodes[node].group.count > 0;
}

uint64_t federation_trained(const struct federation *fed, size_t device) {
    return fed->nodes[federation_device(fed, device)].trained;
}

void federation_digest(struct federation *fed, uint8_t out[TRIB_DIGEST_BYTES]) {
    memset(out, 0, TRIB_DIGEST_BYTES);
    for (size_t i = 0; i < fed->node_count; i++) {
        uint8_t one[TRIB_DIGEST_BYTES];
        federation_must(trib_state_digest(fed->nodes[i].state, one) == TRIB_OK, "no digest");
        trib_digest_chain(out, one, sizeof one, out);
    }
}

static void check_conservation(const struct node *node, const char *where) {
    const struct trib_state *s = node->state;
    if (s == NULL || node->role == TRIB_ROLE_DEVICE || !s->started) return;
    uint64_t pending = 0;
    for (size_t i = 0; i < s->pending_count; i++) pending += s->pending[i].samples;
    uint64_t there = s->role == TRIB_ROLE_CLOUD ? s->total.committed_samples + pending
                                                : s->gathered.samples + pending + s->total.forwarded_samples;
    /* void_samples counts refused forwards too, which are in forwarded_samples already */
    bool good = s->role == TRIB_ROLE_CLOUD ? there + s->total.void_samples == s->total.accepted_samples
                                           : there + s->total.void_samples >= s->total.accepted_samples &&
                                                 there <= s->total.accepted_samples;
    if (!good) {
        (void)fprintf(stderr, "%s: %s: accepted %" PRIu64 " samples, but %" PRIu64 " are there\n", where,
                      node->name, s->total.accepted_samples, there);
        federation_must(false, "conservation of samples");
    }
}

/* P of the parent at a version is what a child holds of that version. */
static void check_held(struct federation *fed, const struct node *child, const char *where) {
    const struct trib_state *c = child->state, *p = fed->nodes[child->parent].state;
    if (c == NULL || p == NULL || !c->started || !c->has_model || c->parent_incarnation != p->incarnation)
        return;
    const struct trib_base *base = trib_state_base(p, c->parent_version);
    if (base == NULL || c->parent_version != p->published) return;
    bool same = memcmp(base->chain, c->parent_chain, sizeof base->chain) == 0 &&
                memcmp(c->G, p->P, trib_state_parameters(c) * sizeof *c->G) == 0;
    if (!same) {
        (void)fprintf(stderr, "%s: %s differs from its parent at version %" PRIu64 "\n", where, child->name,
                      c->parent_version);
        federation_must(false, "P equal at parent and child");
    }
}

void federation_check(struct federation *fed, const char *where) {
    for (size_t i = 0; i < fed->node_count; i++) {
        check_conservation(&fed->nodes[i], where);
        if (i != FED_CLOUD) check_held(fed, &fed->nodes[i], where);
    }
}
