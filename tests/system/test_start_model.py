#!/usr/bin/python3
# timeout: 60
"""A run that begins from a file: the version that another run exported, a file made elsewhere, and files that do not fit."""
import hashlib
import json
import struct
import sys

import harness
import numpy as np
from harness import SCRATCH, case, check, same, wait

VERSIONS = 5
model = SCRATCH / "model.safetensors"
exported = {}  # digest and accuracy of what the first run exported
# Devices that are alike: a version is as good whoever made it, also one device alone.
first = harness.cloud("first", plan__stop__versions=VERSIONS, plan__data__partition="iid", evaluation__interval=0)
second = harness.cloud("second", run__start_model=model, plan__data__partition="iid", evaluation__interval=0)
edge = harness.edge(second)
fleet = harness.devices(edge, "fleet", count=3)


def read(path):
    """(order of the names, values by name)"""
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    names = sorted(header, key=lambda name: header[name]["data_offsets"])
    return names, {name: np.frombuffer(data, "<f4", np.prod(header[name]["shape"], dtype=int),
                                       8 + size + header[name]["data_offsets"][0]).reshape(header[name]["shape"])
                   for name in names}


def write(path, names, values, dtype="F32"):
    header, end = {}, 0
    payload = [values[name].astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes() for name in names]
    for name, data in zip(names, payload):
        header[name] = {"dtype": dtype, "shape": list(values[name].shape), "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(payload))


def digest(names, values):
    return hashlib.blake2b(b"".join(values[name].tobytes() for name in names), digest_size=32).hexdigest()


def version_0(cloud):
    """(digest, accuracy) of its version 0"""
    cloud.wait_log(" evaluated version=0 ")
    wait(lambda: cloud.one("SELECT count(*) FROM evaluations"), "the evaluation is in the ledger")
    return cloud.sql("SELECT digest, accuracy FROM version_lineage WHERE version = 0")[0]


@case
def test_export():
    """a run trains and exports its last version"""
    middle = harness.edge(first, "first-edge")
    child = harness.devices(middle, "first-fleet", count=3)
    harness.start_tree(first, middle, child)
    first.wait_log(f" evaluated version={VERSIONS} ")
    harness.stop(child, middle, first)
    status, _, err = harness.run("tributary", "export", first.store, "last", model)
    same((status, err), (0, ""), "status and error of export")
    exported["digest"], exported["accuracy"] = first.sql(
        "SELECT digest, accuracy FROM version_lineage WHERE version = ?", VERSIONS)[0]
    check(exported["accuracy"] > 0.3, f"it has not learned: {exported}")
    names, values = read(model)
    same(digest(names, values), exported["digest"], "the digest of the file's values")


@case
def test_begins_there():
    """another run begins from the file: the same digest, the same accuracy, and training goes on from there"""
    second.start()
    same(version_0(second), (exported["digest"], exported["accuracy"]), "digest and accuracy of version 0")
    same(second.sql("SELECT seed FROM runs"), [(None,)], "the seed")
    edge.start()
    edge.wait_health(lambda line: line["uplink"], "the uplink is there")
    fleet.start()
    wait(lambda: second.one("SELECT count(*) FROM evaluations WHERE version > 2"), "versions are evaluated")
    worst = second.one("SELECT min(accuracy) FROM evaluations")
    check(worst > exported["accuracy"] - 0.2, f"an accuracy of {worst} after a start at {exported['accuracy']}")
    same(edge.sql("SELECT kind FROM parent_models ORDER BY model_id LIMIT 1"), [("snapshot",)], "what the edge got first")
    same(edge.one("SELECT count(*) FROM contributions WHERE verdict = 'refused'"), 0, "refused updates")


@case
def test_resumed():
    """a run that goes on does not look at the file again"""
    second.stop()
    model.rename(SCRATCH / "moved.safetensors")
    version = second.one("SELECT max(version) FROM versions")
    second.start()
    same(int(second.wait_log(r" run_resumed version=(\d+)")[1]), version, "the version that it goes on with")
    harness.stop(fleet, edge, second)
    (SCRATCH / "moved.safetensors").rename(model)


@case
def test_made_elsewhere():
    """a file made elsewhere, its tensors in another order and in half precision"""
    names, values = read(model)
    halves = {name: values[name].astype("<f2").astype("<f4") for name in names}
    write(SCRATCH / "halves.safetensors", names[::-1], values, "F16")
    cloud = harness.cloud("halves", run__start_model=SCRATCH / "halves.safetensors")
    cloud.start()
    found, accuracy = version_0(cloud)
    same(found, digest(names, halves), "the digest of version 0")
    check(abs(accuracy - exported["accuracy"]) < 0.01, f"its accuracy is {accuracy}, in f32 {exported['accuracy']}")
    cloud.stop()


def refused(path, *saying, **settings):
    """The cloud does not start, and says why in one line; the store that it leaves can be used."""
    cloud = harness.cloud("picky", run__start_model=path, **settings)
    cloud.start()
    same(cloud.wait_exit(), 1, f"exit status for {path}")
    line, = [line for line in cloud.log().splitlines() if " error " in line]
    for text in (str(path), *saying):
        check(text in line, f"{text!r} is not in {line!r}")


@case
def test_refused():
    """files of another model, damaged, or not there are refused by name"""
    names, values = read(model)
    path = SCRATCH / "odd.safetensors"
    refused(model, names[0], model="2nn")
    write(path, names[:1], values)
    refused(path, names[1], "lacks")
    extra = {**values, "surplus": np.zeros(3, "<f4")}
    write(path, [*names, "surplus"], extra)
    refused(path, "surplus")
    write(path, names, {**values, names[0]: values[names[0]].T})
    refused(path, names[0])
    bad = values[names[0]].copy()
    bad.flat[7] = np.nan
    write(path, names, {**values, names[0]: bad})
    refused(path, names[0], "NaN")
    path.write_bytes(model.read_bytes()[:-4])
    refused(path, "the tensors end")
    path.write_bytes(b"\xff" * 100)
    refused(path, "no safetensors file")
    refused(SCRATCH / "missing.safetensors", "No such file")
    cloud = harness.cloud("picky", run__start_model=model)
    cloud.start()
    same(version_0(cloud)[0], exported["digest"], "the digest, from a good file after all")
    same(cloud.one("SELECT count(*) FROM runs"), 1, "runs in the ledger")
    cloud.stop()
    for key, value, text in (("plan.model", "2nn", "another model"), ("plan.data.set", "glyphs", "plan.data.set is glyphs")):
        before = cloud.settings[key] if key in cloud.settings else "mnist"
        cloud.settings[key] = value
        cloud.start()
        same(cloud.wait_exit(), 1, f"exit status with {key}={value}, which the unfinished run does not have")
        check(cloud.logged(f" failed .*{text}"), f"it said {cloud.log()}")
        cloud.settings[key] = before


sys.exit(harness.main(first, second, edge, fleet))
