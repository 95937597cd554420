/* One table reads YAML and --set, refuses what is wrong with file, line, what was found and what is
 * allowed, and writes what reads back to the same values. */
#include "shared/base/alloc.h"
#include "shared/base/option.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
    bool on;
    uint64_t count, size, wait, any;
    double rate, free_rate;
    char *name, *mode, *codec, *items;
};

static enum trib_status check_even(const char *value, struct trib_error *err) {
    if (strlen(value) % 2 == 0) return TRIB_OK;
    return trib_fail(err, TRIB_INVALID, "found \"%s\", expected an even number of characters", value);
}

static const char *const modes[] = {"full", "batched", "none", NULL};
#define AT(field) .offset = offsetof(struct settings, field)
static const struct trib_option table[] = {
    {.name = "on", .type = TRIB_OPT_BOOL, AT(on), .fallback = "true", .help = "Is it on."},
    {.name = "train.count",
     .type = TRIB_OPT_U64,
     AT(count),
     .fallback = "3",
     .min = 1,
     .max = 100,
     .help = "Rounds."},
    {.name = "store.size",
     .type = TRIB_OPT_BYTES,
     AT(size),
     .fallback = "64KiB",
     .min = 1024,
     .max = 1 << 30,
     .help = "Room."},
    {.name = "store.wait",
     .type = TRIB_OPT_MS,
     AT(wait),
     .fallback = "250ms",
     .max = 3600000,
     .help = "Wait."},
    {.name = "store.sub.any", .type = TRIB_OPT_U64, AT(any), .fallback = "7", .help = "Any number."},
    {.name = "train.rate", .type = TRIB_OPT_F64, AT(rate), .fallback = "0.05", .max = 10, .help = "Rate."},
    {.name = "train.free",
     .type = TRIB_OPT_F64,
     AT(free_rate),
     .fallback = "-1.5",
     .min = -INFINITY,
     .max = INFINITY,
     .help = "Any rate."},
    {.name = "name", .type = TRIB_OPT_STRING, AT(name), .fallback = "", .help = "Name."},
    {.name = "store.mode",
     .type = TRIB_OPT_CHOICE,
     AT(mode),
     .fallback = "full",
     .choices = modes,
     .help = "How."},
    {.name = "codec.up",
     .type = TRIB_OPT_STRING,
     AT(codec),
     .fallback = "int8",
     .check = check_even,
     .help = "Codec."},
    {.name = "items", .type = TRIB_OPT_LIST, AT(items), .fallback = "one, f(1, 2)", .help = "Things."},
};
enum { COUNT = sizeof table / sizeof *table };

static struct settings fresh(void) {
    struct settings s = {0};
    struct trib_error err;
    assert_int_equal(trib_options_defaults(table, COUNT, &s, &err), TRIB_OK);
    return s;
}

static void drop(struct settings *s) {
    trib_options_release(table, COUNT, s);
    assert_null(s->name);
    assert_null(s->items);
}

static void accept(struct settings *s, const char *text) {
    struct trib_error err = {.text = ""};
    enum trib_status status = trib_options_parse(table, COUNT, s, text, strlen(text), "f.yaml", &err);
    if (status != TRIB_OK) fail_msg("%s", err.text);
}

static void refuse_as(enum trib_status expected, const char *text, const char *message) {
    struct settings s = fresh();
    struct trib_error err = {.text = ""};
    enum trib_status status = trib_options_parse(table, COUNT, &s, text, strlen(text), "f.yaml", &err);
    assert_string_equal(err.text, message);
    assert_int_equal(status, expected);
    assert_int_equal(err.status, expected);
    drop(&s);
}

static void refuse(const char *text, const char *message) {
    refuse_as(TRIB_INVALID, text, message);
}

static void set_as(const char *assignment, enum trib_status expected, const char *message) {
    struct settings s = fresh();
    struct trib_error err = {.text = ""};
    assert_int_equal(trib_options_set(table, COUNT, &s, assignment, &err), expected);
    assert_string_equal(err.text, message);
    drop(&s);
}

