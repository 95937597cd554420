/* Field tables: a plain struct as a msgpack map with integer keys, and back. Messages (shared/wire/message.h)
 * and journal records (shared/state/record.h) are both described this way: a field is one row.
 *
 * Decoding trusts nothing: before anything is taken an iterative scan checks that they are one map
 * with at most TRIB_MAP_MAX_ITEMS entries a container, depth at most TRIB_MAP_MAX_DEPTH, counts that the
 * bytes present can hold, and nothing behind it. Unknown keys are skipped; a known key of the wrong type or
 * over its limit is refused. */
#ifndef TRIB_WIRE_FIELDS_H
#define TRIB_WIRE_FIELDS_H

#include "shared/base/buf.h"
#include "shared/base/error.h"

#include <stddef.h>
#include <stdint.h>

enum {
    TRIB_MAP_MAX_BYTES = 64 * 1024,
    TRIB_MAP_MAX_ITEMS = 256,
    TRIB_MAP_MAX_DEPTH = 8,
    TRIB_U64S_MAX = 128
};

/* Bytes borrowed from the message they came in (or from whoever encodes). */
struct trib_text {
    const char *data; /* NULL: empty; not 0-terminated */
    size_t size;
};
struct trib_u64s {
    size_t count;
    uint64_t items[TRIB_U64S_MAX];
};

enum trib_field_type {
    TRIB_FIELD_U64,  /* uint64_t; max is the largest value allowed (0: any) */
    TRIB_FIELD_F32,  /* float; NaN and infinity are refused; integers and doubles are taken too; max 1: whole
                        numbers from 0 to 2^24 go as integers, which are shorter */
    TRIB_FIELD_TEXT, /* struct trib_text; msgpack str of valid UTF-8 without control characters but \n; max
                        bytes */
    TRIB_FIELD_BIN,  /* uint8_t[max]; msgpack bin of exactly max bytes */
    TRIB_FIELD_U64S  /* struct trib_u64s; msgpack array of unsigned integers, at most max of them */
};

struct trib_field {
    uint8_t key;     /* 1..63: its number on the wire, and its bit in `present` */
    uint8_t type;    /* enum trib_field_type */
    uint16_t offset; /* in the struct */
    uint64_t max;
    const char *name; /* as docs and errors call it */
};
#define TRIB_HAS(present, key) (((present) >> (key)) & 1u)

/* Appends the map of the fields whose bit is in `present`, in order of their keys. What is written always
 * decodes, so that nothing unreadable gets into a journal: a NaN is left out, infinity becomes FLT_MAX, and
 * bytes that may not stand in a text become question marks. Values over a field's max are assertions. */
void trib_fields_encode(const struct trib_field *table, size_t count, const void *object, uint64_t present,
                        struct trib_buf *out);
/* Reads one map that fills all of data. Sets *present to what was there. Texts are borrowed from data. */
enum trib_status trib_fields_decode(const struct trib_field *table, size_t count, const void *data,
                                    size_t bytes, void *object, uint64_t *present,
                                    struct trib_error *err) TRIB_MUST_USE;
/* The scan alone (also a fuzz target). */
enum trib_status trib_map_check(const void *data, size_t bytes, struct trib_error *err) TRIB_MUST_USE;

#endif
