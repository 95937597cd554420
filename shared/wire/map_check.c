#include "shared/wire/fields.h"
#include "shared/wire/scan.h"

/* The values 0xc0..0xdf: what follows the first byte is `count` big-endian bytes that hold a length or a
 * number of items, then `fixed` bytes, then as many as the length says. */
struct form {
    uint8_t kind, count, fixed;
};
static const struct form forms[32] = {
    {TRIB_SCAN_NIL, 0, 0},   {TRIB_SCAN_NEVER, 0, 0}, {TRIB_SCAN_BOOL, 0, 0},  {TRIB_SCAN_BOOL, 0, 0},
    {TRIB_SCAN_BIN, 1, 0},   {TRIB_SCAN_BIN, 2, 0},   {TRIB_SCAN_BIN, 4, 0},   {TRIB_SCAN_EXT, 1, 1},
    {TRIB_SCAN_EXT, 2, 1},   {TRIB_SCAN_EXT, 4, 1},   {TRIB_SCAN_FLOAT, 0, 4}, {TRIB_SCAN_FLOAT, 0, 8},
    {TRIB_SCAN_INT, 0, 1},   {TRIB_SCAN_INT, 0, 2},   {TRIB_SCAN_INT, 0, 4},   {TRIB_SCAN_INT, 0, 8},
    {TRIB_SCAN_INT, 0, 1},   {TRIB_SCAN_INT, 0, 2},   {TRIB_SCAN_INT, 0, 4},   {TRIB_SCAN_INT, 0, 8},
    {TRIB_SCAN_EXT, 0, 2},   {TRIB_SCAN_EXT, 0, 3},   {TRIB_SCAN_EXT, 0, 5},   {TRIB_SCAN_EXT, 0, 9},
    {TRIB_SCAN_EXT, 0, 17},  {TRIB_SCAN_STR, 1, 0},   {TRIB_SCAN_STR, 2, 0},   {TRIB_SCAN_STR, 4, 0},
    {TRIB_SCAN_ARRAY, 2, 0}, {TRIB_SCAN_ARRAY, 4, 0}, {TRIB_SCAN_MAP, 2, 0},   {TRIB_SCAN_MAP, 4, 0},
};

const char *trib_scan_kind_name(enum trib_scan_kind kind) {
    static const char *const names[] = {"nil",    "a boolean",    "an integer", "a float", "a string",
                                        "binary", "an extension", "an array",   "a map",   "0xc1"};
    return names[kind];
}

static size_t left(const struct trib_cursor *cursor) {
    return (size_t)(cursor->end - cursor->at);
}

static size_t big_endian(const uint8_t *bytes, size_t count) {
    size_t value = 0;
    for (size_t i = 0; i < count; i++) value = value << 8 | bytes[i];
    return value;
}

static void set_length(struct trib_head *head, size_t length) {
    if (head->kind == TRIB_SCAN_ARRAY || head->kind == TRIB_SCAN_MAP) {
        head->items = length;
    } else {
        head->body += length;
    }
}

/* Kind, items and body from the bytes at the cursor; what they claim is not checked yet. */
static enum trib_status read_head(struct trib_cursor *cursor, struct trib_head *head,
                                  struct trib_error *err) {
    if (left(cursor) == 0) return trib_fail(err, TRIB_INVALID, "the map ends where a value should be");
    uint8_t first = *cursor->at++;
    *head = (struct trib_head){.kind = TRIB_SCAN_INT};
    if (first < 0x80 || first >= 0xe0) return TRIB_OK;
    if (first < 0xc0) {
        head->kind = first >= 0xa0 ? TRIB_SCAN_STR : first >= 0x90 ? TRIB_SCAN_ARRAY : TRIB_SCAN_MAP;
        set_length(head, first >= 0xa0 ? first & 0x1f : first & 0x0f);
        return TRIB_OK;
    }
    const struct form *form = &forms[first - 0xc0];
    head->kind = (enum trib_scan_kind)form->kind;
    head->body = form->fixed;
    if (form->kind == TRIB_SCAN_NEVER) return trib_fail(err, TRIB_INVALID, "byte 0xc1 is no msgpack value");
    if (left(cursor) < form->count) {
        return trib_fail(err, TRIB_INVALID, "the map ends inside the length of %s",
                         trib_scan_kind_name(head->kind));
    }
    set_length(head, big_endian(cursor->at, form->count));
    cursor->at += form->count;
    return TRIB_OK;
}