/* ---- files ---- */

static void defaults(void **state) {
    (void)state;
    struct settings s = fresh();
    assert_true(s.on);
    assert_int_equal(s.count, 3);
    assert_int_equal(s.size, 65536);
    assert_int_equal(s.wait, 250);
    assert_true(s.rate == 0.05 && s.free_rate == -1.5);
    assert_string_equal(s.name, "");
    assert_string_equal(s.mode, "full");
    assert_string_equal(s.items, "one\nf(1, 2)");
    drop(&s);
}

static void nested_and_dotted_are_the_same(void **state) {
    (void)state;
    static const char *const texts[] = {
        "on: false\ntrain:\n  count: 9\n  rate: 1e-3\nstore:\n  size: 1MiB\n  sub:\n    any: 5\n  mode: "
        "none\n",
        "on: false\ntrain.count: 9\ntrain.rate: 1e-3\nstore.size: 1MiB\nstore.sub.any: 5\nstore.mode: none\n",
        "{on: false, train: {count: 9}, train.rate: 0.001, store: {size: 1048576, sub.any: 5}, store.mode: "
        "'none'}",
        "%YAML 1.1\n---\non: false # comment\ntrain: {count: \"9\", rate: 1.0e-3}\nstore: {size: 1024KiB, "
        "sub: {any: 5}, mode: none}\n...\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct settings s = fresh();
        accept(&s, texts[i]);
        assert_false(s.on);
        assert_int_equal(s.count, 9);
        assert_true(s.rate == 1e-3);
        assert_int_equal(s.size, 1 << 20);
        assert_int_equal(s.any, 5);
        assert_string_equal(s.mode, "none");
        assert_int_equal(s.wait, 250); /* not named: as it was */
        drop(&s);
    }
}

static void nothing_is_fine(void **state) {
    (void)state;
    static const char *const texts[] = {
        "", "# only a comment\n", "---\n", "train:\n", "train: {}\n", "{}", "store: ~"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct settings s = fresh();
        if (i != 2) accept(&s, texts[i]);
        assert_int_equal(s.count, 3);
        drop(&s);
    }
}

static void texts_and_lists(void **state) {
    (void)state;
    struct settings s = fresh();
    accept(&s, "name: null\nitems: [a, 'b, c', \"d\\\"e\"]\n");
    assert_string_equal(s.name, "");
    assert_string_equal(s.items, "a\nb, c\nd\"e");
    accept(&s, "name: 'null'\nitems:\n  - conv(1, 2)\n  - relu\n");
    assert_string_equal(s.name, "null");
    assert_string_equal(s.items, "conv(1, 2)\nrelu");
    accept(&s, "name: 12\nitems: []");
    assert_string_equal(s.name, "12");
    assert_string_equal(s.items, "");
    accept(&s, "name: gr\xc3\xbc\xc3\x9f\nitems: f(1, g(2, 3)), h\n");
    assert_string_equal(s.name, "gr\xc3\xbc\xc3\x9f");
    assert_string_equal(s.items, "f(1, g(2, 3))\nh");
    drop(&s);
}

