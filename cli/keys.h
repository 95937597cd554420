/* `tributary keys`: makes, shows and allows CURVE keys. */
#ifndef TRIB_CLI_KEYS_H
#define TRIB_CLI_KEYS_H

/* argv[0] is "keys". Returns the exit status: 0 done, 1 it failed, 2 it was called wrongly. */
int cli_keys(int argc, char **argv);

#endif
