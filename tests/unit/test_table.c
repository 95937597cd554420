/* Tables: CSV files good and bad, what becomes of their columns, regression, Beijing's stations. */
#include "shared/base/alloc.h"
#include "shared/learn/dataset.h"
#include "shared/learn/partition.h"
#include "shared/learn/task.h"
#include "shared/learn/train.h"
#include "tests/support/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SPEC "csv(t.csv, target=y, features=a h%4 w#, user=who, test=0.25, shuffle=false"

static struct trib_dataset *open_set(const char *spec, const char **source) {
    struct trib_dataset *dataset = NULL;
    struct trib_error err = {0};
    if (trib_dataset_open(spec, folder_path(), &dataset, source, &err) != TRIB_OK)
        fail_msg("%s: %s", spec, err.text);
    return dataset;
}

static void refused(const char *text, const char *spec, const char *says) {
    struct trib_dataset *dataset = NULL;
    struct trib_error err = {0};
    folder_put_text("t.csv", text);
    assert_int_not_equal(trib_dataset_open(spec, folder_path(), &dataset, NULL, &err), TRIB_OK);
    assert_null(dataset);
    if (strstr(err.text, says) == NULL) fail_msg("'%s' lacks '%s'", err.text, says);
}

static const char good[] = "y,\"a\",h,w,who\n"
                           "1,1,0,N,\"x, \"\"1\"\"\"\r\n"
                           "3,NA,1,S,\"x, \"\"1\"\"\"\n"
                           "NA,9,1,S,y\n"
                           "\n"
                           "5,5,2,,\"x, \"\"1\"\"\"\n"
                           "7,100,3,N,\"x, \"\"1\"\"\"\n" /* the last quarter of x: tests */
                           "3,3,,S,y\n";

static void near(float a, double b) {
    if (fabs((double)a - b) > 1e-5) fail_msg("%g, expected %g", (double)a, b);
}

/* By hand: a is 1, 5, 3 in training, mean 3 and variance 8/3; y is 1, 3, 5, 3, mean 3 and variance 2. */
static void test_columns(void **state) {
    (void)state;
    folder_put_text("t.csv", good);
    const char *source;
    struct trib_dataset *dataset = open_set(SPEC ")", &source);
    const struct trib_split *train = trib_dataset_train(dataset), *test = trib_dataset_test(dataset);
    assert_non_null(strstr(source, "5 rows, 1 left out without y, 3 values missing; deviation of y 1.414"));
    assert_int_equal(trib_dataset_shape(dataset).width, 1 + 2 + 2);
    assert_int_equal(trib_dataset_classes(dataset), 1);
    assert_int_equal(trib_dataset_users(dataset), 2);
    assert_int_equal(train->count, 4);
    assert_int_equal(test->count, 1);
    double a = sqrt(8.0 / 3.0);
    const double wanted[5][5] = {
        {-2 / a, 0, 1, 1, 0}, {0, 1, 0, 0, 1}, {2 / a, 0, -1, 0, 0}, {0, 0, 0, 0, 1}, {97 / a, -1, 0, 1, 0}};
    static const double y[] = {-2, 0, 2, 0, 4};
    for (size_t i = 0; i < 5; i++) {
        float x[5];
        trib_dataset_sample(dataset, i < 4 ? train : test, i % 4, x);
        for (size_t j = 0; j < 5; j++) near(x[j], wanted[i][j]);
        near(i < 4 ? train->values[i] : test->values[0], y[i] / sqrt(2.0));
        assert_int_equal((i < 4 ? train : test)->users[i % 4], i == 3);
    }
    assert_true(fabs(train->variance - 1.0) < 1e-5);
    trib_dataset_free(&dataset);
    dataset = open_set("csv(t.csv, target=y, features=a, test=0.5, shuffle=false, classes=8, every=2)", NULL);
    assert_int_equal(trib_dataset_classes(dataset), 8); /* rows 1, 3 (left out), 5 */
    assert_int_equal(trib_dataset_train(dataset)->labels[0], 1);
    trib_dataset_free(&dataset);
}

