/* Data sets: IDX files good and bad, where they are looked for, the carried sample, glyphs. */
#include "shared/base/alloc.h"
#include "shared/learn/dataset.h"
#include "tests/support/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

enum { TRAIN = 30, TEST = 20, PIXELS = 784 };

static void put_gz(const char *name, const uint8_t *bytes, size_t count) {
    gzFile file = gzopen(folder_file(name), "wb9");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)count), (int)count);
    assert_int_equal(gzclose(file), Z_OK);
}

/* An IDX file in memory; pixel p of image i is i + p, label i is i mod 10. */
static size_t idx(uint8_t *out, size_t rank, size_t count) {
    memset(out, 0, 16);
    out[2] = 8;
    out[3] = (uint8_t)rank;
    out[7] = (uint8_t)count;
    if (rank == 3) out[11] = out[15] = 28;
    size_t header = 4 + 4 * rank, each = rank == 3 ? PIXELS : 1;
    for (size_t i = 0; i < count; i++)
        for (size_t p = 0; p < each; p++) out[header + i * each + p] = (uint8_t)(rank == 3 ? i + p : i % 10);
    return header + count * each;
}

static uint8_t raw[16 + 60 * PIXELS];

/* All four files, good ones. */
static int setup(void **state) {
    (void)unsetenv("TRIBUTARY_DATA");
    if (folder_setup(state) != 0) return -1;
    folder_put("train-images-idx3-ubyte", raw, idx(raw, 3, TRAIN));
    folder_put("train-labels-idx1-ubyte", raw, idx(raw, 1, TRAIN));
    put_gz("t10k-images-idx3-ubyte.gz", raw, idx(raw, 3, TEST));
    put_gz("t10k-labels-idx1-ubyte.gz", raw, idx(raw, 1, TEST));
    return 0;
}

static void refused(enum trib_status wanted, const char *says) {
    struct trib_dataset *dataset = NULL;
    struct trib_error err = {0};
    enum trib_status status = trib_dataset_open("mnist", folder_path(), &dataset, NULL, &err);
    if (status != wanted || strstr(err.text, says) == NULL)
        fail_msg("%s: '%s', expected %s, '%s'", trib_status_name(status), err.text, trib_status_name(wanted),
                 says);
    assert_null(dataset);
}

static void test_reads_plain_and_gz(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    const char *source = NULL;
    assert_int_equal(trib_dataset_open("mnist", folder_path(), &dataset, &source, NULL), TRIB_OK);
    assert_non_null(strstr(source, folder_path()));
    assert_non_null(strstr(source, "data.path"));
    const struct trib_split *train = trib_dataset_train(dataset), *test = trib_dataset_test(dataset);
    assert_int_equal(train->count, TRAIN);
    assert_int_equal(test->count, TEST);
    assert_int_equal(train->images[5 * PIXELS + 7], 12);
    assert_int_equal(test->images[19 * PIXELS + 1], 20);
    assert_int_equal(train->labels[13], 3);
    assert_int_equal(trib_dataset_bytes(dataset), (TRAIN + TEST) * (PIXELS + 1));
    float out[3];
    trib_dataset_convert(dataset, (const uint8_t[]){0, 255, 51}, 3, out);
    assert_true(fabsf(out[0] - (0.0f - 0.1307f) / 0.3081f) < 1e-5f);
    assert_true(fabsf(out[1] - (1.0f - 0.1307f) / 0.3081f) < 1e-5f);
    assert_true(fabsf(out[2] - (0.2f - 0.1307f) / 0.3081f) < 1e-5f);
    trib_dataset_free(&dataset);
}

static void test_truncated(void **state) {
    (void)state;
    size_t whole = idx(raw, 3, TRAIN);
    static const size_t cuts[] = {0, 3, 4, 15, 16, 17, 1000};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        folder_put("train-images-idx3-ubyte", raw, cuts[i]);
        refused(TRIB_CORRUPT, "ends too early");
    }
    folder_put("train-images-idx3-ubyte", raw, whole - 1);
    refused(TRIB_CORRUPT, "train-images-idx3-ubyte: the file ends too early");
    folder_put("train-images-idx3-ubyte", raw, whole + 1);
    refused(TRIB_CORRUPT, "more in it than its header says");
}

