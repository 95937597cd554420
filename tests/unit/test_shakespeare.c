/* Shakespeare: speeches to roles to samples, and char-gru on them. */
#include "shared/base/alloc.h"
#include "shared/learn/dataset.h"
#include "shared/learn/partition.h"
#include "shared/learn/train.h"
#include "tests/support/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char plays[] =
    "Ann:\nabc\nNo "
    "name:\n\nBob:\n0123456789\n\nAnn:\nde~\n\nBob:\nABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop\n";

/* Ann says "abc\nNo name:\nde~\n", Bob his two lines; 4 characters and the next, every second. */
static void test_samples(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    struct trib_error err = {0};
    folder_put_text("input.txt", plays);
    if (trib_dataset_open("shakespeare(4, 2)", folder_path(), &dataset, NULL, &err) != TRIB_OK)
        fail_msg("%s", err.text);
    const struct trib_split *train = trib_dataset_train(dataset), *test = trib_dataset_test(dataset);
    assert_int_equal(trib_dataset_users(dataset), 2);
    assert_int_equal(trib_dataset_classes(dataset), 96);
    assert_int_equal(trib_dataset_shape(dataset).width, 4);
    size_t bob = 0;
    while (train->users[bob] == 0) bob++;
    static const char ann_text[] = "abc\nNo name:\nde~\n",
                      bob_text[] = "0123456789\nABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop\n";
    for (size_t i = 0; i < train->count; i++) {
        const char *wanted = i < bob ? ann_text + 2 * i : bob_text + 2 * (i - bob);
        float x[4];
        trib_dataset_sample(dataset, train, i, x);
        assert_int_equal(train->users[i], i >= bob);
        for (size_t j = 0; j < 5; j++) {
            int code = wanted[j] == '\n' ? 0 : wanted[j] - ' ' + 1;
            assert_int_equal(j < 4 ? (int)x[j] : train->labels[i], code);
        }
    }
    /* 54 characters of Bob are 25 samples, the last 5 to test, but for those before the last training label
     */
    assert_int_equal(train->count - bob, 20);
    assert_int_equal(test->count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(test->users[i], 1);
        assert_true(test->images[4 * i] >= bob_text[46] - ' ' + 1);
    }
    trib_dataset_free(&dataset);
}

static void test_refusals(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    struct trib_error err = {0};
    folder_put_text("input.txt", "nothing here\n");
    assert_int_equal(trib_dataset_open("shakespeare", folder_path(), &dataset, NULL, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "no speech"));
    folder_put_text("input.txt", plays);
    assert_int_equal(trib_dataset_open("shakespeare", folder_path(), &dataset, NULL, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "no role speaks 80"));
    folder_put_text("input.txt", "");
    assert_int_equal(trib_dataset_open("shakespeare", folder_path(), &dataset, NULL, &err), TRIB_CORRUPT);
}

/* A role that repeats itself is predicted nearly always by the gru, and no augmentation turns letters. */
static void test_char_gru_learns(void **state) {
    (void)state;
    static char text[6000];
    size_t used = (size_t)snprintf(text, sizeof text, "Echo:\n");
    while (used + 30 < sizeof text)
        used += (size_t)snprintf(text + used, sizeof text - used, "aab baa cab. ");
    folder_put_text("input.txt", text);
    struct trib_dataset *dataset = NULL;
    assert_int_equal(trib_dataset_open("shakespeare(8, 3)", folder_path(), &dataset, NULL, NULL), TRIB_OK);
    struct trib_shape shape = trib_dataset_shape(dataset);
    struct trib_net *net = NULL;
    struct trib_workspace *workspace = NULL;
    struct trib_schema schema;
    assert_int_equal(trib_net_new("char-gru", NULL, &shape, 96, &net, NULL), TRIB_OK);
    assert_int_equal(trib_net_parameters(net), 65888);
    assert_int_equal(trib_workspace_new(net, 20, &workspace, NULL), TRIB_OK);
    assert_int_equal(trib_net_schema(net, &schema, NULL), TRIB_OK);
    float *p = trib_alloc_floats(schema.parameters);
    trib_schema_draw(&schema, 1, p);
    size_t count = trib_dataset_train(dataset)->count;
    uint32_t *all = trib_alloc_array(count, sizeof *all);
    for (size_t i = 0; i < count; i++) all[i] = (uint32_t)i;
    struct trib_train_options o = {.epochs = 6, .batch = 10, .lr = 0.5, .lr_decay = 1.0, .clip = 5.0};
    struct trib_train_result result;
    struct trib_error err = {0};
    if (trib_train(net, workspace, dataset, all, count, &o, p, &result, NULL, &err) != TRIB_OK)
        fail_msg("%s", err.text);
    double loss, accuracy;
    assert_int_equal(trib_evaluate(net, workspace, dataset, p, 0, &loss, &accuracy, NULL, NULL), TRIB_OK);
    if (accuracy < 0.95) fail_msg("%.3f of the next characters right", accuracy);
    o.augment = true;
    assert_int_equal(trib_train(net, workspace, dataset, all, count, &o, p, &result, NULL, &err),
                     TRIB_INVALID);
    trib_free(all);
    trib_free(p);
    trib_schema_release(&schema);
    trib_workspace_free(&workspace);
    trib_net_free(&net);
    trib_dataset_free(&dataset);
}

static void test_the_plays(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    struct trib_partition *partition = NULL;
    if (getenv("TRIBUTARY_DATA") == NULL ||
        trib_dataset_open("shakespeare", NULL, &dataset, NULL, NULL) != TRIB_OK)
        skip();
    const struct trib_split *train = trib_dataset_train(dataset);
    assert_in_range(trib_dataset_users(dataset), 200, 400);
    assert_in_range(train->count, 60000, 90000);
    assert_in_range(trib_dataset_test(dataset)->count, 5000, 20000);
    assert_int_equal(trib_partition_make("natural", train->labels, train->users, train->count, 96, 50, 1,
                                         &partition, NULL),
                     TRIB_OK);
    trib_partition_free(&partition);
    trib_dataset_free(&dataset);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_samples, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_refusals, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_char_gru_learns, folder_setup, folder_teardown),
        cmocka_unit_test(test_the_plays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
