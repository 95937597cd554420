/* What a participant knows of the line to its parent, and which codec it chose by that (plan: auto(...)). */
#include "shared/participant/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void trib_transfers_note(struct transfers *t, size_t bytes, uint64_t ms) {
    t->kept[t->count % TRANSFERS_KEPT].bytes = bytes;
    t->kept[t->count % TRANSFERS_KEPT].ms = ms > 0 ? ms : 1;
    t->count++;
}

double trib_transfers_rate(const struct transfers *t) {
    const size_t kept = t->count < TRANSFERS_KEPT ? t->count : TRANSFERS_KEPT;
    uint64_t bytes = 0, ms = 0;
    for (size_t i = 0; i < kept; i++) {
        bytes += t->kept[i].bytes;
        ms += t->kept[i].ms;
    }
    return ms > 0 ? (double)bytes * 1000.0 / (double)ms : 0.0;
}

/* Of what waits, in updates: those without a verdict, and at an edge the forwards that are due beyond one. */
static uint64_t waiting(const struct trib_state *s) {
    uint64_t n = 0;
    for (size_t i = 0; i < s->held_count; i++) n += !s->held[i].acknowledged;
    const uint64_t due = s->role == TRIB_ROLE_EDGE ? s->gathered.updates / s->plan.forward_updates : 0;
    return n + (due > 1 ? due - 1 : 0);
}

struct trib_ladder_line trib_participant_line(const struct trib_participant *p) {
    return (struct trib_ladder_line){
        .bytes_per_s = trib_transfers_rate(&p->pushed),
        .waiting = waiting(p->state),
        .before = p->rung_before < trib_ladder_count(p->state->ladder_out) ? p->rung_before : SIZE_MAX};
}

void trib_participant_chose(struct trib_participant *p, const struct trib_ladder_line *line,
                            const struct trib_ladder_choice *choice) {
    struct trib_state *s = p->state;
    if (trib_ladder_count(s->ladder_out) == 1 || choice->rung == p->rung_before) return;
    const struct trib_codec *codec = trib_ladder_codec(s->ladder_out, choice->rung);
    p->rung_before = choice->rung;
    p->chose_number = s->next_number - 1;
    p->chose = choice->reason;
    trib_outbox_event(p->outbox, s, p->now_ms, s->role == TRIB_ROLE_EDGE, TRIB_LOG_INFO, "codec_chosen",
                      "codec=%s reason=%s lost=%.4f bytes_per_s=%.0f waiting=%" PRIu64,
                      trib_codec_spec(codec), trib_choice_name(choice->reason), choice->lost,
                      line->bytes_per_s, line->waiting);
}
