#include "shared/aggregator/internal.h"

#include "shared/base/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    IDLE_MS = 3600 * 1000, /* who is not chosen asks again so seldom; ADVANCE calls it when it is */
    POORLY_MS = 60 * 1000, /* ... or so often, where it may not be chosen for what it reports */
    CALL_AGAIN_MS = 5000,  /* ADVANCE may be lost */
    GATHER_MS = 1000,      /* the first draw waits so long for others than the first device */
    UNTOLD_MS = 60 * 1000, /* choices without rounds wait so long for others to be told with */
    NAMES_BYTES = 1600     /* in one event */
};

static struct choice *choice_of(const struct trib_aggregator *a, size_t peer) {
    return &a->presence[peer].choice;
}

static bool in_rounds(const struct trib_aggregator *a) {
    return trib_rule_synchronous(a->state->rule);
}

bool trib_cohort_on(struct trib_aggregator *a) {
    const struct trib_plan *plan = &a->state->plan;
    if (!a->state->started || (plan->select_count == 0 && !(plan->select_fraction > 0))) return false;
    if (a->cohort.policy != NULL) return true;
    return trib_select_new(plan->select_policy, &a->cohort.policy, NULL) == TRIB_OK;
}

void trib_cohort_release(struct trib_aggregator *a) {
    struct cohort *c = &a->cohort;
    trib_select_free(&c->policy);
    trib_free(c->members);
    trib_free(c->candidates);
    trib_free(c->candidate_peers);
    trib_free(c->chosen);
    trib_free(c->score);
    *c = (struct cohort){0};
}

/* ---- places ---- */

/* How many shall answer. */
static size_t aim(const struct trib_aggregator *a) {
    const struct trib_plan *plan = &a->state->plan;
    if (plan->select_count > 0) return (size_t)plan->select_count;
    double share = floor(plan->select_fraction * (double)a->cohort.here + 0.5);
    return share >= 1 ? (size_t)share : 1;
}

static size_t places(const struct trib_aggregator *a) {
    double over = in_rounds(a) ? a->state->plan.select_over : 1;
    return (size_t)ceil((double)aim(a) * over - 1e-9);
}

static bool has_answered(const struct trib_aggregator *a, size_t peer) {
    return a->state->base_count > 0 && a->state->peers[peer].answered == a->state->published + 1;
}

/* In this round answers have come, or its version is published: who has answered it is done. */
static bool round_is_open(const struct trib_aggregator *a) {
    const struct trib_state *s = a->state;
    return s->pending_count > 0 || (s->base_count > 0 && s->published == s->version);
}

/* Before its version is published nobody has: what is noted then is of the round before. */
static bool has_answered_round(const struct trib_aggregator *a, size_t peer) {
    return in_rounds(a) && round_is_open(a) && has_answered(a, peer);
}

static bool is_drawn(const struct trib_aggregator *a) {
    const struct cohort *c = &a->cohort;
    return c->begun && c->commits == a->state->commits && c->fence == a->state->fence;
}

/* Answers of this round by those who have no place: from before a restart, or late after all. */
static size_t answered_without_place(const struct trib_aggregator *a) {
    size_t count = 0;
    for (size_t i = 0; in_rounds(a) && i < a->state->pending_count; i++) {
        size_t peer = a->state->pending[i].peer;
        bool placed = peer < a->presence_capacity && choice_of(a, peer)->place != 0;
        count += a->state->peers[peer].kind == TRIB_CHILD_DEVICE && !placed;
    }
    return count;
}

static void take_place(struct trib_aggregator *a, uint32_t peer) {
    struct cohort *c = &a->cohort;
    struct choice *choice = choice_of(a, peer);
    c->members[c->member_count++] = peer;
    c->choices++;
    choice->place = (uint32_t)c->member_count;
    choice->times++;
    choice->last_round = c->rounds;
    choice->since_ms = a->now_ms;
    choice->came = false;
}

static void give_up_place(struct trib_aggregator *a, size_t peer) {
    struct cohort *c = &a->cohort;
    struct choice *choice = choice_of(a, peer);
    if (choice->place == 0) return;
    uint32_t last = c->members[--c->member_count];
    c->members[choice->place - 1] = last;
    choice_of(a, last)->place = choice->place;
    choice->place = 0;
}

/* ---- drawing ---- */

static bool grow(void **memory, size_t capacity, size_t item) {
    void *more = trib_realloc(*memory, capacity * item);
    if (more != NULL) *memory = more;
    return more != NULL;
}

