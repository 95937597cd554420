/* The shipped programs as processes of their own, for benchmarks that measure them: started from the folder
 * that this program is in, with a temporary folder on a real disk, and asked through their health
 * endpoints. */
#ifndef TRIB_TESTS_BENCH_PROGRAMS_H
#define TRIB_TESTS_BENCH_PROGRAMS_H

#include "shared/base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { BENCH_PATH_MAX = 512, BENCH_ENDPOINT_MAX = 96 };

/* A folder beside the programs' own (so it is on a disk, where /tmp may be memory), "" when there is none. */
struct bench_folder {
    char path[BENCH_PATH_MAX - 128];
};
enum trib_status bench_folder_make(struct bench_folder *folder, struct trib_error *err) TRIB_MUST_USE;
void bench_folder_remove(struct bench_folder *folder);
/* "FOLDER/tributary-edge", FOLDER being where this program is. */
enum trib_status bench_program_path(const char *program, char out[BENCH_PATH_MAX],
                                    struct trib_error *err) TRIB_MUST_USE;

struct bench_program {
    pid_t pid; /* 0: not running */
    const char *name;
    char endpoint[BENCH_ENDPOINT_MAX]; /* what participants connect to; "" for a device */
    char health[BENCH_ENDPOINT_MAX];
    char log[BENCH_PATH_MAX];
};

/* Starts `program` ("tributary-edge") as node `name` with these options (each "key=value", NULL at the end)
 * beside listen, store.path and health, which are set here, and waits until it listens; a device, until it
 * answers. On failure the error has the end of its log. */
enum trib_status bench_program_start(struct bench_program *p, const struct bench_folder *folder,
                                     const char *program, const char *name, const char *const *options,
                                     struct trib_error *err) TRIB_MUST_USE;
/* Asks it to end, and ends it if it does not. */
void bench_program_stop(struct bench_program *p);
/* kill -9, and waits until it is gone; it can be started again in the same folder. */
void bench_program_kill(struct bench_program *p);
/* A number out of its health line; TRIB_NOT_FOUND if it has none of that name. */
enum trib_status bench_program_ask(const struct bench_program *p, const char *key, uint64_t *value,
                                   struct trib_error *err) TRIB_MUST_USE;
/* Asks for that number until it is at least `least`, at most `patience_s`. */
enum trib_status bench_program_await(const struct bench_program *p, const char *key, uint64_t least,
                                     double patience_s, struct trib_error *err) TRIB_MUST_USE;
/* Its peak of resident memory so far, in bytes (VmHWM); and what is resident now (VmRSS). */
enum trib_status bench_program_peak(const struct bench_program *p, uint64_t *bytes,
                                    struct trib_error *err) TRIB_MUST_USE;
enum trib_status bench_program_memory(const struct bench_program *p, uint64_t *bytes,
                                      struct trib_error *err) TRIB_MUST_USE;
/* Seconds of processor time that it has used so far, in all its threads. */
enum trib_status bench_program_cpu(const struct bench_program *p, double *seconds,
                                   struct trib_error *err) TRIB_MUST_USE;

/* A cloud and an edge below it, in a folder of their own; stopped and removed whatever was started. */
struct bench_tree {
    struct bench_folder folder;
    struct bench_program cloud, edge;
    char upstream[BENCH_ENDPOINT_MAX + 32]; /* "upstream.endpoint=..." of the edge */
};
/* Options as for bench_program_start; the edge gets its upstream.endpoint here. */
enum trib_status bench_tree_start(struct bench_tree *tree, const char *const *cloud, const char *const *edge,
                                  struct trib_error *err) TRIB_MUST_USE;
/* Another edge under that cloud, or the same one again after it was stopped or killed: with a port that it
 * had (`listen`, NULL: any). */
enum trib_status bench_tree_edge(struct bench_tree *tree, struct bench_program *p, const char *name,
                                 const char *listen, const char *const *options,
                                 struct trib_error *err) TRIB_MUST_USE;
void bench_tree_stop(struct bench_tree *tree);

void bench_pause_ms(long ms);
/* Runs a command to its end; TRIB_NOT_FOUND if it cannot be run. */
enum trib_status bench_command(const char *const *arguments, struct trib_error *err) TRIB_MUST_USE;

#endif
