#!/usr/bin/python3
# timeout: 150
"""Thousands of newcomers at once at an edge whose disk is slow (tests/kill/faults.c): each HELLO is a record of the journal."""
import sys

import harness
from faults import Faults
from harness import case, check, wait


@case
def test_many_hellos_on_a_slow_disk():
    """6,000 newcomers at once on a slow disk: what waits to be written is bounded, and all are admitted in the end"""
    count, most = 6000, 3500  # BACKLOG_RECORDS, a group on its way, and what is read in a turn; else it would be all of them
    cloud = harness.cloud("crowded-cloud")
    edge = harness.edge(cloud, "crowded-edge", limits__peers=10000)
    faults = Faults(edge)
    harness.start_tree(cloud, edge)
    edge.wait_health(lambda line: line.get("uplink"), "it has its plan")
    known = harness.Peer(edge, "known")
    known.hello()  # what it reads of others is counted in its bytes
    before = edge.health()["up_bytes"]
    known.send("HELLO", name="one-0000", incarnation=7, next_number=1, kind=1, protocol_min=1, protocol_max=1)
    each = edge.wait_health(lambda line: line["up_bytes"] > before, "the first is read")["up_bytes"] - before
    faults.set(sync_delay_us=1_000_000)
    for i in range(1, count):
        known.send("HELLO", name=f"one-{i:04}", incarnation=7 + i, next_number=1, kind=1, protocol_min=1, protocol_max=1)
    at_least, at_most = [], []

    def count_written():
        return edge.one("SELECT count(*) FROM nodes WHERE node LIKE 'one-%'")

    def all_are_in():
        before_read = count_written()
        read = (edge.health()["up_bytes"] - before) // each
        written = count_written()
        at_least.append(read - written)
        at_most.append(read - before_read)
        return written == count
    wait(all_are_in, "all are admitted", 60)
    print(f"# at most {max(at_most)} waited to be written")
    check(max(at_most) > 400, f"the disk was not slow: {max(at_most)} waited to be written")
    check(max(at_least) < most, f"{max(at_least)} waited to be written")
    known.close()


sys.exit(harness.main())
