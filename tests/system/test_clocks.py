#!/usr/bin/python3
# timeout: 90
"""Programs whose clocks are wrong, and jump: a library put before libc's shifts the time of day, as a file says."""
import subprocess
import sys

import harness
from harness import case, check, same

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static time_t shift(void) {
    const char *path = getenv("CLOCK_FILE");
    FILE *file = path != NULL ? fopen(path, "r") : NULL;
    long seconds = 0;
    if (file == NULL) return 0;
    if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
    (void)fclose(file);
    return (time_t)seconds;
}

int clock_gettime(clockid_t id, struct timespec *out) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real(id, out);
    if (rc == 0 && id == CLOCK_REALTIME) out->tv_sec += shift();
    return rc;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int rc = clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return rc;
}

time_t time(time_t *out) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL) *out = now.tv_sec;
    return now.tv_sec;
}
"""
HOUR, DAY = 3600, 24 * 3600
shim = harness.SCRATCH / "clock.so"


def with_clock(daemon, seconds=0):
    """Its clock is wrong by so much."""
    daemon.clock = daemon.folder / "clock"
    daemon.env.update({"LD_PRELOAD": str(shim), "CLOCK_FILE": str(daemon.clock)})
    set_clock(daemon, seconds)
    return daemon


def set_clock(daemon, seconds):
    fresh = daemon.clock.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.rename(daemon.clock)


cloud = with_clock(harness.cloud())
edge = with_clock(harness.edge(cloud))
fleets = [with_clock(harness.devices(edge, name, first=2 * i, count=2), seconds)
          for i, (name, seconds) in enumerate((("right", 0), ("ahead", 2 * DAY), ("behind", -2 * DAY)))]


def dates(daemon):
    """The days that its log lines are of."""
    return {line[:10] for line in daemon.log().splitlines() if line[:2] == "20"}


@case
def test_days_ahead_and_behind():
    """devices two days ahead and two behind train and are counted as any other"""
    (harness.SCRATCH / "clock.c").write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, harness.SCRATCH / "clock.c", "-ldl"], check=True)
    harness.start_tree(cloud, edge, *fleets)
    for fleet in fleets:
        fleet.wait_count("accepted", 20)
    right, ahead, behind = (dates(fleet) for fleet in fleets)
    check(not ahead & right and not behind & right, f"the clocks are not wrong: {right}, {ahead}, {behind}")
    same(edge.sql("SELECT count(*) FROM contributions WHERE verdict <> 'accepted'"), [(0,)], "refused updates")


@case
def test_jumps_of_a_running_edge():
    """an edge and a cloud whose clocks jump while they run go on as if they had not"""
    for seconds in (HOUR, -HOUR, 2 * DAY, 0):
        set_clock(edge, seconds)
        set_clock(cloud, -seconds)
        for fleet in fleets:
            fleet.wait_more("accepted", 10)
        cloud.wait_more("version", 3)
        same(fleets[0].logged(" uplink_closed "), None, "a connection that was given up")


@case
def test_jumps_over_a_restart():
    """so do those that find their clock an hour ahead, or a day behind their own journal, when they start again"""
    for seconds in (HOUR, -DAY):
        for node, moving in ((edge, "accepted"), (cloud, "version")):
            node.kill()
            set_clock(node, seconds)
            node.start()
            edge.wait_health(lambda line: line["uplink"], "its parent is there again")
            node.wait_more(moving, 5)
            for fleet in fleets:
                fleet.wait_more("accepted", 5)
    for node in (edge, cloud):
        times = [row[0] for row in node.sql("SELECT judged_ms FROM contributions ORDER BY contribution_id")]
        check(times == sorted(times), f"times in {node.name}'s ledger go back")
        check(times[-1] - times[0] > HOUR * 1000, f"{node.name}'s clock was never an hour ahead")
    harness.stop(*fleets, edge, cloud)


sys.exit(harness.main(cloud, edge, *fleets, chained=True))
