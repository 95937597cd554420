#!/usr/bin/python3
# timeout: 90
"""Checkpoints keep the journal small, and a node that stopped or was killed goes on from them; a new run after the last."""
import collections
import signal
import sys

import harness
from harness import SCRATCH, case, check, same, wait

RECORDS = 20  # journal records between checkpoints
SEGMENT_BYTES = 64 << 20
KEEP = 10  # model files
CHECKPOINTS = 2  # that stay
EVERY = {"store__checkpoint__records": RECORDS, "store__checkpoint__keep": CHECKPOINTS}

cloud = harness.cloud(evaluation__interval="100ms", store__keep_models=KEEP, **EVERY)
edge = harness.edge(cloud, **EVERY)
fleet = harness.devices(edge, "fleet", count=4, speed__delay=5)


kills = collections.Counter()


def rows(node):
    """(journal rows, position of the last, position of the checkpoint in force)"""
    return node.sql("SELECT count(*), max(position), (SELECT max(position) FROM checkpoints) FROM journal")[0]


def reaches(node, position):
    """It writes so far, and its journal stays small all the time."""
    def there():
        count, last, checkpoint = rows(node)
        last = max(last or 0, checkpoint or 0)
        check(count <= (5 + CHECKPOINTS) * RECORDS, f"{node.name}'s journal has {count} rows, its checkpoint is at {checkpoint}")
        return last >= position
    wait(there, f"{node.name} writes {position} records")


@case
def test_journal_stays_small():
    """with a checkpoint every 20 records, journals of edge and cloud stay small for hundreds of records"""
    harness.start_tree(cloud, edge, fleet)
    for node in (edge, cloud):
        reaches(node, 400)
        check(rows(node)[2] > 200, f"the checkpoint of {node.name} is at {rows(node)[2]}")
        files = wait(lambda: list((node.store / "checkpoints").glob("*.ckp")), "a checkpoint")
        check(len(files) <= CHECKPOINTS + 1, f"{node.name} has the checkpoints {files}")
        check("checkpoint_failed" not in node.log(), f"{node.name} failed to write a checkpoint")


def state_of(node):
    """(position, version) that its rows end with; it does not run."""
    count, last, checkpoint = rows(node)
    position = last if count else checkpoint
    return position, node.one("SELECT max(version) FROM versions")


def model_path(digest):
    return cloud.store / "models" / f"{digest}.safetensors"


def marks_of(version):
    return cloud.sql("SELECT accuracy, loss FROM evaluations WHERE version = ?", version)


def goes_on(node, stop, started=lambda version, marks: None):
    """It is stopped, starts again where it was, and its children and parent go on with it."""
    stop(node)
    position, version = state_of(node)
    marks = []
    if node is cloud:
        marks = marks_of(version)
        model_path(cloud.one("SELECT digest FROM versions WHERE version = ?", version)).unlink(missing_ok=True)
        edge.signal(signal.SIGSTOP)  # no other version is made and evaluated while this one is looked at
    node.start()
    opened = node.wait_log(r" store_open .*position=(\d+) version=(\d+)")
    same(int(opened[1]), position, f"the position of {node.name}")
    # An edge's ledger has a model from its parent as a version once it is published.
    check(int(opened[2]) == version or node is edge and int(opened[2]) > version,
          f"{node.name} is at version {opened[2]}, its ledger ended at {version}")
    started(version, marks)
    edge.signal(signal.SIGCONT)
    fleet.wait_more("accepted", 5)
    cloud.wait_more("version", 3)
    reaches(node, position + 3 * RECORDS)


def stopped(node):
    node.stop()


def killed(node):
    node.kill()
    kills[node] += 1


def check_edge(stop):
    goes_on(edge, stop)
    same(edge.one("SELECT count(*) FROM runs"), 1, "runs in the edge's ledger")
    same(edge.one("SELECT count(DISTINCT incarnation) FROM forwards"), 1, "incarnations of the edge")
    for node in (edge, cloud):
        same(node.sql("SELECT * FROM contributions WHERE verdict = 'refused' OR void_reason IS NOT NULL"), [],
             f"updates that came to nothing at {node.name}")
    # What it holds after the restart is what the cloud knows that it holds: increments are enough, unless so many are
    # missed that a whole model is smaller.
    models = edge.sql("SELECT kind, version - lag(version) OVER (ORDER BY model_id) FROM parent_models ORDER BY model_id")
    for kind, missed in models[1:]:
        check(kind in ("increments", "current") or (kind == "snapshot" and missed >= 3), f"it was sent a {kind} after {missed} versions")
    check({kind for kind, _ in models} & {"increments"}, f"the edge was sent {models}")


@case
def test_edge_stopped():
    """an edge stopped by SIGTERM goes on from its checkpoint, with the same version, and its devices with it"""
    check_edge(stopped)


@case
def test_edge_killed():
    """so does an edge after kill -9"""
    for _ in range(2):
        check_edge(killed)


