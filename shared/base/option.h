/* Options: one table describes a config struct: names, types, defaults, ranges, help. The same table reads
 * YAML, serves `--set a.b=c`, `--dump-config`, `--help` and docs/config.md, and checks the parameters of
 * rules and codecs.
 *
 * A struct of options is plain memory; strings in it are owned by it (trib_options_release). Dotted names are
 * nested maps in YAML. */
#ifndef TRIB_BASE_OPTION_H
#define TRIB_BASE_OPTION_H

#include "shared/base/buf.h"
#include "shared/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum trib_option_type {
    TRIB_OPT_BOOL,   /* bool */
    TRIB_OPT_U64,    /* uint64_t, within min..max */
    TRIB_OPT_F64,    /* double, within min..max */
    TRIB_OPT_BYTES,  /* uint64_t; 64KiB, 8MiB, 1GB or a plain number */
    TRIB_OPT_MS,     /* uint64_t milliseconds; 250ms, 30s, 5m, 2h; a unit is required unless 0 */
    TRIB_OPT_STRING, /* char *, never NULL ("" by default) */
    TRIB_OPT_CHOICE, /* char *; one of choices */
    TRIB_OPT_LIST    /* char *: a list of strings, kept as lines with \n between them; YAML: a sequence */
};

struct trib_option {
    const char *name; /* "plan.codec.up" */
    enum trib_option_type type;
    size_t offset;              /* of the field in the struct */
    const char *fallback;       /* default, written as a user would */
    double min, max;            /* numbers: allowed range, both inclusive; both 0: any */
    const char *const *choices; /* TRIB_OPT_CHOICE: NULL-terminated */
    /* Further check of a string's content (a codec spec, an endpoint; each item of a list), or NULL. Fills
     * err with what is allowed. */
    enum trib_status (*check)(const char *value, struct trib_error *err);
    const char *help;
};

/* Sets every field to its default. The struct's memory must be zeroed or released. On failure it is released.
 */
enum trib_status trib_options_defaults(const struct trib_option *table, size_t count, void *config,
                                       struct trib_error *err) TRIB_MUST_USE;
/* Reads a YAML file on top of what is there; on failure a part of it may have been taken. An unknown key,
 * wrong type or value out of range is refused with "FILE:LINE: ..." , what was found, what is allowed and,
 * for a key, the nearest known one. */
enum trib_status trib_options_load(const struct trib_option *table, size_t count, void *config,
                                   const char *path, struct trib_error *err) TRIB_MUST_USE;
/* The same from memory; `origin` stands in messages for the file's name. */
enum trib_status trib_options_parse(const struct trib_option *table, size_t count, void *config,
                                    const char *text, size_t bytes, const char *origin,
                                    struct trib_error *err) TRIB_MUST_USE;
/* One "name=value", as --set takes it. The value is plain text without quotes; a list is `a, b` or `[a, b]`,
 * split at the commas outside parentheses (an item with other commas stands in double quotes). */
enum trib_status trib_options_set(const struct trib_option *table, size_t count, void *config,
                                  const char *assignment, struct trib_error *err) TRIB_MUST_USE;
/* What is in force, as YAML that loads back: nested maps, with the help as comments if `comments`. */
void trib_options_dump(const struct trib_option *table, size_t count, const void *config, bool comments,
                       struct trib_buf *out);
/* The same as flat lines "dotted.name: value\n", in table order: what travels as the plan. It parses back
 * with trib_options_parse (a dotted key is the nested one). */
void trib_options_flat(const struct trib_option *table, size_t count, const void *config,
                       struct trib_buf *out);
/* The help page: name, default, range, help. */
void trib_options_help(const struct trib_option *table, size_t count, struct trib_buf *out);
/* The same as a Markdown table: docs/config.md. */
void trib_options_markdown(const struct trib_option *table, size_t count, struct trib_buf *out);
void trib_options_release(const struct trib_option *table, size_t count, void *config);

/* The value of one top-level key of a YAML file, for choosing the table to load it with; "" if the key is not
 * there. The caller frees *value with trib_free. */
enum trib_status trib_options_peek(const char *path, const char *key, char **value,
                                   struct trib_error *err) TRIB_MUST_USE;

/* A variant's spec, `name`, `name(0.05)` or `name(k=10, staleness=polynomial(0.5))`: finds `name` by the
 * caller, then reads the arguments into `config` by the table (positional in table order, then by name).
 * Values may contain balanced parentheses. `args` is the text between the outer parentheses ("" if none).
 * What is not named keeps its value: give `config` its defaults first. At most 64 options. */
enum trib_status trib_options_args(const struct trib_option *table, size_t count, void *config,
                                   const char *args, size_t args_bytes, const char *variant,
                                   struct trib_error *err) TRIB_MUST_USE;
/* Splits a spec into name and arguments, borrowed from it. */
enum trib_status trib_spec_split(const char *spec, size_t bytes, const char **name, size_t *name_bytes,
                                 const char **args, size_t *args_bytes, struct trib_error *err) TRIB_MUST_USE;
/* The nearest of `count` names to `word` (edit distance), or NULL if none is near. */
const char *trib_nearest(const char *word, const char *const *names, size_t count);

#endif
