/* A log line is one line, one write, and says the same as text and as JSON. */
#include "shared/base/alloc.h"
#include "shared/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 40000, TIME_BYTES = 24 };

struct pipe {
    int read_fd;
    struct trib_log log;
};

static struct pipe open_pipe(bool json) {
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    return (struct pipe){
        .read_fd = fds[0],
        .log = {.level = TRIB_LOG_DEBUG, .json = json, .fd = fds[1], .node = "edge-1"},
    };
}

/* Closes the log's end and returns everything that was written. */
static char *drain(struct pipe *p) {
    char *text = calloc(1, LINE);
    assert_non_null(text);
    assert_int_equal(close(p->log.fd), 0);
    size_t used = 0;
    for (ssize_t got; (got = read(p->read_fd, text + used, LINE - 1 - used)) > 0;) used += (size_t)got;
    assert_int_equal(close(p->read_fd), 0);
    return text;
}

static void expect_after_time(struct pipe *p, const char *expected) {
    char *text = drain(p);
    assert_true(strlen(text) > TIME_BYTES);
    assert_int_equal(text[10], 'T');
    assert_int_equal(text[23], 'Z');
    assert_string_equal(text + TIME_BYTES, expected);
    free(text);
}

/* What stands behind {"time":"...", */
static void expect_json(struct pipe *p, const char *expected) {
    char *text = drain(p);
    assert_int_equal(strncmp(text, "{\"time\":\"2", 10), 0);
    char *rest = strchr(text, ',');
    assert_non_null(rest);
    assert_string_equal(rest + 1, expected);
    free(text);
}

static void text_line(void **state) {
    (void)state;
    struct pipe p = open_pipe(false);
    trib_log(&p.log, TRIB_LOG_WARN, "push_refused", "peer=%s number=%d", "dev-7", 12);
    expect_after_time(&p, " warn  edge-1 push_refused peer=dev-7 number=12\n");
}

static void no_fields_no_node(void **state) {
    (void)state;
    struct pipe p = open_pipe(false);
    p.log.node = NULL;
    trib_log(&p.log, TRIB_LOG_INFO, "ready", "%s", "");
    expect_after_time(&p, " info  - ready\n");
}

static void levels_filter(void **state) {
    (void)state;
    struct pipe p = open_pipe(false);
    p.log.level = TRIB_LOG_WARN;
    trib_log(&p.log, TRIB_LOG_DEBUG, "a", "x=%d", 1);
    trib_log(&p.log, TRIB_LOG_INFO, "b", "x=%d", 2);
    trib_log(&p.log, TRIB_LOG_ERROR, "c", "x=%d", 3);
    expect_after_time(&p, " error edge-1 c x=3\n");
}

static void json_line(void **state) {
    (void)state;
    struct pipe p = open_pipe(true);
    char quoted[100];
    trib_log(&p.log, TRIB_LOG_INFO, "joined",
             "peer=%s number=18446744073709551615 loss=-0.25 zeros=007 ok=true word=x=y empty=",
             trib_log_quote(quoted, sizeof quoted, "a \"b\"\\\n\x01\xc3\xbc"));
    expect_json(&p, "\"level\":\"info\",\"node\":\"edge-1\",\"event\":\"joined\","
                    "\"peer\":\"a \\\"b\\\"\\\\\\n\\u0001\xc3\xbc\",\"number\":18446744073709551615,"
                    "\"loss\":-0.25,\"zeros\":\"007\",\"ok\":true,\"word\":\"x=y\",\"empty\":\"\"}\n");
}

static void quoted_digits_stay_text(void **state) {
    (void)state;
    struct pipe p = open_pipe(true);
    trib_log(&p.log, TRIB_LOG_INFO, "e", "peer=\"42\" stray words open=\"never closed");
    expect_json(&p, "\"level\":\"info\",\"node\":\"edge-1\",\"event\":\"e\",\"peer\":\"42\","
                    "\"text\":\"stray\",\"text\":\"words\",\"open\":\"never closed\"}\n");
}

static void stays_on_its_line(void **state) {
    (void)state;
    struct pipe p = open_pipe(false);
    trib_log(&p.log, TRIB_LOG_INFO, "e", "peer=%s", "evil\n2030-01-01 error forged");
    expect_after_time(&p, " info  edge-1 e peer=evil 2030-01-01 error forged\n");
}

