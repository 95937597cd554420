/* `tributary`: finds the subcommand and hands it its words. */
#include "cli/cli.h"

#include "shared/learn/blas.h"

#include <stdio.h>
#include <string.h>

struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"history", "runs, and the versions of a run, from a ledger", cli_history},
    {"compare", "what runs took to reach an accuracy, side by side, and charts", cli_compare},
    {"watch", "the newest run of a ledger while it goes on", cli_watch},
    {"export", "write a version's model to a .safetensors or .npz file", cli_export},
    {"replay", "rebuild a version from what a node kept, and compare digests", cli_replay},
    {"rollback", "make an earlier version of a stopped cloud's run current again", cli_rollback},
    {"simulate", "run a federation under a virtual clock, as a scenario describes it", cli_simulate},
    {"verify", "was a ledger altered, and where?", cli_verify},
    {"keys", "make CURVE key pairs, and allow them to connect", cli_keys},
    {"config", "check a config file, list what may stand in one", cli_config},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int help(FILE *to) {
    (void)fputs("tributary: what happened in a federation, and what it needs to run\n\n"
                "usage: tributary COMMAND ...\n\n",
                to);
    for (size_t i = 0; i < COMMANDS; i++) {
        (void)fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    (void)fputs("\n`tributary COMMAND --help` says more. The programs of a federation are tributary-cloud,\n"
                "tributary-edge and tributary-device.\n",
                to);
    return to == stdout ? CLI_DONE : CLI_USAGE;
}

int main(int argc, char **argv) {
    trib_blas_start(argc, argv);
    if (argc < 2) return help(stderr);
    if (cli_asks_for_help(argv[1]) || strcmp(argv[1], "help") == 0) return help(stdout);
    if (strcmp(argv[1], "--version") == 0) {
        (void)puts("tributary " TRIB_VERSION);
        return CLI_DONE;
    }
    const char *names[COMMANDS];
    for (size_t i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].name;
        if (strcmp(names[i], argv[1]) == 0) return commands[i].run(argc - 1, argv + 1);
    }
    return cli_unknown("tributary", "command", argv[1], names, COMMANDS);
}
