#!/usr/bin/python3
# timeout: 90
"""Codecs over real sockets, at both hops, up and down; those that are chosen for each update, and why, in the ledgers."""
import re
import sys

import harness
from harness import case, check, same, wait

ADAPTIVE = "auto(min=rotate+1bit, max=int8, loss=0.02)"
cloud = harness.cloud(plan__codec__up=ADAPTIVE, plan__codec__down="int4(per=channel)", plan__codec__forward=ADAPTIVE,
                      plan__codec__global="powersgd(2)+int8")
edge = harness.edge(cloud)
device = harness.devices(edge, count=2)


def codecs(daemon):
    """The codecs of the accepted updates of one participant, oldest first."""
    rows = daemon.sql("SELECT codec FROM contributions WHERE verdict = 'accepted' ORDER BY contribution_id")
    return [codec for codec, in rows]


@case
def test_chosen():
    """a sender begins with the lower bound, and takes more once it knows the line; each update says which"""
    harness.start_tree(cloud, edge, device)
    wait(lambda: {"rotate+1bit", "rotate+4bit"} <= set(codecs(edge)), "devices chose two codecs")
    wait(lambda: {"rotate+1bit", "rotate+4bit"} <= set(codecs(cloud)), "the edge chose two codecs")
    same((codecs(edge)[0], codecs(cloud)[0]), ("rotate+1bit", "rotate+1bit"), "the first of each")


@case
def test_reasons():
    """each change is an event with its reason and what it was measured by, in the edge's ledger and in a device's log"""
    details = [detail for detail, in edge.sql("SELECT detail FROM events WHERE event = 'codec_chosen' AND detail LIKE 'codec=%' ORDER BY event_id")]
    check(re.fullmatch(r"codec=rotate\+1bit reason=unmeasured lost=0\.\d+ bytes_per_s=0 waiting=\d+", details[0]),
          f"the first reason is {details[0]}")
    chosen = r"codec=rotate\+[234]bit reason=(energy|steady) lost=0\.0[0-2]\d+ bytes_per_s=[1-9]\d+ waiting=\d+"
    check(any(re.fullmatch(chosen, detail) for detail in details), f"none of the reasons is that it keeps enough: {details}")
    device.wait_log(r"codec_chosen .*reason=unmeasured")
    device.wait_log(r"codec_chosen .*reason=(energy|steady)")
    told = r'peer=\S+ number=[1-9]\d* codec="\S+" reason=(unmeasured|energy|steady|bandwidth|queue|max)'
    wait(lambda: edge.one("SELECT count(*) FROM events WHERE event = 'codec_chosen' AND detail LIKE 'peer=%energy%'") > 0,
         "the edge's ledger has a device's reason")
    for detail, in edge.sql("SELECT detail FROM events WHERE event = 'codec_chosen' AND detail LIKE 'peer=%'"):
        check(re.fullmatch(told, detail), f"what a device told: {detail}")


@case
def test_models():
    """models come down by two other codecs, and nobody refuses anything"""
    cloud.wait_more("version", 10)
    for daemon in (cloud, edge):
        line = daemon.health()
        same((line["malformed"], line["refused"]), (0, 0), f"malformed and refused at {daemon.name}")
        published = "SELECT increment_bytes FROM versions WHERE published AND increment_bytes > 0"
        sizes = [size for size, in daemon.sql(published)]
        check(sizes and max(sizes) < 7850, f"increments of {daemon.name} are to be less than a byte a parameter: {sizes[:10]}")
    check(device.health()["up_bytes"] < device.health()["updates"] * 7850, "an update takes a byte a parameter and more")
    harness.stop(device, edge, cloud)


sys.exit(harness.main())