static void test_refusals(void **state) {
    (void)state;
    refused("", SPEC ")", "t.csv:1: the file is empty");
    refused("y,a,h,w,who\n1,2,3\n", SPEC ")", "t.csv:2: 3 fields, expected 5");
    refused("y,a,h,w,who\n1,2,3,N,x\n1,2x,3,N,x\n", SPEC ")", "t.csv:3: a is '2x', expected a number");
    refused("y,a,h,w,who\n1,inf,3,N,x\n", SPEC ")", "t.csv:2: a is 'inf'");
    refused("y,a,h,w,who\n1,2,3,\"N,x\n", SPEC ")", "t.csv:2: a quote that does not end");
    refused("y,a,h,w,who\n1,2,3,\"N\"S,x\n", SPEC ")", "t.csv:2: text behind a closing quote");
    refused("y,b,h,w,who\n", SPEC ")", "t.csv:1: no column 'a' among 5");
    refused("y,a,h,w,who\n1,2,3,N,x\n", SPEC ")", "1 rows with a target");
    refused(good, SPEC ", classes=7)", "target y is 7; with 7 classes");
    refused(good, SPEC ", classes=1)", "classes is 1");
    refused(good, "csv(t.csv, target=y)", "a table needs");
    refused(good, "csv(u.csv, target=y, features=a)", "u.csv");
    refused(good, "csv(t.csv, target=y, features=h%0)", "above 0");
    static char line[70000];
    memset(line, 'a', sizeof line - 1);
    refused(line, SPEC ")", "t.csv:1: a line of 64 KiB");
    memset(line, ',', 300);
    line[300] = '\0';
    refused(line, SPEC ")", "more than 256 columns");
}

static void test_memory(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    folder_put_text("t.csv", good);
    for (long n = 0;; n++) {
        trib_alloc_fail_after(n);
        enum trib_status status = trib_dataset_open(SPEC ")", folder_path(), &dataset, NULL, NULL);
        trib_alloc_fail_after(-1);
        if (status == TRIB_OK) break;
        assert_int_equal(status, TRIB_NOMEM);
    }
    trib_dataset_free(&dataset);
}

/* ---- regression ---- */

struct fit {
    double loss, explained, at_start;
};

static struct fit fit(const struct trib_dataset *dataset, const char *model, uint64_t epochs) {
    struct trib_shape shape = trib_dataset_shape(dataset);
    struct trib_net *net = NULL;
    struct trib_workspace *workspace = NULL;
    struct trib_schema schema;
    assert_int_equal(trib_net_new(model, NULL, &shape, 1, &net, NULL), TRIB_OK);
    assert_int_equal(trib_workspace_new(net, 100, &workspace, NULL), TRIB_OK);
    assert_int_equal(trib_net_schema(net, &schema, NULL), TRIB_OK);
    float *p = trib_alloc_floats(trib_net_parameters(net));
    trib_schema_draw(&schema, 1, p);
    size_t count = trib_dataset_train(dataset)->count;
    uint32_t *all = trib_alloc_array(count, sizeof *all);
    for (size_t i = 0; i < count; i++) all[i] = (uint32_t)i;
    struct trib_train_options o = {.epochs = epochs, .batch = 10, .lr = 0.01, .lr_decay = 1.0, .clip = 5.0};
    struct trib_train_result result;
    struct trib_error err = {0};
    struct fit f;
    double loss;
    assert_int_equal(trib_evaluate(net, workspace, dataset, p, 0, &loss, &f.at_start, NULL, NULL), TRIB_OK);
    if (trib_train(net, workspace, dataset, all, count, &o, p, &result, NULL, &err) != TRIB_OK)
        fail_msg("%s", err.text);
    assert_true(result.accuracy >= 0.0 && result.accuracy <= 1.0);
    assert_int_equal(trib_evaluate(net, workspace, dataset, p, 0, &f.loss, &f.explained, NULL, NULL),
                     TRIB_OK);
    trib_schema_release(&schema);
    trib_free(all);
    trib_free(p);
    trib_workspace_free(&workspace);
    trib_net_free(&net);
    return f;
}

/* y = 3 a - 2 b + 10, exactly: all of the variance is explained in the end. */
static void test_regression(void **state) {
    (void)state;
    static char text[40000];
    size_t used = (size_t)snprintf(text, sizeof text, "a,b,y\n");
    for (int i = 0; i < 1000; i++) {
        int a = i * 37 % 101, b = i * 53 % 89;
        used += (size_t)snprintf(text + used, sizeof text - used, "%d,%d,%d\n", a, b, 3 * a - 2 * b + 10);
    }
    folder_put_text("t.csv", text);
    struct trib_dataset *dataset = open_set("csv(t.csv, target=y, features=a b)", NULL);
    struct fit f = fit(dataset, "softmax", 5);
    assert_true(f.explained > 0.999 && f.at_start < 0.99);
    double variance = trib_dataset_test(dataset)->variance;
    assert_true(fabs(f.explained - (1.0 - f.loss / variance)) < 1e-9);
    assert_true(trib_dataset_accuracy(dataset, trib_dataset_test(dataset), 2.0 * variance, 0, 1) < 1e-12);
    trib_dataset_free(&dataset);
    struct trib_net *net = NULL;
    struct trib_error err = {0};
    assert_int_equal(
        trib_net_new("layers", "dense\ncross-entropy", &(struct trib_shape){1, 1, 2}, 1, &net, &err),
        TRIB_INVALID);
    assert_non_null(strstr(err.text, "take mse"));
}

