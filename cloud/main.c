/* tributary-cloud: merges the regions' updates, and keeps every version, where it came from and how stale
 * each contribution was. */
#include "cloud/cloud.h"

#include "shared/daemon/args.h"
#include "shared/kernels/kernels.h"
#include "shared/learn/blas.h"
#include "shared/net/health.h"

#include <stdio.h>

int main(int argc, char **argv) {
    trib_blas_start(argc, argv);
    const struct trib_role_config *role = trib_role_config_find("cloud");
    struct trib_cloud_config config = {0};
    enum trib_args_action action;
    int exit_status;
    if (!trib_args_start(role, argc, argv, &config, &action, &exit_status)) return exit_status;
    if (action == TRIB_ARGS_VERSION) {
        (void)printf("tributary-cloud %s\nkernels: %s\nOpenBLAS: %s, one thread\n", TRIB_VERSION,
                     trib_kernels()->name, trib_blas_kernel());
        exit_status = 0;
    } else if (action == TRIB_ARGS_HEALTH) {
        exit_status = trib_health_main(config.node.health, 2000);
    } else {
        struct trib_log log = trib_node_log(&config.node);
        struct trib_error err = {0};
        exit_status = cloud_run(&config, &log, &err) == TRIB_OK ? 0 : 1;
        if (exit_status != 0) trib_log(&log, TRIB_LOG_ERROR, "failed", "error=\"%s\"", err.text);
    }
    trib_options_release(role->options, role->option_count, &config);
    return exit_status;
}