static void wrong_values_are_refused(void **state) {
    (void)state;
    refuse("on: yes\n", "f.yaml:1: on: found \"yes\", expected true or false");
    refuse("\n\ntrain:\n  count: 5x\n",
           "f.yaml:4: train.count: found \"5x\", expected a whole number from 1 to 100");
    refuse("train.count: 0\n", "f.yaml:1: train.count: found \"0\", expected a whole number from 1 to 100");
    refuse("train.count: 101\n",
           "f.yaml:1: train.count: found \"101\", expected a whole number from 1 to 100");
    refuse("train.count: 0x10\n",
           "f.yaml:1: train.count: found \"0x10\", expected a whole number from 1 to 100");
    refuse("train.rate: .nan\n", "f.yaml:1: train.rate: found \".nan\", expected a number from 0 to 10");
    refuse("train.rate: NaN\n", "f.yaml:1: train.rate: found \"NaN\", expected a number from 0 to 10");
    refuse("store.sub.any: 18446744073709551616\n",
           "f.yaml:1: store.sub.any: found \"18446744073709551616\", expected a whole number");
    refuse("store.wait: 250\n",
           "f.yaml:1: store.wait: found \"250\", expected a duration with its unit (250ms, "
           "30s, 5m, 2h) from 0 to 1h");
    refuse("store.size: 1TB\n",
           "f.yaml:1: store.size: found \"1TB\", expected a size (65536, 64KiB, 8MiB, 1GB) "
           "from 1KiB to 1GiB");
    refuse("store: {mode: fulll}\n",
           "f.yaml:1: store.mode: found \"fulll\", expected one of full, batched, none; "
           "the nearest one is \"full\"");
    refuse("store: {mode: xyzxyz}\n",
           "f.yaml:1: store.mode: found \"xyzxyz\", expected one of full, batched, none");
    refuse("codec:\n  up: abc\n", "f.yaml:2: codec.up: found \"abc\", expected an even number of characters");
}

static void wrong_kinds_are_refused(void **state) {
    (void)state;
    refuse("on:\n", "f.yaml:1: on: found no value, expected true or false");
    refuse("train.count: ~\n",
           "f.yaml:1: train.count: found no value, expected a whole number from 1 to 100");
    refuse("name: {a: b}\n", "f.yaml:1: name: found a map, expected a text");
    refuse("name:\n  - a\n", "f.yaml:2: name: found a list, expected a text");
    refuse("items:\n  - a\n  - {b: c}\n", "f.yaml:3: items: found a map, expected a list of texts");
    refuse("items:\n  - a\n  - [b]\n", "f.yaml:3: items: found a list, expected a list of texts");
    refuse("items:\n  - a\n  -\n", "f.yaml:3: items: found \"\", expected a list of texts");
    refuse("items: a, (b\n", "f.yaml:1: items: found \"a, (b\", expected a list of texts");
    refuse("train: 5\n", "f.yaml:1: train: found a text, expected a map of its keys");
    refuse("train: [count]\n", "f.yaml:1: train: found a list, expected a map of its keys");
    refuse("- a\n- b\n", "f.yaml:1: found a list, expected a map of keys (name: value)");
    refuse("hello\n", "f.yaml:1: found a text, expected a map of keys (name: value)");
    refuse("? [a]\n: 5\n", "f.yaml:1: found a list as a key, expected a name");
    refuse("'': 5\n", "f.yaml:1: found \"\" as a key, expected a name of 1 to 127 characters");
    refuse("name: \"a\\nb\"\n",
           "f.yaml:1: name: found \"a\\nb\", expected UTF-8 text on one line; byte 1 is 0x0a");
    refuse("name: \"a\\0b\"\n",
           "f.yaml:1: name: found \"a\", expected UTF-8 text on one line; byte 1 is 0x00");
}

static void unknown_keys_name_the_nearest(void **state) {
    (void)state;
    refuse("train:\n  cuont: 5\n",
           "f.yaml:2: unknown key \"train.cuont\"; the nearest one is \"train.count\"");
    refuse("rate: 5\n", "f.yaml:1: unknown key \"rate\"; the nearest one is \"train.rate\"");
    refuse("train:\n  mode: full\n",
           "f.yaml:2: unknown key \"train.mode\"; the nearest one is \"store.mode\"");
    refuse("on: true\nqwertyuiop: 5\n",
           "f.yaml:2: unknown key \"qwertyuiop\"; known ones are \"on\" and others, see the help");
    refuse("name.x: 5\n", "f.yaml:1: unknown key \"name.x\"; the nearest one is \"name\"");
    refuse("train: {train: {count: 1}}\n",
           "f.yaml:1: unknown key \"train.train\"; the nearest one is \"train.rate\"");
    refuse("<<: {on: true}\n",
           "f.yaml:1: unknown key \"<<\"; known ones are \"on\" and others, see the help");
}