/* The gradient of one dense layer on one sample, by hand: 2 (w x + b - y) x. */
static void test_gradient_of_values(void **state) {
    (void)state;
    struct trib_net *net = NULL;
    struct trib_workspace *workspace = NULL;
    assert_int_equal(trib_net_new("softmax", NULL, &(struct trib_shape){1, 1, 2}, 1, &net, NULL), TRIB_OK);
    assert_int_equal(trib_workspace_new(net, 2, &workspace, NULL), TRIB_OK);
    const float p[] = {0.5f, -1.0f, 0.25f}, x[] = {2, 3, -1, 4}, y[] = {1.0f, -2.0f};
    float g[3];
    struct trib_batch_result result; /* misses: 1 - 3 + 0.25 - 1 = -2.75; -0.5 - 4 + 0.25 + 2 = -2.25 */
    trib_net_gradient(net, workspace, p, x, y, 2, g, &result);
    near((float)result.loss, (2.75 * 2.75 + 2.25 * 2.25) / 2);
    near(g[0], -2.75 * 2 + 2.25);
    near(g[1], -2.75 * 3 - 2.25 * 4);
    near(g[2], -5.0);
    trib_workspace_free(&workspace);
    trib_net_free(&net);
}

static const char *const stations[] = {"Aotizhongxin", "Changping", "Dingling", "Dongsi",
                                       "Guanyuan",     "Gucheng",   "Huairou",  "Nongzhanguan",
                                       "Shunyi",       "Tiantan",   "Wanliu",   "Wanshouxigong"};
enum { STATIONS = sizeof stations / sizeof *stations, HOURS = 200 };
static const char *const winds[] = {"N", "NNW", "SW", "E"};

/* A file as those of the UCI's: their header, quotes and NA. PM2.5 is 10 + PM10 / 2. */
static void put_station(size_t station) {
    static char text[HOURS * 120];
    char name[80];
    size_t used = (size_t)snprintf(text, sizeof text,
                                   "\"No\",\"year\",\"month\",\"day\",\"hour\",\"PM2.5\",\"PM10\",\"SO2\","
                                   "\"NO2\",\"CO\",\"O3\",\"TEMP\",\"PRES\",\"DEWP\",\"RAIN\",\"wd\","
                                   "\"WSPM\",\"station\"\n");
    for (size_t i = 0; i < HOURS; i++) {
        size_t pm10 = (i * 37 + station * 11) % 150;
        char pm25[16];
        (void)snprintf(pm25, sizeof pm25, "%g", 10 + (double)pm10 / 2);
        used += (size_t)snprintf(
            text + used, sizeof text - used,
            "%zu,2013,%zu,%zu,%zu,%s,%zu,%zu,%s,300,77,-0.7,1023,-18.8,0,%s%s%s,4.4,\"%s\"\n", i + 1,
            3 + i / 100, 1 + i / 24, i % 24, i % 20 == 7 ? "NA" : pm25, pm10, i % 9, i % 10 == 3 ? "NA" : "7",
            i == 5 ? "" : "\"", i == 5 ? "NA" : winds[i % 4], i == 5 ? "" : "\"", stations[station]);
    }
    assert_true(used < sizeof text);
    (void)snprintf(name, sizeof name, "PRSA_Data_%s_20130301-20170228.csv", stations[station]);
    folder_put_text(name, text);
}

/* The twelve files by their names, and their columns: month and hour as cycles, ten numbers, the wind's
 * texts; rows without PM2.5 are left out; each station is a user, whose last fifth tests. */
