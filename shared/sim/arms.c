/* Arms: variants of one scenario, run and compared side by side. */
#include "shared/sim/arms.h"

#include "shared/base/alloc.h"
#include "shared/sim/scenario.h"

#include <string.h>

enum { NAME_BYTES = 40, ASSIGNMENT_BYTES = 2000 };

static const char name_letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";

/* How long the name at the beginning of an item is; 0: there is none. */
static size_t name_bytes(const char *item) {
    size_t bytes = strspn(item, name_letters);
    return bytes <= NAME_BYTES && (item[bytes] == ':' || item[bytes] == 0 || item[bytes] == '\n') ? bytes : 0;
}

enum trib_status trib_scenario_check_arm(const char *value, struct trib_error *err) {
    size_t name = name_bytes(value);
    if (name > 0 && (value[name] == 0 || strchr(value + name, '=') != NULL)) return TRIB_OK;
    return trib_fail(
        err, TRIB_INVALID,
        "found \"%.100s\", expected \"NAME: KEY=VALUE; KEY=VALUE\", the name of at most %d of a-z, 0-9, "
        "_ and -",
        value, NAME_BYTES);
}

enum trib_status trib_scenario_check_measure(const char *value, struct trib_error *err) {
    size_t name = name_bytes(value);
    if (name > 0 && value[name] == ':' && value[name + 1 + strspn(value + name + 1, " ")] != 0)
        return TRIB_OK;
    return trib_fail(err, TRIB_INVALID,
                     "found \"%.100s\", expected \"NAME: EXPRESSION; unit U; published P; at least B\"",
                     value);
}

/* Sets one "KEY=VALUE", which has spaces around it perhaps. */
static enum trib_status assign(struct trib_scenario *s, const char *text, size_t bytes,
                               struct trib_error *err) {
    char assignment[ASSIGNMENT_BYTES];
    while (bytes > 0 && *text == ' ') text++, bytes--;
    while (bytes > 0 && text[bytes - 1] == ' ') bytes--;
    if (bytes == 0) return TRIB_OK;
    if (bytes >= sizeof assignment)
        return trib_fail(err, TRIB_LIMIT, "found %zu bytes, expected less than %zu for a setting", bytes,
                         sizeof assignment);
    memcpy(assignment, text, bytes);
    assignment[bytes] = 0;
    return trib_options_set(trib_scenario_options, trib_scenario_option_count, s, assignment, err);
}

static enum trib_status assign_all(struct trib_scenario *s, const char *text, const char *end,
                                   struct trib_error *err) {
    enum trib_status status = TRIB_OK;
    while (status == TRIB_OK && text < end) {
        const char *semicolon = memchr(text, ';', (size_t)(end - text));
        const char *to = semicolon != NULL ? semicolon : end;
        status = assign(s, text, (size_t)(to - text), err);
        text = to + 1;
    }
    return status;
}

/* The names, for a message. */
static enum trib_status not_there(const char *arms, const char *name, struct trib_error *err) {
    char names[300] = "";
    size_t used = 0;
    for (const char *at = arms; *at != 0; at += strcspn(at, "\n"), at += *at == '\n') {
        size_t bytes = name_bytes(at);
        if (used + bytes + 3 > sizeof names) break;
        if (used > 0) memcpy(names + used, ", ", 2), used += 2;
        memcpy(names + used, at, bytes);
        used += bytes;
    }
    names[used] = 0;
    return trib_fail(err, TRIB_INVALID,
                     used > 0 ? "there is no arm \"%.60s\", but %s"
                              : "found the arm \"%.60s\", and arms is empty%s",
                     name, names);
}

enum trib_status trib_scenario_arm(struct trib_scenario *s, const char *name, struct trib_error *err) {
    size_t bytes = strlen(name);
    for (const char *at = s->arms; *at != 0; at += strcspn(at, "\n"), at += *at == '\n') {
        if (bytes == 0 || name_bytes(at) != bytes || strncmp(at, name, bytes) != 0) continue;
        const char *end = at + strcspn(at, "\n");
        char *copy = trib_strdup(name);
        if (copy == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for a name");
        trib_free(s->arm);
        s->arm = copy;
        struct trib_error inner;
        enum trib_status status = assign_all(s, at + bytes + (at[bytes] == ':'), end, &inner);
        return status == TRIB_OK ? status : trib_fail(err, status, "arm %s: %s", name, inner.text);
    }
    return not_there(s->arms, name, err);
}