/* Room for everybody. */
static bool make_room(struct trib_aggregator *a) {
    struct cohort *c = &a->cohort;
    size_t n = a->presence_capacity;
    if (c->scratch_capacity >= n) return true;
    bool ok = grow((void **)&c->candidates, n, sizeof *c->candidates) &&
              grow((void **)&c->candidate_peers, n, sizeof *c->candidate_peers) &&
              grow((void **)&c->chosen, n, sizeof *c->chosen) &&
              grow((void **)&c->score, n, sizeof *c->score) &&
              grow((void **)&c->members, n, sizeof *c->members);
    if (ok) c->scratch_capacity = n;
    return ok;
}

/* Does it report what the plan asks for? */
static bool is_fit(const struct trib_aggregator *a, const struct choice *choice) {
    const struct trib_plan *plan = &a->state->plan;
    return (plan->select_min_battery == 0 || choice->battery > plan->select_min_battery) &&
           choice->link >= plan->select_min_link;
}

static bool may_be_chosen(const struct trib_aggregator *a, const struct choice *choice) {
    return choice->device && choice->here && is_fit(a, choice);
}

/* Nobody is chosen more than `fairness` times as often as the mean. */
static bool is_fair(const struct trib_aggregator *a, const struct choice *choice) {
    double fairness = a->state->plan.select_fairness;
    return !(fairness > 0) || (double)choice->times <= fairness * a->cohort.mean;
}

/* Is it free to begin now? In a round everybody is who works on nothing; else only who has asked, because
 * then nobody's place stays empty while it makes up its mind. */
static bool is_free(const struct trib_aggregator *a, size_t peer) {
    const struct choice *choice = choice_of(a, peer);
    if (choice->place != 0) return false;
    if (!in_rounds(a)) return choice->idle;
    return choice->given_ms == 0 && !has_answered_round(a, peer);
}

static struct trib_select_candidate candidate(const struct choice *choice) {
    return (struct trib_select_candidate){.known = choice->known,
                                          .weight = choice->weight,
                                          .duration_ms = (double)choice->duration_ms,
                                          .loss = (double)choice->loss,
                                          .norm = (double)choice->norm,
                                          .last_chosen = choice->last_round,
                                          .group = choice->group};
}

/* Looks over who may be chosen at all: *of of them, by group; and how often those were on the mean who are
 * chosen or free. Who has gone on for longer than patience lasts, or never asks, lowers no mean: it would
 * hold up all others. */
static size_t survey(struct trib_aggregator *a, size_t *of) {
    struct cohort *c = &a->cohort;
    size_t known = a->state->peer_count < a->presence_capacity ? a->state->peer_count : a->presence_capacity;
    double times = 0, counted = 0;
    *of = 0;
    memset(c->group_size, 0, sizeof c->group_size);
    memset(c->group_busy, 0, sizeof c->group_busy);
    for (size_t i = 0; i < known; i++) {
        const struct choice *choice = choice_of(a, i);
        if (!may_be_chosen(a, choice)) continue;
        ++*of;
        if (choice->place != 0 || is_free(a, i)) {
            times += (double)choice->times;
            counted++;
        }
        c->group_size[choice->group]++;
        c->group_busy[choice->group] += choice->place != 0;
    }
    c->mean = counted > 0 ? times / counted : 0;
    return known;
}

/* Of those that may be chosen now, who has declined, or who has not. */
static size_t gather_those(struct trib_aggregator *a, size_t known, bool declined) {
    struct cohort *c = &a->cohort;
    size_t count = 0;
    for (size_t i = 0; i < known; i++) {
        const struct choice *choice = choice_of(a, i);
        if (!may_be_chosen(a, choice) || !is_free(a, i) || !is_fair(a, choice) ||
            trib_aggregator_declined(a, i) != declined)
            continue;
        c->candidate_peers[count] = (uint32_t)i;
        c->candidates[count++] = candidate(choice);
    }
    return count;
}

/* All that may be chosen now; *of: all that may be chosen at all. Who was refused for what it sent has
 * another try when nobody else is left, else a policy that prefers it would choose it for ever; and not in a
 * round that has answers, which is smaller then. */
static size_t gather(struct trib_aggregator *a, size_t *of) {
    size_t known = survey(a, of), count = gather_those(a, known, false);
    bool answers = in_rounds(a) && a->state->pending_count > 0;
    return count > 0 || answers ? count : gather_those(a, known, true);
}

