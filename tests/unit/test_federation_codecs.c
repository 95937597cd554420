/* A federation that learns, with each family of codecs on both hops, up and down. It prints the accuracies
 * after 8 versions of the cloud, or after as many as TRIBUTARY_VERSIONS says. */
#include "tests/support/cmocka.h"
#include "tests/support/learning.h"

#include <stdio.h>
#include <stdlib.h>

/* Each codec on both hops, up and down: with what it loses fed back, the federation learns what it learns
 * with floats, or nearly so where it sends one value in twenty. */
static void every_codec_learns_on_both_hops(void **unused) {
    (void)unused;
    static const struct {
        const char *codec;
        double accuracy;
    } cases[] = {
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
    const char *wanted = getenv("TRIBUTARY_VERSIONS");
    const uint64_t versions = wanted != NULL ? strtoull(wanted, NULL, 10) : 8;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t digest[TRIB_DIGEST_BYTES];
        char plan[500];
        const char *c = cases[i].codec;
        (void)snprintf(plan, sizeof plan,
                       LEARNING_PLAN
                       "codec.up: \"%s\"\ncodec.down: \"%s\"\ncodec.forward: \"%s\"\ncodec.global: \"%s\"\n",
                       c, c, c, c);
        double accuracy = federation_learn(plan, versions, digest);
        print_message("%s: %.3f\n", c, accuracy);
        if (!(accuracy > cases[i].accuracy)) fail_msg("%s: %.3f", c, accuracy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_codec_learns_on_both_hops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
