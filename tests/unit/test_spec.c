/* Specs such as fedbuff(k=3, staleness=polynomial(0.5)): splitting, arguments, and the nearest name. */
#include "shared/base/option.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

struct fedbuff {
    uint64_t k;
    char *staleness;
    double lr;
};
static const struct trib_option fedbuff[] = {
    {.name = "k",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct fedbuff, k),
     .fallback = "10",
     .min = 1,
     .max = 1e6},
    {.name = "staleness",
     .type = TRIB_OPT_STRING,
     .offset = offsetof(struct fedbuff, staleness),
     .fallback = "constant"},
    {.name = "lr", .type = TRIB_OPT_F64, .offset = offsetof(struct fedbuff, lr), .fallback = "1", .max = 10},
};

static enum trib_status read_args(const char *args, struct fedbuff *out, struct trib_error *err) {
    enum trib_status status = trib_options_defaults(fedbuff, 3, out, err);
    if (status != TRIB_OK) return status;
    return trib_options_args(fedbuff, 3, out, args, strlen(args), "fedbuff", err);
}

static void arguments(void **state) {
    (void)state;
    static const struct {
        const char *args;
        uint64_t k;
        const char *staleness;
        double lr;
    } cases[] = {
        {"", 10, "constant", 1},
        {"3", 3, "constant", 1},
        {"k=3, staleness=polynomial(0.5)", 3, "polynomial(0.5)", 1},
        {" 3 ,hinge(a=10, b=4) , lr = 0.5 ", 3, "hinge(a=10, b=4)", 0.5},
        {"lr=2,k=7", 7, "constant", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fedbuff f = {0};
        struct trib_error err = {.text = ""};
        assert_int_equal(read_args(cases[i].args, &f, &err), TRIB_OK);
        assert_int_equal(f.k, cases[i].k);
        assert_string_equal(f.staleness, cases[i].staleness);
        assert_true(f.lr == cases[i].lr);
        trib_options_release(fedbuff, 3, &f);
    }
}

static void wrong_arguments(void **state) {
    (void)state;
    static const struct {
        const char *args, *message;
    } cases[] = {
        {"k=5x", "fedbuff: k: found \"5x\", expected a whole number from 1 to 1000000"},
        {"0", "fedbuff: k: found \"0\", expected a whole number from 1 to 1000000"},
        {"3, k=4", "fedbuff: k is given twice"},
        {"k=3, 4", "fedbuff: an argument without a name stands behind one with a name"},
        {"1, a, 2, 3", "fedbuff: too many arguments, it takes 3 at most"},
        {"stalness=constant", "fedbuff: unknown key \"stalness\"; the nearest one is \"staleness\""},
        {"3,", "fedbuff: a comma stands at the end"},
        {",3", "fedbuff: k: found \"\", expected a whole number from 1 to 1000000"},
        {"3, hinge(1", "fedbuff: its parentheses or quotes are not balanced"},
        {"3)", "fedbuff: its parentheses or quotes are not balanced"},
        {"k=", "fedbuff: k: found \"\", expected a whole number from 1 to 1000000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fedbuff f = {0};
        struct trib_error err = {.text = ""};
        assert_int_equal(read_args(cases[i].args, &f, &err), TRIB_INVALID);
        assert_string_equal(err.text, cases[i].message);
        trib_options_release(fedbuff, 3, &f);
    }
}

static void specs_split(void **state) {
    (void)state;
    static const struct {
        const char *spec, *name, *args, *message;
    } cases[] = {
        {"int8", "int8", "", NULL},
        {" fedbuff(k=3, staleness=polynomial(0.5)) ", "fedbuff", "k=3, staleness=polynomial(0.5)", NULL},
        {"f()", "f", "", NULL},
        {"", NULL, NULL, "found \"\", expected a name, or name(arguments)"},
        {"(3)", NULL, NULL, "found \"(3)\", expected a name, or name(arguments)"},
        {"f(3", NULL, NULL, "found \"f(3\": a parenthesis is opened and not closed"},
        {"f(3))", NULL, NULL, "found \"f(3))\": something stands behind the closing parenthesis"},
        {"f(3)x", NULL, NULL, "found \"f(3)x\": something stands behind the closing parenthesis"},
        {"f 3", NULL, NULL, "found \"f 3\", expected a name, or name(arguments); ' ' is neither"},
        {"f)", NULL, NULL, "found \"f)\", expected a name, or name(arguments); ')' is neither"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *name, *args;
        size_t name_bytes, args_bytes;
        struct trib_error err = {.text = ""};
        enum trib_status status = trib_spec_split(cases[i].spec, strlen(cases[i].spec), &name, &name_bytes,
                                                  &args, &args_bytes, &err);
        if (cases[i].message != NULL) {
            assert_int_equal(status, TRIB_INVALID);
            assert_string_equal(err.text, cases[i].message);
            continue;
        }
        assert_int_equal(status, TRIB_OK);
        assert_int_equal(name_bytes, strlen(cases[i].name));
        assert_memory_equal(name, cases[i].name, name_bytes);
        assert_int_equal(args_bytes, strlen(cases[i].args));
        assert_memory_equal(args, cases[i].args, args_bytes);
    }
}

static void nearest(void **state) {
    (void)state;
    static const char *const names[] = {"history", "export", "keys", "config"};
    assert_string_equal(trib_nearest("histroy", names, 4), "history");
    assert_string_equal(trib_nearest("key", names, 4), "keys");
    assert_string_equal(trib_nearest("expotr", names, 4), "export");
    assert_null(trib_nearest("zzzzzz", names, 4));
    assert_null(trib_nearest("", names, 4));
    assert_null(trib_nearest("keys", names, 0));
    char word[200];
    memset(word, 'k', sizeof word - 1);
    word[sizeof word - 1] = 0;
    assert_null(trib_nearest(word, names, 4));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(specs_split),
        cmocka_unit_test(nearest),
    };
    return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