static void twice_is_refused(void **state) {
    (void)state;
    refuse("on: true\nname: a\non: false\n",
           "f.yaml:3: on is given twice, first at line 1; keep one of them");
    refuse("train.count: 5\ntrain:\n  rate: 1\n  count: 6\n",
           "f.yaml:4: train.count is given twice, first at line 1; keep one of them");
    refuse("train: {count: 5}\ntrain: {rate: 1}\n",
           "f.yaml:2: train is given twice, first at line 1; keep one of them");
    struct settings s = fresh(); /* two texts, one on top of the other, are no duplicates */
    accept(&s, "train.count: 5\n");
    accept(&s, "train.count: 6\n");
    assert_int_equal(s.count, 6);
    drop(&s);
}

static void refuse_starts(enum trib_status expected, const char *text, size_t bytes, const char *start) {
    struct settings s = fresh();
    struct trib_error err = {.text = ""};
    assert_int_equal(trib_options_parse(table, COUNT, &s, text, bytes, "f.yaml", &err), expected);
    if (strncmp(err.text, start, strlen(start)) != 0) fail_msg("%s", err.text);
    drop(&s);
}

static void bad_yaml_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "on: true\n\tname: a\n",  "on: true\nname: 'open\n",   "on: true\nname: [a\n",
        "on: true\nname: a: b\n", "on: true\nname: *nobody\n", "on: true\n name: a\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        refuse_starts(TRIB_INVALID, texts[i], strlen(texts[i]), "f.yaml:");
    }
    refuse_starts(TRIB_INVALID, "on: true\n\tname: a\n", 18, "f.yaml:2: not valid YAML: ");
    refuse_starts(TRIB_INVALID, "on: true\nname: \xff\n", 17, "f.yaml:2: not text in UTF-8: ");
    refuse_starts(TRIB_INVALID, "\n\nname: a\0b\n", 12, "f.yaml:3: not text in UTF-8: ");
    refuse("on: true\n---\non: false\n", "f.yaml:2: a second document begins here; one is allowed");
    refuse_as(TRIB_LIMIT, "a: [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]\n", "f.yaml:1: nested deeper than 16");
}

/* What would take libyaml long is refused before it does, and anchors cannot make a map hold itself. */
static void hostile_yaml_is_refused(void **state) {
    (void)state;
    size_t bytes = 65536;
    char *deep = malloc(bytes);
    assert_non_null(deep);
    memset(deep, '[', bytes);
    refuse_starts(TRIB_LIMIT, deep, bytes, "f.yaml:1: nested deeper than 16");
    free(deep);
    refuse("train: &t\n  train: *t\n",
           "f.yaml:2: unknown key \"train.train\"; the nearest one is \"train.rate\"");
    struct settings s = fresh();
    accept(&s, "train:\n  rate: &r 2\n  free: *r\n"); /* an alias is the value that it names */
    assert_true(s.rate == 2 && s.free_rate == 2);
    drop(&s);
}

static void long_things_are_cut_in_messages(void **state) {
    (void)state;
    char text[1000], message[600];
    char long_key[300];
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = 0;
    (void)snprintf(text, sizeof text, "%s: 5\n", long_key);
    (void)snprintf(message, sizeof message,
                   "f.yaml:1: found \"%.56s...\" as a key, expected a name of 1 to 127 characters", long_key);
    refuse(text, message);
    (void)snprintf(text, sizeof text, "train.count: %s\n", long_key);
    (void)snprintf(message, sizeof message,
                   "f.yaml:1: train.count: found \"%.56s...\", expected a whole number from 1 to 100",
                   long_key);
    refuse(text, message);
}