/* Devices are there, and none reports what is asked for: somebody should know. */
static void tell_shortage(struct trib_aggregator *a, size_t of) {
    struct cohort *c = &a->cohort;
    bool short_of = of == 0 && c->here > 0;
    if (short_of && !c->short_of)
        trib_outbox_event(a->outbox, a->state, a->now_ms, a->store_retry_ms == 0, TRIB_LOG_WARN, "nobody_fit",
                          "devices=%zu min_battery=%" PRIu64 " min_link=%" PRIu64, c->here,
                          a->state->plan.select_min_battery, a->state->plan.select_min_link);
    c->short_of = short_of;
}

static void call(struct trib_aggregator *a, uint32_t peer) {
    struct choice *choice = choice_of(a, peer);
    uint32_t slot = a->presence[peer].session;
    choice->called_ms = a->now_ms;
    if (slot == 0) return;
    struct session *session = &a->sessions[slot - 1];
    session->waiting = false;
    struct trib_msg msg = {.type = TRIB_ADVANCE};
    trib_msg_set(&msg, SESSION, session, session->number);
    trib_msg_set(&msg, TO_VERSION, to_version, a->state->version);
    (void)trib_aggregator_say(a, session, a->state->position, &msg, NULL);
}

/* Those from `at` on that have room in one event; returns who comes next. */
static size_t put_names(const struct trib_aggregator *a, const uint32_t *peers, size_t count, size_t at,
                        char names[NAMES_BYTES]) {
    size_t used = 0;
    for (names[0] = 0; at < count; at++) {
        const char *name = a->state->peers[peers[at]].identity;
        if (used + strlen(name) + 2 > NAMES_BYTES) break;
        used += (size_t)snprintf(names + used, NAMES_BYTES - used, "%s%s", used > 0 ? "," : "", name);
    }
    return at;
}

/* Rows with the names of all, each with as many as there is room for. */
static void tell_names(struct trib_aggregator *a, const uint32_t *peers, size_t count, size_t of) {
    char names[NAMES_BYTES], which[48] = "", work[64] = "";
    size_t parts = 0, at = 0;
    for (; at < count; parts++) at = put_names(a, peers, count, at, names);
    if (!in_rounds(a))
        (void)snprintf(work, sizeof work, " at_work=%zu total=%" PRIu64, a->cohort.member_count,
                       a->cohort.choices);
    at = 0;
    for (size_t part = 1; part <= parts; part++) {
        at = put_names(a, peers, count, at, names);
        if (parts > 1) (void)snprintf(which, sizeof which, " part=%zu/%zu", part, parts);
        trib_outbox_event(a->outbox, a->state, a->now_ms, a->store_retry_ms == 0, TRIB_LOG_INFO, "cohort",
                          "policy=%s version=%" PRIu64 " chosen=%zu of=%zu%s%s names=%s",
                          trib_select_name(a->cohort.policy), a->state->version, count, of, work, which,
                          names);
    }
}

void trib_cohort_tell(struct trib_aggregator *a) {
    struct cohort *c = &a->cohort;
    if (c->untold_count > 0) tell_names(a, c->untold, c->untold_count, c->untold_of);
    c->untold_count = 0;
}

/* Without rounds there is a row for many choices. */
static void note_choice(struct trib_aggregator *a, uint32_t peer, size_t of) {
    struct cohort *c = &a->cohort;
    if (c->untold_count == 0) c->untold_ms = a->now_ms;
    c->untold[c->untold_count++] = peer;
    c->untold_of = of;
    if (c->untold_count == TRIB_COHORT_UNTOLD) trib_cohort_tell(a);
}

/* One draw for at most `want` places; who is `asking` just now needs no call. *all: everybody was chosen. */
static size_t draw_places(struct trib_aggregator *a, size_t want, size_t asking, size_t *of, bool *all) {
    struct cohort *c = &a->cohort;
    struct trib_select_draw draw = {.candidates = c->candidates,
                                    .count = gather(a, of),
                                    .want = want,
                                    .busy = c->member_count,
                                    .round = c->rounds,
                                    .group_size = c->group_size,
                                    .group_busy = c->group_busy,
                                    .groups = c->group_count,
                                    .rng = &a->rng,
                                    .memory = &c->memory,
                                    .score = c->score,
                                    .chosen = c->chosen};
    size_t chosen = trib_select_choose(c->policy, &draw);
    for (size_t i = 0; i < chosen; i++) {
        uint32_t peer = c->candidate_peers[c->chosen[i]];
        uint32_t slot = a->presence[peer].session;
        take_place(a, peer);
        if (!in_rounds(a)) note_choice(a, peer, *of);
        if (peer != asking && slot != 0 && a->sessions[slot - 1].waiting) call(a, peer);
    }
    *all = chosen > 0 && chosen == draw.count;
    return chosen;
}

