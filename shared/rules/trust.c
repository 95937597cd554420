/* Trust: a score of each participant, from what its updates looked like, that weighs them, and shuts it out
 * for a while when it has become low. Evidence of an update, in (0, 1], is a product of four terms:
 *   norm       min(1, norm x median / |F|): is it too long?
 *   direction  min(1, 1 + cos(F, last step)): does it point back?
 *   loss       1 + loss x min(0, h): do this participant's updates raise the loss on held-out data?
 *   labels     1 / (1 + labels x KL): does it say that its labels are unlike the others'?
 * h = memory h + (1 - memory) min(1, max(-1, c / median |c|)), c = cos(F, -gradient of the held-out loss): to
 * first order the loss changes by -c |F| |gradient| for a unit of F's weight. One gradient serves all updates
 * until the next version was evaluated. Near the end of a run c is noise for honest ones, of both signs: the
 * mean over its updates counts, not the last one.
 *   trust = memory x trust + (1 - memory) x evidence
 * A participant begins with trust 1 and h 0. An update weighs min(trust, evidence) of what it would. With a
 * trust below the threshold it is refused, and so is what follows for `commits` commits of this node; what is
 * refused is looked at all the same, so that who is sound again by then comes back, and who is not stays out.
 *
 * Norm and direction as evidence: Cao, Fang, Liu, Gong 2021 (FLTrust, arXiv 2012.13995), with the last step
 * in the place of an update on the server's own data, and with a memory. The loss term: Xie, Koyejo, Gupta
 * 2020 (Zeno++, arXiv 1903.07020), whose score is the first-order change of a validation loss by a gradient
 * that is renewed now and then. The memory: Kang et al. 2019 (reputation, IEEE IoT Journal 6(6)), in its
 * simplest form. */
#include "shared/rules/kind.h"

#include <math.h>

struct config {
    double memory, threshold, norm, loss, labels;
    uint64_t commits;
};

static const struct trib_option params[] = {
    {"memory", TRIB_OPT_F64, offsetof(struct config, memory), "0.8", 0, 0.999, NULL, NULL,
     "how much of the score stays with each update; 0: the update alone"},
    {"threshold", TRIB_OPT_F64, offsetof(struct config, threshold), "0.3", 0, 1, NULL, NULL,
     "below this score a participant is shut out; 0: never"},
    {"commits", TRIB_OPT_U64, offsetof(struct config, commits), "20", 1, 1000000, NULL, NULL,
     "for so many commits of this node"},
    {"norm", TRIB_OPT_F64, offsetof(struct config, norm), "2", 1, 1e6, NULL, NULL,
     "an update longer than so many times the median of the last 64 is less trusted, from the fourth on"},
    {"loss", TRIB_OPT_F64, offsetof(struct config, loss), "1", 0, 1, NULL, NULL,
     "how much of the score goes where a participant's updates raise the loss on held-out data; at the "
     "cloud, "
     "which has some; 0: not looked at"},
    {"labels", TRIB_OPT_F64, offsetof(struct config, labels), "0.2", 0, 1000, NULL, NULL,
     "how much labels count that are unlike the others', of devices that tell theirs (train.tell_labels); 0: "
     "not at all"},
};

static const double least = 1e-6; /* a score is never 0: that stands for none */

enum term { NORM, DIRECTION, LOSS, LABELS, TERMS };

const char *trib_rule_term_name(uint32_t term) {
    static const char *const names[TERMS] = {"norm", "direction", "loss", "labels"};
    return term >= 1 && term <= TERMS ? names[term - 1] : "none";
}

/* What a participant's mean effect is with this update; one whose effect is not known leaves it. */
static double effect(const struct config *c, const struct trib_rule_memory *memory,
                     const struct trib_rule_update *update) {
    double before = update->peer != NULL ? (double)update->peer->effect : 0.0;
    double usual = trib_rule_usual_effect(memory);
    bool known = usual > 0.0 && (update->effect < 0.0 || update->effect > 0.0);
    if (!known) return before;
    double now = update->effect / usual;
    return c->memory * before + (1.0 - c->memory) * (now > 1.0 ? 1.0 : now < -1.0 ? -1.0 : now);
}

