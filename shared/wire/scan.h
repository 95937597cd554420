/* Inside shared/wire: reading msgpack heads from bytes that nobody has checked yet. A head says what a value
 * is and how much belongs to it; nothing is allocated and nothing is read past `end`. */
#ifndef TRIB_WIRE_SCAN_H
#define TRIB_WIRE_SCAN_H

#include "shared/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct trib_cursor {
    const uint8_t *at, *end;
};

enum trib_scan_kind {
    TRIB_SCAN_NIL,
    TRIB_SCAN_BOOL,
    TRIB_SCAN_INT,
    TRIB_SCAN_FLOAT,
    TRIB_SCAN_STR,
    TRIB_SCAN_BIN,
    TRIB_SCAN_EXT,
    TRIB_SCAN_ARRAY,
    TRIB_SCAN_MAP,
    TRIB_SCAN_NEVER /* 0xc1, which msgpack never uses */
};

struct trib_head {
    enum trib_scan_kind kind;
    size_t items; /* ARRAY: elements; MAP: pairs; else 0 */
    size_t body;  /* bytes of this value behind its head; 0 for containers */
};

/* Reads one head and moves behind it, not behind its body. The body, or one byte for each key and element, is
 * there; containers have at most TRIB_MAP_MAX_ITEMS items. */
enum trib_status trib_scan_head(struct trib_cursor *cursor, struct trib_head *head,
                                struct trib_error *err) TRIB_MUST_USE;
/* Moves behind one value with everything inside it; containers may nest `depth` deep (at most
 * TRIB_MAP_MAX_DEPTH). */
enum trib_status trib_scan_skip(struct trib_cursor *cursor, size_t depth,
                                struct trib_error *err) TRIB_MUST_USE;
/* "an array": for messages. */
const char *trib_scan_kind_name(enum trib_scan_kind kind);

#endif
