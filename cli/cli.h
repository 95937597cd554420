/* The subcommands of `tributary`. Each gets its own words (argv[0] is its name) and returns the exit status:
 * 0 done, 1 it failed, 2 it was called wrongly. Results go to stdout, errors to stderr. */
#ifndef TRIB_CLI_CLI_H
#define TRIB_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

int cli_compare(int argc, char **argv);
int cli_config(int argc, char **argv);
int cli_export(int argc, char **argv);
int cli_history(int argc, char **argv);
int cli_keys(int argc, char **argv);
int cli_replay(int argc, char **argv);
int cli_rollback(int argc, char **argv);
int cli_simulate(int argc, char **argv);
int cli_verify(int argc, char **argv);
int cli_watch(int argc, char **argv);

/* --help or -h */
bool cli_asks_for_help(const char *word);
/* Says that `program` has no `what` of that name, and which of `names` it may have meant. CLI_USAGE. */
int cli_unknown(const char *program, const char *what, const char *word, const char *const *names,
                size_t count);

#endif
