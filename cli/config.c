/* `tributary config`: is a config good, and what may stand in one? */
#include "cli/cli.h"

#include "shared/base/alloc.h"
#include "shared/daemon/config.h"
#include "shared/learn/dataset.h"
#include "shared/learn/net.h"
#include "shared/learn/task.h"

#include <stdio.h>
#include <string.h>

enum { ROLES_MAX = 8 };

static int usage(FILE *to) {
    (void)fputs(
        "usage: tributary config check [--role ROLE] FILE...   is each file a good config?\n"
        "       tributary config options ROLE                 the keys of a role, with defaults and help\n"
        "       tributary config options data                 the data sets and their options\n"
        "       tributary config options model                the models, and the layers of one's own\n"
        "       tributary config options --markdown           all of these: docs/config.md\n"
        "       tributary config dump [--role ROLE] FILE      the file with all defaults filled in\n"
        "ROLE is cloud, edge or device; without --role it is what the file's `role:` says.\n",
        to);
    return to == stdout ? CLI_DONE : CLI_USAGE;
}

static const struct trib_role_config *find_role(const char *name, const char *where, struct trib_error *err) {
    size_t count = 0;
    const char *names[ROLES_MAX];
    const struct trib_role_config *roles = trib_role_configs(&count);
    TRIB_ASSERT(count <= ROLES_MAX);
    const struct trib_role_config *found = trib_role_config_find(name);
    if (found != NULL) return found;
    for (size_t i = 0; i < count; i++) names[i] = roles[i].role;
    const char *nearest = trib_nearest(name, names, count);
    (void)trib_fail(err, TRIB_INVALID, "%s: no role is called \"%.60s\"; roles are cloud, edge, device%s%s",
                    where, name, nearest != NULL ? "; the nearest one is " : "",
                    nearest != NULL ? nearest : "");
    return NULL;
}

/* The role that the file itself names. */
static const struct trib_role_config *role_of_file(const char *path, struct trib_error *err) {
    char *name = NULL;
    if (trib_options_peek(path, "role", &name, err) != TRIB_OK) return NULL;
    const struct trib_role_config *role = NULL;
    if (name[0] == 0) {
        (void)trib_fail(err, TRIB_INVALID,
                        "%s: it has no `role:`; write role: cloud, edge or device, or use --role", path);
    } else {
        role = find_role(name, path, err);
    }
    trib_free(name);
    return role;
}

static enum trib_status check_plan(const struct trib_cloud_config *cloud, struct trib_error *err) {
    return trib_task_check_plan(&cloud->plan, cloud->data_path, err);
}

/* Loads a file into new memory, which the caller releases and frees. */
static void *load(const char *path, const char *role_name, const struct trib_role_config **out,
                  struct trib_error *err) {
    const struct trib_role_config *role =
        role_name != NULL ? find_role(role_name, "--role", err) : role_of_file(path, err);
    if (role == NULL) return NULL;
    void *config = trib_alloc(role->bytes);
    if (config == NULL) {
        (void)trib_fail(err, TRIB_NOMEM, "%s: no memory", path);
        return NULL;
    }
    enum trib_status status = trib_options_defaults(role->options, role->option_count, config, err);
    if (status == TRIB_OK) status = trib_options_load(role->options, role->option_count, config, path, err);
    if (status == TRIB_OK) {
        struct trib_error inner = {.status = TRIB_OK, .text = ""};
        status = role->check(config, &inner);
        if (status == TRIB_OK && strcmp(role->role, "cloud") == 0) status = check_plan(config, &inner);
        if (status != TRIB_OK) (void)trib_fail(err, status, "%s: %s", path, inner.text);
    }
    if (status != TRIB_OK) {
        trib_options_release(role->options, role->option_count, config);
        trib_free(config);
        return NULL;
    }
    *out = role;
    return config;
}

static int check_file(const char *path, const char *role_name) {
    struct trib_error err = {.status = TRIB_OK};
    const struct trib_role_config *role = NULL;
    void *config = load(path, role_name, &role, &err);
    if (config == NULL) {
        (void)fprintf(stderr, "%s\n", err.text);
        return CLI_FAILED;
    }
    const char *warning;
    for (size_t i = 0; role->warning != NULL && (warning = role->warning(config, i)) != NULL; i++)
        (void)printf("%s: warning: %s\n", path, warning);
    (void)printf("%s: a good config for %s\n", path, role->program);
    trib_options_release(role->options, role->option_count, config);
    trib_free(config);
    return CLI_DONE;
}

static int write_text(struct trib_buf *text) {
    size_t written = fwrite(trib_buf_text(text), 1, text->size, stdout);
    bool fine = !text->failed && written == text->size && fflush(stdout) == 0;
    if (!fine) (void)fputs("tributary config: cannot write to stdout\n", stderr);
    trib_buf_release(text);
    return fine ? CLI_DONE : CLI_FAILED;
}

