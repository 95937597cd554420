/* The three programs' configs: what ships loads, what is wrong is refused, and the command line goes on top
 * of files. */
#include "shared/base/alloc.h"
#include "shared/daemon/args.h"
#include "shared/daemon/config.h"
#include "shared/daemon/spread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_MAX = 2048 };

static const struct trib_role_config *role(const char *name) {
    const struct trib_role_config *found = trib_role_config_find(name);
    assert_non_null(found);
    assert_true(found->bytes <= CONFIG_MAX);
    return found;
}

union any {
    struct trib_node_config node;
    struct trib_cloud_config cloud;
    struct trib_edge_config edge;
    struct trib_device_config device;
};

static void drop(const struct trib_role_config *r, union any *config) {
    trib_options_release(r->options, r->option_count, config);
}

/* The config that the words make, which must be a good one. */
static union any parse(const struct trib_role_config *r, int argc, char *const *argv) {
    union any config = {0};
    struct trib_error err = {.text = ""};
    enum trib_args_action action = TRIB_ARGS_HELP;
    if (trib_args_parse(r, argc, argv, &config, &action, &err) != TRIB_OK) fail_msg("%s", err.text);
    assert_int_equal(action, TRIB_ARGS_RUN);
    return config;
}

static void refused_words(const char *name, int argc, char *const *argv, const char *message) {
    union any config = {0};
    struct trib_error err = {.text = ""};
    enum trib_args_action action;
    assert_int_not_equal(trib_args_parse(role(name), argc, argv, &config, &action, &err), TRIB_OK);
    assert_string_equal(err.text, message);
    assert_null(config.node.name); /* released */
}

/* Up to three assignments, NULL for none, are refused with the message. */
static void refused(const char *name, const char *a, const char *b, const char *c, const char *message) {
    char words[4][256] = {"program"};
    char *argv[7] = {words[0]};
    int argc = 1;
    const char *const given[3] = {a, b, c};
    for (int i = 0; i < 3 && given[i] != NULL; i++) {
        (void)snprintf(words[i + 1], sizeof words[0], "--set=%s", given[i]);
        argv[argc++] = words[i + 1];
    }
    refused_words(name, argc, argv, message);
}

#define ARGV(...)                                                                                            \
    (int)(sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)), (char *[]) {                                    \
        __VA_ARGS__                                                                                          \
    }

/* ---- tables ---- */

static void roles_are_three(void **state) {
    (void)state;
    size_t count = 0;
    const struct trib_role_config *roles = trib_role_configs(&count);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) assert_ptr_equal(trib_role_config_find(roles[i].role), &roles[i]);
    assert_null(trib_role_config_find("fog"));
}

static void names_are_unique_and_helped(void **state) {
    (void)state;
    size_t count = 0;
    const struct trib_role_config *roles = trib_role_configs(&count);
    for (size_t r = 0; r < count; r++) {
        const struct trib_option *options = roles[r].options;
        for (size_t i = 0; i < roles[r].option_count; i++) {
            assert_true(strlen(options[i].help) > 10);
            assert_true(options[i].offset < roles[r].bytes);
            size_t length = strlen(options[i].name);
            for (size_t j = 0; j < roles[r].option_count; j++) {
                if (i == j) continue;
                /* no name twice, no option that is a group too, no field twice */
                bool clash = strncmp(options[i].name, options[j].name, length) == 0 &&
                             (options[j].name[length] == 0 || options[j].name[length] == '.');
                if (clash) fail_msg("%s and %s", options[i].name, options[j].name);
                assert_true(options[i].offset != options[j].offset);
            }
        }
        for (size_t i = 0; i < roles[r].shortcut_count; i++) {
            const char *option = roles[r].shortcuts[i].option;
            size_t at = 0;
            while (at < roles[r].option_count && strcmp(options[at].name, option) != 0) at++;
            if (at == roles[r].option_count) fail_msg("%s", option);
        }
    }
}

