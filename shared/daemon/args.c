#include "shared/daemon/args.h"

#include "shared/base/alloc.h"

#include <stdio.h>
#include <string.h>

enum what { WHAT_CONFIG, WHAT_SET, WHAT_OPTION, WHAT_ACTION };

/* A word of the command line, understood. */
struct word {
    enum what what;
    enum trib_args_action action; /* WHAT_ACTION */
    const char *option;           /* WHAT_OPTION: the key it stands for */
    const char *value;            /* all but WHAT_ACTION */
};

struct flag {
    const char *name, *value, *help;
    struct word word;
};

static const struct flag flags[] = {
    {"--config", "FILE", "read this file; may be repeated, later ones go on top", {.what = WHAT_CONFIG}},
    {"--set", "KEY=VALUE", "set one key; may be repeated; goes on top of files", {.what = WHAT_SET}},
    {"--log-level",
     "LEVEL",
     "the same as --set log.level=LEVEL",
     {.what = WHAT_OPTION, .option = "log.level"}},
    {"--log-format",
     "FORMAT",
     "the same as --set log.format=FORMAT",
     {.what = WHAT_OPTION, .option = "log.format"}},
    {"--dump-config",
     NULL,
     "print the config in force, with defaults, and exit",
     {.what = WHAT_ACTION, .action = TRIB_ARGS_DUMP}},
    {"--health",
     NULL,
     "ask the running program whether it is well; status 0 if it is",
     {.what = WHAT_ACTION, .action = TRIB_ARGS_HEALTH}},
    {"--version", NULL, "print the version and exit", {.what = WHAT_ACTION, .action = TRIB_ARGS_VERSION}},
    {"--help", NULL, "print this page and exit", {.what = WHAT_ACTION, .action = TRIB_ARGS_HELP}},
};
enum { FLAGS = sizeof flags / sizeof *flags, NAMES_MAX = FLAGS + 32 };

static enum trib_status unknown(const struct trib_role_config *role, const char *found,
                                struct trib_error *err) {
    const char *names[NAMES_MAX];
    char word[64];
    size_t count = 0;
    TRIB_ASSERT(FLAGS + role->shortcut_count <= NAMES_MAX);
    if (strncmp(found, "-", 1) != 0) {
        return trib_fail(err, TRIB_INVALID,
                         "found \"%.200s\", expected an option; for a config file write "
                         "--config %.200s",
                         found, found);
    }
    for (size_t i = 0; i < FLAGS; i++) names[count++] = flags[i].name;
    for (size_t i = 0; i < role->shortcut_count; i++) names[count++] = role->shortcuts[i].flag;
    (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(found, "="), found);
    const char *nearest = trib_nearest(word, names, count);
    return trib_fail(err, TRIB_INVALID, "unknown option %.200s%s%s; see --help", found,
                     nearest != NULL ? "; the nearest one is " : "", nearest != NULL ? nearest : "");
}

static bool find_word(const struct trib_role_config *role, const char *name, size_t bytes, struct word *out) {
    for (size_t i = 0; i < FLAGS; i++) {
        if (strlen(flags[i].name) != bytes || memcmp(flags[i].name, name, bytes) != 0) continue;
        *out = flags[i].word;
        return true;
    }
    for (size_t i = 0; i < role->shortcut_count; i++) {
        const char *flag = role->shortcuts[i].flag;
        if (strlen(flag) != bytes || memcmp(flag, name, bytes) != 0) continue;
        *out = (struct word){.what = WHAT_OPTION, .option = role->shortcuts[i].option};
        return true;
    }
    return false;
}

/* Reads the word at argv[*at], and its value from behind "=" or from the next one; *at moves on. */
static enum trib_status next_word(const struct trib_role_config *role, int argc, char *const *argv, int *at,
                                  struct word *word, struct trib_error *err) {
    const char *text = argv[*at];
    size_t bytes = strcspn(text, "=");
    if (!find_word(role, text, bytes, word)) return unknown(role, text, err);
    (*at)++;
    bool has_value = text[bytes] == '=';
    if (word->what == WHAT_ACTION) {
        if (!has_value) return TRIB_OK;
        return trib_fail(err, TRIB_INVALID, "%.*s takes no value, found \"%.200s\"", (int)bytes, text,
                         text + bytes + 1);
    }
    if (has_value) {
        word->value = text + bytes + 1;
    } else if (*at < argc) {
        word->value = argv[(*at)++];
    } else {
        return trib_fail(err, TRIB_INVALID, "%s needs a value behind it", text);
    }
    return TRIB_OK;
}

static enum trib_status apply_option(const struct trib_role_config *role, void *config,
                                     const struct word *word, struct trib_error *err) {
    struct trib_buf assignment;
    trib_buf_init(&assignment, 0);
    trib_buf_printf(&assignment, "%s=%s", word->option, word->value);
    enum trib_status status = assignment.failed ? trib_fail(err, TRIB_NOMEM, "no memory for the command line")
                                                : trib_options_set(role->options, role->option_count, config,
                                                                   trib_buf_text(&assignment), err);
    trib_buf_release(&assignment);
    return status;
}