def check_model(version, before):
    """It goes on with its run, and writes the model of this version anew, from its state: the command compares the content's
    digest with the ledger's."""
    check(cloud.wait_log(rf" run_resumed version={version} "), "the cloud did not resume its run")
    cloud.wait_log(rf" evaluated version={version} ")
    status, out, err = harness.run("tributary", "export", cloud.store, f"last:{version}", SCRATCH / "again.safetensors")
    same((status, err), (0, ""), f"export of version {version}, which was in force when it ended ({out})")
    wait(lambda: len(marks_of(version)) > len(before), "its result is in the ledger")
    marks = set(marks_of(version))
    same(len(marks), 1, f"different results of evaluating version {version}: {marks}")


def check_cloud(stop):
    goes_on(cloud, stop, check_model)
    same(cloud.one("SELECT count(*) FROM runs"), 1, "runs in the cloud's ledger")


@case
def test_cloud_stopped():
    """a cloud stopped by SIGTERM goes on with the bits it had"""
    check_cloud(stopped)


@case
def test_cloud_killed():
    """so does a cloud after kill -9"""
    for _ in range(2):
        check_cloud(killed)


@case
def test_models_are_bounded():
    """model files are kept of so many evaluated versions and of the best one, whichever process wrote them"""
    wait(lambda: cloud.one("SELECT count(DISTINCT version) FROM evaluations") > 3 * KEEP, "versions are evaluated")
    harness.stop(fleet, edge, cloud)
    evaluated = cloud.sql("SELECT version, digest, max(accuracy) FROM evaluations JOIN versions USING (run_id, version) "
                          "GROUP BY version ORDER BY max(evaluated_ms)")
    best = max(evaluated, key=lambda row: row[2])
    expected = {model_path(digest) for _, digest, _ in [best, *evaluated[-KEEP:]] if digest}
    # Room is made before the next evaluation; and one may have been written when it ended or was killed, and not evaluated.
    extra = set((cloud.store / "models").iterdir()) - expected
    check(len(extra) <= 2 + kills[cloud], f"beside the {KEEP} newest and the best there are {len(extra)}: {extra}")
    same(sorted(path.name for path in expected if not path.exists()), [], "model files that are missing")


@case
def test_short_lives():
    """a node that never lives long enough to write its next checkpoint's records comes to its checkpoint all the same"""
    parent = harness.cloud("short-cloud")
    # All of its checkpoints stay: the first one is looked at when others may have followed.
    middle = harness.edge(parent, "short-edge", store__checkpoint__records=200, store__checkpoint__keep=0)
    child = harness.devices(middle, "short", count=4, speed__delay=200)  # a life of 200 records takes some seconds
    harness.start_tree(parent, middle, child)
    for position in (70, 140, 210):
        wait(lambda: (rows(middle)[1] or 0) >= position, f"{position} records")
        middle.kill()
        middle.start()
    first = wait(lambda: middle.one("SELECT min(position) FROM checkpoints"), "a checkpoint")
    check(first < 400, f"the first checkpoint is at {first}")
    middle.wait_health(lambda line: line["well"], "it has started")
    harness.stop(child, middle, parent)


def size_of(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it has been deleted since the folder was read
        return 0


@case
def test_segments_stay_bounded():
    """payloads that a checkpoint contains leave the disk"""
    quick = {"store__durability": "none", **EVERY}
    parent = harness.cloud("big-cloud", model="2nn", plan__codec__up="f32", plan__train__max_samples=10,
                           plan__data__devices=4, **quick)
    middle = harness.edge(parent, "big-edge", **quick)
    children = harness.devices(middle, "big", count=4, speed__delay=0)
    harness.start_tree(parent, middle, children)

    def written():
        size = sum(size_of(path) for path in (middle.store / "segments").iterdir())
        check(size <= 3 * SEGMENT_BYTES, f"the segments are {size} bytes")
        return middle.one("SELECT sum(wire_bytes) FROM contributions") or 0
    wait(lambda: written() > 5 * SEGMENT_BYTES, "five segments' worth of payload", deadline_s=60)
    harness.stop(children, middle, parent)


@case
def test_as_large_as_the_last():
    """a checkpoint that is larger than what came since the last one waits until it is not"""
    node = harness.cloud("large-cloud", plan__codec__up="f32", store__checkpoint__bytes=4096, store__checkpoint__keep=0)
    children = harness.devices(node, "large", count=4)
    harness.start_tree(node, children)
    wait(lambda: node.one("SELECT count(*) FROM checkpoints") >= 5, "five checkpoints")
    harness.stop(children, node)
    checkpoints = [size for size, in node.sql("SELECT bytes FROM checkpoints ORDER BY position")]
    payloads = sum(size_of(path) for path in (node.store / "segments").iterdir())
    check(min(checkpoints) > 2 * 4 * 7850, f"checkpoints of {checkpoints} bytes: an update is as large")
    check(sum(checkpoints[:-1]) <= payloads, f"checkpoints of {checkpoints} bytes, payloads of {payloads}")


sys.exit(harness.main(chained=True))