static void plan_is_under_plan(void **state) {
    (void)state;
    union any config = parse(role("cloud"), ARGV("tributary-cloud"));
    struct trib_plan plan = {0};
    struct trib_buf a, b;
    trib_buf_init(&a, 0);
    trib_buf_init(&b, 0);
    assert_int_equal(trib_options_defaults(trib_plan_options, trib_plan_option_count, &plan, NULL), TRIB_OK);
    trib_options_flat(trib_plan_options, trib_plan_option_count, &plan, &a);
    trib_options_flat(trib_plan_options, trib_plan_option_count, &config.cloud.plan, &b);
    assert_string_equal(trib_buf_text(&a), trib_buf_text(&b));
    trib_buf_release(&a);
    trib_buf_release(&b);
    trib_options_release(trib_plan_options, trib_plan_option_count, &plan);
    drop(role("cloud"), &config);
}

/* ---- files ---- */

/* The project's folder, from where the tests run. */
static void shipped_configs_load(void **state) {
    (void)state;
    static const char *const names[] = {"cloud", "edge", "device"};
    for (size_t i = 0; i < 3; i++) {
        char path[100], *found = NULL;
        (void)snprintf(path, sizeof path, "configs/%s.yaml", names[i]);
        assert_int_equal(trib_options_peek(path, "role", &found, NULL), TRIB_OK);
        assert_string_equal(found, names[i]);
        trib_free(found);
        union any config = parse(role(names[i]), ARGV("program", "--config", path));
        assert_string_equal(config.node.role, names[i]);
        assert_string_equal(config.node.name, names[i]);
        drop(role(names[i]), &config);
    }
}

static void shipped_values(void **state) {
    (void)state;
    union any config = parse(role("cloud"), ARGV("program", "--config", "configs/cloud.yaml"));
    assert_string_equal(config.cloud.parent.listen, "tcp://127.0.0.1:7400");
    assert_true(config.cloud.plan.stop_accuracy == 0.97);
    assert_string_equal(config.cloud.plan.edge_rule, "fedbuff(k=3, staleness=polynomial(0.5))");
    assert_string_equal(config.cloud.store.durability, "full");
    drop(role("cloud"), &config);
    config = parse(role("device"), ARGV("program", "--config", "configs/device.yaml"));
    assert_int_equal(config.device.count, 10);
    assert_string_equal(config.device.speed_factor, "uniform(1, 10)");
    drop(role("device"), &config);
}

static void another_roles_file_is_refused(void **state) {
    (void)state;
    refused_words("edge", ARGV("program", "--config", "configs/cloud.yaml"),
                  "configs/cloud.yaml:5: role: found \"cloud\", expected one of edge");
    refused_words("edge", ARGV("program", "--config", "configs/absent.yaml"),
                  "cannot open the config configs/absent.yaml: No such file or directory");
}

static void dump_loads_back(void **state) {
    (void)state;
    static char *const shipped[] = {"configs/cloud.yaml", "configs/edge.yaml", "configs/device.yaml"};
    size_t count = 0;
    const struct trib_role_config *roles = trib_role_configs(&count);
    for (size_t i = 0; i < count; i++) {
        for (int comments = 0; comments < 2; comments++) {
            union any config = parse(&roles[i], ARGV("program", "--config", shipped[i])), back = {0};
            struct trib_error err = {.text = ""};
            struct trib_buf a, b;
            trib_buf_init(&a, 0);
            trib_buf_init(&b, 0);
            trib_options_dump(roles[i].options, roles[i].option_count, &config, comments == 1, &a);
            assert_int_equal(trib_options_defaults(roles[i].options, roles[i].option_count, &back, &err),
                             TRIB_OK);
            if (trib_options_parse(roles[i].options, roles[i].option_count, &back, trib_buf_text(&a), a.size,
                                   "dump", &err) != TRIB_OK) {
                fail_msg("%s\n%s", err.text, trib_buf_text(&a));
            }
            trib_options_dump(roles[i].options, roles[i].option_count, &back, comments == 1, &b);
            assert_string_equal(trib_buf_text(&a), trib_buf_text(&b));
            trib_buf_release(&a);
            trib_buf_release(&b);
            drop(&roles[i], &config);
            drop(&roles[i], &back);
        }
    }
}

/* ---- what is refused ---- */