static void long_lines_are_cut(void **state) {
    (void)state;
    char *big = malloc(100001);
    assert_non_null(big);
    memset(big, 0xFF, 100000); /* the worst for JSON: six bytes for each */
    big[100000] = 0;
    for (int json = 0; json < 2; json++) {
        struct pipe p = open_pipe(json == 1);
        trib_log(&p.log, TRIB_LOG_INFO, "e", "x=%s", big);
        char *text = drain(&p);
        size_t bytes = strlen(text);
        assert_true(bytes > 1900);
        assert_true(json == 1 || bytes < 4096);
        assert_int_equal(text[bytes - 1], '\n');
        assert_ptr_equal(strchr(text, '\n'), text + bytes - 1);
        if (json == 1) assert_string_equal(text + bytes - 3, "\"}\n");
        free(text);
    }
    free(big);
}

static void quoting(void **state) {
    (void)state;
    char out[16];
    assert_string_equal(trib_log_quote(out, sizeof out, "plain"), "\"plain\"");
    assert_string_equal(trib_log_quote(out, sizeof out, "0123456789abcdef"), "\"0123456789abc\"");
    /* an escape and a character are never cut in the middle */
    assert_string_equal(trib_log_quote(out, sizeof out, "0123456789ab\""), "\"0123456789ab\"");
    assert_string_equal(trib_log_quote(out, sizeof out, "0123456789ab\xc3\xbc"), "\"0123456789ab\"");
    assert_string_equal(trib_log_quote(out, sizeof out, "\x1b[2J\r"), "\"\\u001b[2J\\r\"");
    assert_string_equal(trib_log_quote(out, sizeof out, "\xe9t\xe9"), "\"\\ufffdt\\ufffd\"");
    assert_string_equal(trib_log_quote(out, 3, "abc"), "\"\"");
    assert_string_equal(trib_log_quote(out, 2, "abc"), "");
}

static void level_names(void **state) {
    (void)state;
    enum trib_level level = TRIB_LOG_DEBUG;
    assert_int_equal(trib_level_parse("error", &level), TRIB_OK);
    assert_int_equal(level, TRIB_LOG_ERROR);
    assert_int_equal(trib_level_parse("warn", &level), TRIB_OK);
    assert_int_equal(level, TRIB_LOG_WARN);
    assert_int_equal(trib_level_parse("Warn", &level), TRIB_INVALID);
    assert_int_equal(trib_level_parse("", &level), TRIB_INVALID);
    assert_int_equal(level, TRIB_LOG_WARN);
}

static void without_memory_and_errno(void **state) {
    (void)state;
    struct pipe p = open_pipe(true);
    trib_alloc_fail_after(0);
    errno = ENOSPC;
    trib_log(&p.log, TRIB_LOG_ERROR, "no_memory", "bytes=%d", 5);
    assert_int_equal(errno, ENOSPC);
    trib_alloc_fail_after(-1);
    expect_json(&p, "\"level\":\"error\",\"node\":\"edge-1\",\"event\":\"no_memory\",\"bytes\":5}\n");
    const struct trib_log closed = {.level = TRIB_LOG_DEBUG, .fd = -1, .node = "x"};
    errno = EAGAIN;
    trib_log(&closed, TRIB_LOG_ERROR, "lost", "x=%d", 1); /* nowhere to write: no crash, errno kept */
    assert_int_equal(errno, EAGAIN);
}

enum { THREADS = 4, LINES = 50 };

static void *write_lines(void *arg) {
    for (int i = 0; i < LINES; i++) trib_log(arg, TRIB_LOG_INFO, "tick", "a=1 b=2 c=3");
    return NULL;
}

static void lines_do_not_mix(void **state) {
    (void)state;
    struct pipe p = open_pipe(false);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &p.log), 0);
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    char *text = drain(&p);
    int count = 0;
    for (char *line = text; *line != 0; count++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = 0;
        assert_string_equal(line + TIME_BYTES, " info  edge-1 tick a=1 b=2 c=3");
        line = end + 1;
    }
    assert_int_equal(count, THREADS * LINES);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_line),
        cmocka_unit_test(no_fields_no_node),
        cmocka_unit_test(levels_filter),
        cmocka_unit_test(json_line),
        cmocka_unit_test(quoted_digits_stay_text),
        cmocka_unit_test(stays_on_its_line),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(quoting),
        cmocka_unit_test(level_names),
        cmocka_unit_test(without_memory_and_errno),
        cmocka_unit_test(lines_do_not_mix),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
