#!/usr/bin/python3
# timeout: 90
"""`tributary compare` on the ledgers of short real runs: what it says is computed again here, in Python, from the tables."""
import csv
import io
import json
import math
import statistics
import sys
import xml.etree.ElementTree as xml

import harness
from harness import SCRATCH, case, check, same

VERSIONS = 8
SEEDS = 2
COSTS = ("seconds", "updates", "samples", "versions", "contributions", "device_edge_up_bytes", "device_edge_down_bytes",
         "cloud_up_bytes", "cloud_down_bytes", "broadcast_bytes")
RULES = {"soon": {"plan.edge.rule": "fedbuff(k=2)"}, "late": {"plan.edge.rule": "fedbuff(k=4)"}}
clouds = {}


def run(label, seed):
    """Two edges of two devices each, to the last version; the cloud, stopped."""
    cloud = harness.cloud(f"{label}-{seed}", evaluation__interval=0, run__label=label, plan__seed=seed,
                          plan__stop__versions=VERSIONS)
    cloud.settings.update(RULES[label])
    edges = [harness.edge(cloud, f"{label}-{seed}-e{i}") for i in range(2)]
    fleets = [harness.devices(edge, f"{label}-{seed}-d{i}", first=2 * i, count=2, speed__delay=0)
              for i, edge in enumerate(edges)]
    harness.start_tree(cloud, *edges, *fleets)
    cloud.wait_log(" run_finished ")
    cloud.wait_log(f" evaluated version={VERSIONS} ")
    harness.stop(*fleets, *edges, cloud)
    return cloud


def compare(*words, status=0):
    found, out, err = harness.run("tributary", "compare", *words)
    same(found, status, f"status of compare {words} ({err})")
    return out if status == 0 else err


def points(cloud):
    """(accuracy, costs) of each evaluated version, from the tables alone."""
    [(run_id, begun)] = cloud.sql("SELECT run_id, started_ms FROM runs")
    edges = {node for node, in cloud.sql("SELECT DISTINCT node FROM nodes WHERE kind = 'edge'")}
    increments = dict(cloud.sql("SELECT version, coalesce(increment_bytes, 0) FROM versions"))
    rows = cloud.sql("SELECT node, below_updates, samples, below_up_bytes, below_down_bytes, wire_bytes, base_version, "
                     "verdict FROM contributions ORDER BY contribution_id")
    found = []
    for version, made, verdicts in cloud.sql("SELECT version, made_ms, coalesce(verdicts, 0) FROM versions ORDER BY version"):
        marks = cloud.sql("SELECT accuracy FROM evaluations WHERE version = ?", version)
        if not marks:
            continue
        until = rows[:verdicts]
        updates = [row[1] if row[0] in edges else 1 for row in until]
        commits = cloud.one("SELECT count(*) FROM versions WHERE made_by = 'commit' AND version <= ?", version)
        down = cloud.one("SELECT sum(coalesce(down_bytes, 0)) FROM versions WHERE version <= ?", version)
        costs = ((made - begun) / 1000, sum(updates), sum(row[2] for row in until if row[7] == "accepted"), commits, verdicts,
                 sum(row[3] for row in until), sum(row[4] for row in until), sum(row[5] for row in until), down,
                 sum(n * increments.get(row[6], 0) for n, row in zip(updates, until)))
        found.append((marks[0][0], dict(zip(COSTS, costs))))
    return found


def reach(found, target):
    """On the best accuracy so far, with straight lines; None: never."""
    best = None
    for i, (accuracy, costs) in enumerate(found):
        if accuracy >= target:
            before = found[i - 1][1] if i else dict.fromkeys(COSTS, 0)
            part = (target - best) / (accuracy - best) if i else 1
            return {name: before[name] + part * (costs[name] - before[name]) for name in COSTS}
        best = accuracy if best is None else max(best, accuracy)
    return None


def near(found, expected, what):
    check(math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-6), f"{what} is {found}, expected {expected}")


def middle():
    """An accuracy that every run passes on its way: not at its first evaluation, and before its best."""
    curves = [points(cloud) for cloud in clouds.values()]
    low = max(curve[0][0] for curve in curves)
    high = min(max(accuracy for accuracy, _ in curve) for curve in curves)
    check(low < high, f"the runs learn: {low} at first, {high} at best")
    return round((low + high) / 2, 4)


@case
def test_runs():
    """two settings, two seeds each, over real sockets"""
    for label in RULES:
        for seed in range(1, SEEDS + 1):
            clouds[label, seed] = run(label, seed)