static void endpoints(void **state) {
    (void)state;
    static const char *const good[] = {"tcp://127.0.0.1:7400", "tcp://edge-1.site:65535", "tcp://[::1]:1",
                                       "ipc://a", "ipc:///run/x.sock"};
    static const char *const good_to_listen[] = {"tcp://*:7400", "tcp://127.0.0.1:*", "tcp://*:*"};
    static const char *const bad[] = {"",
                                      "tcp://",
                                      "tcp://host",
                                      "tcp://:5",
                                      "tcp://host:0",
                                      "tcp://host:65536",
                                      "tcp://host:5x",
                                      "tcp://host:",
                                      "tcp://[::1:5",
                                      "tcp://[zz]:5",
                                      "tcp://a b:5",
                                      "udp://host:5",
                                      "host:5",
                                      "ipc://",
                                      "tcp://h/x:5"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(trib_endpoint_check(good[i], NULL), TRIB_OK);
        assert_int_equal(trib_endpoint_check_listen(good[i], NULL), TRIB_OK);
    }
    for (size_t i = 0; i < sizeof good_to_listen / sizeof *good_to_listen; i++) {
        assert_int_equal(trib_endpoint_check_listen(good_to_listen[i], NULL), TRIB_OK);
        assert_int_equal(trib_endpoint_check(good_to_listen[i], NULL), TRIB_INVALID);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(trib_endpoint_check(bad[i], NULL), TRIB_INVALID);
        assert_int_equal(trib_endpoint_check_listen(bad[i], NULL), TRIB_INVALID);
    }
    char path[400] = "ipc://";
    memset(path + 6, 'p', 101);
    assert_int_equal(trib_endpoint_check(path, NULL), TRIB_INVALID);
    path[106] = 0;
    assert_int_equal(trib_endpoint_check(path, NULL), TRIB_OK);
    assert_int_equal(trib_endpoint_check_health("", NULL), TRIB_OK);
    assert_int_equal(trib_endpoint_check_health("ipc://run/h", NULL), TRIB_OK);
    assert_int_equal(trib_endpoint_check_health("run/h", NULL), TRIB_INVALID);
}

static void wrong_values(void **state) {
    (void)state;
    refused("edge", "name=-x", NULL, NULL,
            "--set: name: found \"-x\", expected 1 to 48 letters, digits, dots, dashes or _, the first one a "
            "letter "
            "or digit");
    refused("edge", "listen=7400", NULL, NULL,
            "--set: listen: found \"7400\": neither tcp nor ipc; expected tcp://HOST:PORT (HOST or PORT may "
            "be *) or "
            "ipc://PATH");
    refused("edge", "upstream.endpoint=tcp://x", NULL, NULL,
            "--set: upstream.endpoint: found \"tcp://x\": no port; expected tcp://HOST:PORT or ipc://PATH");
    refused("edge", "store.path=", NULL, NULL, "--set: store.path: found \"\", expected a folder");
    refused("edge", "plan.seed=1", NULL, NULL,
            "--set: unknown key \"plan.seed\"; known ones are \"role\" and others, "
            "see the help");
    refused("edge", "store.durabilty=full", NULL, NULL,
            "--set: unknown key \"store.durabilty\"; the nearest one is \"store.durability\"");
    refused("cloud", "plan.train.lr=fast", NULL, NULL,
            "--set: plan.train.lr: found \"fast\", expected a number from 1e-09 to 1000");
}

static void plain_stays_here_unless_allowed(void **state) {
    (void)state;
    refused("cloud", "listen=[tcp://127.0.0.1:1, tcp://*:7400]", NULL, NULL,
            "listen: tcp://*:7400 leaves this machine without encryption; set keys.secret (`tributary keys` "
            "makes "
            "keys), or allow_insecure: true");
    refused("edge", "upstream.endpoint=tcp://cloud:7400", NULL, NULL,
            "upstream.endpoint: tcp://cloud:7400 leaves this machine without encryption; set upstream.key "
            "(`tributary keys` makes keys), or allow_insecure: true");
    refused("device", "upstream.endpoint=tcp://127.evil.example:1", NULL, NULL,
            "upstream.endpoint: tcp://127.evil.example:1 leaves this machine without encryption; set "
            "upstream.key "
            "(`tributary keys` makes keys), or allow_insecure: true");
    union any config = parse(role("edge"), ARGV("program", "--set", "upstream.endpoint=tcp://cloud:7400",
                                                "--set", "listen=tcp://*:1", "--set", "allow_insecure=true"));
    drop(role("edge"), &config);
    config = parse(role("edge"),
                   ARGV("program", "--set", "upstream.endpoint=tcp://cloud:7400", "--set", "listen=tcp://*:1",
                        "--set=keys.secret=a.key", "--set=keys.allow=b", "--set=upstream.key=c.pub"));
    drop(role("edge"), &config);
}