/* One pass over the words, which applies those of one sort: files first, settings on top. */
static enum trib_status apply_words(const struct trib_role_config *role, int argc, char *const *argv,
                                    void *config, bool files, struct trib_error *err) {
    for (int at = 1; at < argc;) {
        struct word word;
        enum trib_status status = next_word(role, argc, argv, &at, &word, err);
        if (status == TRIB_OK && files && word.what == WHAT_CONFIG) {
            status = trib_options_load(role->options, role->option_count, config, word.value, err);
        } else if (status == TRIB_OK && !files && word.what == WHAT_SET) {
            status = trib_options_set(role->options, role->option_count, config, word.value, err);
        } else if (status == TRIB_OK && !files && word.what == WHAT_OPTION) {
            status = apply_option(role, config, &word, err);
        }
        if (status != TRIB_OK) return status;
    }
    return TRIB_OK;
}

/* What is asked for; --help and --version win over everything. */
static enum trib_status find_action(const struct trib_role_config *role, int argc, char *const *argv,
                                    enum trib_args_action *action, struct trib_error *err) {
    *action = TRIB_ARGS_RUN;
    for (int at = 1; at < argc;) {
        struct word word;
        enum trib_status status = next_word(role, argc, argv, &at, &word, err);
        if (status != TRIB_OK) return status;
        if (word.what != WHAT_ACTION) continue;
        *action = word.action;
        if (word.action == TRIB_ARGS_HELP || word.action == TRIB_ARGS_VERSION) break;
    }
    return TRIB_OK;
}

enum trib_status trib_args_parse(const struct trib_role_config *role, int argc, char *const *argv,
                                 void *config, enum trib_args_action *action, struct trib_error *err) {
    enum trib_status status = find_action(role, argc, argv, action, err);
    if (status != TRIB_OK) return status;
    if (*action == TRIB_ARGS_HELP || *action == TRIB_ARGS_VERSION) return TRIB_OK;
    status = trib_options_defaults(role->options, role->option_count, config, err);
    if (status == TRIB_OK) status = apply_words(role, argc, argv, config, true, err);
    if (status == TRIB_OK) status = apply_words(role, argc, argv, config, false, err);
    if (status == TRIB_OK && *action != TRIB_ARGS_HEALTH) status = role->check(config, err);
    if (status != TRIB_OK) trib_options_release(role->options, role->option_count, config);
    return status;
}

static void put_flag(struct trib_buf *out, const char *name, const char *value, const char *help) {
    char left[64];
    (void)snprintf(left, sizeof left, "%s%s%s", name, value != NULL ? " " : "", value != NULL ? value : "");
    trib_buf_printf(out, "  %-22s %s\n", left, help);
}

static void put_help(const struct trib_role_config *role, struct trib_buf *out) {
    trib_buf_printf(out, "%s: %s\n\nusage: %s [--config FILE] [--set KEY=VALUE]...\n\n", role->program,
                    role->summary, role->program);
    for (size_t i = 0; i < FLAGS; i++) put_flag(out, flags[i].name, flags[i].value, flags[i].help);
    for (size_t i = 0; i < role->shortcut_count; i++) {
        char help[80];
        (void)snprintf(help, sizeof help, "the same as --set %s=VALUE", role->shortcuts[i].option);
        put_flag(out, role->shortcuts[i].flag, "VALUE", help);
    }
    trib_buf_printf(out, "\nKeys of the config file and of --set:\n\n");
    trib_options_help(role->options, role->option_count, out);
}

void trib_args_text(const struct trib_role_config *role, enum trib_args_action action, const void *config,
                    struct trib_buf *out) {
    if (action == TRIB_ARGS_HELP) put_help(role, out);
    if (action == TRIB_ARGS_DUMP) {
        trib_options_dump(role->options, role->option_count, config, false, out);
    }
}

bool trib_args_start(const struct trib_role_config *role, int argc, char *const *argv, void *config,
                     enum trib_args_action *action, int *exit_status) {
    struct trib_error err;
    struct trib_buf text;
    trib_alloc_start();
    enum trib_status status = trib_args_parse(role, argc, argv, config, action, &err);
    if (status != TRIB_OK) {
        (void)fprintf(stderr, "%s: %s\n", role->program, err.text);
        *exit_status =
            status == TRIB_NOMEM ? 1 : 2; /* the command line may be right: it is worth another try */
        return false;
    }
    if (*action != TRIB_ARGS_HELP && *action != TRIB_ARGS_DUMP) return true;
    trib_buf_init(&text, 0);
    trib_args_text(role, *action, config, &text);
    size_t written = fwrite(trib_buf_text(&text), 1, text.size, stdout);
    bool fine = !text.failed && written == text.size && fflush(stdout) == 0;
    *exit_status = fine ? 0 : 1;
    trib_buf_release(&text);
    trib_options_release(role->options, role->option_count, config);
    return false;
}
