#!/usr/bin/python3
# timeout: 90
"""Few devices train at a time, over real sockets: rounds of a cohort, a cap on those at work, and who is not fit."""
import collections
import re
import sys

import harness
from harness import case, check, same, wait

DEVICES = 8
COHORT = 3
STALLS = {"plan__heartbeat": "3s"}  # nobody is taken for gone because the machine has no time for it


def cohorts(node):
    """The draws that a node's ledger tells of: version, chosen, of, names."""
    rows = node.sql("SELECT detail FROM events WHERE event = 'cohort' ORDER BY event_id")
    found = []
    for (detail,) in rows:
        words = dict(word.split("=", 1) for word in detail.split())
        words["names"] = words.get("names", "").split(",")
        found.append(words)
    return found


def contributions(node):
    """Accepted updates of a node's children: node and version."""
    return node.sql("SELECT node, version FROM contributions WHERE verdict = 'accepted' AND version IS NOT NULL")


def all_are_here(edge, count):
    """Its version when so many devices are. A round that was drawn before may have fewer answers: it is not waited for."""
    edge.wait_health(lambda line: line["active"] == count, "all devices are here")
    return edge.one("SELECT coalesce(max(version), -1) FROM versions")


def rounds_behind(edge, version):
    """The versions that rounds made, but for the first two behind this one: these were drawn before, or are just being."""
    return sorted({made for _, made in contributions(edge) if made > version})[2:]


@case
def rounds_of_a_cohort():
    """rounds of a cohort, also over a killed edge"""
    cloud = harness.cloud("rounds-cloud", plan__edge__rule="fedavg", plan__cloud__rule="fedavg(deadline=20s)",
                          plan__forward__hold="true", plan__select__count=COHORT, **STALLS)
    edge = harness.edge(cloud, "rounds-edge")
    fleet = harness.devices(edge, "rounds-device", count=DEVICES)
    harness.start_tree(cloud, edge, fleet)
    begun = all_are_here(edge, DEVICES)
    wait(lambda: len(rounds_behind(edge, begun)) >= 3, "rounds go on")
    edge.kill()
    whole = rounds_behind(edge, begun)
    edge.start()  # the round that it was in goes on
    back = all_are_here(edge, DEVICES)
    wait(lambda: len(rounds_behind(edge, back)) >= 5, "rounds go on")
    harness.stop(fleet, edge, cloud)
    whole += rounds_behind(edge, back)

    rounds = collections.defaultdict(set)
    for node, version in contributions(edge):
        check(node not in rounds[version], f"{node} answered version {version} twice")
        rounds[version].add(node)
    for version in whole:
        same(len(rounds[version]), COHORT, f"the number of answers in version {version}")
    check(len(set.union(*rounds.values())) > COHORT, "others have their turn")

    drawn = cohorts(edge)
    check(len(drawn) >= len(rounds), f"{len(drawn)} draws are told of, {len(rounds)} rounds")
    for draw in drawn:
        same(draw["policy"], "random", "the policy")
        same(len(draw["names"]), int(draw["chosen"]), "names beside their number")
        check(int(draw["chosen"]) <= COHORT, f"{draw}")
    status, out, _ = harness.run("tributary", "history", edge.store, "last", "--events")
    same(status, 0, "exit status of history")
    check(re.search(r"cohort.*policy=random version=\d+ chosen=3 of=8 names=rounds-device-", out), "history shows them")


@case
def who_is_not_fit_is_left_out():
    """who reports too little battery is left out; a rare class has its place"""
    cloud = harness.cloud("fit-cloud", plan__cloud__rule="fedbuff(k=1)", plan__select__count=2,
                          plan__select__policy="stratified(shares=equal)", plan__select__min_battery=50, **STALLS)
    battery = harness.SCRATCH / "fit-battery"
    battery.write_text("20\n")
    gateways = harness.devices(cloud, "gateway", count=1, device__class="gateway", device__battery=100)
    phones = harness.devices(cloud, "phone", first=1, count=5, device__class="phone", device__battery=90)
    tired = harness.devices(cloud, "tired", first=6, count=1, device__class="phone",
                            device__battery=f"file:{battery}")
    harness.start_tree(cloud, gateways, phones, tired)
    cloud.wait_health(lambda line: line["active"] == 7, "all are here, the tired one too: it could be chosen")

    def count_updates():
        return collections.Counter(node for node, _ in contributions(cloud))

    def has_its_place():  # the one gateway gives twice as many as a phone: it is always chosen once it asks
        count = count_updates()
        return count.total() >= 60 and len(count) == 6 and count["gateway-0"] > 1.4 * (count.total() - count["gateway-0"]) / 5
    wait(has_its_place, "60 updates of six devices are in versions, and the gateway has a place of its own")
    same(count_updates()["tired-6"], 0, "updates of a device with an empty battery")
    tired.stop()
    battery.write_text("80\n")
    tired.start()
    wait(lambda: any(node == "tired-6" for node, _ in contributions(cloud)), "it is charged, and trains")
    wait(lambda: cohorts(cloud), "enough choices for an event")
    harness.stop(gateways, phones, tired, cloud)
    draws = cohorts(cloud)
    check(draws and draws[0]["policy"] == "stratified", f"{draws}")
    check(int(draws[0]["chosen"]) >= 64, "one event for many choices")


sys.exit(harness.main())
