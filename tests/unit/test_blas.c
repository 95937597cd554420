/* The start-up decision, as a table, and the BLAS that is there. */
#include "shared/learn/blas.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cblas.h>
#include <cmocka.h>

static const struct trib_cpu_features old = {false, false, false}, avx = {true, false, false},
                                      avx2 = {true, true, false}, avx512 = {true, true, true};

static void expect(const struct trib_cpu_features *features, const char *core, const char *wanted) {
    const char *got = trib_blas_choose(features, core);
    if ((got == NULL) != (wanted == NULL) || (got != NULL && strcmp(got, wanted) != 0))
        fail_msg("%s: %s instead of %s", core, got != NULL ? got : "nothing",
                 wanted != NULL ? wanted : "nothing");
}

static void test_below_the_processor(void **state) {
    (void)state;
    expect(&avx512, "Prescott", "SkylakeX");
    expect(&avx512, "Nehalem", "SkylakeX");
    expect(&avx512, "Sandybridge", "SkylakeX");
    expect(&avx512, "Haswell", "SkylakeX");
    expect(&avx512, "Zen", "SkylakeX");
    expect(&avx2, "Prescott", "Haswell");
    expect(&avx2, "prescott", "Haswell");
    expect(&avx2, "Barcelona", "Haswell");
    expect(&avx2, "Bulldozer", "Haswell");
    expect(&avx, "Core2", "Sandybridge");
}

static void test_good_enough(void **state) {
    (void)state;
    expect(&avx512, "SkylakeX", NULL);
    expect(&avx512, "Cooperlake", NULL);
    expect(&avx512, "SapphireRapids", NULL);
    expect(&avx2, "Haswell", NULL);
    expect(&avx2, "Zen", NULL);
    expect(&avx, "Sandybridge", NULL);
    expect(&old, "Prescott", NULL);
    expect(&old, "Haswell", NULL); /* above: never lowered */
}

static void test_unknown_names_are_left_alone(void **state) {
    (void)state;
    expect(&avx512, "SomethingNew", NULL);
    expect(&avx512, "", NULL);
    expect(&old, "NEOVERSEN1", NULL);
    expect(&avx512, "ARMV8", NULL);
}

/* In a child, so that its environment and its threads are its own; its exit code says what was wrong. */
static int start_in_child(char **argv) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)setenv("OPENBLAS_CORETYPE", trib_blas_kernel(), 1); /* the user's choice, and one thread: */
        openblas_set_num_threads(1);                              /* no new execution */
        trib_blas_start(1, argv);
        _exit(openblas_get_num_threads() == 1 && getenv("TRIBUTARY_BLAS_STARTED") == NULL ? 0 : 1);
    }
    int code;
    assert_int_equal(waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

static void test_start(void **state) {
    (void)state;
    char name[] = "test", *argv[] = {name, NULL};
    assert_int_equal(start_in_child(argv), 0);
    assert_true(strlen(trib_blas_kernel()) > 0);
    assert_int_equal(trib_blas_threadsafe(), openblas_get_parallel() != 0);
    struct trib_cpu_features features = trib_cpu_features();
    assert_true(features.avx2_fma || !features.avx512);
    assert_true(features.avx || !features.avx2_fma);
}

/* OpenBLAS told to be slow, without the variable that says who told it: the start executes the program again
 * with a better set, and what runs then sees it. Run as this same program with an argument. */
static void test_executes_again(void **state) {
    (void)state;
    struct trib_cpu_features features = trib_cpu_features();
    if (trib_blas_choose(&features, "Prescott") == NULL) skip();
    assert_int_equal(setenv("OPENBLAS_CORETYPE", "Prescott", 1), 0);
    int code = system("/proc/$PPID/exe again");
    assert_int_equal(unsetenv("OPENBLAS_CORETYPE"), 0);
    assert_true(code != -1 && WIFEXITED(code));
    assert_int_equal(WEXITSTATUS(code), 0);
}

static int again(int argc, char **argv) {
    bool second = getenv("TRIBUTARY_BLAS_STARTED") != NULL;
    struct trib_cpu_features features = trib_cpu_features();
    if (!second) {
        (void)unsetenv("OPENBLAS_CORETYPE");
        if (trib_blas_choose(&features, trib_blas_kernel()) == NULL)
            return 0; /* this build has one set only */
        trib_blas_start(argc, argv);
        return 3; /* it came back */
    }
    trib_blas_start(argc, argv); /* the second time it goes on */
    const char *wanted = trib_blas_choose(&features, "Prescott");
    return strcmp(trib_blas_kernel(), wanted) == 0 && argc == 2 && strcmp(argv[1], "again") == 0 ? 0 : 4;
}

/* Threads that OpenBLAS starts while loading would take our signals: after the start there is none. */
static void test_no_threads_of_openblas(void **state) {
    (void)state;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) skip(); /* it starts none */
    assert_int_equal(setenv("OPENBLAS_CORETYPE", trib_blas_kernel(), 1), 0);
    assert_int_equal(setenv("OPENBLAS_NUM_THREADS", "2", 1), 0);
    int code = system("/proc/$PPID/exe threads");
    assert_int_equal(unsetenv("OPENBLAS_CORETYPE"), 0);
    assert_int_equal(unsetenv("OPENBLAS_NUM_THREADS"), 0);
    assert_true(code != -1 && WIFEXITED(code));
    assert_int_equal(WEXITSTATUS(code), 0);
}

static int threads(int argc, char **argv) {
    trib_blas_start(argc, argv);
    bool alone = strcmp(getenv("OPENBLAS_NUM_THREADS"), "1") == 0; /* what this OpenBLAS was loaded with */
    bool chosen = strcmp(getenv("OPENBLAS_CORETYPE"), trib_blas_kernel()) == 0; /* left as it was set */
    return alone && chosen && argc == 2 ? 0 : 5;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "again") == 0) return again(argc, argv);
    if (argc > 1 && strcmp(argv[1], "threads") == 0) return threads(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_below_the_processor),
        cmocka_unit_test(test_good_enough),
        cmocka_unit_test(test_unknown_names_are_left_alone),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_executes_again),
        cmocka_unit_test(test_no_threads_of_openblas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