@case
def test_numbers():
    """costs to an accuracy, their mean, deviation and ratio, from the ledgers by label; the same as computed here"""
    target = middle()
    said = json.loads(compare(*(cloud.store for cloud in clouds.values()), "--to", f"{target},1", "--json", "--points"))
    same([label["label"] for label in said["labels"]], list(RULES), "labels")
    first = None
    for label in said["labels"]:
        mine = [clouds[label["label"], seed] for seed in range(1, SEEDS + 1)]
        curves = [points(cloud) for cloud in mine]
        same([run["ledger"] for run in label["runs"]], [str(cloud.database) for cloud in mine], "ledgers")
        for run, curve in zip(label["runs"], curves):
            same(len(run["points"]), len(curve), "evaluations")
            for point, (accuracy, costs) in zip(run["points"], curve):
                near(point["accuracy"], accuracy, "accuracy")
                for name in COSTS:
                    near(point[name], costs[name], f"{name} of {label['label']}")
        near(label["best_accuracy"]["mean"], statistics.mean(max(a for a, _ in curve) for curve in curves), "best accuracy")
        near(label["final_accuracy"]["mean"], statistics.mean(curve[-1][0] for curve in curves), "final accuracy")
        reached = [reach(curve, target) for curve in curves]
        same(label["to"][0]["reached"], SEEDS, "runs that got there")
        first = first or reached
        for name in COSTS:
            values = [costs[name] for costs in reached]
            near(label["to"][0][name]["mean"], statistics.mean(values), f"mean {name}")
            near(label["to"][0][name]["sd"], statistics.stdev(values), f"deviation of {name}")
            if statistics.mean(costs[name] for costs in first) > 0:
                near(label["to"][0][name]["ratio"],
                     statistics.mean(values) / statistics.mean(costs[name] for costs in first), f"ratio of {name}")
        same((label["to"][1]["reached"], label["to"][1]["seconds"]), (0, None), "100% is not reached")


@case
def test_forms():
    """a table for people and CSV say the same; labels and seeds as words, a folder of runs as one label"""
    target = middle()
    words = [f"{label}={','.join(str(clouds[label, seed].store) for seed in range(1, SEEDS + 1))}" for label in RULES]
    said = json.loads(compare(*words, "--to", target, "--json"))
    rows = list(csv.DictReader(io.StringIO(compare(*words, "--to", target, "--csv"))))
    same(len(rows), len(RULES) * (2 + len(COSTS)), "rows of CSV")
    for row in rows:
        label = next(label for label in said["labels"] if label["label"] == row["label"])
        part = label["to"][0] if row["to_accuracy"] else label
        near(float(row["mean"]), part[row["quantity"]]["mean"], f"{row['quantity']} in CSV")
        same((row["runs"], row["reached"]), ("2", "2"), "runs and those that got there")
    lines = compare(*words, "--to", target).splitlines()
    same(lines[0].split(), ["soon", "late"], "heads")
    check(any(line.startswith(f"to {100 * target:g}%") and line.count("2 of 2") == 2 for line in lines), lines)
    same([line.split()[0:2] for line in lines[1:3]], [["best", "accuracy"], ["final", "accuracy"]], "the first rows")
    whole = json.loads(compare(f"all={SCRATCH}", "--json"))
    same([(label["label"], len(label["runs"])) for label in whole["labels"]], [("all", 4)], "runs in a folder")
    named = json.loads(compare(f"{clouds['soon', 1].store}@all", "--json"))
    same([label["label"] for label in named["labels"]], ["soon"], "the run's own label")


@case
def test_charts():
    """SVG files: well-formed, a line and a band for each label, the labels in the legend"""
    folder = SCRATCH / "charts"
    said = compare(f"a<b&c={clouds['soon', 1].store},{clouds['soon', 2].store}", f"late={clouds['late', 1].store}",
                   "--to", middle(), "--svg", folder)
    files = sorted(folder.iterdir())
    same([file.name for file in files],
         ["accuracy-cloud-down.svg", "accuracy-cloud-up.svg", "accuracy-device-edge-down.svg",
          "accuracy-device-edge-up.svg", "accuracy-time.svg", "accuracy-updates.svg", "staleness.svg"], "charts")
    for file in files:
        check(str(file) in said, f"{file} is not named")
        root = xml.parse(file).getroot()
        texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
        check("a<b&c" in texts and "late" in texts, f"{file.name}: the legend is not in {texts}")
        paths = [node.get("class") for node in root.iter("{http://www.w3.org/2000/svg}path")]
        lines = [name for name in paths if name.startswith("line")]
        bands = [name for name in paths if name.startswith("band")]
        same((len(lines), len(bands)), (0, 0) if file.name == "staleness.svg" else (2, 1), f"lines and bands of {file.name}")
        check("NaN" not in file.read_text() and "inf" not in file.read_text(), f"{file.name} has no numbers in it")


@case
def test_refusals():
    """what is wrong is said: no ledger, no such run, no accuracy, unknown options"""
    empty = SCRATCH / "empty"
    empty.mkdir()
    check("has no ledger.db in it" in compare(empty, status=1), "an empty folder")
    check("no run begins with" in compare(f"{clouds['soon', 1].store}@zz", status=1), "an unknown run")
    check("expected accuracies" in compare(empty, "--to", "97", status=2), "97 is no accuracy")
    check("which runs?" in compare("--json", status=2), "no runs")
    check("unknown option --jsn" in compare(empty, "--jsn", status=2), "an unknown option")
    check("--svg needs a value" in compare(empty, "--svg", status=2), "a value is missing")


sys.exit(harness.main())
