#!/usr/bin/python3
# timeout: 60
"""CURVE on both hops, with keys that `tributary keys` made: who is listed takes part under its listed name, nobody else."""
import re
import signal
import sys

import harness
from harness import SCRATCH, Peer, case, check, same

KEYS = SCRATCH / "keys"
LISTED = ("dev-0", "dev-1", "honest")  # at the edge; the last one is known there by that name
cloud = harness.cloud(keys__secret=KEYS / "cloud.key", keys__allow=KEYS / "cloud.allow")
edge = harness.edge(cloud, keys__secret=KEYS / "edge.key", keys__allow=KEYS / "edge.allow",
                    upstream__key=KEYS / "cloud.pub")
WITH_KEYS = {"keys__folder": KEYS, "upstream__key": KEYS / "edge.pub"}
devices = harness.devices(edge, "dev", count=2, **WITH_KEYS)
unlisted = harness.devices(edge, "unlisted", first=2, **WITH_KEYS)
mistaken = harness.devices(edge, "mistaken", keys__folder=KEYS, upstream__key=KEYS / "cloud.pub")  # a wrong parent's key
unsafe = harness.devices(edge, "unsafe")  # and no keys at all


def keys(*words):
    status, out, err = harness.run("tributary", "keys", *words)
    same(status, 0, f"exit status of keys {words} ({err})")
    return out


def key(name, word):
    """The public or secret key in NAME.key."""
    return re.search(rf"(?m)^{word} (\S+)", (KEYS / f"{name}.key").read_text())[1]


def guest(key_name, name):
    """A peer with these keys that says it has that name."""
    return Peer(edge, name, curve=[text.encode() for text in (key("edge", "public"), key(key_name, "public"),
                                                              key(key_name, "secret"))])


@case
def test_keys():
    """keys are made, kept from others, and listed"""
    KEYS.mkdir()
    for name in ("cloud", "edge", "unlisted-2", "mistaken-0", *LISTED):
        keys("new", KEYS / name, "--name", name)
        same((KEYS / f"{name}.key").stat().st_mode & 0o777, 0o600, f"mode of {name}.key")
        check(key(name, "secret") not in (KEYS / f"{name}.pub").read_text(), f"{name}.pub has the secret")
        shown = keys("show", KEYS / f"{name}.key")
        check(key(name, "public") in shown and key(name, "secret") not in shown, f"keys show says {shown}")
    keys("allow", KEYS / "cloud.allow", KEYS / "edge.pub")
    keys("allow", KEYS / "edge.allow", *(KEYS / f"{name}.pub" for name in LISTED))
    status, _, err = harness.run("tributary", "keys", "new", KEYS / "edge")
    check(status != 0 and "is there already" in err, f"keys new over a pair: status {status}, {err}")


@case
def test_trains():
    """both hops are encrypted, and the tree trains"""
    harness.start_tree(cloud, edge, devices)
    for daemon in (cloud, edge):
        daemon.wait_log(" listening .*keys=curve")
    devices.wait_count("accepted", 6)
    devices.wait_count("ready", 2)  # the six may all be of one of them
    cloud.wait_count("version", 2)
    same([row[0] for row in cloud.sql("SELECT DISTINCT node FROM nodes")], ["edge"], "who is at the cloud")
    same([row[0] for row in edge.sql("SELECT DISTINCT node FROM nodes ORDER BY node")], ["dev-0", "dev-1"], "who is at the edge")


@case
def test_refused():
    """a key that is not listed, the wrong parent's key and no key get nobody in; each is logged"""
    for daemon in (unlisted, mistaken, unsafe):
        daemon.start()
    edge.wait_log(rf" warn +\S+ key_refused key={re.escape(key('unlisted-2', 'public'))} ")
    unlisted.wait_log(r" error \S+ uplink_link device=unlisted-2 link=refused .*allow-list")
    mistaken.wait_log(r" error \S+ uplink_link device=mistaken-0 link=foreign ")
    devices.wait_more("accepted", 4)
    for daemon in (unlisted, mistaken, unsafe):
        same((daemon.count("ready"), daemon.count("accepted")), (0, 0), f"sessions and updates of {daemon.name}")
    same(edge.count("sessions"), 2, "sessions at the edge")
    harness.stop(unlisted, mistaken, unsafe)


@case
def test_listed_later():
    """one that is listed later gets in, without a restart of the edge"""
    keys("allow", KEYS / "edge.allow", KEYS / "unlisted-2.pub")
    edge.signal(signal.SIGHUP)
    edge.wait_log(r" allow_list_read keys=4")
    peer = guest("unlisted-2", "unlisted-2")
    peer.hello()
    peer.close()


@case
def test_identity():
    """the identity is the allow-list's name, whatever HELLO says"""
    peer = guest("honest", "dev-0")
    peer.hello()
    peer.pull()
    peer.push(bytes(1))
    same(peer.verdict(), (1, "payload"), "the verdict on a bad update")
    same(edge.sql("SELECT node FROM contributions WHERE verdict = 'refused'"), [("honest",)], "whose bad update it is")
    devices.wait_more("accepted", 4)  # dev-0 has not lost its session
    same(len(devices.log().split(" uplink_ready ")) - 1, 2, "sessions of the two devices")
    other = guest("dev-1", "honest")  # a session belongs to the key that it was made for
    other.session = peer.session
    other.send("PULL")
    other.error("hello")
    peer.pull()
    for one in (peer, other):
        one.close()


@case
def test_stop():
    """they all stop in peace"""
    for daemon in (devices, edge, cloud):
        check(" error " not in daemon.log(), f"{daemon.name} logged an error")
    harness.stop(devices, edge, cloud)


sys.exit(harness.main(cloud, edge, devices, unlisted, mistaken, unsafe, chained=True))
