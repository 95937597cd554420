/* A federation that learns, with codecs that look at tensors, and with one that is chosen for each update. */
#include "tests/support/cmocka.h"
#include "tests/support/learning.h"

static void every_codec_learns_on_both_hops(void **unused) {
    (void)unused;
    static const struct learning_case cases[] = {
        {"int4(per=channel)", 0.5},
        {"rows(0.25)+int4+rice", 0.5},
        {"powersgd(2)+int8", 0.5},
        {"auto(min=topk(0.01)+1bit+rice, max=int8, loss=0.2)", 0.5},
    };
    learning_try(cases, sizeof cases / sizeof *cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_codec_learns_on_both_hops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
