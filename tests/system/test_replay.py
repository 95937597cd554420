#!/usr/bin/python3
# timeout: 120
"""`tributary replay` on real stores: while the cloud goes on, older versions, an edge's, and what is not kept any more."""
import hashlib
import re
import sqlite3
import sys

import harness
import numpy as np
from harness import SCRATCH, case, check, same, wait

CHECKPOINT, NEVER = 40, 10 ** 8  # records
cloud = harness.cloud(store__checkpoint__records=NEVER, store__checkpoint__keep=3, store__keep_models=0,
                      evaluation__interval=0)
edge = harness.edge(cloud, store__checkpoint__records=CHECKPOINT, store__checkpoint__keep=2)
fleet = harness.devices(edge, "fleet", count=4)


def replay(*words, status=0):
    found, out, err = harness.run("tributary", "replay", *words)
    same(found, status, f"status of replay {words} ({out}{err})")
    if status:
        same(out, "", "its output")
        return err
    fields = re.search(r"^replay: (.*)$", out, re.M).group(1).split()
    return out, {key: int(value) for key, value in (field.split("=") for field in fields)}


def change(query, *values):
    database = sqlite3.connect(cloud.database)
    with database:
        database.execute(query, values)
    database.close()


def digest_of(version):
    return cloud.one("SELECT digest FROM versions WHERE version = ?", version)


@case
def test_while_it_runs():
    """the newest version of a cloud that goes on comes out with the digest in the ledger; its file is that model"""
    harness.start_tree(cloud, edge, fleet)
    cloud.wait_version(3)
    out, counts = replay(cloud.store)
    check("rebuilt from the run's beginning" in out, f"no checkpoint was there yet: {out}")
    check(f"digest {digest_of(counts['version'])}, as the ledger says" in out, out)
    same(counts["versions"], counts["version"], "versions that were compared")
    check(counts["contributions"] >= counts["versions"] and counts["publications"] > 0, f"{counts}")
    path = SCRATCH / "newest.safetensors"
    out, counts = replay(cloud.store, "last", "--out", path)
    data = path.read_bytes()
    values = np.frombuffer(data[8 + int.from_bytes(data[:8], "little"):], "<f4")
    same(hashlib.blake2b(values.tobytes(), digest_size=32).hexdigest(), digest_of(counts["version"]), "the file's digest")


@case
def test_from_checkpoints():
    """each version that can be rebuilt has the ledger's digest, from the nearest checkpoint; older ones are refused"""
    cloud.stop()
    cloud.start(store__checkpoint__records=CHECKPOINT)
    kept = "SELECT count(*), min(position) FROM checkpoints"
    first = wait(lambda: cloud.one("SELECT min(position) FROM checkpoints"), "a checkpoint")
    wait(lambda: cloud.sql(kept)[0][0] == 3 and cloud.sql(kept)[0][1] > first, "an old checkpoint is gone")
    harness.stop(fleet, edge, cloud)
    err = replay(cloud.store, "last", 1, status=1)
    oldest = int(re.search(r"the oldest version that can be is (\d+) ", err).group(1))
    check("store.checkpoint.keep" in err and "version 1 cannot be rebuilt" in err, err)
    newest = cloud.one("SELECT max(version) FROM versions")
    check(1 < oldest < newest, f"oldest {oldest}, newest {newest}")
    run = cloud.one("SELECT run FROM runs")
    froms = set()
    for version in {oldest, oldest + 1, (oldest + newest) // 2, newest}:
        out, counts = replay(cloud.database, run[:6], version)
        same(counts["version"], version, "the version")
        check(f"digest {digest_of(version)}, as" in out, out)
        froms.add(re.search(r"position (\d+)", out).group(1))
    check(len(froms) > 1, f"all from the same checkpoint {froms}")
    check(f"its newest is {newest}" in replay(cloud.store, "last", newest + 1, status=1), "a version of the future")


@case
def test_an_edge():
    """an edge's model is rebuilt from its journal, behind its last checkpoint"""
    for node in (cloud, edge):  # no checkpoint from here on
        node.settings["store.checkpoint.records"] = NEVER
    harness.start_tree(cloud, edge, fleet)
    cloud.wait_version(cloud.one("SELECT max(version) FROM versions") + 3)
    harness.stop(fleet, edge, cloud)
    out, counts = replay(edge.store)
    check(counts["records"] > 0, f"{counts}")
    check("which this node's ledger does not keep" in out, out)


@case
def test_altered():
    """a byte altered in a segment is found, and so is another digest in the ledger"""
    newest = cloud.one("SELECT max(version) FROM versions")
    was = digest_of(newest)
    change("UPDATE versions SET digest = ? WHERE version = ?", "0" * 64, newest)
    check(f"the ledger says {'0' * 64}" in replay(cloud.store, status=1), "the ledger's digest was altered")
    change("UPDATE versions SET digest = ? WHERE version = ?", was, newest)
    replay(cloud.store)
    commit = 4  # a kind of record; the payload before the last one is in the newest version, and behind all checkpoints
    position, segment, offset = cloud.sql("SELECT position, segment, offset FROM journal WHERE segment > 0 AND position < "
                                          "(SELECT max(position) FROM journal WHERE kind = ?) ORDER BY position DESC "
                                          "LIMIT 1", commit)[0]
    check(position > cloud.one("SELECT max(position) FROM checkpoints"), "it is not read")
    path = cloud.store / "segments" / f"{segment:016x}.seg"
    data = bytearray(path.read_bytes())
    data[offset + 40] ^= 1
    path.write_bytes(data)
    err = replay(cloud.store, status=1)
    check(str(position) in err, f"position {position} is not in {err}")


@case
def test_nothing_after_the_checkpoint():
    """a journal that ends with its only checkpoint: the newest version is that one"""
    ended = harness.cloud("ended", store__checkpoint__records=1, store__checkpoint__keep=1)
    few = harness.devices(ended, "few", count=2)
    harness.start_tree(ended, few)
    ended.wait_version(3)
    harness.stop(few, ended)
    ended.start()  # nobody is there: after its first evaluation it writes nothing more
    ended.wait_log(" evaluated ")
    wait(lambda: ended.one("SELECT max(position) FROM checkpoints") == ended.health()["position"], "a checkpoint of all")
    ended.stop()
    same(ended.one("SELECT count(*) FROM journal"), 0, "records after the checkpoint")
    out, counts = replay(ended.store)
    check("as the ledger says" in out and counts["records"] == 0, out)
    newest = counts["version"]
    check(f"the oldest version that can be is {newest} " in replay(ended.store, "last", newest - 1, status=1), "an older one")


@case
def test_words():
    """what it says when it is called wrongly"""
    for words, saying in ((("--out",), "file name"), ((), "which store"), ((cloud.store, "last", "x"), "whole number"),
                          ((cloud.store, "last", "1", "2"), "one version")):
        check(saying in replay(*words, status=2), f"{words}: no {saying}")
    check("no run begins with" in replay(cloud.store, "zz", status=1), "an unknown run")


sys.exit(harness.main(cloud, edge, chained=True))
