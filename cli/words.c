#include "cli/cli.h"

#include "shared/base/option.h"

#include <stdio.h>
#include <string.h>

bool cli_asks_for_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

int cli_unknown(const char *program, const char *what, const char *word, const char *const *names,
                size_t count) {
    const char *nearest = trib_nearest(word, names, count);
    (void)fprintf(stderr, "%s: no %s is called \"%s\"%s%s; see %s --help\n", program, what, word,
                  nearest != NULL ? "; the nearest one is " : "", nearest != NULL ? nearest : "", program);
    return CLI_USAGE;
}