static void test_damaged_gz(void **state) {
    (void)state;
    static uint8_t packed[sizeof raw];
    FILE *file = fopen(folder_file("t10k-images-idx3-ubyte.gz"), "rb");
    assert_non_null(file);
    size_t size = fread(packed, 1, sizeof packed, file);
    assert_int_equal(fclose(file), 0);
    assert_true(size > 100 && size < sizeof packed);
    for (size_t cut = 1; cut < size; cut += size / 9) {
        folder_put("t10k-images-idx3-ubyte.gz", packed, size - cut);
        struct trib_dataset *dataset = NULL;
        assert_int_not_equal(trib_dataset_open("mnist", folder_path(), &dataset, NULL, NULL), TRIB_OK);
    }
    for (size_t flip = 12; flip < size; flip += size / 40 + 1) { /* behind gzip's header of 10 bytes */
        packed[flip] ^= 0x10;
        folder_put("t10k-images-idx3-ubyte.gz", packed, size);
        struct trib_dataset *dataset = NULL;
        struct trib_error err = {0};
        assert_int_not_equal(trib_dataset_open("mnist", folder_path(), &dataset, NULL, &err), TRIB_OK);
        assert_non_null(strstr(err.text, "t10k-images-idx3-ubyte.gz"));
        packed[flip] ^= 0x10;
    }
}

static void test_other_headers(void **state) {
    (void)state;
    size_t whole = idx(raw, 3, TRAIN);
    raw[2] = 0x0d; /* floats */
    folder_put("train-images-idx3-ubyte", raw, whole);
    refused(TRIB_INVALID, "expected 00 00 08 03");
    folder_put("train-images-idx3-ubyte", raw, idx(raw, 1, TRAIN));
    refused(TRIB_INVALID, "begins with 00 00 08 01");
    (void)idx(raw, 3, TRAIN);
    raw[11] = 27;
    folder_put("train-images-idx3-ubyte", raw, whole);
    refused(TRIB_INVALID, "27x28");
    raw[11] = 14;
    raw[15] = 56;
    folder_put("train-images-idx3-ubyte", raw, whole);
    refused(TRIB_INVALID, "images of 14x56, expected 28x28");
    (void)idx(raw, 3, TRAIN);
    raw[4] = raw[5] = 0xff; /* four billion images: refused before anything is allocated */
    folder_put("train-images-idx3-ubyte", raw, whole);
    refused(TRIB_LIMIT, "items");
    (void)idx(raw, 3, TRAIN);
    memset(raw + 8, 0xff, 8);
    folder_put("train-images-idx3-ubyte", raw, whole);
    refused(TRIB_INVALID, "expected 784 bytes");
    (void)idx(raw, 3, TRAIN);
    raw[7] = 0;
    folder_put("train-images-idx3-ubyte", raw, 16);
    refused(TRIB_LIMIT, "0 items");
}

static void test_labels(void **state) {
    (void)state;
    size_t whole = idx(raw, 1, TRAIN);
    raw[8 + 4] = 10;
    folder_put("train-labels-idx1-ubyte", raw, whole);
    refused(TRIB_CORRUPT, "label 4 is 10");
    folder_put("train-labels-idx1-ubyte", raw, idx(raw, 1, TRAIN - 1));
    refused(TRIB_CORRUPT, "30 train images and 29 labels");
    assert_int_equal(unlink(folder_file("train-labels-idx1-ubyte")), 0);
    refused(TRIB_NOT_FOUND, "no train-labels-idx1-ubyte");
}

