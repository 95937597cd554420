#!/usr/bin/python3
# timeout: 90
"""Keys of the configs do what their help says: what they change is read from the ledgers of short real runs."""
import concurrent.futures
import itertools
import sys

import harness
from harness import case, check, same, wait

counter = itertools.count()
pool = concurrent.futures.ThreadPoolExecutor(2)
DATA = 10000  # training images of the sample
DEVICES = 10  # plan.data.devices


class Tree:
    """A cloud, an edge, a process of devices. Keys with __ for dots; plan is the cloud's."""

    def __init__(self, cloud=None, edge=None, device=None, count=1, **plan):
        number = next(counter)
        settings = {f"plan__{key}": value for key, value in plan.items()}
        self.cloud = harness.cloud(f"o{number}-c", **{"plan__data__devices": DEVICES, "plan__data__partition": "iid",
                                                      **settings, **(cloud or {})})
        self.edge = harness.edge(self.cloud, f"o{number}-e", **(edge or {}))
        self.fleet = harness.devices(self.edge, f"o{number}-d", count=count, **{"speed__delay": 0, **(device or {})})

    def run(self, until, what):
        """Until until(tree) is true."""
        harness.start_tree(self.cloud, self.edge, self.fleet)
        self.fleet.wait_log(" uplink_ready ")
        wait(lambda: until(self), what)
        return self.stop()

    def stop(self):
        harness.stop(self.fleet, self.edge, self.cloud)
        return self


def updates_at_edge(count):
    return lambda tree: tree.edge.one("SELECT count(*) FROM contributions") >= count


def versions(count):
    return lambda tree: tree.cloud.one("SELECT count(*) FROM versions WHERE made_by = 'commit'") >= count


def in_pairs(trees):
    """Runs (tree, until) two at a time."""
    for run in [pool.submit(tree.run, until, "it gets so far") for tree, until in trees]:
        run.result()


# ---- training ----

COLUMNS = "samples, steps, weight_samples, update_norm, loss"


def first_update(tree):
    rows = tree.edge.sql(f"SELECT {COLUMNS} FROM contributions WHERE sequence = 1")
    return dict(zip(COLUMNS.split(", "), rows[0]))


