/* The part of cmocka that the tests of the kernels and codecs use, for processors whose cmocka is not
 * installed: `make check-neon` runs them under qemu. A failed assertion ends the program. */
#ifndef TRIB_TESTS_CROSS_CMOCKA_H
#define TRIB_TESTS_CROSS_CMOCKA_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

#define cmocka_unit_test(function)                                                                           \
    { #function, function }

#define fail_msg(...)                                                                                        \
    do {                                                                                                     \
        (void)printf("%s:%d: ", __FILE__, __LINE__);                                                         \
        (void)printf(__VA_ARGS__);                                                                           \
        (void)printf("\n");                                                                                  \
        exit(1);                                                                                             \
    } while (0)
#define assert_true(condition)                                                                               \
    do {                                                                                                     \
        if (!(condition)) fail_msg("%s", #condition);                                                        \
    } while (0)
#define assert_false(condition)       assert_true(!(condition))
#define assert_null(pointer)          assert_true((pointer) == NULL)
#define assert_non_null(pointer)      assert_true((pointer) != NULL)
#define assert_int_equal(a, b)        assert_true((uintmax_t)(a) == (uintmax_t)(b))
#define assert_memory_equal(a, b, n)  assert_true(memcmp((a), (b), (n)) == 0)
#define assert_string_equal(a, b)     assert_true(strcmp((a), (b)) == 0)
#define assert_string_not_equal(a, b) assert_true(strcmp((a), (b)) != 0)
#define print_message(...)            (void)printf(__VA_ARGS__)

static inline int cross_run(const struct CMUnitTest *tests, size_t count) {
    for (size_t i = 0; i < count; i++) {
        void *state = NULL;
        tests[i].run(&state);
        (void)printf("ok - %s\n", tests[i].name);
    }
    return 0;
}
#define cmocka_run_group_tests_name(group, tests, setup, teardown)                                           \
    cross_run(tests, sizeof(tests) / sizeof((tests)[0]))

#endif