static int dump_file(const char *path, const char *role_name) {
    struct trib_error err = {.status = TRIB_OK};
    const struct trib_role_config *role = NULL;
    struct trib_buf text;
    void *config = load(path, role_name, &role, &err);
    if (config == NULL) {
        (void)fprintf(stderr, "%s\n", err.text);
        return CLI_FAILED;
    }
    trib_buf_init(&text, 0);
    trib_options_dump(role->options, role->option_count, config, true, &text);
    trib_options_release(role->options, role->option_count, config);
    trib_free(config);
    return write_text(&text);
}

static int print_options(const char *role_name) {
    struct trib_error err = {.status = TRIB_OK};
    struct trib_buf text;
    const struct trib_role_config *role = find_role(role_name, "tributary config options", &err);
    if (role == NULL) {
        (void)fprintf(stderr, "%s\n", err.text);
        return CLI_USAGE;
    }
    trib_buf_init(&text, 0);
    trib_buf_printf(&text, "Keys of the config of %s (%s):\n\n", role->program, role->summary);
    trib_options_help(role->options, role->option_count, &text);
    return write_text(&text);
}

static int print_data_sets(void) {
    struct trib_buf text;
    const struct trib_dataset_row *row;
    trib_buf_init(&text, 0);
    trib_buf_printf(&text, "Data sets for plan.data.set, NAME or NAME(option=value, ...):\n");
    for (size_t i = 0; (row = trib_dataset_row(i)) != NULL; i++) {
        trib_buf_printf(&text, "\n%s: %s\n", row->name, row->summary);
        if (row->param_count > 0) trib_buf_printf(&text, "\n");
        trib_options_help(row->params, row->param_count, &text);
    }
    return write_text(&text);
}

static int print_model(void) {
    struct trib_buf text;
    size_t count;
    const struct trib_model_row *models = trib_model_rows(&count);
    const struct trib_layer_row *row;
    trib_buf_init(&text, 0);
    trib_buf_printf(&text, "Models for plan.model, or layers, which are then listed in plan.layers:\n\n");
    for (size_t i = 0; i < count; i++) trib_buf_printf(&text, "%s: %s\n", models[i].name, models[i].summary);
    trib_buf_printf(&text, "\nLayers for plan.layers; a loss may stand last, else it is cross-entropy:\n");
    for (size_t i = 0; (row = trib_layer_row(i)) != NULL; i++) {
        trib_buf_printf(&text, "\n%s: %s\n", row->name, row->summary);
        if (row->param_count > 0) trib_buf_printf(&text, "\n");
        trib_options_help(row->params, row->param_count, &text);
    }
    return write_text(&text);
}

static const char data_example[] =
    "\n"
    "The folder of the files is `data.path` of the cloud and of the devices, or the environment's\n"
    "`TRIBUTARY_DATA`; a folder in it with the data set's name (`csv`, `idx`) goes first. Cloud and devices\n"
    "have the same files: a device takes its part of them by its index. Columns:\n"
    "\n"
    "```yaml\n"
    "plan:\n"
    "  model: mlp\n"
    "  data:\n"
    "    # meter.csv begins with the line: time,hour,site,wind,temperature,level\n"
    "    # level is 0, 1 or 2; wind is N, E, S or W; of each site the last fifth of its rows tests.\n"
    "    set: \"csv(meter.csv, target=level, features=temperature hour%24 wind#, user=site,\n"
    "          classes=3, test=0.2, shuffle=false, every=2)\"\n"
    "    partition: natural # whole sites\n"
    "    devices: 4\n"
    "```\n"
    "\n"
    "A number is standardised over the training rows of all users, and is 0, the mean, where it is missing\n"
    "(empty, NA or NaN); `hour%24` becomes a sine and a cosine, so that 23 is near 0; `wind#` becomes a\n"
    "feature for each text found, at most 64. Rows without a target are left out. Without `classes` the\n"
    "target is a number too (regression): the accuracy is the share of its variance that is explained.\n"
    "\n"
    "Images:\n"
    "\n"
    "```yaml\n"
    "plan:\n"
    "  model: softmax\n"
    "  data:\n"
    "    # train-images-idx3-ubyte, train-labels-idx1-ubyte and the same of t10k, which tests; plain or .gz\n"
    "    set: idx(8, 12, classes=3, mean=0.2, std=0.3)\n"
    "    partition: dirichlet(0.5)\n"
    "    devices: 4\n"
    "```\n"
    "\n"
    "IDX is the format of MNIST's files: a byte a pixel, one channel; a byte a label.\n";

static void put_data_sets(struct trib_buf *text) {
    const struct trib_dataset_row *row;
    trib_buf_printf(
        text,
        "\n## Data sets\n\n"
        "`plan.data.set` is one of these, alone or with options in parentheses, by position or by name:\n"
        "`synthetic(1, 1)`, `idx(8, 12, classes=3)`. A spec with `#` or with commas in a flow map stands in\n"
        "quotes.\n");
    for (size_t i = 0; (row = trib_dataset_row(i)) != NULL; i++) {
        trib_buf_printf(text, "\n### %s\n\n%s.\n", row->name, row->summary);
        if (row->param_count > 0) trib_buf_printf(text, "\n");
        if (row->param_count > 0) trib_options_markdown(row->params, row->param_count, text);
    }
    trib_buf_printf(text, "\n### Data of your own\n%s", data_example);
}

