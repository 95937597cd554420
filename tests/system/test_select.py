#!/usr/bin/python3
# timeout: 150
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
    check(any(int(draw["chosen"]) >= 64 for draw in draws), "one event for many choices")
    same([len(draw["names"]) for draw in draws], [int(draw["chosen"]) for draw in draws], "names beside their number")
    told = collections.Counter(name for draw in draws for name in draw["names"])
    for node, updates in count_updates().items():  # who came back may have had a place that it left
        check(told[node] >= updates, f"{node} is told of {told[node]} times, {updates} updates of it are in versions")


# ---- the other policies, over devices at the cloud ----

class Flat:
    """A cloud and its devices, until so many updates are in versions; what its ledger says then."""

    def __init__(self, name, policy, updates, slow=0, **plan):
        settings = {"plan__cloud__rule": "fedavg", "plan__select__count": COHORT, "plan__data__devices": DEVICES, **STALLS, **plan}
        self.cloud = harness.cloud(name, plan__select__policy=policy, **settings)
        fleet = [harness.devices(self.cloud, f"{name}-d", count=DEVICES - slow)]
        if slow:
            fleet.append(harness.devices(self.cloud, f"{name}-slow", first=DEVICES - slow, count=slow, speed__delay=SLOW_MS))
        harness.start_tree(self.cloud, *fleet)
        wait(lambda: len(contributions(self.cloud)) >= updates, f"{updates} updates by {policy}")
        self.draws = cohorts(self.cloud)  # before devices leave: others take their places then
        harness.stop(*fleet, self.cloud)
        same({draw["policy"] for draw in self.draws}, {policy.split("(")[0]}, "the policy that is told of")

    def counts(self):
        return collections.Counter(node for node, _ in contributions(self.cloud))


SLOW_MS = 3000


def strangers_first(flat, policy):
    """Who has never been asked goes before all others, as long as there is somebody."""
    asked, met = set(), 0
    for draw in flat.draws:
        names, here = set(draw["names"]), int(draw["of"])
        check(len(names - asked) >= min(len(names), here - len(asked)), f"{policy} chose {names} after {asked}, of {here}")
        met += len(names - asked)
        asked |= names
    same(met, DEVICES, f"devices that {policy} ever asked")


@case
def the_fastest_by_fedcs():
    """fedcs: everybody is tried once; who was too slow then is not asked again"""
    flat = Flat("fedcs", "fedcs(deadline=2s)", 40, slow=1)
    strangers_first(flat, "fedcs")
    slow = f"fedcs-slow-{DEVICES - 1}"
    same(sum(slow in draw["names"] for draw in flat.draws), 1, "times that the slow one was asked")


@case
def the_worst_by_power_of_choice():
    """power_of_choice(d=8): of all devices those whose last loss was the highest"""
    flat = Flat("poc", f"power_of_choice(d={DEVICES})", 50)
    strangers_first(flat, "power_of_choice")
    told = flat.cloud.sql("SELECT base_version, node, loss FROM contributions ORDER BY contribution_id")
    compared = 0
    for draw in flat.draws:
        losses = {node: loss for base, node, loss in told if base < int(draw["version"])}
        names = set(draw["names"])
        if len(losses) < DEVICES or len(names) < COHORT:
            continue
        others = [loss for node, loss in losses.items() if node not in names]
        check(min(losses[name] for name in names) >= max(others), f"{names} were chosen, with losses {losses}")
        compared += 1
    check(compared >= 5, f"{compared} draws among devices that all had answered")


@case
def the_untried_by_oort():
    """oort(explore=1, decay=1): strangers have all places, and then who has the highest score"""
    flat = Flat("oort", "oort(explore=1, decay=1, least=1)", 40)
    strangers_first(flat, "oort")
    check(len(flat.draws) > 5, f"{len(flat.draws)} draws")


@case
def more_than_wanted_by_norm():
    """by_norm, select.over: twice as many are asked, the first answers make the round, the rest is refused"""
    flat = Flat("norm", "by_norm", 30, plan__select__over=2)
    full = [draw for draw in flat.draws if int(draw["of"]) == DEVICES]
    check(2 * COHORT in {int(draw["chosen"]) for draw in full}, f"draws: {flat.draws}")
    check(max(int(draw["chosen"]) for draw in full) == 2 * COHORT, f"draws: {flat.draws}")
    sizes = collections.Counter(version for _, version in contributions(flat.cloud))
    check(max(sizes.values()) == COHORT, f"answers in versions: {sizes}")
    check(flat.cloud.one("SELECT count(*) FROM contributions WHERE reason = 'round'") > 0, "nobody came too late")


@case
def the_largest_by_size_and_fairness():
    """by_size, select.fairness: who has most of the data is chosen more often than others, up to the limit"""
    fairness = 1.5
    flat = Flat("size", "by_size", 120, plan__cloud__rule="fedasync", plan__select__count=1, plan__select__fairness=fairness,
                plan__data__partition="quantity(2)")
    counts = flat.counts()
    sizes = dict(flat.cloud.sql("SELECT node, max(weight_samples) FROM contributions GROUP BY node"))
    largest, mean = max(sizes, key=sizes.get), counts.total() / DEVICES
    check(max(counts.values()) <= fairness * mean + 4, f"updates {counts}, with sizes {sizes}")
    check(counts[largest] > 1.2 * mean, f"updates {counts}, with sizes {sizes}")


sys.exit(harness.main())