static void keys_come_together(void **state) {
    (void)state;
    refused("cloud", "keys.secret=a.key", NULL, NULL,
            "keys.secret is set and keys.allow is not; encryption needs both");
    refused("edge", "keys.allow=a", NULL, NULL,
            "keys.allow is set and keys.secret is not; encryption needs both");
    refused("edge", "upstream.key=a.pub", NULL, NULL,
            "upstream.key is set and keys.secret is not; encryption needs both");
    refused("device", "upstream.key=a.pub", NULL, NULL,
            "upstream.key is set and keys.folder is not; encryption needs both");
}

static void what_belongs_together(void **state) {
    (void)state;
    refused("cloud", "plan.model=layers", NULL, NULL,
            "plan.model is layers and plan.layers is empty; list the layers");
    refused("cloud", "plan.layers=[dense(10)]", NULL, NULL,
            "plan.layers is given and plan.model is cnn-small; set plan.model: layers, or drop the list");
    refused("cloud", "listen=[]", NULL, NULL, "listen: found an empty list, expected an endpoint or more");
    refused("device", "speed.factor=[]", NULL, NULL,
            "speed.factor: found an empty list, expected a factor or more");
    refused(
        "device", "speed.factor=[1, uniform(1, 2)]", NULL, NULL,
        "speed.factor: found a list with a distribution in it, expected numbers, or one distribution alone");
    union any config = parse(role("device"), ARGV("program", "--set", "speed.factor=1, 2.5, 10"));
    assert_string_equal(config.device.speed_factor, "1\n2.5\n10");
    drop(role("device"), &config);
}

/* ---- command line ---- */

static void words_in_any_order(void **state) {
    (void)state;
    union any config = parse(role("device"), ARGV("program", "--devices", "7", "--config=configs/device.yaml",
                                                  "--set", "devices.first=3", "--log-level", "debug",
                                                  "--log-format=json", "--workers=2"));
    assert_int_equal(config.device.count, 7); /* set on top of the file, which says 10 */
    assert_int_equal(config.device.first, 3);
    assert_int_equal(config.device.workers, 2);
    struct trib_log log = trib_node_log(&config.node);
    assert_int_equal(log.level, TRIB_LOG_DEBUG);
    assert_true(log.json);
    assert_int_equal(log.fd, 2);
    assert_string_equal(log.node, "device");
    drop(role("device"), &config);
    config = parse(role("device"), ARGV("program", "--set", "devices.count=5", "--devices=6"));
    assert_int_equal(config.device.count, 6); /* the later one */
    drop(role("device"), &config);
}

static void wrong_words(void **state) {
    (void)state;
    refused_words("device", ARGV("p", "--device", "3"),
                  "unknown option --device; the nearest one is --devices; see --help");
    refused_words("device", ARGV("p", "--devices"), "--devices needs a value behind it");
    refused_words("device", ARGV("p", "--devices=x"),
                  "--set: devices.count: found \"x\", expected a whole number from 1 to 100000");
    refused_words("device", ARGV("p", "--health=yes"), "--health takes no value, found \"yes\"");
    refused_words("device", ARGV("p", "x.yaml"),
                  "found \"x.yaml\", expected an option; for a config file write --config x.yaml");
    refused_words("device", ARGV("p", "--log-level", "loud"),
                  "--set: log.level: found \"loud\", expected one of debug, info, warn, error");
    refused_words("device", ARGV("p", "--qqqqqqqqq"), "unknown option --qqqqqqqqq; see --help");
    refused_words("device", ARGV("p", ""),
                  "found \"\", expected an option; for a config file write --config ");
}

