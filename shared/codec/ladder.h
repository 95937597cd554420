/* A codec that is chosen anew for each update or publication: auto(min=rotate+1bit, max=int8). Between the
 * two bounds stand well-tried specs of this folder, from few bytes to many, the ladder; a plain spec is a
 * ladder of one rung.
 *
 * For an update the rungs are tried from the lowest on. One is admitted if its bytes pass the line within
 * `seconds`, at the rate that was measured and with those that wait before it. One keeps enough if of the
 * vector's energy (its squared norm) no more than `loss` is lost; that is measured, by decoding what was
 * encoded. The first that is admitted and keeps enough is taken; if none does, of those admitted the one that
 * loses least; if none is admitted, the lowest. While nothing was measured the lowest alone is admitted.
 *
 * So that it does not swing: the rung of the update before is admitted at 4/3 of the time and keeps enough
 * with 5/4 of the loss; a higher one only at 3/4 of the time, a lower one only with 4/5 of the loss.
 *
 * The choice is a function of these numbers and the vector alone. What a codec loses stays with the sender
 * whichever it was.
 *
 * PUSH names a rung by its place, so what stands between the bounds, and in which order, is a matter of the
 * protocol (docs/protocol.md, "Codecs"): another list is another version of it. */
#ifndef TRIB_CODEC_LADDER_H
#define TRIB_CODEC_LADDER_H

#include "shared/codec/codec.h"

enum { TRIB_LADDER_MAX = 12 };

struct trib_ladder; /* immutable */

/* `schema` as for trib_codec_new_for. */
enum trib_status trib_ladder_new(const char *spec, const struct trib_schema *schema, struct trib_ladder **out,
                                 struct trib_error *err) TRIB_MUST_USE;
void trib_ladder_free(struct trib_ladder **ladder);
/* For option tables: a codec's spec or auto(...). */
enum trib_status trib_ladder_check_spec(const char *spec, struct trib_error *err) TRIB_MUST_USE;

size_t trib_ladder_count(const struct trib_ladder *ladder);
const struct trib_codec *trib_ladder_codec(const struct trib_ladder *ladder, size_t rung);
/* The highest: no encoding is larger than its. */
const struct trib_codec *trib_ladder_top(const struct trib_ladder *ladder);
/* The rung with this canonical spec, or SIZE_MAX. */
size_t trib_ladder_find(const struct trib_ladder *ladder, const char *spec, size_t bytes);

/* What is known of the line. */
struct trib_ladder_line {
    double bytes_per_s; /* 0: nothing was measured */
    uint64_t waiting;   /* updates that wait before this one */
    size_t before;      /* rung of the update before; SIZE_MAX: there was none */
};

/* Why it was that one; PUSH has these numbers (docs/protocol.md, "Codes"). */
enum trib_choice {
    TRIB_CHOICE_ONLY,      /* one rung */
    TRIB_CHOICE_ENERGY,    /* it keeps enough */
    TRIB_CHOICE_STEADY,    /* it keeps enough, being what it was before */
    TRIB_CHOICE_BANDWIDTH, /* what keeps the next rung away: from here on */
    TRIB_CHOICE_QUEUE,
    TRIB_CHOICE_UNMEASURED,
    TRIB_CHOICE_MAX,
    TRIB_CHOICE_COUNT
};
const char *trib_choice_name(uint64_t choice); /* "energy"; "?" if unknown */

struct trib_ladder_choice {
    size_t rung;
    double lost; /* of the energy, 0 to 1; 0 with one rung, where it is not measured */
    enum trib_choice reason;
};

/* Chooses and encodes; the failures are those of trib_codec_encode. */
enum trib_status trib_ladder_encode(const struct trib_ladder *ladder, const struct trib_ladder_line *line,
                                    const struct trib_source *source, struct trib_blob **out,
                                    struct trib_ladder_choice *choice, struct trib_error *err) TRIB_MUST_USE;

/* The parameters of auto, for --help and docs. */
const struct trib_option *trib_ladder_params(size_t *count);

#endif