static double evidence(const struct config *c, const struct trib_rule_memory *memory,
                       const struct trib_rule_update *update, uint32_t *weakest) {
    double terms[TERMS] = {1.0, 1.0, 1.0, 1.0}, e = 1.0;
    double usual = trib_rule_usual_norm(memory), longest = c->norm * usual;
    double harm = effect(c, memory, update);
    if (usual > 0.0 && update->norm > longest) terms[NORM] = longest / update->norm;
    if (update->cosine < 0.0) terms[DIRECTION] = 1.0 + update->cosine;
    if (harm < 0.0) terms[LOSS] = 1.0 + c->loss * harm;
    terms[LABELS] = 1.0 / (1.0 + c->labels * update->divergence);
    *weakest = 0;
    for (uint32_t i = 0; i < TERMS; i++) {
        if (terms[i] < (*weakest == 0 ? 1.0 : terms[*weakest - 1])) *weakest = i + 1;
        e *= terms[i];
    }
    return e > least ? e : least;
}

static double score(const struct config *c, const struct trib_rule_peer *peer, double e) {
    double before = peer != NULL && peer->trust > 0.0f ? (double)peer->trust : 1.0;
    return c->memory * before + (1.0 - c->memory) * e;
}

static double pass(const void *config, const struct trib_rule_memory *memory,
                   const struct trib_rule_update *update, enum trib_rule_refusal *refusal) {
    const struct config *c = config;
    uint32_t weakest;
    double e = evidence(c, memory, update, &weakest), trust = score(c, update->peer, e);
    bool out = update->peer != NULL && update->commits < update->peer->until;
    if (out || trust < c->threshold) *refusal = TRIB_RULE_QUARANTINE;
    return trust < e ? trust : e;
}

static void note(const void *config, const struct trib_rule_memory *memory, struct trib_rule_peer *peer,
                 const struct trib_rule_update *update, enum trib_rule_refusal refusal) {
    const struct config *c = config;
    struct trib_rule_update seen = *update;
    seen.peer = peer;
    uint32_t weakest;
    double e = evidence(c, memory, &seen, &weakest), now = effect(c, memory, &seen);
    if (weakest > 0) peer->weakest = weakest;
    peer->trust = (float)score(c, peer, e);
    peer->effect = (float)now;
    if (refusal == TRIB_RULE_QUARANTINE && peer->until <= update->commits)
        peer->until = update->commits + c->commits;
}

static bool needs_effect(const void *config) {
    return ((const struct config *)config)->loss > 0.0;
}

static const struct trib_rule_gate gate = {
    .needs_step = true, .needs_effect = needs_effect, .pass = pass, .note = note};
static const struct trib_rule_kind kind = {
    .name = "trust", .config_bytes = sizeof(struct config), .gate = &gate};
const struct trib_rule_row trib_rule_trust = {
    .name = "trust",
    .summary =
        "each participant has a score that weighs its updates, and is shut out for a while when it is low",
    .formula =
        "w = w min(t, e); e = min(1, norm * median / |F|) min(1, 1 + cos(F, last step)) (1 + loss min(0, h)) "
        "/ (1 + labels KL); h = memory h + (1 - memory) clamp(c / median |c|), c = cos(F, -gradient of the "
        "held-out loss); t = memory t + (1 - memory) e; refused while t < threshold, and for some commits "
        "after",
    .source =
        "Cao, Fang, Liu, Gong 2021 (FLTrust), arXiv 2012.13995, with the last step for the server's update; "
        "Xie, Koyejo, Gupta 2020 (Zeno++), arXiv 1903.07020, for the loss; and a memory",
    .memory = "two numbers and a commit number for each participant, and its labels where it tells them; the "
              "last step (one model; the cloud has it anyway); at the cloud a gradient (one model)",
    .example = "trust(memory=0.8, threshold=0.3)",
    .stage = TRIB_RULE_GATE,
    TRIB_PARAMS(params),
    .kind = &kind};