static void test_sources(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    const char *source = NULL;
    struct trib_error err = {0};
    assert_int_equal(setenv("TRIBUTARY_DATA", folder_path(), 1), 0);
    assert_int_equal(trib_dataset_open("mnist", "", &dataset, &source, NULL), TRIB_OK);
    assert_non_null(strstr(source, "TRIBUTARY_DATA"));
    trib_dataset_free(&dataset);
    assert_int_equal(trib_dataset_open("mnist", "/nowhere", &dataset, NULL, &err), TRIB_NOT_FOUND);
    assert_non_null(strstr(err.text, "data.path is '/nowhere'")); /* goes before TRIBUTARY_DATA */
    assert_int_equal(setenv("TRIBUTARY_DATA", "/nowhere", 1), 0);
    assert_int_equal(trib_dataset_open("mnist", NULL, &dataset, NULL, &err), TRIB_NOT_FOUND);
    assert_non_null(strstr(err.text, "TRIBUTARY_DATA is '/nowhere'"));
    assert_int_equal(unsetenv("TRIBUTARY_DATA"), 0);
    assert_int_equal(trib_dataset_open("mnist", folder_path(), &dataset, NULL, NULL), TRIB_OK);
    trib_dataset_free(&dataset);
    assert_null(dataset);
}

/* From another working folder: what `make data` fetched goes before the sample, a folder of folders gives the
 * one with the name, and where there is nothing the error says what to do. */
static void test_search_order(void **state) {
    (void)state;
    char before[512], command[512];
    struct trib_dataset *dataset = NULL;
    const char *source = NULL;
    struct trib_error err = {0};
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder_path()), 0);
    if (trib_dataset_open("fashion-mnist", NULL, &dataset, NULL, &err) == TRIB_OK) {
        trib_dataset_free(&dataset); /* it is installed on this machine */
    } else {
        assert_int_equal(err.status, TRIB_NOT_FOUND);
        assert_non_null(strstr(err.text, "make data DATASET=fashion-mnist"));
        assert_non_null(strstr(err.text, "TRIBUTARY_DATA"));
    }
    (void)snprintf(command, sizeof command, "mkdir -p data/mnist-sample && cp *-ubyte* data/mnist-sample");
    assert_int_equal(system(command), 0);
    assert_int_equal(trib_dataset_open("mnist", NULL, &dataset, &source, NULL), TRIB_OK);
    assert_string_equal(source, "data/mnist-sample (the carried sample)");
    trib_dataset_free(&dataset);
    assert_int_equal(system("mkdir -p data/full/mnist && cp *-ubyte* data/full/mnist"), 0);
    assert_int_equal(trib_dataset_open("mnist", NULL, &dataset, &source, NULL), TRIB_OK);
    assert_string_equal(source, "data/full/mnist (fetched by make data)");
    trib_dataset_free(&dataset);
    assert_int_equal(trib_dataset_open("mnist", "data/full", &dataset, &source, NULL), TRIB_OK);
    assert_string_equal(source, "data/full/mnist (data.path)");
    trib_dataset_free(&dataset);
    assert_int_equal(chdir(before), 0);
}

