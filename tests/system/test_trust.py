#!/usr/bin/python3
# timeout: 240
"""The gate `trust`: over real sockets its terms are in the ledger, also after the cloud was killed, and only who agrees tells its
labels; in the simulator attackers lose their weight by the held-out loss, and odd devices by their labels."""
import json
import sys

import harness
from harness import SAMPLE, SCRATCH, case, check, same, wait


@case
def test_live():
    """devices at the cloud: effects once a version was evaluated, divergences of those alone that agree, over kill -9"""
    cloud = harness.cloud("live-cloud", plan__cloud__rule="trust(threshold=0, labels=1) | fedbuff(k=2)",
                          plan__train__tell_labels="true", plan__data__partition="shards(2)", plan__train__max_samples=30)
    open_ = harness.devices(cloud, "open", count=3, device__tell_labels="true")
    silent = harness.devices(cloud, "silent", first=3, count=1)
    harness.start_tree(cloud, open_, silent)
    tellers = {"open-0", "open-1", "open-2"}

    def told(after):
        """Whose divergences are in the ledger after this contribution, with the largest of each."""
        return dict(cloud.sql("SELECT node, max(label_divergence) FROM contributions WHERE label_divergence IS NOT NULL "
                              "AND contribution_id > ? GROUP BY node", after))

    def wait_for_terms(after):
        effects = "SELECT DISTINCT node FROM contributions WHERE effect IS NOT NULL AND contribution_id > ?"
        wait(lambda: {node for node, in cloud.sql(effects, after)} >= tellers | {"silent-3"}, "everybody's updates have effects")
        wait(lambda: told(after).keys() >= tellers, "the three told their labels")

    wait_for_terms(after=0)
    cloud.kill()
    before = cloud.one("SELECT max(contribution_id) FROM contributions")
    same(told(after=0).keys(), tellers, "who told its labels")
    check(max(told(after=0).values()) > 0.1, f"devices of two classes each are unlike: {told(after=0)}")
    cloud.start()
    wait_for_terms(after=before)
    harness.stop(open_, silent, cloud)
    same(told(after=0).keys(), tellers, "who told its labels in all")
    check(all(-1 <= effect <= 1 for effect, in cloud.sql("SELECT effect FROM contributions WHERE effect IS NOT NULL")), "cosines")
    for words in (("verify", cloud.store), ("replay", cloud.store, "last")):
        status, out, err = harness.run("tributary", *words)
        same(status, 0, f"{words[0]}: {out}{err}")


def simulate(name, rule, **settings):
    """The ledger of 60 versions of 20 devices, of which the first four may attack."""
    path, out = SCRATCH / f"{name}.yaml", SCRATCH / name
    lines = {"data.path": SAMPLE, "fleet.devices": 20, "fleet.edges": 0, "fleet.delay": "half_normal(1)", "evaluate.every": 5,
             "plan.model": "softmax", "plan.train.max_samples": 300, "plan.train.lr": 0.02, "plan.publish.global_interval": 0,
             "plan.cloud.rule": f"{rule} | fedbuff(k=10, deadline=0)", "plan.stop.versions": 60,
             **{key.replace("__", "."): value for key, value in settings.items()}}
    path.write_text("".join(f"{key}: {json.dumps(str(value)) if isinstance(value, str) else value}\n"
                            for key, value in lines.items()))
    status, said, err = harness.run("tributary", "simulate", path, "--out", out)
    same(status, 0, f"{said}{err}")
    return out


def weights(out, first, count):
    """Mean weight, of 1, that these devices' updates and those of the others had; what is refused has none."""
    rows = harness.sql(out / "ledger.db", "SELECT CAST(substr(node, 8) AS INT), CASE verdict WHEN 'accepted' THEN "
                         "weight_applied / weight_samples ELSE 0 END FROM contributions WHERE contribution_id > 100")
    parts = ([], [])
    for device, weight in rows:
        parts[not first <= device < first + count].append(weight)
    return [sum(part) / len(part) for part in parts]


@case
def test_attackers_by_the_loss():
    """label flippers: with the loss term nearly no weight is left to them, the ledger says because of what"""
    attack = {"attack__kind": "label_flip", "attack__count": 4, "attack__who": "first", "plan__data__partition": "dirichlet(0.5)"}
    without = weights(simulate("flip-0", "trust(loss=0)", **attack), 0, 4)
    out = simulate("flip-1", "trust(loss=1)", **attack)
    bad, good = weights(out, 0, 4)
    check(bad < 0.4 * good, f"with the term: {bad} and {good}")
    check(bad < 0.6 * without[0] and good > 0.8 * without[1], f"{bad} and {good}, without the term {without}")
    same(harness.sql(out / "ledger.db", "SELECT count(*) FROM contributions WHERE reason = 'quarantine' AND "
                       "CAST(substr(node, 8) AS INT) >= 4"), [(0,)], "honest updates refused")
    status, text, err = harness.run("tributary", "history", out, "last", "--verdicts", "--json")
    same(status, 0, err)
    rows = [row for row in json.loads(text)["verdicts"] if row["reason"] == "quarantine"]
    check(rows and {row["node"] for row in rows} <= {f"device-{i}" for i in range(4)}, f"{rows}")
    check(all("loss" in row["because"] for row in rows), f"{rows}")


@case
def test_odd_labels():
    """two devices with classes that nobody else has: by their labels they weigh less, if they tell them"""
    fleet = {"plan__data__partition": "apart(devices=0.1, classes=2)", "plan__train__tell_labels": "true"}
    told = weights(simulate("odd-told", "trust(loss=0, labels=1)", fleet__tell_labels="true", **fleet), 18, 2)
    silent = weights(simulate("odd-silent", "trust(loss=0, labels=1)", **fleet), 18, 2)
    check(told[0] < 0.6 * silent[0] and told[1] > 0.8 * silent[1], f"told {told}, not told {silent}")


sys.exit(harness.main())
