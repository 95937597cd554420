#include "shared/net/descriptors.h"

#include <dirent.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { LEAST = 16, MOST = 1024 };

size_t trib_net_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    return limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : (size_t)limit.rlim_cur;
}

size_t trib_net_raise_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    return trib_net_descriptor_limit();
}

size_t trib_net_open_descriptors(void) {
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) return (size_t)st.st_size; /* Linux 6.2 */
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) return 0;
    while (readdir(dir) != NULL) count++;
    (void)closedir(dir);
    return count > 3 ? count - 3 : 0; /* . and .. and this one */
}

static size_t clamp(size_t part) {
    return part < LEAST ? LEAST : part > MOST ? MOST : part;
}

size_t trib_net_backlog(size_t limit) {
    return clamp(limit / 16);
}

size_t trib_net_descriptor_reserve(size_t limit) {
    return trib_net_backlog(limit) + clamp(limit / 8);
}
