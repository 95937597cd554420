/* The codecs of encodings that stand one behind the other, as one text: `rotate+1bit;;int8`. A spec for each,
 * between `;`; an empty one is the one before, and the last is that of all that follow. So a plain spec is
 * that of all of them. */
#ifndef TRIB_CODEC_SPECS_H
#define TRIB_CODEC_SPECS_H

#include "shared/codec/codec.h"

enum { TRIB_SPECS_MAX = 512 }; /* bytes of such a text */

/* Writing one, without an end mark. */
struct trib_specs_text {
    const char *last; /* the spec before; borrowed */
    size_t size;
    char data[TRIB_SPECS_MAX];
};
/* The spec of one more; false: there is no room for it. */
bool trib_specs_add(struct trib_specs_text *text, const char *spec) TRIB_MUST_USE;

/* Reading one. */
struct trib_specs {
    const struct trib_schema *schema;
    const char *left;
    size_t bytes;
    const struct trib_codec *codec; /* the one before */
    struct trib_codec *own;
};
/* text and schema are borrowed until the end; `fallback` is the codec while the text names none. */
void trib_specs_start(struct trib_specs *specs, const char *text, size_t bytes,
                      const struct trib_codec *fallback, const struct trib_schema *schema);
/* The codec of the next one, until the one after it; the failures are those of trib_codec_new_for. */
enum trib_status trib_specs_next(struct trib_specs *specs, const struct trib_codec **codec,
                                 struct trib_error *err) TRIB_MUST_USE;
/* Whether it names no more than were asked for. */
bool trib_specs_end(struct trib_specs *specs);

#endif