/* ---- files on disk ---- */

static void loads_a_file(void **state) {
    (void)state;
    char path[] = "/tmp/trib_option_XXXXXX", message[200], *value = NULL;
    struct settings s = fresh();
    struct trib_error err = {.text = ""};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char text[] = "# c\nname: from-file\nstore:\n  size: 12x\n";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    assert_int_equal(close(fd), 0);
    assert_int_equal(trib_options_load(table, COUNT, &s, path, &err), TRIB_INVALID);
    (void)snprintf(message, sizeof message, "%s:4: store.size: found \"12x\", expected", path);
    assert_int_equal(strncmp(err.text, message, strlen(message)), 0);
    assert_string_equal(s.name, "from-file");
    assert_int_equal(trib_options_peek(path, "name", &value, &err), TRIB_OK);
    assert_string_equal(value, "from-file");
    trib_free(value);
    assert_int_equal(trib_options_peek(path, "role", &value, &err), TRIB_OK);
    assert_string_equal(value, "");
    trib_free(value);
    assert_int_equal(unlink(path), 0);
    drop(&s);
}

static void missing_and_odd_files(void **state) {
    (void)state;
    struct settings s = fresh();
    struct trib_error err = {.text = ""};
    char path[] = "/tmp/trib_option_XXXXXX";
    assert_int_equal(trib_options_load(table, COUNT, &s, "/nonexistent/x.yaml", &err), TRIB_NOT_FOUND);
    assert_string_equal(err.text, "cannot open the config /nonexistent/x.yaml: No such file or directory");
    assert_int_equal(trib_options_load(table, COUNT, &s, "/tmp", &err), TRIB_IO);
    assert_string_equal(err.text, "cannot read the config /tmp: Is a directory");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 2 << 20), 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(trib_options_load(table, COUNT, &s, path, &err), TRIB_LIMIT);
    assert_non_null(strstr(err.text, "a config has at most 1048576 bytes"));
    assert_int_equal(unlink(path), 0);
    drop(&s);
}

/* ---- --set ---- */

static void settings_from_the_command_line(void **state) {
    (void)state;
    struct settings s = fresh();
    struct trib_error err;
    assert_int_equal(trib_options_set(table, COUNT, &s, "store.sub.any=12", &err), TRIB_OK);
    assert_int_equal(s.any, 12);
    assert_int_equal(trib_options_set(table, COUNT, &s, "name=a=b: [c] # d", &err), TRIB_OK);
    assert_string_equal(s.name, "a=b: [c] # d");
    assert_int_equal(trib_options_set(table, COUNT, &s, "name=", &err), TRIB_OK);
    assert_string_equal(s.name, "");
    assert_int_equal(trib_options_set(table, COUNT, &s, "items=[conv(1, 2), \"x, \\\"y\\\"\", z]", &err),
                     TRIB_OK);
    assert_string_equal(s.items, "conv(1, 2)\nx, \"y\"\nz");
    assert_int_equal(trib_options_set(table, COUNT, &s, "items=", &err), TRIB_OK);
    assert_string_equal(s.items, "");
    drop(&s);
    set_as("train.count", TRIB_INVALID,
           "--set: found \"train.count\", expected KEY=VALUE, for example on=true");
    set_as("=5", TRIB_INVALID, "--set: found \"=5\", expected KEY=VALUE, for example on=true");
    set_as("train=5", TRIB_INVALID, "--set: train is a group of keys; name one of them");
    set_as("train.cont=5", TRIB_INVALID,
           "--set: unknown key \"train.cont\"; the nearest one is \"train.count\"");
    set_as("train.count= 5", TRIB_INVALID,
           "--set: train.count: found \" 5\", expected a whole number from 1 to 100");
    set_as("name=a\nb", TRIB_INVALID,
           "--set: name: found \"a\\nb\", expected UTF-8 text on one line; byte 1 is 0x0a");
    set_as("name=\xff", TRIB_INVALID,
           "--set: name: found \"\\ufffd\", expected UTF-8 text on one line; byte 0 is 0xff");
    set_as("items=a,,b", TRIB_INVALID, "--set: items: found \"\", expected a list of texts");
    set_as("items=\"a", TRIB_INVALID, "--set: items: found \"\\\"a\", expected a list of texts");
}

