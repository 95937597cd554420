#!/usr/bin/python3
# timeout: 90
"""Updates larger than half of limits.in_flight come into files that become segments of the edge's store."""
import sys

import harness
from harness import case, check, same

PAYLOAD = 50890 * 4  # mlp on 28 x 28 inputs, in f32
HEADERS = 16 + 24
cloud = harness.cloud(model="mlp", plan__codec__up="f32")
edge = harness.edge(cloud, limits__in_flight="64KiB", store__checkpoint__records=1000000)
fleet = harness.devices(edge, "fleet", count=4)


def files(suffix):
    return [path for path in (edge.store / "segments").iterdir() if path.suffix == suffix]


@case
def test_become_segments():
    """each is a segment of its own, and the devices' updates are all taken"""
    harness.start_tree(cloud, edge, fleet)
    fleet.wait_count("accepted", 8)
    sizes = [path.stat().st_size for path in files(".seg")]
    check(sizes.count(PAYLOAD + HEADERS) >= 8, f"segments of {sizes} bytes")
    cloud.wait_count("version", 2)


@case
def test_killed():
    """an edge that is killed in the middle goes on, and what was half there is gone"""
    for _ in range(3):
        edge.kill()
        edge.start()
        fleet.wait_more("accepted", 3)


@case
def test_nothing_is_left():
    """when all have stopped, no unfinished file is there, and the journal gives what the ledger says"""
    def settled(line):
        # A device whose line was full has not said BYE: it is quiet, and what came of its update is kept for it.
        return line["spooled_bytes"] == 0 or (line["active"] == 0 and line["sessions"] > 0)
    fleet.stop()
    edge.wait_health(settled, "no update is on its way")
    edge.stop()
    same(files(".large"), [], "files left")
    status, out, err = harness.run("tributary", "replay", edge.store)
    same(status, 0, f"status of replay ({out}{err})")


sys.exit(harness.main(cloud, edge, fleet, chained=True))
