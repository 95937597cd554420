#!/usr/bin/python3
# timeout: 60
"""The participant in plain Python joins a real edge, under a real cloud, next to a real device."""
import subprocess
import sys

import harness
from harness import ROOT, SAMPLE, case, check, limit, same, wait

UPDATES = 6
cloud = harness.cloud(plan__codec__up="topk(0.1)+int4+rice", plan__codec__down="rotate+4bit")  # by digest, the same bits
edge = harness.edge(cloud)
device = harness.devices(edge, count=1)


@case
def test_joins():
    """its updates are accepted, and counted where they went"""
    harness.start_tree(cloud, edge, device)
    done = subprocess.run(["/usr/bin/python3", ROOT / "python/tributary_participant.py", "--connect", edge.endpoint,
                           "--name", "py", "--data", SAMPLE, "--samples", "100", "--updates", str(UPDATES)],
                          capture_output=True, text=True, timeout=limit(), stdin=subprocess.DEVNULL)
    same(done.returncode, 0, f"its exit status (it said: {done.stdout[-2000:]} {done.stderr[-2000:]})")
    check(f"accepted={UPDATES} refused=0" in done.stdout, f"it said: {done.stdout}")


@case
def test_edge_counts():
    """the edge's ledger has each of its numbers once"""
    rows = edge.sql("SELECT sequence, verdict, samples, weight_samples, wire_bytes > 0, staleness >= 0 "
                    "FROM contributions WHERE node = 'py' ORDER BY contribution_id")
    same(rows, [(n, "accepted", 100, 100, 1, 1) for n in range(1, UPDATES + 1)], "what the edge wrote down")
    same(edge.one("SELECT count(DISTINCT incarnation) FROM nodes WHERE node = 'py' AND kind = 'device'"), 1,
         "its incarnations")


@case
def test_cloud_counts():
    """they reach the cloud in the edge's forwards, and versions come of them"""
    last = "SELECT max(version) FROM contributions WHERE node = 'py'"
    version = wait(lambda: edge.one(last), "the edge commits its last update")
    check(edge.one("SELECT count(*) FROM contributions WHERE node = 'py' AND version IS NULL") <= 2,
          "at most a part of a buffer waits")

    def below():
        return cloud.one("SELECT coalesce(sum(below_updates), 0) FROM contributions "
                         "WHERE node = 'edge' AND verdict = 'accepted'")
    committed = edge.one("SELECT count(*) FROM contributions WHERE version <= ?", version)
    wait(lambda: below() >= committed, f"{committed} updates are in forwards that the cloud accepted")
    check(cloud.one("SELECT max(version) FROM versions") > 0, "the cloud made versions")


@case
def test_leaves():
    """it left in peace: nothing malformed, nobody complained, the device goes on"""
    line = edge.health()
    same((line["malformed"], line["refused"]), (0, 0), "malformed and refused")
    device.wait_more("accepted", 3)
    harness.stop(device, edge, cloud)


sys.exit(harness.main(cloud, edge, device, chained=True))