/* Fills the places that are free, as far as there is somebody for them. */
static void fill_places(struct trib_aggregator *a, size_t asking) {
    struct cohort *c = &a->cohort;
    if (a->state->stopped || a->leaving || (in_rounds(a) && !is_drawn(a))) return;
    if (in_rounds(a) && a->now_ms - c->here_ms < GATHER_MS) return;
    size_t taken = c->member_count + answered_without_place(a), want = places(a), of = 0;
    size_t first = c->member_count, chosen = 0;
    bool all = true;
    if (taken >= want || !make_room(a)) return;
    if (!in_rounds(a)) c->rounds = 1 + c->choices / want;
    while (all && taken + chosen < want) /* the mean is higher then: others may have become fair */
        chosen += draw_places(a, want - taken - chosen, asking, &of, &all);
    tell_shortage(a, of);
    if (chosen > 0 && in_rounds(a)) tell_names(a, c->members + first, chosen, of);
}

void trib_cohort_begin(struct trib_aggregator *a) {
    if (!trib_cohort_on(a) || !in_rounds(a) || is_drawn(a)) return;
    struct cohort *c = &a->cohort;
    while (c->member_count > 0) give_up_place(a, c->members[c->member_count - 1]);
    c->begun = true;
    c->commits = a->state->commits;
    c->fence = a->state->fence;
    c->rounds++;
    fill_places(a, SIZE_MAX);
}

/* ---- what children do ---- */

static bool concerns(struct trib_aggregator *a, const struct session *session) {
    return trib_cohort_on(a) && session->peer < a->presence_capacity &&
           trib_session_peer(a, session)->kind == TRIB_CHILD_DEVICE;
}

void trib_cohort_here(struct trib_aggregator *a, const struct session *session, bool here) {
    if (session->peer >= a->presence_capacity) return;
    struct choice *choice = choice_of(a, session->peer);
    if (choice->here == here) return;
    choice->here = here;
    if (!choice->device) return;
    if (here && a->cohort.here == 0) a->cohort.here_ms = a->now_ms;
    a->cohort.here += here ? 1 : (size_t)-1;
}

static uint16_t group_of(struct cohort *c, const struct trib_text *name) {
    if (c->group_count == 0) c->group_count = 1; /* those who say nothing */
    for (size_t g = 0; g < c->group_count; g++)
        if (strlen(c->groups[g]) == name->size && memcmp(c->groups[g], name->data, name->size) == 0)
            return (uint16_t)g;
    if (c->group_count == TRIB_SELECT_GROUPS) return TRIB_SELECT_GROUPS - 1;
    memcpy(c->groups[c->group_count], name->data, name->size);
    return (uint16_t)c->group_count++;
}

/* What HELLO or PULL says of the device. */
static void note_report(struct trib_aggregator *a, struct choice *choice, const struct trib_msg *msg) {
    if (a->cohort.group_count == 0) (void)group_of(&a->cohort, &(struct trib_text){"", 0});
    if (trib_msg_has(msg, DEVICE_CLASS)) choice->group = group_of(&a->cohort, &msg->device_class);
    if (trib_msg_has(msg, BATTERY)) choice->battery = (uint8_t)(msg->battery + 1);
    if (trib_msg_has(msg, LINK)) choice->link = msg->link;
}

void trib_cohort_joined(struct trib_aggregator *a, const struct session *session,
                        const struct trib_msg *hello, bool again) {
    struct choice *choice = choice_of(a, session->peer);
    choice->device = trib_session_peer(a, session)->kind == TRIB_CHILD_DEVICE;
    if (!again) { /* it has lost what it worked on */
        give_up_place(a, session->peer);
        choice->given_ms = 0;
    }
    choice->weight = trib_session_peer(a, session)->weight;
    choice->idle = false; /* it asks again in this session */
    note_report(a, choice, hello);
    if (choice->last_round == 0 && choice->times == 0) choice->times = (uint32_t)a->cohort.mean;
    trib_cohort_here(a, session, true);
}

void trib_cohort_left(struct trib_aggregator *a, const struct session *session) {
    trib_cohort_here(a, session, false);
    if (!concerns(a, session)) return;
    choice_of(a, session->peer)->given_ms = 0;
    if (choice_of(a, session->peer)->place == 0) return;
    give_up_place(a, session->peer);
    fill_places(a, SIZE_MAX);
}

