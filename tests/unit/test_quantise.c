/* Weights of a few bits: rounding, files, and training that sees them. */
#include "tests/support/cmocka.h"
#include "tests/support/folder.h"

#include "shared/base/alloc.h"
#include "shared/learn/task.h"
#include "shared/model/quantise.h"
#include "shared/model/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 2 * 3 + 3 };

static void schema_of(struct trib_schema *schema) {
    const size_t matrix[] = {2, 3}, bias = 3;
    trib_schema_init(schema);
    assert_int_equal(trib_schema_add(schema, "w", matrix, 2, 0, NULL), TRIB_OK);
    assert_int_equal(trib_schema_add(schema, "b", &bias, 1, 0, NULL), TRIB_OK);
    assert_int_equal(trib_schema_finish(schema, NULL), TRIB_OK);
}

static const float weights[COUNT] = {7.0F, -3.4F, 0.6F, 0.0F, -1.4F, 1.0F, 0.123F, 5.0F, -9.0F};

static void test_rounding(void **state) {
    (void)state;
    static const float expected[COUNT] = {7, -3, 1, 0, -1.4F, 1, 0.123F, 5, -9};
    struct trib_schema schema;
    float out[COUNT];
    schema_of(&schema);
    trib_quantise_round(&schema, 4, weights, out);
    for (size_t i = 0; i < COUNT; i++) assert_true(fabsf(out[i] - expected[i]) < 1e-6F);
    assert_true(memcmp(out + 6, weights + 6, 3 * sizeof *out) == 0);
    float again[COUNT];
    trib_quantise_round(&schema, 4, out, again);
    for (size_t i = 0; i < COUNT; i++) assert_true(fabsf(out[i] - again[i]) < 1e-6F);
    trib_quantise_round(&schema, 8, weights, out);
    for (size_t i = 0; i < 6; i++) assert_true(fabsf(out[i] - weights[i]) <= 7.0F / 254 * 1.0001F);
    float tiny[COUNT] = {1e-40F, -1e-40F, 1e-44F, 3e38F, -3.4e38F, 0};
    trib_quantise_round(&schema, 8, tiny, out);
    for (size_t i = 0; i < 3; i++) assert_true(out[i] == 0.0F);
    for (size_t i = 3; i < 6; i++) assert_true(fabsf(out[i] - tiny[i]) < 2e36F);
    assert_int_equal(trib_quantise_bits("int4"), 4);
    assert_int_equal(trib_quantise_bits("none"), 0);
    assert_int_equal(trib_quantise_bits("int2"), -1);
    trib_schema_release(&schema);
}

/* Header and bytes as the header file says. */
static void expect_file(unsigned bits, const char *header, const uint8_t *data, size_t bytes) {
    struct trib_schema schema;
    const char *metadata[] = {"run", "r", NULL};
    uint8_t found[2000];
    const char *path = folder_file("m.safetensors");
    schema_of(&schema);
    assert_int_equal(trib_safetensors_save_quantised(path, &schema, bits, weights, metadata, NULL), TRIB_OK);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(found, 1, sizeof found, file), length = found[0] | (size_t)found[1] << 8;
    assert_int_equal(fclose(file), 0);
    assert_int_equal(size, 8 + length + bytes);
    assert_true(length >= strlen(header) && length < strlen(header) + 8);
    assert_memory_equal(found + 8, header, strlen(header));
    assert_memory_equal(found + 8 + length, data, bytes);
    trib_schema_release(&schema);
}

static void test_files(void **state) {
    (void)state;
    uint8_t data[64];
    float floats[5] = {7.0F / 127, 1.4F / 127, 0.123F, 5, -9};
    static const int8_t bytes[] = {127, -62, 11, 0, -127, 91};
    memcpy(data, floats, sizeof floats);
    memcpy(data + sizeof floats, bytes, sizeof bytes);
    expect_file(8,
                "{\"__metadata__\":{\"quantised\":\"int8\",\"run\":\"r\"},"
                "\"w.scale\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                "\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[8,20]},"
                "\"w\":{\"dtype\":\"I8\",\"shape\":[2,3],\"data_offsets\":[20,26]}}",
                data, sizeof floats + sizeof bytes);
    static const uint8_t halves[] = {0xD7, 0x01, 0x90, 0x05};
    floats[0] = 1;
    floats[1] = 1.4F / 7;
    memcpy(data, floats, sizeof floats);
    memcpy(data + sizeof floats, halves, sizeof halves);
    expect_file(4,
                "{\"__metadata__\":{\"quantised\":\"int4\",\"run\":\"r\",\"w.shape\":\"2x3\"},"
                "\"w.scale\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                "\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[8,20]},"
                "\"w\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[20,24]}}",
                data, sizeof floats + sizeof halves);
}

/* ---- training ---- */

struct measured {
    double floats, rounded;
};

/* Accuracy on the sample after training with and for so many bits, as it is and rounded. `outlier`: what the
 * first weight of each row of the first tensor begins with. */
