/* The command line that the three daemons have in common:
 *     --config FILE  --set KEY=VALUE  --log-level L  --log-format F
 *     --dump-config  --health  --version  --help
 * and a role's shortcuts (--devices 20). Files are read first, in their order, then what was set, in its
 * order. */
#ifndef TRIB_DAEMON_ARGS_H
#define TRIB_DAEMON_ARGS_H

#include "shared/daemon/config.h"

enum trib_args_action {
    TRIB_ARGS_RUN,
    TRIB_ARGS_HEALTH,  /* ask the running program, over node.health, whether it is well */
    TRIB_ARGS_VERSION, /* print the version (the program knows what belongs to it) */
    TRIB_ARGS_HELP,    /* print trib_args_text */
    TRIB_ARGS_DUMP     /* print trib_args_text */
};

/* Fills `config`, role->bytes of zeroed memory, with defaults, files and settings, and checks it as a whole
 * (HELP and VERSION read nothing). The caller releases it with trib_options_release; on failure it is
 * released. */
enum trib_status trib_args_parse(const struct trib_role_config *role, int argc, char *const *argv,
                                 void *config, enum trib_args_action *action,
                                 struct trib_error *err) TRIB_MUST_USE;
/* The text of HELP or DUMP. */
void trib_args_text(const struct trib_role_config *role, enum trib_args_action action, const void *config,
                    struct trib_buf *out);
/* For main: parses, and does what needs no program: help and dump go to stdout, an error to stderr. True: go
 * on with *action (RUN, HEALTH or VERSION). False: exit with *exit_status (0, 2 for a bad command line or
 * config); config is released. */
bool trib_args_start(const struct trib_role_config *role, int argc, char *const *argv, void *config,
                     enum trib_args_action *action, int *exit_status) TRIB_MUST_USE;

#endif
