#!/usr/bin/python3
# timeout: 60
"""An edge whose disk fills up in mid-run: it stops accepting and says why, and goes on by itself when there is room.
The disk is a small tmpfs; where one cannot be mounted the cases are skipped."""
import ctypes
import subprocess
import sys

import harness
from harness import case, check, same, wait

cloud = harness.cloud()
edge = harness.edge(cloud)
device = harness.devices(edge, count=3)


def mount(*words):
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
    return done.returncode == 0


# In mounts of our own, which go with us however we end.
CLONE_NEWNS = 0x20000
edge.store.mkdir(parents=True)
MOUNTED = ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0 and mount("--make-rprivate", "/") and mount("-t", "tmpfs", "-o", "size=1200k", "tmpfs", edge.store)


known = None  # a child that the edge has known since before


@case
def test_fills():
    """the disk is full: store_failed names the cause, the health line says that it is not well"""
    if not MOUNTED:
        raise harness.Skip("a tmpfs cannot be mounted here")
    global known
    harness.start_tree(cloud, edge)
    wait(lambda: edge.one("SELECT count(*) FROM parent_models"), "the edge has a model")
    known = harness.Peer(edge, "known")
    known.hello()
    known.pull()
    device.start()  # only now: it fills the disk in less than a second
    edge.wait_log(r"store_failed .*(full|No space left)")
    edge.wait_health(lambda line: line["well"] is False and line["store_failures"] > 0, "it is not well")
    check(cloud.health()["well"], "the cloud is not disturbed")
    check("full" in edge.health()["store_error"] or "space" in edge.health()["store_error"], "the health line says why")
    check(device.health()["well"], "the device waits")


@case
def test_serves():
    """what is published is served meanwhile to those who are known; what would have to be written is refused for now"""
    if not MOUNTED:
        raise harness.Skip("as above")
    known.close()
    known.connect()
    known.hello()
    model = known.pull()
    check(model["to_version"] > 0, f"a version of the run: {model}")
    known.send("PING", token=5)
    same(known.expect("PONG")[0]["token"], 5, "the pong")
    known.push(bytes(100), codec="int8")
    check(known.error("store")["wait_ms"] > 0, "it says when to try again")
    stranger = harness.Peer(edge, "stranger")
    stranger.hello("store")
    stranger.close()
    check(edge.health()["well"] is False, "it is still not well")


@case
def test_recovers():
    """with room it goes on, nobody has to restart it"""
    if not MOUNTED:
        raise harness.Skip("as above")
    check(mount("-o", "remount,size=200m", edge.store), "the disk grows")
    edge.wait_log(r"store_recovered ")
    edge.wait_health(lambda line: line["well"], "it is well again")
    # The log has it before the ledger.
    (told,), = wait(lambda: edge.sql("SELECT detail FROM events WHERE event = 'store_recovered'"), "the ledger has the event")
    check("full" in told or "space" in told, f"the ledger says what it was: {told}")
    before = device.health()["accepted"]
    device.wait_count("accepted", before + 3, deadline_s=40)


@case
def test_nothing_lost():
    """each update that the device was told is accepted is in the journal once, and no number twice"""
    if not MOUNTED:
        raise harness.Skip("as above")
    rows = edge.sql("SELECT node, incarnation, sequence, count(*) FROM contributions WHERE verdict = 'accepted' "
                    "GROUP BY node, incarnation, sequence")
    same([row for row in rows if row[3] != 1], [], "numbers judged more than once")
    told = device.health()["accepted"]
    there = wait(lambda: edge.one("SELECT count(*) FROM contributions WHERE verdict = 'accepted'"), "rows are there")
    check(there >= told, f"the device was told of {told} accepted updates, {there} are in the journal")
    for daemon in (device, edge, cloud):
        daemon.stop()


sys.exit(harness.main(cloud, edge, device, chained=True))
