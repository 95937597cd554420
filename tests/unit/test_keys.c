/* Key files, allow-lists, and `tributary keys`. */
#include "cli/keys.c"
#include "cli/words.c"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct folder {
    char path[32];
    char file[64];
};

static int setup(void **state) {
    struct folder *folder = calloc(1, sizeof *folder);
    (void)snprintf(folder->path, sizeof folder->path, "/tmp/trib-keys-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    *state = folder;
    return 0;
}

static int teardown(void **state) {
    struct folder *folder = *state;
    static const char *const names[] = {"a.key", "a.pub", "b.key", "b.pub", "c.pub", "allow", "file"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(folder->file, sizeof folder->file, "%s/%s", folder->path, names[i]);
        (void)unlink(folder->file);
    }
    assert_int_equal(rmdir(folder->path), 0);
    free(folder);
    return 0;
}

/* Valid until the next call. */
static char *in(struct folder *folder, const char *name) {
    (void)snprintf(folder->file, sizeof folder->file, "%s/%s", folder->path, name);
    return folder->file;
}

static void write_file(struct folder *folder, const char *name, const char *text, size_t bytes) {
    int fd = open(in(folder, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, bytes), bytes);
    assert_int_equal(close(fd), 0);
}

static void write_text(struct folder *folder, const char *name, const char *text) {
    write_file(folder, name, text, strlen(text));
}

static struct trib_keys make(const char *name) {
    struct trib_keys keys;
    assert_int_equal(trib_keys_generate(&keys, NULL), TRIB_OK);
    (void)snprintf(keys.name, sizeof keys.name, "%s", name);
    return keys;
}

/* ---- Key files */

static void what_is_saved_is_loaded(void **state) {
    struct folder *folder = *state;
    struct trib_error warning;
    struct trib_keys loaded;
    struct trib_keys keys = make("edge-1");
    struct stat st;
    assert_int_equal(trib_keys_save(&keys, in(folder, "a"), NULL), TRIB_OK);
    assert_int_equal(stat(in(folder, "a.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(trib_keys_load(in(folder, "a.key"), true, &loaded, &warning, NULL), TRIB_OK);
    assert_int_equal(warning.status, TRIB_OK);
    assert_memory_equal(&loaded, &keys, sizeof keys);
    assert_int_equal(trib_keys_load(in(folder, "a.pub"), false, &loaded, &warning, NULL), TRIB_OK);
    assert_string_equal(loaded.public_key, keys.public_key);
    assert_string_equal(loaded.name, "edge-1");
    assert_string_equal(loaded.secret_key, "");
}

static void a_public_file_holds_no_secret(void **state) {
    struct folder *folder = *state;
    char text[1024] = "";
    struct trib_error err;
    struct trib_keys keys = make("");
    assert_int_equal(trib_keys_save(&keys, in(folder, "a"), NULL), TRIB_OK);
    int fd = open(in(folder, "a.pub"), O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    assert_non_null(strstr(text, keys.public_key));
    assert_null(strstr(text, keys.secret_key));
    assert_int_equal(trib_keys_load(in(folder, "a.pub"), true, &keys, NULL, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, ".key file"));
}

static void nothing_is_overwritten(void **state) {
    struct folder *folder = *state;
    struct trib_error err;
    struct trib_keys first = make("a");
    struct trib_keys second = make("b");
    struct trib_keys loaded;
    assert_int_equal(trib_keys_save(&first, in(folder, "a"), NULL), TRIB_OK);
    assert_int_equal(trib_keys_save(&second, in(folder, "a"), &err), TRIB_DENIED);
    assert_non_null(strstr(err.text, "not overwritten"));
    assert_int_equal(unlink(in(folder, "a.pub")), 0); /* the secret alone is protected too */
    assert_int_equal(trib_keys_save(&second, in(folder, "a"), &err), TRIB_DENIED);
    assert_int_equal(access(in(folder, "a.pub"), F_OK), -1); /* and no half of a pair is left */
    assert_int_equal(trib_keys_load(in(folder, "a.key"), true, &loaded, NULL, NULL), TRIB_OK);
    assert_string_equal(loaded.secret_key, first.secret_key);
}

static void a_secret_that_others_can_read_is_warned_about(void **state) {
    struct folder *folder = *state;
    struct trib_error warning;
    struct trib_keys keys = make("a");
    assert_int_equal(trib_keys_save(&keys, in(folder, "a"), NULL), TRIB_OK);
    assert_int_equal(chmod(in(folder, "a.key"), 0640), 0);
    assert_int_equal(trib_keys_load(in(folder, "a.key"), true, &keys, &warning, NULL), TRIB_OK);
    assert_int_equal(warning.status, TRIB_DENIED);
    assert_non_null(strstr(warning.text, "0640"));
    assert_non_null(strstr(warning.text, "chmod 600"));
    assert_int_equal(trib_keys_load(in(folder, "a.pub"), false, &keys, &warning, NULL), TRIB_OK);
    assert_int_equal(warning.status, TRIB_OK);
}

static void refuse_key_file(struct folder *folder, const char *text, enum trib_status status,
                            const char *says) {
    struct trib_error err = {.status = TRIB_OK};
    struct trib_keys keys;
    write_text(folder, "file", text);
    assert_int_equal(trib_keys_load(in(folder, "file"), true, &keys, NULL, &err), status);
    if (strstr(err.text, says) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}

static void malformed_key_files_are_refused(void **state) {
    struct folder *folder = *state;
    struct trib_keys a = make("a");
    struct trib_keys b = make("b");
    struct trib_error err;
    char text[512];
    refuse_key_file(folder, "", TRIB_INVALID, "no line `public");
    refuse_key_file(folder, "\n# only\npublic\n", TRIB_INVALID, "file:3:");
    refuse_key_file(folder, "public short\n", TRIB_INVALID, "found 5 characters");
    refuse_key_file(folder, "public ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\n", TRIB_INVALID, "not a key");
    refuse_key_file(folder, "public ########################################\n", TRIB_INVALID, "not a key");
    refuse_key_file(folder, "secrets x\n", TRIB_INVALID, "unknown word");
    refuse_key_file(folder, "name -x\n", TRIB_INVALID, "character 1");
    (void)snprintf(text, sizeof text, "public %s\npublic %s\n", a.public_key, b.public_key);
    refuse_key_file(folder, text, TRIB_INVALID, "file:2: this was given before");
    (void)snprintf(text, sizeof text, "public %s\nsecret %s\n", a.public_key, b.secret_key);
    refuse_key_file(folder, text, TRIB_CORRUPT, "does not belong");
    (void)snprintf(text, sizeof text, "public %s extra\n", a.public_key);
    refuse_key_file(folder, text, TRIB_INVALID, "file:1:");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    write_file(folder, "file", "public \0x\n", 10);
    assert_int_equal(trib_keys_load(in(folder, "file"), true, &a, NULL, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "NUL"));
    assert_int_equal(trib_keys_load(in(folder, "none"), true, &a, NULL, &err), TRIB_NOT_FOUND);
    assert_int_equal(trib_keys_load(folder->path, true, &a, NULL, &err), TRIB_INVALID);
    assert_non_null(strstr(err.text, "regular file"));
}

static void a_file_from_another_system_is_read(void **state) {
    struct folder *folder = *state;
    char text[512];
    struct trib_keys loaded;
    struct trib_keys keys = make("");
    (void)snprintf(text, sizeof text, "#c\r\n\r\n  public\t%s\r\nsecret %s", keys.public_key,
                   keys.secret_key);
    write_text(folder, "file", text);
    assert_int_equal(trib_keys_load(in(folder, "file"), true, &loaded, NULL, NULL), TRIB_OK);
    assert_string_equal(loaded.secret_key, keys.secret_key);
}

static void names_are_checked(void **state) {
    (void)state;
    static const char *const good[] = {"a", "edge-1", "9", "A.b_c-d"};
    static const char *const bad[] = {"",
                                      ".a",
                                      "a b",
                                      "a/b",
                                      "\xc3\xa9",
                                      "a\n",
                                      "0123456789012345678901234567890123456789",
                                      "01234567890123456789012345678901234567890123456789012345678901234"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(trib_key_name_check(good[i], NULL), TRIB_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(trib_key_name_check(bad[i], NULL), TRIB_INVALID);
}

/* ---- Allow-lists */

static void refuse_allow(struct folder *folder, const char *text, const char *says) {
    struct trib_error err = {.status = TRIB_OK};
    struct trib_allow *allow = NULL;
    write_text(folder, "allow", text);
    assert_int_equal(trib_allow_load(in(folder, "allow"), &allow, &err), TRIB_INVALID);
    assert_null(allow);
    if (strstr(err.text, says) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}

static void malformed_allow_lists_are_refused(void **state) {
    struct folder *folder = *state;
    struct trib_keys a = make("a");
    struct trib_keys b = make("b");
    char text[512];
    refuse_allow(folder, "# a comment\n\nshort name\n", "allow:3: found a word of 5 characters");
    (void)snprintf(text, sizeof text, "%s two words\n", a.public_key);
    refuse_allow(folder, text, "allow:1: more than");
    (void)snprintf(text, sizeof text, "%s bad/name\n", a.public_key);
    refuse_allow(folder, text, "allow:1: character 4");
    (void)snprintf(text, sizeof text, "%s a\n%s b\n\n%s c\n", a.public_key, b.public_key, a.public_key);
    refuse_allow(folder, text, "allow:4: the key of line 1");
    (void)snprintf(text, sizeof text, "%s a\n%s a\n", b.public_key, a.public_key);
    refuse_allow(folder, text, "allow:2: the name of line 1");
    (void)snprintf(text, sizeof text, "########################################\n");
    refuse_allow(folder, text, "allow:1:"); /* as long as a key, so it must be one */
}

static void many_keys_are_found(void **state) {
    struct folder *folder = *state;
    enum { COUNT = 300 };
    static struct trib_keys keys[COUNT];
    struct trib_allow *allow = NULL;
    char *text = calloc(COUNT, 128);
    size_t used = 0;
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%d", i);
        keys[i] = make(i % 3 == 0 ? "" : name);
        used += (size_t)snprintf(text + used, 128, "%s %s\n", keys[i].public_key, keys[i].name);
    }
    write_text(folder, "allow", text);
    free(text);
    assert_int_equal(trib_allow_load(in(folder, "allow"), &allow, NULL), TRIB_OK);
    assert_int_equal(trib_allow_count(allow), COUNT);
    for (int i = 0; i < COUNT; i++) {
        const char *identity = keys[i].name[0] != 0 ? keys[i].name : keys[i].public_key;
        assert_string_equal(trib_allow_find(allow, keys[i].public_key), identity);
        assert_true(trib_allow_has_identity(allow, identity));
    }
    assert_null(trib_allow_find(allow, keys[0].secret_key));
    assert_null(trib_allow_find(allow, "short"));
    assert_false(trib_allow_has_identity(allow, "n0")); /* that one has no name */
    trib_allow_free(&allow);
}

static void an_empty_list_allows_nobody(void **state) {
    struct folder *folder = *state;
    struct trib_allow *allow = NULL;
    struct trib_keys a = make("a");
    write_text(folder, "allow", "# nobody yet\n");
    assert_int_equal(trib_allow_load(in(folder, "allow"), &allow, NULL), TRIB_OK);
    assert_null(trib_allow_find(allow, a.public_key));
    assert_false(trib_allow_has_identity(allow, ""));
    trib_allow_free(&allow);
}

static void appending_keeps_what_is_there(void **state) {
    struct folder *folder = *state;
    struct trib_error err;
    struct trib_allow *allow = NULL;
    struct trib_keys a = make("a");
    struct trib_keys b = make("");
    struct trib_keys c = make("a");
    write_text(folder, "allow", "# no newline at the end");
    assert_int_equal(trib_allow_append(in(folder, "allow"), &a, NULL), TRIB_OK);
    assert_int_equal(trib_allow_append(in(folder, "allow"), &b, NULL), TRIB_OK);
    assert_int_equal(trib_allow_append(in(folder, "allow"), &b, &err), TRIB_DENIED);
    assert_int_equal(trib_allow_append(in(folder, "allow"), &c, &err), TRIB_DENIED);
    assert_non_null(strstr(err.text, "another key named a"));
    assert_int_equal(trib_allow_load(in(folder, "allow"), &allow, NULL), TRIB_OK);
    assert_int_equal(trib_allow_count(allow), 2);
    assert_string_equal(trib_allow_find(allow, a.public_key), "a");
    trib_allow_free(&allow);
}

/* ---- The command */

static int command(const char *a, const char *b, const char *c, const char *d) {
    char words[5][80] = {"keys"};
    const char *given[] = {a, b, c, d};
    char *argv[6] = {words[0]};
    int argc = 1;
    for (int i = 0; i < 4 && given[i] != NULL; i++) {
        (void)snprintf(words[argc], sizeof words[argc], "%s", given[i]);
        argv[argc] = words[argc];
        argc++;
    }
    return cli_keys(argc, argv);
}

static void the_command_makes_shows_and_allows(void **state) {
    struct folder *folder = *state;
    struct trib_allow *allow = NULL;
    struct trib_keys keys;
    char list[64];
    char pub[64];
    assert_int_equal(command("new", in(folder, "a"), "--name", "device-1"), 0);
    assert_int_equal(command("new", in(folder, "a"), NULL, NULL), 1);
    assert_int_equal(command("new", in(folder, "b"), NULL, NULL), 0);
    assert_int_equal(command("show", in(folder, "a.key"), NULL, NULL), 0);
    (void)snprintf(list, sizeof list, "%s", in(folder, "allow"));
    (void)snprintf(pub, sizeof pub, "%s", in(folder, "a.pub"));
    assert_int_equal(command("allow", list, pub, in(folder, "b.pub")), 0);
    assert_int_equal(command("allow", list, pub, NULL), 1);
    assert_int_equal(trib_keys_load(pub, false, &keys, NULL, NULL), TRIB_OK);
    assert_int_equal(trib_allow_load(list, &allow, NULL), TRIB_OK);
    assert_int_equal(trib_allow_count(allow), 2);
    assert_string_equal(trib_allow_find(allow, keys.public_key), "device-1");
    trib_allow_free(&allow);
}

static void the_command_says_how_it_is_used(void **state) {
    struct folder *folder = *state;
    assert_int_equal(command(NULL, NULL, NULL, NULL), 2);
    assert_int_equal(command("frobnicate", NULL, NULL, NULL), 2);
    assert_int_equal(command("new", NULL, NULL, NULL), 2);
    assert_int_equal(command("new", "--name", NULL, NULL), 2);
    assert_int_equal(command("new", "-x", NULL, NULL), 2);
    assert_int_equal(command("show", NULL, NULL, NULL), 2);
    assert_int_equal(command("allow", "list", NULL, NULL), 2);
    assert_int_equal(command("--help", NULL, NULL, NULL), 0);
    assert_int_equal(command("new", in(folder, "a"), "--name", "a b"), 1);
    assert_int_equal(access(in(folder, "a.key"), F_OK), -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(what_is_saved_is_loaded),
        T(a_public_file_holds_no_secret),
        T(nothing_is_overwritten),
        T(a_secret_that_others_can_read_is_warned_about),
        T(malformed_key_files_are_refused),
        T(a_file_from_another_system_is_read),
        T(names_are_checked),
        T(malformed_allow_lists_are_refused),
        T(many_keys_are_found),
        T(an_empty_list_allows_nobody),
        T(appending_keeps_what_is_there),
        T(the_command_makes_shows_and_allows),
        T(the_command_says_how_it_is_used),
    };
    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
