#!/usr/bin/python3
# timeout: 90
"""What devices compute, in real daemons: SCAFFOLD with its control tensors, over an edge, through exports and restarts;
the other options of local training; and plans that cannot be."""
import json
import struct
import sys

import harness
import numpy as np
from harness import SCRATCH, case, check, same, wait

VERSIONS = 6
exported = SCRATCH / "model.safetensors"
cloud = harness.cloud(plan__train__algorithm="scaffold", plan__stop__versions=VERSIONS, evaluation__interval=0,
                      on_finish="wait")
edge = harness.edge(cloud, on_finish="wait")
fleet = harness.devices(edge, "fleet", count=3, on_finish="wait")


def read(path):
    """The tensors of a file, by name."""
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data, "<f4", np.prod(entry["shape"], dtype=int), 8 + size + entry["data_offsets"][0])
            for name, entry in header.items()}


@case
def test_scaffold_trains():
    """SCAFFOLD trains over an edge, its devices killed and started again in between"""
    harness.start_tree(cloud, edge, fleet)
    fleet.wait_count("accepted", 3)
    fleet.kill()
    fleet.start()
    cloud.wait_log(f" evaluated version={VERSIONS} ")
    same(cloud.logged(r"run_begun .*parameters=(\d+)")[1], "15700", "parameters: the model's and as many of c")
    harness.stop(fleet, edge, cloud)  # what it logs of an evaluation is in the ledger a little later
    check(cloud.one("SELECT max(accuracy) FROM evaluations") > 0.3, "it has not learned")
    same(edge.one("SELECT count(*) FROM contributions WHERE verdict = 'refused' AND reason != 'finished'"), 0,
         "refused updates")


@case
def test_scaffold_is_exported():
    """what is exported is the model; what the cloud keeps has c too, and c is not zero"""
    status, out, err = harness.run("tributary", "export", cloud.store, "last", exported)
    same((status, err), (0, ""), "status and error of export")
    check(", 7850 parameters," in out, f"it said {out}")
    same(sorted(read(exported)), ["fc1.bias", "fc1.weight"], "tensors of the export")
    digest = cloud.one("SELECT digest FROM version_lineage WHERE version = ?", VERSIONS)
    whole = read(cloud.store / "models" / f"{digest}.safetensors")
    same(sorted(whole), ["control.fc1.bias", "control.fc1.weight", "fc1.bias", "fc1.weight"], "tensors of the version")
    check(np.abs(whole["control.fc1.weight"]).max() > 0, "c is zero")
    again = SCRATCH / "replayed.safetensors"
    status, _, err = harness.run("tributary", "replay", cloud.store, "last", VERSIONS, "--out", again)
    same((status, err), (0, ""), "status and error of replay")
    for name, values in read(exported).items():
        check(np.array_equal(values, whole[name]), f"{name} is another one in the export")
        check(np.array_equal(values, read(again)[name]), f"{name} is another one in the replay")


@case
def test_begins_from_either():
    """a run begins from the export, with or without c, and from what the cloud kept; c begins with zero"""
    digest = cloud.one("SELECT digest FROM version_lineage WHERE version = ?", VERSIONS)
    kept = cloud.store / "models" / f"{digest}.safetensors"
    for n, (path, algorithm) in enumerate(((exported, "scaffold"), (kept, "scaffold"), (kept, "sgd"))):
        second = harness.cloud(f"second-{n}", run__start_model=path, plan__train__algorithm=algorithm)
        second.start()
        second.wait_log(" evaluated version=0 ")
        files = wait(lambda: list((second.store / "models").glob("*.safetensors")), "its version 0 is kept")
        start = read(files[0])
        check(np.array_equal(start["fc1.weight"], read(exported)["fc1.weight"]), "it begins with another model")
        same("control.fc1.weight" in start, algorithm == "scaffold", "that there is a c")
        check(algorithm == "sgd" or not start["control.fc1.weight"].any(), "c does not begin with zero")
        second.stop()


@case
def test_other_options():
    """FedProx, EWC, worker momentum, whole batches, a deadline and early stop, all at once"""
    top = harness.cloud("top", plan__train__mu=0.1, plan__train__ewc=10, plan__train__ewc_version=1,
                        plan__train__worker_momentum=0.5, plan__train__batch=0, plan__train__deadline="200ms",
                        plan__train__stop_loss=0.01, plan__train__stop_gain=0.001, plan__train__epochs=3,
                        plan__train__lr=0.1, plan__stop__versions=12, on_finish="wait", evaluation__interval=0)
    child = harness.devices(top, "few", count=3)
    harness.start_tree(top, child)
    top.wait_log(" evaluated version=12 ")
    harness.stop(child, top)
    # At the deadline it ends: how much is learned by then is the machine's. By chance it is 0.1.
    check(top.one("SELECT max(accuracy) FROM evaluations") > 0.2, "it has not learned")
    same(child.logged("training_failed"), None, "a failed training")


@case
def test_area_trains():
    """AREA trains over an edge, its devices killed and started again in between"""
    top = harness.cloud("area", plan__train__algorithm="area", plan__edge__rule="area", plan__cloud__rule="area(k=1)",
                        plan__data__devices=3, plan__stop__versions=15, on_finish="wait", evaluation__interval=0)
    middle = harness.edge(top, "area-edge", on_finish="wait")
    child = harness.devices(middle, "area-fleet", count=3, on_finish="wait")
    harness.start_tree(top, middle, child)
    child.wait_count("accepted", 3)
    child.kill()
    child.start()
    top.wait_log(" evaluated version=15 ")
    harness.stop(child, middle, top)
    check(top.one("SELECT max(accuracy) FROM evaluations") > 0.3, "it has not learned")


@case
def test_plans_that_cannot_be():
    """choices that exclude each other are refused at start, with the reason"""
    for settings, why in (
            ({"plan.train.algorithm": "scaffold", "plan.train.worker_momentum": 0.9}, "worker_momentum is for"),
            ({"plan.train.algorithm": "area"}, "plan.train.algorithm is area and edge.rule is fedbuff"),
            ({"plan.train.algorithm": "area", "plan.edge.rule": "area", "plan.cloud.rule": "area",
              "run.start_model": exported}, "run.start_model is set and plan.train.algorithm is area"),
            ({"plan.cloud.rule": "area"}, "set train.algorithm: area"),
            ({"plan.train.algorithm": "averages"}, "plan.train.algorithm: found")):
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        status, out, err = harness.run("tributary-cloud", *words, "--set", f"store.path={SCRATCH}/none")
        check(status != 0 and why in err, f"{settings}: status {status}, it said {err!r}")


sys.exit(harness.main(cloud, edge, fleet, chained=True))
