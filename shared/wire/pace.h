/* How much of a payload may be on its way, decided by its receiver (CREDIT): enough to keep the line busy,
 * and so little that a control message never waits behind a model. Pure bookkeeping of events and their
 * times; no clock is read. One pace for each direction of a connection, over all of its transfers.
 *
 *     window = rate x (round trip + target)                    target = round trip / 3, in 10 .. 50 ms
 *     chunk  = window / 8, in 16 KiB .. 1 MiB
 *
 * (plus what chunks are larger than the smallest; the round trip is that of a smallest chunk, its own time on
 * the line included). rate x round trip fills the line, rate x target is all that ever queues: that is the
 * equilibrium of FAST TCP (Jin, Wei, Low, INFOCOM 2004), kept from the receiver's side as rLEDBAT does (RFC
 * 9840). Before the first queue is seen the window grows by half each round. A round goes from a CREDIT to
 * the first byte beyond what was granted before it; its length is a round trip with the queue in it. The
 * round trip without a queue is measured when nothing was on its way: at the start of each transfer, and
 * every 10 s, when the receiver lets the window run dry for that (the idea of BBR's PROBE_RTT). It is the
 * smaller one of the last two, so that a single delay does not count.
 *
 * Transfers that share a line queue rate x target together, as one would, but each has one chunk at least
 * (two above 256 kbit/s): n transfers make a control message wait for n or 2n x 16 KiB. */
#ifndef TRIB_WIRE_PACE_H
#define TRIB_WIRE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_CHUNK_MIN = 16 * 1024,
    TRIB_CHUNK_MAX = 1024 * 1024,
    TRIB_SLOWEST_RATE = 1000, /* bytes/s that a line is taken to have before anything was measured */
};

struct trib_pace {
    size_t limit;            /* the window's */
    size_t window, chunk;    /* for the next CREDIT */
    size_t have, end, total; /* of the transfer: arrived, granted up to, all of it */
    bool narrow;             /* one chunk at a time, whatever was measured */
    bool settled;            /* a queue was seen: the window follows the formula */
    bool draining;           /* no CREDIT until nothing is on its way */
    uint64_t rate;           /* bytes/s; 0: not known */
    uint64_t last_rate;      /* the newest sample; `rate` is the larger one of two */
    uint64_t trips[2];       /* ms without a queue, newest first, of a smallest chunk; 0: none */
    uint64_t probed_ms;      /* when trips[0] was measured */
    bool round;              /* one is under way: */
    bool clean, probe;       /* nothing was on its way when it began; and that was on purpose */
    uint64_t round_ms;
    size_t round_end;
    bool counting; /* bytes since rate_ms are counted from rate_have */
    uint64_t rate_ms;
    size_t rate_have;
};

/* `limit`: the largest window (at least two of the smallest chunks are taken). `cautious`: begin with one
 * chunk, not with two. */
void trib_pace_init(struct trib_pace *pace, size_t limit, bool cautious);
/* A transfer of `total` bytes begins or goes on at `have`; nothing of it is on its way. What was measured
 * before stays. */
void trib_pace_start(struct trib_pace *pace, size_t have, size_t total);
/* A piece of `bytes` came; everything below `have` is here. */
void trib_pace_arrived(struct trib_pace *pace, uint64_t now_ms, size_t have, size_t bytes);
/* Is CREDIT due? */
bool trib_pace_due(const struct trib_pace *pace);
/* CREDIT is sent now: returns its window, to come in pieces of *chunk. */
size_t trib_pace_grant(struct trib_pace *pace, uint64_t now_ms, size_t *chunk);
/* How long what is on its way may take to arrive, with a margin; 0 when nothing is. */
uint64_t trib_pace_drain_ms(const struct trib_pace *pace);

/* How long `bytes` may take over a line of `rate` (0: not known, TRIB_SLOWEST_RATE), with a margin. */
uint64_t trib_drain_ms(size_t bytes, uint64_t rate);

#endif
