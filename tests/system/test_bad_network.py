#!/usr/bin/python3
# timeout: 120
"""Links that are cut, slow, dropped in mid-frame, silent, or change bytes: the tree goes on, and each update counts once.
The link is tests/system/proxy.py."""
import signal
import sys
import time

import harness
import ledgers
from harness import SCRATCH, case, check, same, wait
from proxy import Proxy


class Tree:
    """A cloud, an edge and some devices, with a proxy on each hop."""

    def __init__(self, name, devices=2, keys=(None, None, None), **plan):
        at_cloud, at_edge, at_devices = (part or {} for part in keys)
        self.cloud = harness.over_tcp(harness.cloud(f"{name}-cloud", **at_cloud, **plan))
        self.up = Proxy(self.cloud.endpoint)
        self.edge = harness.over_tcp(harness.edge(self.cloud, f"{name}-edge", upstream__endpoint=self.up.endpoint,
                                                  **at_edge))
        self.down = Proxy(self.edge.endpoint)
        self.fleet = harness.devices(self.edge, f"{name}-dev", count=devices, upstream__endpoint=self.down.endpoint,
                                     log__level="debug", **at_devices)

    def start(self):
        harness.start_tree(self.cloud, self.edge, self.fleet)
        self.fleet.wait_count("accepted", 3)

    def check_counted(self):
        return ledgers.check_counted([(self.fleet, self.edge)], [(self.cloud, None), (self.edge, self.cloud)], 60)


@case
def test_cut():
    """a link that is cut again and again, on either hop, delays and loses nothing"""
    tree = Tree("cut")
    tree.start()
    for turn in range(4):
        tree.down.cut()
        tree.cloud.wait_more("version", 0)
        time.sleep(0.3 * turn)
        tree.down.mend()
        tree.fleet.wait_more("accepted", 3)
        tree.up.cut()
        tree.fleet.wait_more("accepted", 5)  # the edge needs no parent for that
        tree.up.mend()
        tree.cloud.wait_more("version", 2)
    check(tree.up.connections >= 5 and tree.down.connections >= 5, "the links were not cut")
    tree.check_counted()


@case
def test_dropped_in_mid_frame():
    """a slow line that never lives long enough for one whole update: transfers go on where they were"""
    tree = Tree("drop", model="2nn", plan__train__max_samples=20)
    tree.start()
    size = 199210 + 4 * 199210 // 1024  # about that: int8
    tree.down.set(delay_s=0.03, bytes_per_s=400_000, drop_after=size * 6 // 10)
    dropped = tree.down.dropped
    tree.fleet.wait_more("accepted", 4)
    check(tree.down.dropped - dropped >= 4, f"{tree.down.dropped} connections were dropped")
    tree.down.set(delay_s=0, bytes_per_s=0, drop_after=0)
    tree.fleet.wait_more("accepted", 2)
    tree.check_counted()


@case
def test_changed_bytes():
    """bytes that change on the way, without keys: what arrives damaged is not counted and is sent again"""
    tree = Tree("noise", devices=3)
    tree.start()
    # Nothing but keys protects a name or an incarnation: what a HELLO says arrives.
    tree.down.set(corrupt=2e-5, corrupt_from=4096)

    def noticed():
        log = tree.edge.log()
        return log.count("payload_damaged") + log.count("malformed")
    wait(lambda: noticed() >= 3 and tree.down.corrupted >= 10, "damage is noticed", 60)
    tree.down.set(corrupt=0)
    tree.fleet.wait_more("accepted", 5)
    same([row for row in tree.edge.sql("SELECT reason, count(*) FROM contributions WHERE reason IN "
                                       "('payload', 'not_finite') GROUP BY reason")], [], "damaged payloads judged")
    tree.check_counted()


def make_keys():
    folder = SCRATCH / "keys"
    folder.mkdir()
    for name in ("cloud", "sealed-edge", "sealed-dev-0", "sealed-dev-1"):
        status, _, err = harness.run("tributary", "keys", "new", folder / name, "--name", name)
        same(status, 0, f"exit status of keys new ({err})")
    harness.run("tributary", "keys", "allow", folder / "cloud.allow", folder / "sealed-edge.pub")
    harness.run("tributary", "keys", "allow", folder / "edge.allow",
                *(folder / f"sealed-dev-{i}.pub" for i in (0, 1)))
    return ({"keys__secret": folder / "cloud.key", "keys__allow": folder / "cloud.allow"},
            {"keys__secret": folder / "sealed-edge.key", "keys__allow": folder / "edge.allow",
             "upstream__key": folder / "cloud.pub"},
            {"keys__folder": folder, "upstream__key": folder / "sealed-edge.pub"})


@case
def test_changed_bytes_with_keys():
    """with keys no changed byte reaches the program: the connection is closed and made again"""
    tree = Tree("sealed", keys=make_keys())
    tree.start()
    wait(lambda: tree.edge.one("SELECT count(DISTINCT node) FROM contributions") == 2, "both devices are heard of")
    before = tree.down.connections
    tree.down.set(corrupt=1e-5)
    wait(lambda: tree.down.connections - before >= 4, "connections are made again", 60)
    tree.down.set(corrupt=0)
    tree.fleet.wait_more("accepted", 5)
    for sign in ("payload_damaged", "malformed", "conflict"):
        check(sign not in tree.edge.log(), f"{tree.edge.name} saw damage: {sign}")
    same(tree.edge.one("SELECT count(*) FROM contributions WHERE verdict = 'refused'"), 0, "refused updates")
    same(tree.edge.one("SELECT count(DISTINCT incarnation) FROM contributions"), 2, "incarnations of two devices")
    tree.check_counted()


@case
def test_silence():
    """an edge that stands still, and an uplink on which nothing arrives, for longer than any time-out"""
    standing, silent = Tree("standing"), Tree("silent")
    standing.start()
    silent.start()
    standing.edge.signal(signal.SIGSTOP)
    silent.up.set(hole=True)

    def gave_up():
        silent.fleet.wait_more("accepted", 1)  # its devices notice nothing
        return "uplink_closed reason=silence" in silent.edge.log()
    wait(gave_up, "the edge gives its silent parent up", 60, 0.5)
    standing.edge.signal(signal.SIGCONT)
    silent.up.set(hole=False)
    standing.fleet.wait_more("accepted", 3)
    silent.cloud.wait_more("version", 2)
    standing.check_counted()
    silent.check_counted()


sys.exit(harness.main())