@case
def test_training():
    """plan.train.*, plan.data.*, plan.seed: each changes a device's first update as it should; the same plan gives the same"""
    plain = {"train__max_samples": 300, "train__batch": 20}
    plans = {
        "plain": {}, "again": {},
        "epochs": {"train__epochs": 2, "train__max_samples": 0},
        "batch": {"train__batch": 50},
        "lr": {"train__lr": 0.002},
        "momentum": {"train__momentum": 0.9},
        "weight_decay": {"train__weight_decay": 0.9},
        "clip": {"train__clip": 0.001},
        "augment": {"data__augment": "true"},
        "seed": {"seed": 2},
        "devices": {"data__devices": 40},
        "partition": {"data__partition": "quantity(0.3)"},
    }
    trees = {name: Tree(**{**plain, **plan}) for name, plan in plans.items()}
    in_pairs((tree, updates_at_edge(1)) for tree in trees.values())
    first = {name: first_update(tree) for name, tree in trees.items()}
    base = first["plain"]
    same(first["again"], base, "the first update of the same plan")
    same((base["samples"], base["steps"], base["weight_samples"]), (300, 15, DATA // DEVICES), "samples, steps, weight")
    same((first["epochs"]["samples"], first["epochs"]["steps"]), (2 * DATA // DEVICES, 100), "samples and steps of 2 epochs")
    same((first["batch"]["samples"], first["batch"]["steps"]), (300, 6), "samples and steps of batch 50")
    same(first["devices"]["weight_samples"], DATA // 40, "a fortieth of the data")
    check(first["partition"]["weight_samples"] != DATA // DEVICES, "quantity(0.3) gives an equal share")
    for name in plans.keys() - {"plain", "again"}:
        check(first[name]["update_norm"] != base["update_norm"], f"{name} changes nothing: {first[name]}")
    check(first["lr"]["update_norm"] < base["update_norm"] / 4, "a tenth of lr gives an update of much the same size")
    check(first["momentum"]["update_norm"] > base["update_norm"], "momentum 0.9 gives a smaller update")
    limit = 0.02 * 0.001 * 15  # lr x clip x steps, and what int8 adds
    check(first["clip"]["update_norm"] <= limit * 1.05, f"clipped, its norm is {first['clip']['update_norm']}")


@case
def test_lr_decay():
    """plan.train.lr_decay goes by the version that is trained on, also for a device that comes late"""
    # f32: what another codec left over of an earlier version's larger update would be in a later one's.
    tree = Tree(train__lr_decay=0.5, train__max_samples=100, codec__up="f32")
    harness.start_tree(tree.cloud, tree.edge, tree.fleet)
    late = harness.devices(tree.edge, "late", first=5, speed__delay=0)
    wait(lambda: tree.edge.one("SELECT coalesce(max(base_version), 0) FROM contributions") > 12, "a version above 12")
    late.start()
    wait(lambda: tree.edge.one("SELECT count(*) FROM contributions WHERE node = 'late-5'"), "the late one's first update")
    late.stop()
    tree.stop()
    norms = tree.edge.sql("SELECT base_version, update_norm FROM contributions ORDER BY contribution_id")
    begin = norms[0][1] * 2 ** norms[0][0]  # as it would be at version 0
    for version, norm in norms:
        check(norm < 10 * begin * 0.5 ** version + 1e-12, f"at version {version} an update's norm is {norm}, first {norms[0]}")


# ---- tiers ----

@case
def test_publishing():
    """plan.publish.interval and global_interval: the times between publications"""
    tree = Tree(publish__interval="150ms", publish__global_interval="250ms", count=2)

    def enough(one):
        return all(node.one("SELECT count(*) FROM versions WHERE published") >= 6 for node in (one.cloud, one.edge))
    tree.run(enough, "six publications at both")
    for node, interval_ms in ((tree.edge, 150), (tree.cloud, 250)):
        times = [ms for ms, in node.sql("SELECT published_ms FROM versions WHERE published ORDER BY version")]
        gaps = [after - before for before, after in zip(times, times[1:])]
        check(min(gaps) >= interval_ms, f"{node.name} published after {gaps} ms")


@case
def test_forwarding():
    """plan.forward.updates and forward.interval: when an edge forwards"""
    by_updates = Tree(edge__rule="fedbuff(k=1)", forward__updates=5)
    by_time = Tree(edge__rule="fedbuff(k=1)", forward__updates=100000, forward__interval="200ms")
    in_pairs([(by_updates, versions(4)), (by_time, versions(3))])
    below = by_updates.cloud.sql("SELECT below_updates FROM contributions")
    check(min(below)[0] >= 5, f"updates in forwards of 5 or more: {below}")
    made = [ms for ms, in by_time.edge.sql("SELECT made_ms FROM forwards ORDER BY sequence")]
    gaps = [after - before for before, after in zip(made, made[1:])]
    check(min(gaps) >= 200, f"forwards after {gaps} ms")


@case
def test_staleness_cap():
    """plan.staleness_cap: staler updates are refused, and nothing else"""
    tree = Tree(staleness_cap=1, edge__rule="fedbuff(k=1)", publish__interval="300ms", count=4)
    tree.run(lambda one: one.edge.one("SELECT count(*) FROM contributions WHERE verdict = 'refused'") >= 3, "3 refusals")
    same(tree.edge.one("SELECT max(staleness) FROM contributions WHERE verdict = 'accepted'"), 1, "the largest accepted")
    refused = tree.edge.sql("SELECT DISTINCT reason, staleness > 1 FROM contributions WHERE verdict = 'refused'")
    same(refused, [("stale", 1)], "reasons of refusals, and whether they were staler than the cap")


@case
def test_stop():
    """plan.stop.accuracy and stop.time; evaluation.max_samples"""
    accurate = Tree(stop__accuracy=0.4, train__lr=0.05, cloud={"evaluation__interval": 0, "evaluation__max_samples": 150})
    timed = Tree(stop__time="1500ms")

    def ended(tree):
        return tree.cloud.one("SELECT state FROM runs") == "stopped"
    accurate.run(ended, "it gets so far")
    timed.cloud.start()  # alone: it does not wait for anybody
    same(timed.cloud.wait_exit(), 0, "exit status of the timed cloud")
    same(accurate.cloud.sql("SELECT stop_reason, best_accuracy >= 0.4 FROM run_summary"), [("accuracy", 1)], "the accurate run")
    same(accurate.cloud.sql("SELECT DISTINCT samples FROM evaluations"), [(150,)], "samples of evaluations")
    reason, seconds = timed.cloud.sql("SELECT stop_reason, seconds FROM run_summary")[0]
    # Held up, it stops later; a time-out of ten times as long would be 15 s.
    check(reason == "time" and 1.5 <= seconds < harness.limit(14), f"it stopped by {reason} after {seconds} s")


# ---- nodes ----

@case
def test_ring():
    """limits.ring: increments that are kept, beyond them snapshots"""
    wide = {"train__max_samples": 10}
    kept = Tree(cloud={"plan__model": "2nn"}, **wide)
    dropped = Tree(cloud={"plan__model": "2nn", "limits__ring": "64KiB"}, **wide)

    def models(count):
        return lambda tree: tree.edge.one("SELECT count(*) FROM parent_models") >= count
    in_pairs([(kept, models(4)), (dropped, models(4))])
    kinds = [[kind for kind, in tree.edge.sql("SELECT kind FROM parent_models ORDER BY model_id")] for tree in (kept, dropped)]
    check("increments" in kinds[0] and kinds[0][0] == "seed", f"with a large ring the edge got {kinds[0]}")
    check("increments" not in kinds[1] and "snapshot" in kinds[1], f"with a small ring the edge got {kinds[1]}")


@case
def test_limits():
    """limits.peers and limits.parameters: who and what is turned away"""
    tree = Tree(edge={"limits__peers": 2}, count=3)

    def devices():
        return tree.edge.one("SELECT count(DISTINCT node) FROM contributions")
    tree.run(lambda one: updates_at_edge(12)(one) and devices() == 2 and one.fleet.logged(" parent_error .*code=busy"),
             "updates of two devices, and an answer to the third")
    same(devices(), 2, "devices that an edge of two takes")
    small = Tree(edge={"limits__parameters": 7849})
    small.cloud.start()
    small.edge.start()
    small.edge.wait_log("7850")
    check(not small.edge.health()["commits"], "it took part")
    harness.stop(small.edge, small.cloud)


@case
def test_batches():
    """store.durability batched, with store.batch: an update is acknowledged when a batch is full of time"""
    batched = Tree(edge={"store__durability": "batched", "store__batch": "200ms"}, count=3)
    batched.run(updates_at_edge(12), "updates")
    times = sorted(ms for ms, in batched.edge.sql("SELECT judged_ms FROM contributions"))
    span = times[-1] - times[0]
    # Each device's next update needs the ACK of the one before, and the batches behind the first take their full time.
    check(span >= 390, f"twelve updates of three devices took {span} ms, with batches of 200 ms")


@case
def test_speed():
    """speed.factor and speed.delay: the time that a device's update takes; devices.first and devices.count"""
    tree = Tree(device={"speed__delay": "100", "speed__factor": "[1, 3]", "devices__first": 4}, count=2)
    each = "SELECT count(*) FROM contributions WHERE node LIKE ?"
    tree.run(lambda one: min(one.edge.one(each, "%-4"), one.edge.one(each, "%-5")) >= 3, "updates of both")
    for node, least_ms in ((f"{tree.fleet.name}-4", 100), (f"{tree.fleet.name}-5", 300)):
        times = [ms for ms, in tree.edge.sql("SELECT judged_ms FROM contributions WHERE node = ? ORDER BY sequence", node)]
        gaps = [after - before for before, after in zip(times, times[1:])]
        check(gaps and min(gaps) >= least_ms - 1, f"{node}'s updates came after {gaps} ms")
    same(tree.edge.one("SELECT count(DISTINCT node) FROM contributions"), 2, "devices")


sys.exit(harness.main())