static enum trib_args_action action_of(int argc, char *const *argv) {
    union any config = {0};
    enum trib_args_action action = TRIB_ARGS_RUN;
    struct trib_error err = {.text = ""};
    if (trib_args_parse(role("edge"), argc, argv, &config, &action, &err) != TRIB_OK)
        fail_msg("%s", err.text);
    drop(role("edge"), &config);
    return action;
}

static void actions(void **state) {
    (void)state;
    assert_int_equal(action_of(ARGV("p")), TRIB_ARGS_RUN);
    assert_int_equal(action_of(ARGV("p", "--health", "--set", "health=ipc://x")), TRIB_ARGS_HEALTH);
    assert_int_equal(action_of(ARGV("p", "--dump-config")), TRIB_ARGS_DUMP);
    assert_int_equal(action_of(ARGV("p", "--version")), TRIB_ARGS_VERSION);
    assert_int_equal(action_of(ARGV("p", "--config", "/nonexistent", "--help")), TRIB_ARGS_HELP);
}

static void help_lists_everything(void **state) {
    (void)state;
    size_t count = 0;
    const struct trib_role_config *roles = trib_role_configs(&count);
    for (size_t r = 0; r < count; r++) {
        struct trib_buf out;
        trib_buf_init(&out, 0);
        trib_args_text(&roles[r], TRIB_ARGS_HELP, NULL, &out);
        const char *text = trib_buf_text(&out);
        assert_non_null(strstr(text, roles[r].program));
        for (size_t i = 0; i < roles[r].option_count; i++)
            assert_non_null(strstr(text, roles[r].options[i].name));
        for (size_t i = 0; i < roles[r].shortcut_count; i++) {
            assert_non_null(strstr(text, roles[r].shortcuts[i].flag));
        }
        assert_non_null(strstr(text, "--dump-config"));
        trib_buf_release(&out);
    }
}

/* ---- spreads ---- */

static struct trib_spread spread(const char *spec) {
    struct trib_spread out;
    struct trib_error err = {.text = ""};
    if (trib_spread_parse(spec, &out, &err) != TRIB_OK) fail_msg("%s", err.text);
    return out;
}

static double mean_of(const char *spec, double low, double high) {
    struct trib_spread s = spread(spec);
    struct trib_rng rng = trib_rng_seed(7, 1);
    double sum = 0;
    for (int i = 0; i < 20000; i++) {
        double value = trib_spread_draw(&s, &rng);
        assert_true(value >= low && value <= high);
        sum += value;
    }
    return sum / 20000;
}

static void spreads_draw(void **state) {
    (void)state;
    assert_true(mean_of("2.5", 2.5, 2.5) == 2.5);
    assert_true(mean_of("constant(3)", 3, 3) == 3);
    assert_true(fabs(mean_of("uniform(1, 10)", 1, 10) - 5.5) < 0.1);
    assert_true(fabs(mean_of("loguniform(1, 10)", 1, 10.0001) - 9 / log(10)) < 0.1);
    assert_true(fabs(mean_of("lognormal(0, 0.5)", 0, 1e9) - exp(0.125)) < 0.05);
    assert_true(fabs(mean_of("exponential(mean=200)", 0, 1e9) - 200) < 6);
}

static void wrong_spreads(void **state) {
    (void)state;
    static const char *const bad[] = {"-1",
                                      "uniform(5, 1)",
                                      "uniform(-1, 1)",
                                      "unifrom(1, 2)",
                                      "loguniform(0, 1)",
                                      "lognormal(0, -1)",
                                      "constant(nan)",
                                      "uniform(1, 2, 3)",
                                      "",
                                      "(1)"};
    struct trib_spread out;
    struct trib_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(trib_spread_parse(bad[i], &out, &err), TRIB_INVALID);
    }
    assert_int_equal(trib_spread_parse("unifrom(1, 2)", &out, &err), TRIB_INVALID);
    assert_string_equal(err.text,
                        "unknown distribution \"unifrom\"; known ones are constant, uniform, loguniform, "
                        "lognormal, exponential; the nearest is uniform");
    assert_int_equal(trib_spread_parse("uniform(5, 1)", &out, &err), TRIB_INVALID);
    assert_string_equal(err.text, "uniform: low is 5 and high is 1, expected low to be at most high");
}

