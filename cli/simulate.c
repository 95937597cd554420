/* `tributary simulate`: a federation under a virtual clock, as a scenario describes it. */
#include "cli/cli.h"
#include "cli/progress.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/number.h"
#include "shared/model/digest.h"
#include "shared/sim/sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { SLICE_MS = 100 };

struct request {
    const char *scenario_path;
    struct trib_scenario scenario;
    bool json, dump, resume;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

static int usage(FILE *to) {
    struct trib_buf keys;
    (void)fputs("usage: tributary simulate SCENARIO.yaml [options]\n\n"
                "  --set KEY=VALUE   set one key of the scenario; may be repeated\n"
                "  --arm NAME        one of the scenario's arms: what it sets stands before what --set does\n"
                "  --seed N          one run with this seed\n"
                "  --seeds A..B      a run with each seed from A to B; or a list, 1,2,5\n"
                "  --threads N       threads that train; the result does not depend on it\n"
                "  --out DIR         where the result goes (run/sim/NAME-seedN)\n"
                "  --resume          go on from where the same simulation was interrupted\n"
                "  --json            the summary as JSON on stdout\n"
                "  --dump            print the scenario in force, with defaults, and exit\n\n"
                "The result is an ordinary ledger: tributary history DIR. docs/simulator.md has more.\n\n"
                "Keys of the scenario and of --set:\n\n",
                to);
    trib_buf_init(&keys, 0);
    trib_options_help(trib_scenario_options, trib_scenario_option_count, &keys);
    (void)fputs(trib_buf_text(&keys), to);
    trib_buf_release(&keys);
    return to == stdout ? CLI_DONE : CLI_USAGE;
}

static int wrong(const char *what, const char *word) {
    (void)fprintf(stderr, "tributary simulate: %s%s; see tributary simulate --help\n", what, word);
    return CLI_USAGE;
}

/* ---- the command line ---- */

/* "1..3" or "1,2,5" as the list that the option takes. */
static enum trib_status set_seeds(struct trib_scenario *scenario, const char *word, struct trib_error *err) {
    struct trib_buf list;
    const char *dots = strstr(word, "..");
    uint64_t from = 0, to = 0;
    trib_buf_init(&list, 0);
    trib_buf_printf(&list, "seeds=");
    if (dots == NULL) {
        trib_buf_printf(&list, "%s", word);
    } else if (!trib_parse_u64(word, (size_t)(dots - word), &from) ||
               !trib_parse_u64(dots + 2, strlen(dots + 2), &to) || to < from || to - from >= 1000) {
        trib_buf_release(&list);
        return trib_fail(err, TRIB_INVALID, "--seeds: found \"%.60s\", expected A..B or a list of numbers",
                         word);
    }
    for (uint64_t i = 0; dots != NULL && i <= to - from; i++)
        trib_buf_printf(&list, "%s%" PRIu64, i > 0 ? ", " : "", from + i);
    enum trib_status status = trib_options_set(trib_scenario_options, trib_scenario_option_count, scenario,
                                               trib_buf_text(&list), err);
    trib_buf_release(&list);
    return status;
}

static enum trib_status set(struct trib_scenario *scenario, const char *key, const char *value,
                            struct trib_error *err) {
    struct trib_buf assignment;
    trib_buf_init(&assignment, 0);
    trib_buf_printf(&assignment, "%s%s%s", key, key[0] != 0 ? "=" : "", value);
    enum trib_status status = trib_options_set(trib_scenario_options, trib_scenario_option_count, scenario,
                                               trib_buf_text(&assignment), err);
    trib_buf_release(&assignment);
    return status;
}

static enum trib_status apply(struct trib_scenario *scenario, const char *flag, const char *value,
                              struct trib_error *err) {
    if (strcmp(flag, "--arm") == 0) return TRIB_OK; /* was taken before */
    if (strcmp(flag, "--set") == 0) return set(scenario, "", value, err);
    if (strcmp(flag, "--threads") == 0) return set(scenario, "threads", value, err);
    if (strcmp(flag, "--out") == 0) return set(scenario, "out", value, err);
    return set_seeds(scenario, value, err); /* --seed, --seeds */
}

static bool takes_value(const char *word) {
    static const char *const words[] = {"--set", "--arm", "--seed", "--seeds", "--threads", "--out"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i]) == 0) return true;
    return false;
}