enum trib_status trib_scan_head(struct trib_cursor *cursor, struct trib_head *head, struct trib_error *err) {
    enum trib_status status = read_head(cursor, head, err);
    if (status != TRIB_OK) return status;
    if (head->body > left(cursor)) {
        return trib_fail(err, TRIB_INVALID, "%s of %zu bytes, but only %zu bytes follow",
                         trib_scan_kind_name(head->kind), head->body, left(cursor));
    }
    if (head->items > TRIB_MAP_MAX_ITEMS) {
        return trib_fail(err, TRIB_LIMIT, "%s of %zu items, at most %d are allowed",
                         trib_scan_kind_name(head->kind), head->items, TRIB_MAP_MAX_ITEMS);
    }
    size_t values = head->kind == TRIB_SCAN_MAP ? 2 * head->items : head->items;
    if (values > left(cursor)) {
        return trib_fail(err, TRIB_INVALID, "%s of %zu items, but only %zu bytes follow",
                         trib_scan_kind_name(head->kind), head->items, left(cursor));
    }
    return TRIB_OK;
}

enum trib_status trib_scan_skip(struct trib_cursor *cursor, size_t depth, struct trib_error *err) {
    TRIB_ASSERT(depth <= TRIB_MAP_MAX_DEPTH);
    size_t missing[TRIB_MAP_MAX_DEPTH]; /* values still to come in each open container */
    size_t open = 0;
    do {
        struct trib_head head;
        enum trib_status status = trib_scan_head(cursor, &head, err);
        if (status != TRIB_OK) return status;
        cursor->at += head.body;
        if (open > 0) missing[open - 1]--;
        if (head.kind == TRIB_SCAN_ARRAY || head.kind == TRIB_SCAN_MAP) {
            if (open == depth) {
                return trib_fail(err, TRIB_LIMIT, "containers nested deeper than %d", TRIB_MAP_MAX_DEPTH);
            }
            missing[open++] = head.kind == TRIB_SCAN_MAP ? 2 * head.items : head.items;
        }
        while (open > 0 && missing[open - 1] == 0) open--;
    } while (open > 0);
    return TRIB_OK;
}

enum trib_status trib_map_check(const void *data, size_t bytes, struct trib_error *err) {
    if (bytes > TRIB_MAP_MAX_BYTES) {
        return trib_fail(err, TRIB_LIMIT, "a map of %zu bytes, at most %d are allowed", bytes,
                         TRIB_MAP_MAX_BYTES);
    }
    if (bytes == 0) return trib_fail(err, TRIB_INVALID, "no bytes where a map should be");
    struct trib_cursor cursor = {.at = data, .end = (const uint8_t *)data + bytes};
    struct trib_cursor start = cursor;
    struct trib_head head;
    enum trib_status status = trib_scan_head(&start, &head, err);
    if (status != TRIB_OK) return status;
    if (head.kind != TRIB_SCAN_MAP) {
        return trib_fail(err, TRIB_INVALID, "%s where a map should be", trib_scan_kind_name(head.kind));
    }
    status = trib_scan_skip(&cursor, TRIB_MAP_MAX_DEPTH, err);
    if (status != TRIB_OK) return status;
    if (left(&cursor) > 0) {
        return trib_fail(err, TRIB_INVALID, "%zu bytes behind the map, none are allowed", left(&cursor));
    }
    return TRIB_OK;
}