static struct measured train(const char *model, float outlier, unsigned qat, unsigned bits) {
    static uint32_t all[6000];
    struct trib_dataset *sample = NULL;
    struct trib_net *net = NULL;
    struct trib_workspace *workspace = NULL;
    struct trib_schema schema;
    struct trib_train_result result;
    struct measured out;
    double loss;
    assert_int_equal(trib_dataset_open("mnist", "data/mnist-sample", &sample, NULL, NULL), TRIB_OK);
    struct trib_shape shape = trib_dataset_shape(sample);
    trib_schema_init(&schema);
    assert_int_equal(trib_net_new(model, "", &shape, 10, &net, NULL), TRIB_OK);
    assert_int_equal(trib_workspace_new(net, 100, &workspace, NULL), TRIB_OK);
    assert_int_equal(trib_net_schema(net, &schema, NULL), TRIB_OK);
    float *parameters = trib_alloc_floats(schema.parameters);
    trib_schema_draw(&schema, 1, parameters);
    const struct trib_tensor *first = &schema.tensors[0];
    for (size_t r = 0; outlier > 0 && r < first->dims[0]; r++)
        parameters[r * (first->count / first->dims[0])] = outlier;
    for (uint32_t i = 0; i < 6000; i++) all[i] = i;
    struct trib_train_options options = {
        .epochs = 1, .batch = 10, .lr = 0.05, .lr_decay = 1.0, .seed = 9, .qat = qat};
    assert_int_equal(trib_train(net, workspace, sample, all, 6000, &options, parameters, &result, NULL, NULL),
                     TRIB_OK);
    assert_int_equal(trib_evaluate(net, workspace, sample, parameters, 0, &loss, &out.floats, NULL, NULL),
                     TRIB_OK);
    trib_quantise_round(&schema, bits, parameters, parameters);
    assert_int_equal(trib_evaluate(net, workspace, sample, parameters, 0, &loss, &out.rounded, NULL, NULL),
                     TRIB_OK);
    print_message("%s trained with %u bits: %.4f; rounded to %u: %.4f\n", model, qat > 0 ? qat : 32,
                  out.floats, bits, out.rounded);
    trib_free(parameters);
    trib_schema_release(&schema);
    trib_workspace_free(&workspace);
    trib_net_free(&net);
    trib_dataset_free(&sample);
    return out;
}

/* A model that was trained with its bits keeps its accuracy. */
static void test_keeps_accuracy(void **state) {
    (void)state;
    const double floats = train("cnn-small", 0, 0, 4).floats;
    assert_true(train("cnn-small", 0, 4, 4).rounded > floats - 0.015);
    assert_true(train("cnn-small", 0, 8, 8).rounded > floats - 0.015);
}

/* ... also where one that is rounded afterwards loses nearly all: a weight per row that is far larger than
 * the others makes the steps of four bits so wide that the others become 0. */
static void test_outliers(void **state) {
    (void)state;
    const struct measured after = train("softmax", 3, 0, 4), with = train("softmax", 3, 4, 4);
    const struct measured after8 = train("softmax", 3, 0, 8);
    assert_true(after.floats > 0.85 && after.rounded < 0.5);
    assert_true(with.rounded > after.floats - 0.05);
    assert_true(after8.rounded > after8.floats - 0.03);
}

/* A plan that asks for it: devices train so, and what is evaluated is rounded. */
static void test_plan(void **state) {
    (void)state;
    static const char text[] = "model: softmax\ndata.set: mnist\ntrain.qat: int4\n";
    struct trib_plan plan = {0};
    struct trib_task task;
    static float expected[8000], found[8000];
    assert_int_equal(trib_plan_read(text, strlen(text), "the plan", &plan, NULL), TRIB_OK);
    assert_int_equal(trib_task_open(&task, &plan, "data/mnist-sample", false, NULL), TRIB_OK);
    assert_int_equal(task.train.qat, 4);
    assert_true(task.schema.parameters <= 8000);
    trib_schema_draw(&task.schema, 1, found);
    trib_quantise_round(&task.schema, 4, found, expected);
    assert_memory_not_equal(found, expected, task.schema.parameters * sizeof *found);
    trib_task_round(&task, found);
    assert_memory_equal(found, expected, task.schema.parameters * sizeof *found);
    task.train.qat = 0;
    trib_schema_draw(&task.schema, 1, found);
    memcpy(expected, found, sizeof expected);
    trib_task_round(&task, found);
    assert_memory_equal(found, expected, sizeof expected);
    trib_task_close(&task);
    trib_options_release(trib_plan_options, trib_plan_option_count, &plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding),       cmocka_unit_test(test_files),    cmocka_unit_test(test_plan),
        cmocka_unit_test(test_keeps_accuracy), cmocka_unit_test(test_outliers),
    };
    return cmocka_run_group_tests_name("quantise", tests, folder_setup, folder_teardown);
}
