#!/usr/bin/python3
# timeout: 120
"""Data sets with users of their own run by two keys, plan.data.set and plan.model, split by user."""
import sys

import harness
from harness import case, check, same


def run(data_set, model, path="", **plan):
    """A tree of three devices that trains for some versions; the best accuracy."""
    cloud = harness.cloud(data__path=path, plan__data__set=data_set, plan__model=model,
                          plan__data__partition="natural", plan__data__devices=3, **plan)
    edge = harness.edge(cloud)
    device = harness.devices(edge, count=3, data__path=path)
    daemons = (cloud, edge, device)
    harness.start_tree(*daemons)
    for daemon in daemons:
        same(daemon.wait_exit(), 0, f"exit status of {daemon.name}")
    check(device.logged(r" data_open .*dataset=\"?" + data_set.split("(")[0]), "the device's data set")
    return cloud.one("SELECT max(accuracy) FROM evaluations")


@case
def test_synthetic():
    """synthetic(1, 1) with softmax learns, each device with users of its own"""
    accuracy = run("synthetic(1, 1)", "softmax", plan__stop__versions=20, plan__train__max_samples=300)
    check(accuracy > 0.5, f"accuracy {accuracy} after 20 versions")


sys.exit(harness.main())
