/* `tributary history`, called as the program calls it, its output read back. */
#include "cli/history.c"
#include "cli/sheet.c"
#include "cli/words.c"

#include "tests/support/cmocka.h"
#include "tests/support/ledger_kit.h"

#include <unistd.h>

static struct ledger_kit kit;
static char printed[40000];

static int setup(void **state) {
    (void)state;
    ledger_kit_init(&kit, "cloud");
    ledger_kit_cloud_run(&kit, 0x33, 6);
    ledger_kit_cloud_run(&kit, 0x44, 20);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    ledger_kit_release(&kit);
    return 0;
}

/* Runs it with up to four words behind the ledger; stdout (and stderr) go to `printed`. */
static int history(const char *ledger, const char *a, const char *b, const char *c, const char *d) {
    const char *words[] = {"history", ledger, a, b, c, d};
    char *argv[7] = {0};
    int argc = 0;
    for (size_t i = 0; i < 6; i++) {
        if (words[i] != NULL) argv[argc++] = (char *)(uintptr_t)words[i];
    }
    FILE *file = tmpfile();
    (void)fflush(stdout);
    (void)fflush(stderr);
    int out = dup(1), errors = dup(2);
    (void)dup2(fileno(file), 1);
    (void)dup2(fileno(file), 2);
    int code = cli_history(argc, argv);
    (void)fflush(stdout);
    (void)fflush(stderr);
    (void)dup2(out, 1);
    (void)dup2(errors, 2);
    (void)close(out);
    (void)close(errors);
    rewind(file);
    printed[fread(printed, 1, sizeof printed - 1, file)] = 0;
    (void)fclose(file);
    return code;
}

static void expect(const char *words) {
    if (strstr(printed, words) == NULL) fail_msg("\"%s\" is not in:\n%s", words, printed);
}

static int lines(void) {
    int count = 0;
    for (const char *p = printed; *p != 0; p++) count += *p == '\n';
    return count;
}

static void test_runs(void **state) {
    (void)state;
    assert_int_equal(history(kit.kit.folder, NULL, NULL, NULL, NULL), CLI_DONE);
    assert_int_equal(lines(), 3);
    expect("run       label   role   started (UTC)         time  state    versions    best    last  updates  "
           "below  "
           "refused");
    expect("33333333  spring  cloud  2023-11-14 22:13:20  0.4 s  stopped         6  91.67%  91.67%       13  "
           "   39   "
           "     1");
    expect("44444444  -       cloud  2023-11-14 22:13:20  1.1 s  stopped        20  97.50%  97.50%       41  "
           "  123   "
           "     1");
    expect("130.2 kB  260.4 kB   42.0 kB  100.0 kB\n");
}

static void test_one_run(void **state) {
    (void)state;
    assert_int_equal(history(kit.kit.path, "44", "--limit", "2", NULL), CLI_DONE);
    expect("run 44444444444444444444444444444444\n");
    expect("version  by      made (UTC)           pub  accuracy   loss  updates  nodes  samples  below  "
           "stale mean  p95  max");
    expect("     19  commit");
    expect("     20  commit");
    assert_null(strstr(printed, "     18  commit"));
    expect("edge-cloud        42   42.0 kB  100.0 kB   168.0 kB        4.000");
    assert_int_equal(history(kit.kit.path, "last", NULL, NULL, NULL), CLI_DONE);
    expect("run 4444");
    assert_int_equal(lines(), 2 + 1 + 21 + 1 + 3);
}

static void test_parts(void **state) {
    (void)state;
    assert_int_equal(history(kit.kit.path, "3333", "--verdicts", NULL, NULL), CLI_DONE);
    expect("refused  stale     west        1");
    expect("void     rollback  east        1");
    assert_int_equal(history(kit.kit.path, "--nodes", NULL, NULL, NULL), CLI_DONE);
    expect("west  edge      2");
    assert_int_equal(history(kit.kit.path, "--staleness", NULL, NULL, NULL), CLI_DONE);
    expect("        0        26        0    15600   0.250");
    assert_int_equal(history(kit.kit.path, "--events", "3333", NULL, NULL), CLI_DONE);
    expect("push_refused  -     peer=west reason=stale");
}

static void test_json(void **state) {
    (void)state;
    assert_int_equal(history(kit.kit.path, "--json", NULL, NULL, NULL), CLI_DONE);
    expect(
        "\"runs\":[{\"run_id\":1,\"run\":\"33333333333333333333333333333333\",\"label\":\"spring\",\"role\":"
        "\"cloud\",\"node\":\"north\"");
    expect("\"cloud_up_bytes\":42000,\"cloud_down_bytes\":100000,\"up_f32_bytes\":672000}]}\n");
    assert_int_equal(history(kit.kit.path, "last", "--json", "--limit", "1"), CLI_DONE);
    expect(
        "\"run\":\"44444444444444444444444444444444\",\"versions\":[{\"version\":20,\"parent_version\":19");
    expect("}],\"bytes_by_hop\":[{\"hop\":\"device-edge\",\"updates\":126,\"up_bytes\":130200");
}

static void test_csv(void **state) {
    (void)state;
    assert_int_equal(history(kit.kit.path, "last", "--csv", NULL, NULL), CLI_DONE);
    assert_int_equal(lines(), 22);
    expect("version,parent_version,made_by,rule,made_ms,published,accuracy,loss,contributions,nodes,from_"
           "nodes,");
    expect("\n4,3,commit,fedasync,17000000");
    expect(",0.875,0.125,2,2,\"east,west\",1200,6,1.5,3,3,2000,8000,5000,6200,12400,0404");
    expect("\n0,,start,,17");
}

static void test_wrong_calls(void **state) {
    (void)state;
    assert_int_equal(history(NULL, NULL, NULL, NULL, NULL), CLI_USAGE);
    expect("which ledger?");
    assert_int_equal(history(kit.kit.path, "--limit", "0", NULL, NULL), CLI_USAGE);
    expect("--limit takes a number above 0, not 0");
    assert_int_equal(history(kit.kit.path, "--bogus", NULL, NULL, NULL), CLI_USAGE);
    expect("unknown option --bogus");
    assert_int_equal(history(kit.kit.path, "a", "b", NULL, NULL), CLI_USAGE);
    assert_int_equal(history(kit.kit.path, "ffff", NULL, NULL, NULL), CLI_FAILED);
    expect("no run begins with \"ffff\"");
    assert_int_equal(history("/nowhere/x.db", NULL, NULL, NULL, NULL), CLI_FAILED);
    expect("cannot open the ledger /nowhere/x.db: No such file or directory");
    assert_int_equal(history("--help", NULL, NULL, NULL, NULL), CLI_DONE);
    expect("usage: tributary history LEDGER [RUN]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs), cmocka_unit_test(test_one_run), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_json), cmocka_unit_test(test_csv),     cmocka_unit_test(test_wrong_calls),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
