#!/usr/bin/python3
# timeout: 90
"""Devices behind a real bad line: a network namespace of their own, its rate shaped by tc, every tenth packet dropped by
iptables, the line unplugged for a while. Needs root, iproute2 and iptables; skipped where one is missing."""
import atexit
import os
import subprocess
import sys
import time

import harness
import ledgers
from harness import case, check

NAME = f"trib{os.getpid() % 100000}"  # of the namespace, and of the two ends of the line
NEAR, FAR = f"{NAME}a", f"{NAME}b"
NET = f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
RATE = "4mbit"
FREE = []  # what undoes what was done, last first


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")


def undo():
    for words in reversed(FREE):
        subprocess.run(words, capture_output=True)


def ip(*words):
    run("ip", *words)


def inside(*words):
    run("ip", "netns", "exec", NAME, *words)


def make_line():
    ip("netns", "add", NAME)
    FREE.append(("ip", "netns", "del", NAME))
    ip("link", "add", NEAR, "type", "veth", "peer", "name", FAR)
    FREE.append(("ip", "link", "del", NEAR))
    ip("link", "set", FAR, "netns", NAME)
    ip("addr", "add", f"{NET}.1/24", "dev", NEAR)
    ip("link", "set", NEAR, "up")
    inside("ip", "addr", "add", f"{NET}.2/24", "dev", FAR)
    inside("ip", "link", "set", FAR, "up")
    inside("ip", "link", "set", "lo", "up")
    run("tc", "qdisc", "add", "dev", NEAR, "root", "tbf", "rate", RATE, "burst", "16kb", "latency", "200ms")
    inside("tc", "qdisc", "add", "dev", FAR, "root", "tbf", "rate", RATE, "burst", "16kb", "latency", "200ms")


def lossy(on):
    rule = ("-m", "statistic", "--mode", "random", "--probability", "0.1", "-j", "DROP")
    inside("iptables", "-A" if on else "-D", "INPUT", *rule)       # what goes down
    inside("iptables", "-A" if on else "-D", "OUTPUT", *rule)      # what goes up


try:
    make_line()
    WHY = None
except OSError as why:
    WHY = str(why)
atexit.register(undo)

cloud = harness.cloud(model="2nn", plan__data__devices=3, plan__train__max_samples=20)
edge = harness.edge(cloud, allow_insecure="true")
edge.endpoint = f"tcp://{NET}.1:{harness.free_port()}"
edge.settings["listen"] = f'["{edge.endpoint}"]'
fleet = harness.devices(edge, "dev", count=3, log__level="debug", allow_insecure="true")
fleet.wrapper = ["ip", "netns", "exec", NAME]


@case
def test_lossy_and_slow():
    """4 Mbit/s and one packet in ten lost each way: updates of 200 KB arrive"""
    if WHY:
        raise harness.Skip(WHY)
    harness.start_tree(cloud, edge, fleet)
    fleet.wait_count("accepted", 3, 60)
    lossy(True)
    fleet.wait_more("accepted", 6)


@case
def test_unplugged():
    """the line is unplugged for five seconds while packets are still lost, then it goes on"""
    if WHY:
        raise harness.Skip(WHY)
    ip("link", "set", NEAR, "down")
    time.sleep(5)
    ip("link", "set", NEAR, "up")
    fleet.wait_more("accepted", 3)
    lossy(False)
    fleet.wait_more("accepted", 3)
    check(not edge.logged(" error "), "the edge complained")
    ledgers.check_counted([(fleet, edge)], [(cloud, None), (edge, cloud)], 60)


sys.exit(harness.main(cloud, edge, fleet, chained=True))