static int find_words(int argc, char **argv, struct request *request) {
    for (int i = 1; i < argc; i++) {
        if (takes_value(argv[i])) {
            if (++i == argc) return wrong("a value is missing behind ", argv[i - 1]);
        } else if (strcmp(argv[i], "--json") == 0) {
            request->json = true;
        } else if (strcmp(argv[i], "--dump") == 0) {
            request->dump = true;
        } else if (strcmp(argv[i], "--resume") == 0) {
            request->resume = true;
        } else if (argv[i][0] == '-') {
            return wrong("unknown option ", argv[i]);
        } else if (request->scenario_path != NULL) {
            return wrong("one scenario at a time, and not ", argv[i]);
        } else {
            request->scenario_path = argv[i];
        }
    }
    return request->scenario_path != NULL ? CLI_DONE : wrong("which scenario?", "");
}

static enum trib_status read_scenario(int argc, char **argv, struct request *request,
                                      struct trib_error *err) {
    struct trib_scenario *s = &request->scenario;
    enum trib_status status = trib_scenario_defaults(s, err);
    if (status == TRIB_OK)
        status = trib_options_load(trib_scenario_options, trib_scenario_option_count, s,
                                   request->scenario_path, err);
    for (int i = 1; status == TRIB_OK && i + 1 < argc; i++)
        if (strcmp(argv[i], "--arm") == 0) status = trib_scenario_arm(s, argv[++i], err);
    for (int i = 1; status == TRIB_OK && i < argc; i++)
        if (takes_value(argv[i])) {
            status = apply(s, argv[i], argv[i + 1], err);
            i++;
        }
    if (status != TRIB_OK) return status;
    struct trib_error inner;
    status = trib_scenario_finish(s, request->scenario_path, &inner);
    return status == TRIB_OK ? status : trib_fail(err, status, "%s: %s", request->scenario_path, inner.text);
}

/* ---- running ---- */

static enum trib_status go(struct trib_sim *sim, struct progress *progress, struct trib_error *err) {
    bool over = false;
    enum trib_status status = TRIB_OK;
    while (status == TRIB_OK && !over && !interrupted) {
        status = trib_sim_run(sim, SLICE_MS, &over, err);
        struct trib_sim_status now = trib_sim_status(sim);
        progress_show(progress, &now);
    }
    progress_end(progress);
    enum trib_status closed = trib_sim_close(sim, status == TRIB_OK ? err : NULL);
    return status == TRIB_OK ? closed : status;
}

/* What comes next, for the one who interrupted it. */
static void say_interrupted(const struct trib_sim *sim) {
    struct trib_sim_status s = trib_sim_status(sim);
    (void)fputs("tributary simulate: interrupted", stderr);
    if (s.out[0] != 0)
        (void)fprintf(stderr, "; what happened until then is in the result's folder, %s", s.out);
    if (!s.keeps)
        (void)fputs("; the same command begins from the start\n", stderr);
    else
        (void)fprintf(
            stderr,
            "; the same command with --resume goes on from there%s, without it begins from the start\n",
            s.keeps_no_more ? " (what was trained after resume.limit was reached is trained again)" : "");
}

/* A simulation whose whole result is there is not gone through again. */
static enum trib_status show_ended(const struct trib_sim_options *options, bool json, bool *ended,
                                   struct trib_error *err) {
    char folder[TRIB_SIM_OUT_BYTES];
    enum trib_status status = trib_sim_ended(options, folder, err);
    *ended = status == TRIB_OK && folder[0] != 0;
    if (!*ended) return status;
    (void)fprintf(stderr, "tributary simulate: seed %" PRIu64 " had ended; this is its summary in %s\n",
                  options->seed, folder);
    return summary_show(folder, json, err);
}