/* ---- writing ---- */

static void expect_same(const struct settings *a, const struct settings *b) {
    assert_int_equal(a->on, b->on);
    assert_true(a->count == b->count && a->size == b->size && a->wait == b->wait && a->any == b->any);
    assert_true(a->rate == b->rate && a->free_rate == b->free_rate);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->mode, b->mode);
    assert_string_equal(a->codec, b->codec);
    assert_string_equal(a->items, b->items);
}

static struct settings odd_values(const char *text) {
    struct settings s = fresh();
    accept(&s, "on: false\ntrain: {count: 100, rate: 0.1, free: -1.7976931348623157e308}\n"
               "store: {size: 1025, wait: 61s, mode: batched, sub.any: 18446744073709551615}\n"
               "items: ['a: b', '# c', 'd, e', '\\\"f', 'null', \"'g'\", '[h]', topk(0.05)+int8]\n");
    trib_free(s.name);
    s.name = trib_strdup(text);
    assert_non_null(s.name);
    return s;
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    static const char *const names[] = {"",
                                        "null",
                                        "~",
                                        "true",
                                        "5",
                                        "- a",
                                        "a: b",
                                        "a #b",
                                        "#",
                                        "[x]",
                                        "{x}",
                                        "'",
                                        "\"",
                                        "\\",
                                        "*a",
                                        "&a",
                                        "!a",
                                        "%a",
                                        "@a",
                                        "a\\nb",
                                        " a ",
                                        "gr\xc3\xbc\xc3\x9f",
                                        "---",
                                        "...",
                                        "fedbuff(k=3, staleness=polynomial(0.5))",
                                        "/a/b.c",
                                        "?",
                                        ":"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int form = 0; form < 3; form++) {
            struct settings s = odd_values(names[i]), back = fresh();
            struct trib_buf out;
            trib_buf_init(&out, 0);
            if (form == 0) trib_options_flat(table, COUNT, &s, &out);
            if (form > 0) trib_options_dump(table, COUNT, &s, form == 2, &out);
            assert_false(out.failed);
            accept(&back, trib_buf_text(&out));
            expect_same(&s, &back);
            trib_buf_release(&out);
            drop(&s);
            drop(&back);
        }
    }
}

static void forms_of_writing(void **state) {
    (void)state;
    struct settings s = fresh();
    struct trib_buf out;
    trib_buf_init(&out, 0);
    trib_options_flat(table, COUNT, &s, &out);
    assert_string_equal(trib_buf_text(&out),
                        "on: true\ntrain.count: 3\nstore.size: 64KiB\nstore.wait: 250ms\n"
                        "store.sub.any: 7\ntrain.rate: 0.05\ntrain.free: -1.5\nname: \"\"\n"
                        "store.mode: full\ncodec.up: int8\nitems: [\"one\", \"f(1, 2)\"]\n");
    trib_buf_clear(&out);
    trib_options_dump(table, COUNT, &s, false, &out);
    assert_string_equal(trib_buf_text(&out),
                        "on: true\ntrain:\n  count: 3\n  rate: 0.05\n  free: -1.5\nstore:\n  size: 64KiB\n"
                        "  wait: 250ms\n  sub:\n    any: 7\n  mode: full\nname: \"\"\ncodec:\n  up: int8\n"
                        "items: [\"one\", \"f(1, 2)\"]\n");
    trib_buf_clear(&out);
    trib_options_dump(table, COUNT, &s, true, &out);
    assert_non_null(
        strstr(trib_buf_text(&out), "  # Rounds. (a whole number from 1 to 100; default 3)\n  count: 3\n"));
    trib_buf_clear(&out);
    trib_options_help(table, COUNT, &out);
    assert_non_null(
        strstr(trib_buf_text(&out), "  store.mode\n      How. (one of full, batched, none; default full)\n"));
    assert_non_null(strstr(trib_buf_text(&out), "  name\n      Name. (a text; default none)\n"));
    trib_buf_release(&out);
    drop(&s);
}