static void test_stations(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    struct trib_error err = {0};
    const char *source;
    for (size_t s = 0; s + 1 < STATIONS; s++) put_station(s);
    assert_int_equal(trib_dataset_open("beijing-air", folder_path(), &dataset, NULL, &err), TRIB_NOT_FOUND);
    assert_non_null(strstr(err.text, "PRSA_Data_Wanshouxigong_20130301-20170228.csv"));
    put_station(STATIONS - 1);
    dataset = open_set("beijing-air", &source);
    const struct trib_split *train = trib_dataset_train(dataset), *test = trib_dataset_test(dataset);
    assert_non_null(strstr(source, "120 left out without PM2.5"));
    assert_int_equal(trib_dataset_classes(dataset), 1);
    assert_int_equal(trib_dataset_users(dataset), STATIONS);
    assert_int_equal(trib_dataset_shape(dataset).width, 2 + 2 + 10 + 4);
    assert_int_equal(train->count, STATIONS * 152); /* of 190 with PM2.5 */
    assert_int_equal(test->count, STATIONS * 38);
    for (size_t i = 0; i < train->count; i++) assert_int_equal(train->users[i], i / 152);
    float x[18]; /* the first hour of March; of what never changes nothing is left */
    trib_dataset_sample(dataset, train, 0, x);
    near(x[0], sin(2 * 3.14159265358979 * 3 / 12));
    near(x[1], cos(2 * 3.14159265358979 * 3 / 12));
    near(x[2], 0);
    near(x[3], 1);
    for (size_t i = 7; i < 14; i++) near(x[i], 0);
    near(x[14], 1);
    for (size_t i = 15; i < 18; i++) near(x[i], 0);
    trib_dataset_sample(dataset, train, 5, x); /* the sixth: its wind is missing */
    near(x[2], sin(2 * 3.14159265358979 * 5 / 24));
    for (size_t i = 14; i < 18; i++) near(x[i], 0);
    struct fit f = fit(dataset, "softmax", 5);
    if (f.explained < 0.99) fail_msg("%.3f of the variance", f.explained);
    trib_dataset_free(&dataset);
    dataset = open_set("beijing-air(every=10)", NULL); /* hours 1, 11, ... of each file: all have PM2.5 */
    assert_int_equal(trib_dataset_train(dataset)->count + trib_dataset_test(dataset)->count,
                     STATIONS * HOURS / 10);
    trib_dataset_free(&dataset);
}

/* The real ones, where somebody has them. */
static void test_beijing(void **state) {
    (void)state;
    struct trib_dataset *dataset = NULL;
    struct trib_partition *partition = NULL;
    if (getenv("TRIBUTARY_DATA") == NULL ||
        trib_dataset_open("beijing-air(every=24)", NULL, &dataset, NULL, NULL) != TRIB_OK)
        skip();
    const struct trib_split *train = trib_dataset_train(dataset);
    assert_int_equal(trib_dataset_users(dataset), 12);
    assert_int_equal(trib_dataset_shape(dataset).width, 2 + 2 + 10 + 16);
    assert_in_range(train->count + trib_dataset_test(dataset)->count, 16500, 17532);
    assert_int_equal(
        trib_partition_make("natural", train->labels, train->users, train->count, 1, 12, 1, &partition, NULL),
        TRIB_OK);
    struct fit f = fit(dataset, "mlp", 2);
    if (f.explained < 0.7) fail_msg("beijing-air: %.3f of the variance", f.explained);
    trib_partition_free(&partition);
    trib_dataset_free(&dataset);
}

/* Where numbers are predicted there are no classes to tell of. */
static void test_labels(void **state) {
    (void)state;
    for (size_t classes = 0; classes <= 8; classes += 8) {
        char text[200];
        struct trib_plan plan = {0};
        struct trib_task task;
        struct trib_error err = {0};
        uint64_t counts[8];
        folder_put_text("t.csv", good);
        (void)snprintf(text, sizeof text,
                       "model: softmax\ndata.set: csv(t.csv, target=y, features=a, test=0.4, shuffle=false, "
                       "classes=%zu)\ndata.partition: iid\ndata.devices: 1\n",
                       classes);
        if (trib_plan_read(text, strlen(text), "test", &plan, &err) != TRIB_OK) fail_msg("%s", err.text);
        if (trib_task_open(&task, &plan, folder_path(), true, &err) != TRIB_OK) fail_msg("%s", err.text);
        assert_int_equal(trib_task_labels(&task, 0, counts, 8), classes);
        if (classes > 0) assert_int_equal(counts[3], 1);
        trib_task_close(&task);
        trib_options_release(trib_plan_options, trib_plan_option_count, &plan);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_columns, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_refusals, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_memory, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_regression, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_labels, folder_setup, folder_teardown),
        cmocka_unit_test(test_gradient_of_values),
        cmocka_unit_test_setup_teardown(test_stations, folder_setup, folder_teardown),
        cmocka_unit_test(test_beijing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