/* *whole: its end was reached. */
static enum trib_status run_seed(const struct request *request, uint64_t seed, bool *whole,
                                 struct trib_error *err) {
    struct trib_log log = {.level = TRIB_LOG_ERROR, .fd = 2, .node = request->scenario.name};
    struct trib_sim_options options = {
        .scenario = &request->scenario, .seed = seed, .resume = request->resume, .log = &log};
    /* Several runs do not go into one folder. */
    char out[600] = "";
    if (request->scenario.out[0] != 0 && strchr(request->scenario.seeds, '\n') != NULL)
        (void)snprintf(out, sizeof out, "%.500s/seed%" PRIu64, request->scenario.out, seed);
    options.out = out;
    *whole = false;
    enum trib_status status = request->resume ? show_ended(&options, request->json, whole, err) : TRIB_OK;
    if (*whole || status != TRIB_OK) return status;
    struct trib_sim *sim = NULL;
    struct progress progress = {0};
    progress_begin(&progress, &request->scenario, seed);
    status = trib_sim_new(&options, &sim, err);
    if (status == TRIB_OK && request->resume && !trib_sim_status(sim).resumed)
        (void)fprintf(stderr, "tributary simulate: nothing to resume%s%s; beginning from the start\n",
                      trib_sim_status(sim).out[0] != 0 ? " in " : "", trib_sim_status(sim).out);
    if (status == TRIB_OK) status = go(sim, &progress, err);
    *whole = status == TRIB_OK && trib_sim_status(sim).reason[0] != 0;
    if (status == TRIB_OK && !*whole) say_interrupted(sim);
    bool diverged = status != TRIB_OK && sim != NULL && strcmp(trib_sim_status(sim).reason, "diverged") == 0;
    enum trib_status written = TRIB_OK;
    if (status == TRIB_OK || diverged)
        written = summary_write(&progress, sim, request->json, *whole, diverged ? NULL : err);
    if (status == TRIB_OK) status = written;
    trib_sim_free(&sim);
    return status;
}

int cli_simulate(int argc, char **argv) {
    struct request request = {0};
    struct trib_error err = {.status = TRIB_OK};
    for (int i = 1; i < argc; i++)
        if (cli_asks_for_help(argv[i])) return usage(stdout);
    int code = find_words(argc, argv, &request);
    if (code != CLI_DONE) return code;
    trib_alloc_start();
    enum trib_status status = read_scenario(argc, argv, &request, &err);
    code = status == TRIB_OK ? CLI_DONE : CLI_USAGE;
    if (status == TRIB_OK && request.dump) {
        struct trib_buf text;
        trib_buf_init(&text, 0);
        trib_options_dump(trib_scenario_options, trib_scenario_option_count, &request.scenario, true, &text);
        (void)fputs(trib_buf_text(&text), stdout);
        trib_buf_release(&text);
    } else if (status == TRIB_OK) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
        (void)sigaction(SIGINT, &action, NULL);
        (void)sigaction(SIGTERM, &action, NULL);
        uint64_t seed;
        size_t i = 0;
        bool whole = true;
        for (; status == TRIB_OK && whole && !interrupted && trib_scenario_seed(&request.scenario, i, &seed);
             i++)
            status = run_seed(&request, seed, &whole, &err);
        whole = whole && !trib_scenario_seed(&request.scenario, i, &seed);
        code = status == TRIB_OK && whole ? CLI_DONE : CLI_FAILED;
    }
    if (status != TRIB_OK) (void)fprintf(stderr, "tributary simulate: %s\n", err.text);
    trib_scenario_release(&request.scenario);
    return code;
}