/* ---- memory ---- */

/* Everything there is to read, with the n-th allocation failing, for every n. */
static void no_memory_anywhere(void **state) {
    (void)state;
    static const char text[] = "name: abc\nitems: [a, 'b', 'c, d']\nstore: {mode: none}\ncodec.up: abcd\n";
    enum trib_status status = TRIB_NOMEM;
    long n = 0;
    for (; status == TRIB_NOMEM; n++) {
        struct settings s = {0};
        struct trib_error err = {.text = ""};
        assert_true(n < 1000);
        trib_alloc_fail_after(n);
        status = trib_options_defaults(table, COUNT, &s, &err);
        if (status == TRIB_OK)
            status = trib_options_parse(table, COUNT, &s, text, sizeof text - 1, "f", &err);
        if (status == TRIB_OK) status = trib_options_set(table, COUNT, &s, "items=a, \"b\"", &err);
        trib_alloc_fail_after(-1);
        assert_int_equal(status, err.text[0] != 0 ? TRIB_NOMEM : TRIB_OK);
        if (status != TRIB_OK) assert_int_equal(err.status, TRIB_NOMEM);
        trib_options_release(table, COUNT, &s);
    }
    assert_int_equal(status, TRIB_OK);
    assert_true(n > 10);
}

static void no_memory_for_files(void **state) {
    (void)state;
    char path[] = "/tmp/trib_option_XXXXXX", *value = NULL;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "name: abc\n", 10), 10);
    assert_int_equal(close(fd), 0);
    enum trib_status status = TRIB_NOMEM;
    for (long n = 0; status == TRIB_NOMEM; n++) {
        struct settings s = fresh();
        trib_alloc_fail_after(n);
        status = trib_options_load(table, COUNT, &s, path, NULL);
        if (status == TRIB_OK) status = trib_options_peek(path, "name", &value, NULL);
        trib_alloc_fail_after(-1);
        drop(&s);
    }
    assert_int_equal(status, TRIB_OK);
    assert_string_equal(value, "abc");
    trib_free(value);
    assert_int_equal(unlink(path), 0);
}

/* Without memory for the search, a wrong key is still refused as what it is. */
static void unknown_key_without_memory(void **state) {
    (void)state;
    struct settings s = fresh();
    struct trib_error err;
    trib_alloc_fail_after(0);
    assert_int_equal(trib_options_set(table, COUNT, &s, "cont=5", &err), TRIB_INVALID);
    trib_alloc_fail_after(-1);
    assert_non_null(strstr(err.text, "unknown key \"cont\""));
    drop(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(nested_and_dotted_are_the_same),
        cmocka_unit_test(nothing_is_fine),
        cmocka_unit_test(texts_and_lists),
        cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(wrong_kinds_are_refused),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(twice_is_refused),
        cmocka_unit_test(bad_yaml_is_refused),
        cmocka_unit_test(hostile_yaml_is_refused),
        cmocka_unit_test(long_things_are_cut_in_messages),
        cmocka_unit_test(loads_a_file),
        cmocka_unit_test(missing_and_odd_files),
        cmocka_unit_test(settings_from_the_command_line),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(forms_of_writing),
        cmocka_unit_test(no_memory_anywhere),
        cmocka_unit_test(no_memory_for_files),
        cmocka_unit_test(unknown_key_without_memory),
    };
    return cmocka_run_group_tests_name("option", tests, NULL, NULL);
}
