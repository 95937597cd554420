#!/usr/bin/python3
# timeout: 90
"""kill -9 of edges and of the cloud in mid-run: nothing that was acknowledged is lost, and nothing counts twice."""
import sys

import harness
from harness import case, check, same, wait

DEVICES = 3  # of each edge
cloud = harness.cloud()
edges = [harness.edge(cloud, f"edge-{i}") for i in (1, 2)]
fleets = [harness.devices(edges[i], f"fleet-{i + 1}", first=DEVICES * i, count=DEVICES) for i in (0, 1)]
totals = {}  # by fleet, when it ended


def kill_and_restart(daemon):
    daemon.kill()
    daemon.start()


@case
def test_edge_killed():
    """an edge killed again and again goes on each time, and so do its devices"""
    harness.start_tree(cloud, *edges, *fleets)
    for fleet in fleets:
        fleet.wait_count("accepted", 5)
    for turn in range(5):  # each time at another moment of receiving, committing and forwarding
        fleets[0].wait_more("accepted", 3 + 2 * turn)
        kill_and_restart(edges[0])
        fleets[0].wait_more("accepted", 1)


@case
def test_killed_while_starting():
    """so does one that is killed again while it starts"""
    for _ in range(2):
        kill_and_restart(edges[1])
        edges[1].wait_log(" store_open ")
        kill_and_restart(edges[1])
    edges[1].wait_health(lambda line: line["uplink"], "its parent is there")
    fleets[1].wait_more("accepted", 3)


@case
def test_cloud_away():
    """an edge takes updates while the cloud is away, and is itself killed meanwhile"""
    cloud.kill()
    fleets[1].wait_more("accepted", 3)
    kill_and_restart(edges[1])
    fleets[1].wait_more("accepted", 3)
    cloud.start()
    edges[1].wait_health(lambda line: line["uplink"], "its parent is there again")


@case
def test_cloud_killed():
    """the cloud goes on with its run from its last commit"""
    for _ in range(2):
        version = cloud.one("SELECT max(version) FROM versions")
        kill_and_restart(cloud)
        resumed = int(cloud.wait_log(r" run_resumed version=(\d+)")[1])
        check(resumed >= version, f"it resumed at version {resumed}, it was at {version}")
        for edge in edges:
            edge.wait_health(lambda line: line["uplink"], "its parent is there again")
        cloud.wait_count("version", resumed + 3)
    same(cloud.sql("SELECT count(*), count(DISTINCT run) FROM runs"), [(1, 1)], "runs in the ledger")


@case
def test_devices_and_edges_agree():
    """every update that a device has a verdict for is in its edge's ledger exactly once, with that verdict"""
    for fleet, edge in zip(fleets, edges):
        fleet.wait_count("accepted", 21)  # enough to count
        fleet.signal()
        stopped = fleet.wait_log(r" stopped updates=(\d+) accepted=(\d+) refused=(\d+)")
        same(fleet.wait_exit(), 0, f"exit status of {fleet.name}")
        _, accepted, refused = map(int, stopped.groups())
        rows = edge.sql("SELECT node, count(DISTINCT incarnation), count(*), count(DISTINCT sequence), max(sequence), "
                        "sum(verdict = 'accepted'), sum(verdict = 'refused') FROM contributions GROUP BY node")
        same(len(rows), DEVICES, f"devices in {edge.name}'s ledger")
        for node, incarnations, count, sequences, last, _, _ in rows:
            same((incarnations, count, sequences), (1, last, last), f"{node}'s incarnations, rows and numbers")
        there, no = sum(row[5] for row in rows), sum(row[6] for row in rows)
        check(accepted <= there <= accepted + DEVICES,  # an ACK each may have been on its way
              f"{fleet.name} has {accepted} accepted, {edge.name} {there}")
        same((refused, no), (0, 0), "refused updates")


@case
def test_edges_and_cloud_agree():
    """every update that an edge committed is inside exactly one forward, and every forward at the cloud exactly once"""
    for edge in edges:
        committed = ("SELECT count(*), sum(samples) FROM contributions "
                     "WHERE verdict = 'accepted' AND version IS NOT NULL")
        inside = ("SELECT sum(below_updates), sum(samples) FROM contributions "
                  "WHERE verdict = 'accepted' AND node = ?")
        wait(lambda: edge.sql(committed) == cloud.sql(inside, edge.name),
             f"what {edge.name} committed is what the cloud accepted: {edge.sql(committed)}, "
             f"{cloud.sql(inside, edge.name)}")
        wait(lambda: edge.one("SELECT count(*) FROM forwards WHERE verdict IS NULL") == 0, "verdicts on all forwards")
        columns = "incarnation, sequence, verdict, samples, weight_samples, below_updates, origins"
        there = f"SELECT {columns} FROM contributions WHERE node = ? ORDER BY sequence"
        here = f"SELECT {columns} FROM forwards ORDER BY sequence"
        # Waited for too: what a buffer held is committed, and forwarded, when the edge comes to read that the devices left.
        wait(lambda: cloud.sql(there, edge.name) == edge.sql(here), f"{edge.name}'s forwards are those at the cloud")
        same(edge.one("SELECT count(DISTINCT incarnation) FROM forwards"), 1, f"incarnations of {edge.name}")
        same(edge.one("SELECT count(*) FROM contributions WHERE void_reason IS NOT NULL"), 0, "void updates")
    same(cloud.one("SELECT count(*) FROM contributions WHERE void_reason IS NOT NULL OR verdict <> 'accepted'"), 0,
         "forwards that came to nothing")


@case
def test_ledgers_are_whole():
    """all ledgers are whole after this, and versions follow each other"""
    harness.stop(*edges, cloud)
    for daemon in (*edges, cloud):
        same(daemon.sql("PRAGMA integrity_check"), [("ok",)], f"SQLite's opinion of {daemon.name}")
    versions = cloud.sql("SELECT version FROM versions ORDER BY version")
    same(versions, [(version,) for version in range(len(versions))], "the versions")
    same(cloud.one("SELECT sum(contributions) FROM versions"),
         cloud.one("SELECT count(*) FROM contributions WHERE version IS NOT NULL"), "contributions, counted twice")


sys.exit(harness.main(cloud, *edges, *fleets, chained=True))
