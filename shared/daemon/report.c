/* What a device says of itself, from its config or from files that the system keeps. */
#include "shared/base/number.h"
#include "shared/daemon/config.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char file_prefix[] = "file:";

static const char *path_of(const char *spec) {
    size_t length = sizeof file_prefix - 1;
    return strncmp(spec, file_prefix, length) == 0 ? spec + length : NULL;
}

static bool parse(const char *text, size_t bytes, bool battery, uint64_t *out) {
    uint64_t value = 0;
    bool fine = battery ? trib_parse_u64(text, bytes, &value) && value <= 100
                        : trib_parse_bytes(text, bytes, &value) && value > 0;
    if (fine) *out = value;
    return fine;
}

/* The reactor reads it: a pipe that nobody writes to has nothing, and is not waited for. */
static bool read_file(const char *path, bool battery, uint64_t *out) {
    char text[64];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got = read(fd, text, sizeof text);
    (void)close(fd);
    if (got < 0) return false;
    size_t bytes = (size_t)got;
    if (bytes == sizeof text) return false; /* there may be more of it */
    while (bytes > 0 && isspace((unsigned char)text[bytes - 1])) bytes--;
    return parse(text, bytes, battery, out);
}

bool trib_report_read(const char *spec, bool battery, uint64_t *out) {
    const char *path = path_of(spec);
    if (path != NULL) return read_file(path, battery, out);
    return parse(spec, strlen(spec), battery, out);
}

static enum trib_status check(const char *spec, bool battery, const char *expected, struct trib_error *err) {
    uint64_t value;
    const char *path = path_of(spec);
    bool fine = path != NULL ? path[0] != 0 : spec[0] == 0 || parse(spec, strlen(spec), battery, &value);
    if (fine) return TRIB_OK; /* what stands in the file may be another thing at any time */
    return trib_fail(err, TRIB_INVALID, "\"%.100s\" is neither %s nor file:PATH", spec, expected);
}

enum trib_status trib_report_check_battery(const char *spec, struct trib_error *err) {
    return check(spec, true, "a whole number from 0 to 100", err);
}

enum trib_status trib_report_check_link(const char *spec, struct trib_error *err) {
    return check(spec, false, "a size as 125KiB", err);
}