static void test_carried_sample(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    struct trib_error err = {0};
    if (trib_dataset_open("mnist", "data/mnist-sample", &dataset, NULL, &err) != TRIB_OK)
        fail_msg("%s", err.text);
    const struct trib_split *splits[] = {trib_dataset_train(dataset), trib_dataset_test(dataset)};
    for (size_t s = 0; s < 2; s++) {
        size_t each = s == 0 ? 1000 : 200, have[10] = {0};
        assert_int_equal(splits[s]->count, 10 * each);
        for (size_t i = 0; i < splits[s]->count; i++) have[splits[s]->labels[i]]++;
        for (size_t c = 0; c < 10; c++) assert_int_equal(have[c], each);
    }
    double sum = 0, squares = 0; /* images of digits, normalised as mnist is */
    size_t count = 10000 * PIXELS;
    float *x = trib_alloc_floats(count);
    trib_dataset_convert(dataset, splits[0]->images, count, x);
    for (size_t i = 0; i < count; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    assert_true(fabs(sum / (double)count) < 0.02);
    assert_true(fabs(squares / (double)count - 1.0) < 0.03);
    trib_free(x);
    trib_dataset_free(&dataset);
}

static void test_glyphs(void **state) {
    (void)state;
    struct trib_dataset *a = NULL, *b = NULL, *c = NULL;
    const char *source = NULL;
    assert_int_equal(trib_dataset_open("glyphs(600)", NULL, &a, &source, NULL), TRIB_OK);
    assert_non_null(strstr(source, "600 generated"));
    assert_int_equal(trib_dataset_open("glyphs(count=600)", NULL, &b, NULL, NULL), TRIB_OK);
    assert_int_equal(trib_dataset_open("glyphs(900)", NULL, &c, NULL, NULL), TRIB_OK);
    const struct trib_split *train = trib_dataset_train(a);
    assert_int_equal(train->count, 600);
    assert_int_equal(trib_dataset_test(a)->count, 100);
    assert_int_equal(trib_dataset_test(c)->count, 150);
    assert_memory_equal(train->images, trib_dataset_train(b)->images, 600 * PIXELS);
    assert_memory_equal(train->labels, trib_dataset_train(c)->labels, 600); /* a longer one begins the same */
    assert_memory_equal(train->images, trib_dataset_train(c)->images, 600 * PIXELS);
    assert_memory_not_equal(train->images, trib_dataset_test(a)->images, 100 * PIXELS);
    size_t have[10] = {0}, ink = 0;
    for (size_t i = 0; i < 600; i++) have[train->labels[i]]++;
    for (size_t i = 0; i < 10; i++) assert_in_range(have[i], 30, 100);
    for (size_t i = 0; i < 600 * PIXELS; i++) ink += train->images[i] > 100;
    assert_in_range(ink, 600 * 40, 600 * 250);
    trib_dataset_free(&a);
    trib_dataset_free(&b);
    trib_dataset_free(&c);
}

static void test_own_images(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    struct trib_error err = {0};
    size_t whole = idx(raw, 3, TRAIN);
    raw[11] = 14;
    raw[15] = 56;
    folder_put("train-images-idx3-ubyte", raw, whole);
    (void)idx(raw, 3, TEST);
    raw[11] = 14;
    raw[15] = 56;
    put_gz("t10k-images-idx3-ubyte.gz", raw, 16 + TEST * PIXELS);
    assert_int_equal(trib_dataset_open("idx(14, 56, std=0.25)", folder_path(), &dataset, NULL, &err),
                     TRIB_OK);
    assert_int_equal(trib_dataset_shape(dataset).height, 14);
    assert_int_equal(trib_dataset_shape(dataset).width, 56);
    float x[PIXELS];
    trib_dataset_sample(dataset, trib_dataset_train(dataset), 5, x);
    assert_true(fabsf(x[7] - (12.0f / 255.0f - 0.5f) / 0.25f) < 1e-5f);
    trib_dataset_free(&dataset);
    assert_int_equal(trib_dataset_open("idx(56, 14)", folder_path(), &dataset, NULL, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "images of 14x56, expected 56x14"));
    assert_int_equal(trib_dataset_open("idx(14, 56, classes=9)", folder_path(), &dataset, NULL, &err),
                     TRIB_CORRUPT);
    assert_non_null(strstr(err.text, "label 9 is 9, expected 0 to 8"));
}

static void test_specs(void **state) {
    (void)state;
    struct trib_error err = {0};
    for (size_t i = 0; trib_dataset_row(i) != NULL; i++)
        assert_int_equal(trib_dataset_check_spec(trib_dataset_row(i)->name, &err), TRIB_OK);
    assert_int_equal(trib_dataset_check_spec("glyphs(100)", &err), TRIB_OK);
    assert_int_equal(trib_dataset_check_spec("glyphs(9)", &err), TRIB_INVALID);
    assert_int_equal(trib_dataset_check_spec("glyphs(-1)", &err), TRIB_INVALID);
    assert_int_equal(trib_dataset_check_spec("mnist(3)", &err), TRIB_INVALID);
    assert_int_equal(trib_dataset_check_spec("minst", &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "fashion-mnist"));
}

static void test_memory(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    for (long n = 0;; n++) {
        trib_alloc_fail_after(n);
        enum trib_status status = trib_dataset_open("mnist", folder_path(), &dataset, NULL, NULL);
        trib_alloc_fail_after(-1);
        if (status == TRIB_OK) break;
        assert_int_equal(status, TRIB_NOMEM);
    }
    trib_dataset_free(&dataset);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads_plain_and_gz, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_damaged_gz, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_other_headers, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_labels, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_sources, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_search_order, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_own_images, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, folder_teardown),
        cmocka_unit_test(test_carried_sample),
        cmocka_unit_test(test_glyphs),
        cmocka_unit_test(test_specs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
