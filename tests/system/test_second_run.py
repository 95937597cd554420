#!/usr/bin/python3
# timeout: 90
"""What happens when a run is over: some leave, some wait for the next one and take part in it."""
import re
import sys

import harness
from harness import case, check, same, wait

SOFTMAX, WIDE = 4 * 7850, 4 * 199210  # bytes of the two models
cloud = harness.cloud(plan__stop__versions=20)
edges = [harness.edge(cloud, f"edge-{i}", on_finish="wait") for i in (1, 2)]
fleets = [harness.devices(edges[i], f"fleet-{i + 1}", first=2 * i, count=2, on_finish="wait") for i in (0, 1)]


ACCEPTED = "SELECT count(*) FROM contributions WHERE verdict = 'accepted'"


def run_names(node):
    return [name for name, in node.sql("SELECT run FROM runs ORDER BY run_id")]


@case
def test_all_leave():
    """on_finish exit: cloud, edge and devices end by themselves, with status 0, once the last version is evaluated"""
    parent = harness.cloud("leaving-cloud", plan__stop__versions=3, evaluation__interval="1h")
    middle = harness.edge(parent, "leaving-edge")
    child = harness.devices(middle, "leaving", count=2)
    harness.start_tree(parent, middle, child)
    for daemon in (child, middle, parent):
        same(daemon.wait_exit(), 0, f"exit status of {daemon.name}")
    same(parent.sql("SELECT state, stop_reason, versions FROM run_summary"), [("stopped", "versions", 3)], "the run")
    same(parent.sql("SELECT version FROM evaluations ORDER BY version"), [(0,), (3,)], "the versions evaluated")
    same(middle.sql("SELECT state FROM runs"), [("stopped",)], "the run at the edge")


@case
def test_run_ends():
    """on_finish wait: the cloud leaves, its edges and their devices stay"""
    edges[1].settings["store.path"] = edges[1].store = edges[1].folder / "made" / "with its" / "parents"
    harness.start_tree(cloud, *edges, *fleets)
    same(cloud.wait_exit(), 0, "exit status of the cloud")
    for edge in edges:
        edge.wait_log(" uplink_closed reason=run_finished ")
        # The line is ahead of the ledger.
        wait(lambda: edge.sql("SELECT state, count(*) FROM runs") == [("stopped", 1)], f"one run, stopped, at {edge.name}")
    for daemon in (*edges, *fleets):
        check(daemon.process.poll() is None, f"{daemon.name} has ended")
    for fleet in fleets:
        wait(lambda: len(set(re.findall(r" uplink_closed device=(\S+) reason=run_finished ", fleet.log()))) == 2,
             f"both of {fleet.name} have heard of it")
    updates = edges[0].one(ACCEPTED)
    edges[1].stop()
    edges[1].start()  # the other one runs on
    edges[1].wait_log(" store_open ")
    same(edges[0].one(ACCEPTED), updates, "updates between the runs")


@case
def test_next_run():
    """a cloud started again begins another run, of another model, and all take part in it"""
    cloud.start(plan__model="2nn", plan__stop__versions=0)
    cloud.wait_log(" run_begun model=2nn ")

    def both():
        return cloud.one("SELECT count(*) FROM (SELECT node FROM contributions WHERE run_id = 2 AND version > 0 "
                         "GROUP BY node HAVING count(*) >= 2)") == len(edges)
    wait(both, "both edges are in versions of the second run", deadline_s=60)
    names = run_names(cloud)
    same(len(set(names)), 2, f"runs of the cloud: {names}")
    same(cloud.sql("SELECT state FROM runs"), [("stopped",), ("running",)], "their states")
    for node in (cloud, *edges):
        same(run_names(node), names, f"runs of {node.name}")
        sizes = node.sql("SELECT DISTINCT run_id, raw_bytes FROM contributions WHERE verdict = 'accepted' ORDER BY run_id")
        # The first run may have been over before an edge had a part in it.
        check(sizes in ([(1, SOFTMAX), (2, WIDE)], [(2, WIDE)][node is cloud:]), f"runs and sizes of updates at {node.name}: {sizes}")
        same(node.sql("SELECT node, sequence, verdict, reason, void_reason FROM contributions WHERE run_id = 2 AND "
                      "(verdict = 'refused' OR void_reason IS NOT NULL)"), [], f"updates that came to nothing at {node.name}")
        same(node.one("SELECT min(version) FROM contributions WHERE run_id = 2"), node.one(
            "SELECT min(version) FROM versions WHERE run_id = 2 AND made_by = 'commit'"), f"{node.name}'s first commit")
    for fleet in fleets:
        check(not fleet.logged(" error | update_refused | training_"), f"{fleet.name} complained")
    for edge in edges:
        wait(lambda: edge.one("SELECT count(DISTINCT node) FROM contributions WHERE run_id = 2") == 2,
             f"both devices of {edge.name} are in the second run")


@case
def test_unfinished_run():
    """a run that has not ended is gone on with, or left with run.resume=false"""
    cloud.stop()
    cloud.start(plan__train__lr=0.01)
    check(cloud.wait_log(r" run_resumed version=(\d+)")[1] != "0", "it resumed at version 0")
    check(cloud.logged(" plan_kept "), "it did not say that the config's plan is another one")
    cloud.stop()
    cloud.start(run__resume="false", run__label="third time")
    cloud.wait_log(" run_begun model=2nn ")
    wait(lambda: len(run_names(cloud)) == 3, "the third run is in the ledger")
    same(cloud.sql("SELECT state, label FROM runs"), [("stopped", None), ("superseded", None), ("running", "third time")],
         "runs and their labels")
    wait(lambda: cloud.one("SELECT count(*) FROM contributions WHERE run_id = 3 AND verdict = 'accepted'"),
         "an edge takes part in it")
    harness.stop(*fleets, *edges, cloud)


sys.exit(harness.main(chained=True))
