/* tributary-device: one or many devices that train on their own data and push updates to an edge. */
#include "device/fleet.h"

#include "shared/daemon/args.h"
#include "shared/kernels/kernels.h"
#include "shared/learn/blas.h"
#include "shared/net/health.h"

#include <stdio.h>

static int run(const struct trib_device_config *config) {
    struct trib_log log = trib_node_log(&config->node);
    struct trib_error err = {0};
    struct fleet *fleet = NULL;
    enum trib_status status = fleet_new(&fleet, config, &log, &err);
    if (status == TRIB_OK) status = fleet_run(fleet, &err);
    fleet_free(&fleet);
    if (status == TRIB_OK) return 0;
    trib_log(&log, TRIB_LOG_ERROR, "failed", "error=\"%s\"", err.text);
    return 1;
}

int main(int argc, char **argv) {
    trib_blas_start(argc, argv);
    const struct trib_role_config *role = trib_role_config_find("device");
    struct trib_device_config config = {0};
    enum trib_args_action action;
    int exit_status;
    if (!trib_args_start(role, argc, argv, &config, &action, &exit_status)) return exit_status;
    if (action == TRIB_ARGS_VERSION) {
        (void)printf("tributary-device %s\nkernels: %s\nOpenBLAS: %s, one thread each%s\n", TRIB_VERSION,
                     trib_kernels()->name, trib_blas_kernel(),
                     trib_blas_threadsafe() ? "" : " (not thread-safe: one worker)");
        exit_status = 0;
    } else if (action == TRIB_ARGS_HEALTH) {
        exit_status = trib_health_main(config.node.health, 2000);
    } else {
        exit_status = run(&config);
    }
    trib_options_release(role->options, role->option_count, &config);
    return exit_status;
}
