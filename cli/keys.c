#include "cli/cli.h"

#include "shared/net/keys.h"

#include <stdio.h>
#include <string.h>

static int usage(FILE *to) {
    (void)fputs("usage: tributary keys new PATH [--name NAME]   make PATH.key (secret) and PATH.pub\n"
                "       tributary keys show FILE                show what is in a key file, but no secret\n"
                "       tributary keys allow FILE PUB...        add public key files to an allow-list\n",
                to);
    return to == stdout ? CLI_DONE : CLI_USAGE;
}

static int fail(const struct trib_error *err) {
    (void)fprintf(stderr, "tributary keys: %s\n", err->text);
    return CLI_FAILED;
}

static int wrong(const char *what) {
    (void)fprintf(stderr, "tributary keys: %s\n", what);
    return usage(stderr);
}

static int keys_new(int argc, char **argv) {
    struct trib_error err = {.status = TRIB_OK};
    struct trib_keys keys = {.name = ""};
    const char *path = NULL;
    const char *name = "";
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--name") == 0) {
            if (++i == argc) return wrong("--name needs a name");
            name = argv[i];
        } else if (argv[i][0] == '-') {
            return wrong("unknown option");
        } else if (path != NULL) {
            return wrong("one path at a time");
        } else {
            path = argv[i];
        }
    }
    if (path == NULL) return wrong("a path is needed");
    if (name[0] != 0 && trib_key_name_check(name, &err) != TRIB_OK) return fail(&err);
    if (trib_keys_generate(&keys, &err) != TRIB_OK) return fail(&err);
    memcpy(keys.name, name, strlen(name) + 1);
    enum trib_status status = trib_keys_save(&keys, path, &err);
    trib_keys_wipe(&keys);
    if (status != TRIB_OK) return fail(&err);
    (void)printf("wrote %s.key (keep it secret) and %s.pub\npublic %s\n", path, path, keys.public_key);
    return CLI_DONE;
}

static int load(const char *path, struct trib_keys *keys) {
    struct trib_error err = {.status = TRIB_OK};
    struct trib_error warning = {.status = TRIB_OK};
    if (trib_keys_load(path, false, keys, &warning, &err) != TRIB_OK) return fail(&err);
    if (warning.status != TRIB_OK) (void)fprintf(stderr, "tributary keys: warning: %s\n", warning.text);
    return CLI_DONE;
}

static int keys_show(int argc, char **argv) {
    struct trib_keys keys;
    if (argc != 1) return wrong("show takes one key file");
    if (load(argv[0], &keys) != CLI_DONE) return CLI_FAILED;
    (void)printf("name %s\npublic %s\nsecret %s\n", keys.name[0] != 0 ? keys.name : "(none)", keys.public_key,
                 keys.secret_key[0] != 0 ? "(there, and it belongs to the public key)"
                                         : "(not in this file)");
    trib_keys_wipe(&keys);
    return CLI_DONE;
}

static int keys_allow(int argc, char **argv) {
    struct trib_error err = {.status = TRIB_OK};
    if (argc < 2) return wrong("allow takes an allow-list and at least one .pub file");
    for (int i = 1; i < argc; i++) {
        struct trib_keys keys;
        if (load(argv[i], &keys) != CLI_DONE) return CLI_FAILED;
        trib_keys_wipe(&keys);
        if (trib_allow_append(argv[0], &keys, &err) != TRIB_OK) return fail(&err);
        (void)printf("%s: allowed %s\n", argv[0], keys.name[0] != 0 ? keys.name : keys.public_key);
    }
    return CLI_DONE;
}

int cli_keys(int argc, char **argv) {
    static const char *const commands[] = {"new", "show", "allow"};
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "new") == 0) return keys_new(argc - 2, argv + 2);
    if (strcmp(command, "show") == 0) return keys_show(argc - 2, argv + 2);
    if (strcmp(command, "allow") == 0) return keys_allow(argc - 2, argv + 2);
    if (cli_asks_for_help(command) || strcmp(command, "help") == 0) return usage(stdout);
    if (argc <= 1) return wrong("a command is needed");
    return cli_unknown("tributary keys", "command", command, commands, sizeof commands / sizeof *commands);
}