/* ---- memory ---- */

static void no_memory(void **state) {
    (void)state;
    static char *const files[] = {"configs/cloud.yaml", "configs/edge.yaml", "configs/device.yaml"};
    size_t count = 0;
    const struct trib_role_config *roles = trib_role_configs(&count);
    for (size_t r = 0; r < count; r++) {
        enum trib_status status = TRIB_NOMEM;
        for (long n = 0; status == TRIB_NOMEM; n++) {
            union any config = {0};
            struct trib_error err = {.text = ""};
            enum trib_args_action action;
            trib_alloc_fail_after(n);
            status = trib_args_parse(&roles[r], ARGV("program", "--config", files[r], "--name=x1"), &config,
                                     &action, &err);
            trib_alloc_fail_after(-1);
            if (status == TRIB_OK) drop(&roles[r], &config);
            if (status != TRIB_OK && status != TRIB_NOMEM) fail_msg("after %ld: %s", n, err.text);
            assert_null(config.node.name);
        }
        assert_int_equal(status, TRIB_OK);
    }
}

/* Rules that wait, with no end in time, for who may have nothing to say. */
static void rules_that_wait(void **state) {
    (void)state;
    static const struct {
        const char *cloud, *edge, *hold, *says;
        size_t count;
    } cases[] = {
        {"fedasync", "fedbuff(k=3)", "false", NULL, 0},
        {"fedavg", "fedavg", "false", "plan.cloud.rule: without a deadline", 1},
        {"fedavg(minimum=2)", "fedavg", "false", NULL, 0},
        {"fedavg(minimum=2)", "fedasync", "true", "plan.forward.hold: an edge forwards once", 1},
        {"fedavg(deadline=1m)", "fedavg(deadline=1m)", "true", NULL, 0},
        {"fedbuff(k=3, deadline=0)", "fedbuff(k=1)", "true", "plan.forward.hold: an edge forwards once", 1},
        {"fedbuff(k=3)", "fedbuff(k=3)", "true", "plan.forward.hold: an edge below another", 1},
        {"fedavg", "fedbuff(k=3, deadline=30s)", "true", "plan.cloud.rule: without a deadline", 1},
        {"fedavg", "fedavg", "true", "plan.cloud.rule: without a deadline", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char cloud[80], edge[80], hold[40];
        (void)snprintf(cloud, sizeof cloud, "plan.cloud.rule=%s", cases[i].cloud);
        (void)snprintf(edge, sizeof edge, "plan.edge.rule=%s", cases[i].edge);
        (void)snprintf(hold, sizeof hold, "plan.forward.hold=%s", cases[i].hold);
        char *const words[] = {"tributary-cloud", "--set", cloud, "--set", edge, "--set", hold};
        union any config = parse(role("cloud"), 7, words);
        size_t count = 0;
        while (role("cloud")->warning(&config, count) != NULL) count++;
        assert_int_equal(count, cases[i].count);
        if (count > 0) assert_non_null(strstr(role("cloud")->warning(&config, 0), cases[i].says));
        drop(role("cloud"), &config);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_are_three),       cmocka_unit_test(names_are_unique_and_helped),
        cmocka_unit_test(plan_is_under_plan),    cmocka_unit_test(shipped_configs_load),
        cmocka_unit_test(shipped_values),        cmocka_unit_test(another_roles_file_is_refused),
        cmocka_unit_test(dump_loads_back),       cmocka_unit_test(endpoints),
        cmocka_unit_test(wrong_values),          cmocka_unit_test(plain_stays_here_unless_allowed),
        cmocka_unit_test(keys_come_together),    cmocka_unit_test(what_belongs_together),
        cmocka_unit_test(rules_that_wait),       cmocka_unit_test(words_in_any_order),
        cmocka_unit_test(wrong_words),           cmocka_unit_test(actions),
        cmocka_unit_test(help_lists_everything), cmocka_unit_test(spreads_draw),
        cmocka_unit_test(wrong_spreads),         cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
