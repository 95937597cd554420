/* What the files of the option module share; nobody else includes it. */
#ifndef TRIB_BASE_OPTION_VALUE_H
#define TRIB_BASE_OPTION_VALUE_H

#include "shared/base/option.h"

/* Where a value was found, for messages: "FILE:LINE: ", "--set: ", "default: ". */
struct trib_place {
    const char *origin;
    size_t line; /* 0: none */
};

enum { TRIB_OPTION_KEY_MAX = 127, TRIB_PLACE_TEXT = 200, TRIB_FOUND_TEXT = 96 };

/* "FILE:LINE: ", or "ORIGIN: ". Returns out. */
const char *trib_place_text(char out[TRIB_PLACE_TEXT], const struct trib_place *place);
/* What was found, quoted and cut. Returns out. */
const char *trib_found_text(char out[TRIB_FOUND_TEXT], const char *text, size_t bytes);

/* The option of this full name, or NULL. */
const struct trib_option *trib_option_find(const struct trib_option *table, size_t count, const char *name,
                                           size_t bytes);
/* Is this the name of a group, the "plan.codec" of "plan.codec.up"? */
bool trib_option_group(const struct trib_option *table, size_t count, const char *name, size_t bytes);
/* Refuses a key, naming the nearest known one. */
enum trib_status trib_option_unknown(const struct trib_option *table, size_t count, const char *name,
                                     size_t bytes, const struct trib_place *place, struct trib_error *err);

/* Levenshtein's distance; SIZE_MAX where a word is longer than 64 bytes. */
size_t trib_edit_distance(const char *a, const char *b);
/* Is a name at this distance from a word worth naming to who wrote the word? */
bool trib_is_near(size_t distance, const char *word, const char *name);

/* Reads one value, as text, into its field. A list is read as `[a, b]` or `a, b`, split at the commas outside
 * parentheses, items in double quotes where they hold other commas. */
enum trib_status trib_option_read(const struct trib_option *option, void *config, const char *text,
                                  size_t bytes, const struct trib_place *place,
                                  struct trib_error *err) TRIB_MUST_USE;
/* Adds one item of a list, already taken apart; the first one replaces what is there. */
enum trib_status trib_option_read_item(const struct trib_option *option, void *config, bool first,
                                       const char *text, size_t bytes, const struct trib_place *place,
                                       struct trib_error *err) TRIB_MUST_USE;
/* "a number from 0 to 10", "a duration such as 250ms, ...": what an option takes. */
void trib_option_expected(const struct trib_option *option, struct trib_buf *out);

static inline void *trib_option_field(const struct trib_option *option, void *config) {
    return (char *)config + option->offset;
}
static inline const void *trib_option_field_const(const struct trib_option *option, const void *config) {
    return (const char *)config + option->offset;
}
/* Where the first comma outside parentheses and double quotes is, or `bytes`; SIZE_MAX if they do not close.
 */
size_t trib_spec_item(const char *text, size_t bytes);
/* Drops spaces at both ends. */
void trib_spec_trim(const char **text, size_t *bytes);

#endif