bool trib_cohort_asked(struct trib_aggregator *a, struct session *session, const struct trib_msg *pull,
                       uint64_t *wait_ms) {
    if (!concerns(a, session)) return true;
    struct choice *choice = choice_of(a, session->peer);
    note_report(a, choice, pull);
    *wait_ms = may_be_chosen(a, choice) ? IDLE_MS : POORLY_MS;
    if (choice->place == 0) {
        choice->given_ms = 0; /* else it would not ask */
        choice->idle = true;
        if (!in_rounds(a)) fill_places(a, session->peer);
    }
    if (choice->place == 0) return false;
    if (in_rounds(a) && (!is_drawn(a) || has_answered_round(a, session->peer))) return false;
    choice->came = true;
    return true;
}

void trib_cohort_given(struct trib_aggregator *a, const struct session *session) {
    if (!concerns(a, session)) return;
    struct choice *choice = choice_of(a, session->peer);
    choice->idle = false;
    if (choice->given_ms == 0) choice->given_ms = a->now_ms;
}

void trib_cohort_answered(struct trib_aggregator *a, const struct session *session, bool accepted, float loss,
                          float norm) {
    if (!concerns(a, session)) return;
    struct choice *choice = choice_of(a, session->peer);
    if (choice->given_ms != 0) choice->duration_ms = (float)(a->now_ms - choice->given_ms);
    choice->given_ms = 0;
    choice->known = true;
    choice->weight = trib_session_peer(a, session)->weight;
    choice->loss = isfinite(loss) ? fabsf(loss) : 0;
    if (norm > 0) choice->norm = norm;
    if (in_rounds(a) && accepted) return; /* its place is filled */
    give_up_place(a, session->peer);
    fill_places(a, SIZE_MAX);
}

bool trib_cohort_skips(struct trib_aggregator *a, const struct session *session) {
    return concerns(a, session) && choice_of(a, session->peer)->place == 0;
}

/* ---- now and then ---- */

static bool is_overdue(const struct trib_aggregator *a, const struct choice *choice) {
    uint64_t patience = a->state->plan.select_patience_ms;
    return patience > 0 && a->now_ms - choice->since_ms > patience;
}

void trib_cohort_look(struct trib_aggregator *a) {
    struct cohort *c = &a->cohort;
    if (c->up_ms == 0) c->up_ms = a->now_ms;
    if (!trib_cohort_on(a)) return;
    if (c->untold_count > 0 && a->now_ms - c->untold_ms >= UNTOLD_MS) trib_cohort_tell(a);
    for (size_t i = c->member_count; i-- > 0;) { /* from the end: the last takes the place of who goes */
        uint32_t peer = c->members[i];
        struct choice *choice = choice_of(a, peer);
        if (has_answered_round(a, peer)) continue;
        if (is_overdue(a, choice))
            give_up_place(a, peer);
        else if (!choice->came && a->now_ms - choice->called_ms >= CALL_AGAIN_MS)
            call(a, peer);
    }
    fill_places(a, SIZE_MAX);
}

/* Is it too early to say who takes part? */
static bool is_gathering(const struct trib_aggregator *a) {
    const struct cohort *c = &a->cohort;
    if (c->here == 0) return a->now_ms - c->up_ms < 2 * a->state->plan.heartbeat_ms;
    return !is_drawn(a) || a->now_ms - c->here_ms < GATHER_MS;
}

/* Is its answer to this version to come? */
static bool owes(const struct trib_aggregator *a, size_t peer) {
    return choice_of(a, peer)->here && !has_answered(a, peer) && !trib_aggregator_declined(a, peer);
}

uint64_t trib_cohort_expected(const struct trib_aggregator *a, uint64_t *wake_ms) {
    uint64_t count = 0;
    if (is_gathering(a)) {
        count++;
        *wake_ms = a->now_ms + GATHER_MS;
    }
    for (size_t i = 0; i < a->presence_capacity; i++) {
        const struct choice *choice = choice_of(a, i);
        if ((!choice->device || choice->place != 0) && owes(a, i)) count++;
    }
    return count;
}

bool trib_cohort_enough(const struct trib_aggregator *a) {
    const struct trib_state *s = a->state;
    size_t answers = 0;
    for (size_t i = 0; i < s->pending_count; i++)
        answers += s->peers[s->pending[i].peer].kind == TRIB_CHILD_DEVICE;
    if (answers < aim(a)) return false;
    for (size_t i = 0; i < a->presence_capacity; i++) /* edges are waited for */
        if (!choice_of(a, i)->device && owes(a, i)) return false;
    return true;
}

bool trib_cohort_wants(struct trib_aggregator *a, size_t peer) {
    if (!trib_cohort_on(a) || a->state->peers[peer].kind != TRIB_CHILD_DEVICE) return true;
    return peer < a->presence_capacity && is_drawn(a) && choice_of(a, peer)->last_round == a->cohort.rounds;
}
