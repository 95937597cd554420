/* What a device says of itself: from its config, or from a file that changes. */
#include "tests/support/cmocka.h"

#include "shared/daemon/config.h"
#include "shared/wire/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOTHING = 777 };

static uint64_t reported(const char *spec, bool battery) {
    uint64_t value = NOTHING;
    bool there = trib_report_read(spec, battery, &value);
    assert_true(there || value == NOTHING);
    return value;
}

static void numbers(void **unused) {
    (void)unused;
    assert_int_equal(reported("", true), NOTHING);
    assert_int_equal(reported("", false), NOTHING);
    assert_int_equal(reported("0", true), 0);
    assert_int_equal(reported("100", true), 100);
    assert_int_equal(reported("101", true), NOTHING);
    assert_int_equal(reported("125KiB", false), 128000);
}

static void put(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void files(void **unused) {
    (void)unused;
    char spec[] = "file:/tmp/trib-report-XXXXXX", *path = spec + strlen("file:");
    assert_int_equal(reported(spec, true), NOTHING); /* there is none */
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(reported(spec, true), NOTHING); /* it is empty */
    put(path, "63\n");
    assert_int_equal(reported(spec, true), 63);
    assert_int_equal(reported(spec, false), 63);
    put(path, "62"); /* as it is now */
    assert_int_equal(reported(spec, true), 62);
    put(path, "62\n61\n");
    assert_int_equal(reported(spec, true), NOTHING); /* two numbers are none */
    put(path, "full");
    assert_int_equal(reported(spec, true), NOTHING);
    char more[101];
    (void)snprintf(more, sizeof more, "%-99s1", "62"); /* and a number far behind */
    put(path, more);
    assert_int_equal(reported(spec, true), NOTHING);
    (void)unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(reported(spec, true), NOTHING); /* nobody writes, and nobody waits */
    (void)unlink(path);
}

static void says(enum trib_status (*check)(const char *, struct trib_error *), const char *value,
                 const char *text) {
    struct trib_error err = {0};
    assert_int_equal(check(value, &err), text == NULL ? TRIB_OK : TRIB_INVALID);
    if (text != NULL) assert_string_equal(err.text, text);
}

static void wrong_ones_are_refused(void **unused) {
    (void)unused;
    says(trib_report_check_battery, "", NULL);
    says(trib_report_check_battery, "80", NULL);
    says(trib_report_check_battery, "file:/sys/class/power_supply/BAT0/capacity", NULL);
    says(trib_report_check_battery, "101", "\"101\" is neither a whole number from 0 to 100 nor file:PATH");
    says(trib_report_check_battery,
         "file:", "\"file:\" is neither a whole number from 0 to 100 nor file:PATH");
    says(trib_report_check_link, "125KiB", NULL);
    says(trib_report_check_link, "fast", "\"fast\" is neither a size as 125KiB nor file:PATH");
    says(trib_class_check, "gateway-2", NULL);
    says(trib_class_check, "a b",
         "\"a b\" is no class: 1 to 32 printable ASCII characters without spaces and commas");
    says(trib_class_check, "",
         "\"\" is no class: 1 to 32 printable ASCII characters without spaces and commas");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(files),
        cmocka_unit_test(wrong_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
