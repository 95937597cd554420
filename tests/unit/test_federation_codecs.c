/* A federation that learns, with each family of codecs on both hops, up and down. Those that look at tensors,
 * and auto, are in test_federation_tensors.c. */
#include "tests/support/cmocka.h"
#include "tests/support/learning.h"

static void every_codec_learns_on_both_hops(void **unused) {
    (void)unused;
    static const struct learning_case cases[] = {
        {"f32", 0.5},
        {"int4+zstd", 0.5},
        {"rotate+1bit", 0.5},
        {"topk(0.05)+rotate+4bit+rice", 0.5},
        {"threshold(2)+int4+rice", 0.5},
        {"randomk(0.2)+bf16", 0.3},
        {"ternary", 0.5},
        {"qsgd", 0.5},
        {"layer(conv=int8, fc=topk(0.05)+int4+rice)", 0.5},
        {"layer(fc1.weight=rotate+2bit, else=int8)", 0.5},
    };
    learning_try(cases, sizeof cases / sizeof *cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_codec_learns_on_both_hops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
