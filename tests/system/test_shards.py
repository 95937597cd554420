#!/usr/bin/python3
# timeout: 120
"""Commits of rules that combine are parted among threads; replay, which has none, comes to the same versions."""
import sys

import harness
from harness import case, check, same

RULES = {"median": ("median | fedbuff(k=3)", "int8"), "krum": ("multi_krum(f=0, m=2) | fedbuff(k=4)", "topk(0.05)+int8")}


def verify(name):
    rule, codec = RULES[name]
    cloud = harness.cloud(f"cloud-{name}", model="2nn", plan__cloud__rule=rule, plan__codec__up=codec,
                          plan__codec__forward=codec, evaluation__interval="24h")
    fleet = harness.devices(cloud, f"fleet-{name}", count=5)
    cloud.start()
    fleet.start()
    cloud.wait_count("version", 3, deadline_s=60)
    harness.stop(fleet, cloud)
    status, out, err = harness.run("tributary", "replay", cloud.store)
    same(status, 0, f"status of replay ({out}{err})")
    check("as the ledger says" in out, out)


@case
def test_coordinate_wise():
    """a median of dense updates, longer than a range"""
    verify("median")


@case
def test_by_distances():
    """Krum of sparse updates"""
    verify("krum")


sys.exit(harness.main())
