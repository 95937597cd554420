/* tributary-edge: averages the updates of its devices as they arrive and forwards one regional update. */
#include "shared/daemon/args.h"
#include "shared/daemon/node.h"
#include "shared/kernels/kernels.h"
#include "shared/net/health.h"

#include <stdio.h>
#include <string.h>

/* The parent's run is over: devices are told, and (on_finish: exit) the node ends. */
static void finished(void *ctx, struct trib_node *node) {
    const struct trib_edge_config *config = ctx;
    if (strcmp(config->on_finish, "exit") == 0) trib_node_stop(node);
}

static int run(const struct trib_edge_config *config) {
    struct trib_log log = trib_node_log(&config->node);
    char environment[128];
    (void)snprintf(environment, sizeof environment, "kernels=%s", trib_kernels()->name);
    struct trib_node_options options = {.role = TRIB_ROLE_EDGE,
                                        .log = &log,
                                        .node = &config->node,
                                        .parent = &config->parent,
                                        .upstream = &config->upstream,
                                        .store = &config->store,
                                        .database = "journal.db",
                                        .environment = environment,
                                        .max_parameters = (size_t)config->max_parameters,
                                        .exit_when_finished = strcmp(config->on_finish, "exit") == 0,
                                        .hooks = {.ctx = (void *)config, .finished = finished}};
    struct trib_error err = {0};
    struct trib_node *node = NULL;
    enum trib_status status = trib_node_new(&node, &options, &err);
    if (status == TRIB_OK) status = trib_node_run(node, &err);
    trib_node_free(&node);
    if (status == TRIB_OK) return 0;
    trib_log(&log, TRIB_LOG_ERROR, "failed", "error=\"%s\"", err.text);
    return 1;
}

int main(int argc, char **argv) {
    const struct trib_role_config *role = trib_role_config_find("edge");
    struct trib_edge_config config = {0};
    enum trib_args_action action;
    int exit_status;
    if (!trib_args_start(role, argc, argv, &config, &action, &exit_status)) return exit_status;
    if (action == TRIB_ARGS_VERSION) {
        (void)printf("tributary-edge %s\nkernels: %s\n", TRIB_VERSION, trib_kernels()->name);
        exit_status = 0;
    } else if (action == TRIB_ARGS_HEALTH) {
        exit_status = trib_health_main(config.node.health, 2000);
    } else {
        exit_status = run(&config);
    }
    trib_options_release(role->options, role->option_count, &config);
    return exit_status;
}
