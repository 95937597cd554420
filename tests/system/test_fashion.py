#!/usr/bin/python3
# timeout: 60
"""Fashion-MNIST runs by changing one key. Needs its files: in TRIBUTARY_DATA, or fetched by `make data
DATASET=fashion-mnist`."""
import os
import pathlib
import sys

import harness
from harness import ROOT, Skip, case, check, same

FILE = "train-images-idx3-ubyte"


def is_there():
    asked = os.environ.get("TRIBUTARY_DATA")
    folders = [pathlib.Path(asked) / "fashion-mnist"] if asked else [ROOT / "data/full/fashion-mnist"]
    return any((folder / (FILE + end)).exists() for folder in folders for end in ("", ".gz"))


@case
def test_fashion():
    """plan.data.set: fashion-mnist, and nothing else, trains on Fashion-MNIST"""
    if not is_there():
        raise Skip("no Fashion-MNIST in TRIBUTARY_DATA or data/full")
    cloud = harness.cloud(data__path="", plan__stop__versions=20, plan__train__max_samples=300,
                          plan__data__set="fashion-mnist")  # the key
    edge = harness.edge(cloud)
    device = harness.devices(edge, count=3, data__path="")
    daemons = (cloud, edge, device)
    harness.start_tree(*daemons)
    for daemon in daemons:
        same(daemon.wait_exit(), 0, f"exit status of {daemon.name}")
    check(cloud.logged(r" run_begun .*dataset=fashion-mnist source=\"[^\"]*fashion-mnist"), "the cloud's data set")
    check(device.logged(r" data_open .*dataset=fashion-mnist "), "the device's data set")
    accuracy = cloud.one("SELECT max(accuracy) FROM evaluations")
    check(accuracy > 0.5, f"accuracy {accuracy} after 20 versions")
    check("data.set: fashion-mnist" in cloud.one("SELECT plan FROM runs"), "the plan in the ledger")


sys.exit(harness.main())
