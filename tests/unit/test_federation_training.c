/* A federation that really learns, under the virtual clock: shipped roles, shipped trainer, the carried
 * sample of MNIST. TRIBUTARY_DIGEST_FILE, if set, gets the final digest, so that builds by two compilers can
 * be compared. */
#include "tests/support/cmocka.h"
#include "tests/support/learning.h"

#include "shared/model/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void a_seeded_federation_learns_and_repeats(void **unused) {
    (void)unused;
    uint8_t first[TRIB_DIGEST_BYTES], second[TRIB_DIGEST_BYTES];
    double accuracy = federation_learn(LEARNING_PLAN, 24, first);
    assert_true(accuracy > 0.85);
    assert_true(federation_learn(LEARNING_PLAN, 24, second) == accuracy);
    assert_memory_equal(first, second, sizeof first);
    const char *path = getenv("TRIBUTARY_DIGEST_FILE");
    if (path == NULL) return;
    char hex[2 * TRIB_DIGEST_BYTES + 1];
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fprintf(file, "%s accuracy=%.4f\n", trib_digest_hex(first, hex), accuracy);
    assert_int_equal(fclose(file), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_seeded_federation_learns_and_repeats)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