/* Specs stand one a line in a row, and in a list of texts in a config. */
static void put_specs(const char *specs, struct trib_buf *text) {
    trib_buf_printf(text, "[");
    for (const char *at = specs; *at != 0; at += strcspn(at, "\n"), at += *at != 0)
        trib_buf_printf(text, "%s\"%.*s\"", at > specs ? ", " : "", (int)strcspn(at, "\n"), at);
    trib_buf_printf(text, "]");
}

static void put_model(struct trib_buf *text) {
    size_t count;
    const struct trib_model_row *models = trib_model_rows(&count);
    const struct trib_layer_row *row;
    trib_buf_printf(text,
                    "\n## Models\n\n"
                    "`plan.model` is one of these, or `layers`, and then `plan.layers` has such a list.\n\n"
                    "| model | what | its layers |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        trib_buf_printf(text, "| `%s` | %s | `", models[i].name, models[i].summary);
        put_specs(models[i].layers, text);
        trib_buf_printf(text, "` |\n");
    }
    trib_buf_printf(text,
                    "\nA loss may stand behind the last layer; else it is `cross-entropy`, or `mse` where "
                    "a number is predicted.\n");
    for (size_t i = 0; (row = trib_layer_row(i)) != NULL; i++) {
        trib_buf_printf(text, "\n### %s\n\n%s.\n", row->name, row->summary);
        if (row->param_count > 0) trib_buf_printf(text, "\n");
        if (row->param_count > 0) trib_options_markdown(row->params, row->param_count, text);
    }
}

static int print_markdown(void) {
    struct trib_buf text;
    size_t count = 0;
    const struct trib_role_config *roles = trib_role_configs(&count);
    trib_buf_init(&text, 0);
    trib_buf_printf(
        &text,
        "# Config files\n\n"
        "<!-- Written by `make docs` from the programs' own tables; a test compares. -->\n\n"
        "One YAML file a program, one table of keys a role. A dotted key is a nested map, or stands as\n"
        "it is: `store: {path: run/edge}` and `store.path: run/edge` say the same. Later words win:\n"
        "defaults, then each `--config FILE`, then each `--set KEY=VALUE`. An unknown key, a wrong type\n"
        "or a value out of range is refused with file, line, what was found and what is allowed.\n"
        "`--dump-config` prints what is in force, `tributary config check FILE` checks a file.\n\n"
        "What is trained and how is in the cloud's config alone, under `plan.`; it travels down.\n");
    for (size_t i = 0; i < count; i++) {
        const struct trib_role_config *role = &roles[i];
        trib_buf_printf(&text, "\n## %s\n\n`%s` %s.\n\n", role->role, role->program, role->summary);
        trib_options_markdown(role->options, role->option_count, &text);
        trib_buf_printf(&text, "\nOn the command line also:");
        for (size_t j = 0; j < role->shortcut_count; j++)
            trib_buf_printf(&text, "%s `%s` (`%s`)", j > 0 ? "," : "", role->shortcuts[j].flag,
                            role->shortcuts[j].option);
        trib_buf_printf(&text, ".\n");
    }
    put_model(&text);
    put_data_sets(&text);
    return write_text(&text);
}

/* `[--role ROLE] FILE...`: the worst status of all files. */
static int each_file(int argc, char **argv, int (*work)(const char *path, const char *role_name)) {
    const char *role_name = NULL;
    int at = 1, worst = CLI_DONE;
    if (at < argc && strcmp(argv[at], "--role") == 0) {
        if (at + 1 >= argc) return usage(stderr);
        role_name = argv[at + 1];
        at += 2;
    }
    if (at >= argc || argv[at][0] == '-') return usage(stderr);
    for (; at < argc; at++) {
        int status = work(argv[at], role_name);
        if (status > worst) worst = status;
    }
    return worst;
}

int cli_config(int argc, char **argv) {
    static const char *const verbs[] = {"check", "options", "dump"};
    const char *verb = argc > 1 ? argv[1] : "";
    if (cli_asks_for_help(verb)) return usage(stdout);
    if (strcmp(verb, "check") == 0) return each_file(argc - 1, argv + 1, check_file);
    if (strcmp(verb, "dump") == 0 && argc <= 5) return each_file(argc - 1, argv + 1, dump_file);
    if (strcmp(verb, "options") == 0 && argc == 3)
        return strcmp(argv[2], "--markdown") == 0 ? print_markdown()
               : strcmp(argv[2], "data") == 0     ? print_data_sets()
               : strcmp(argv[2], "model") == 0    ? print_model()
                                                  : print_options(argv[2]);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (verb[0] == 0 || strcmp(verb, verbs[i]) == 0) return usage(stderr);
    return cli_unknown("tributary config", "command", verb, verbs, sizeof verbs / sizeof *verbs);
}
