#!/usr/bin/python3
# timeout: 300
"""Experiments: arms of a small scenario are run with each seed, measured, kept, and not run again."""
import json
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree

import harness
from harness import SCRATCH, case, check, same

SCENARIO = """
fleet: {devices: 6, edges: 2, delay: half_normal(1)}
seeds: [1, 2]
evaluate.every: 2
arms:
  - "soon: plan.edge.rule=fedbuff(k=2)"
  - "late: plan.edge.rule=fedbuff(k=3, staleness=hinge(10, 4)); plan.train.lr=0.01"
experiment:
  short: true
  measures:
    - "gain: seconds(late, 0.3) / seconds(soon, 0.3); unit x; published 3.3; at least 0.001"
    - "accuracy: 100 * min(best(soon), tail(late, 2)); unit %; at least 100"
    - "never: up(soon, 0.999); unit B; at most 5"
    - "plain: final(soon); published 0.9"
plan:
  model: softmax
  data.set: glyphs
  stop.versions: 12
  train: {max_samples: 100, lr: 0.02}
"""
folder = SCRATCH / "scenarios"
folder.mkdir()
(folder / "small.yaml").write_text(SCENARIO)
out = SCRATCH / "out"


RUN = [harness.ROOT / "tests/experiments/run.py", "--bin", harness.BIN, "--scenarios", folder, "--out", out]


def experiments(*words, status=0):
    done = subprocess.run([*RUN, *words], capture_output=True, text=True)
    same(done.returncode, status, f"status of {words}: {done.stderr}")
    return done.stdout.splitlines(), done.stderr


def simulate(*words, status=0):
    found, said, err = harness.run("tributary", "simulate", *words)
    same(found, status, f"status of simulate {words}: {err}")
    return said if status == 0 else err


@case
def test_arms():
    """simulate --arm: what it sets is in force, --set stands above it; wrong ones are refused with what there is"""
    path = folder / "small.yaml"
    dump = simulate(path, "--arm", "late", "--dump")
    check('rule: "fedbuff(k=3, staleness=hinge(10, 4))"' in dump, "the rule of the arm")
    check(re.search(r"lr: 0\.01$", dump, re.M) and re.search(r"^name: small-late$", dump, re.M), dump[:300])
    check(re.search(r"lr: 0\.5$", simulate(path, "--set", "plan.train.lr=0.5", "--arm", "late", "--dump"), re.M), "--set is above")
    check('no arm "lat", but soon, late' in simulate(path, "--arm", "lat", "--dump", status=2), "an unknown arm")
    wrong = folder / "wrong"
    wrong.write_text(SCENARIO.replace("plan.train.lr=0.01", "plan.train.lrr=0.01"))
    check('arm late: ' in simulate(wrong, "--arm", "late", "--dump", status=2), "an arm with an unknown key")
    wrong.write_text(SCENARIO.replace("late: plan", "LATE plan"))
    check("expected \"NAME: KEY=VALUE" in simulate(wrong, "--dump", status=2), "an arm without a name")


@case
def test_lines():
    """a line for each measure, from the ledgers; what is not reached is said"""
    lines, said = experiments()
    same(len(lines), 4, f"lines of {lines}")
    check(re.fullmatch(r"experiment: gain value=[0-9.e+-]+ unit=x published=3.3 bar=0.001 met=yes seeds=2 sd=[0-9.e+-]+",
                       lines[0]), lines[0])
    found = json.loads((out / "small" / "result.json").read_text())["measures"]
    ledgers = [f"{arm}={out}/small/{arm}/seed1,{out}/small/{arm}/seed2" for arm in ("soon", "late")]
    status, text, _ = harness.run("tributary", "compare", *ledgers, "--to", "0.3", "--json", "--points")
    same(status, 0, "status of compare")
    soon, late = json.loads(text)["labels"]
    ratios = [late["runs"][i]["to"][0]["seconds"] / soon["runs"][i]["to"][0]["seconds"] for i in range(2)]
    check(abs(found[0]["value"] - sum(ratios) / 2) < 1e-9, f"{found[0]} is not the mean of {ratios}")
    tails = [sum(point["accuracy"] for point in run["points"][-2:]) / 2 for run in late["runs"]]
    worst = [100 * min(run["best_accuracy"], tail) for run, tail in zip(soon["runs"], tails)]
    check(abs(found[1]["value"] - sum(worst) / 2) < 1e-9, f"{found[1]} is not the mean of {worst}")
    check(" unit=% published=- bar=100 met=no seeds=2 " in lines[1], lines[1])
    same(lines[2], "experiment: never value=none unit=B published=- bar=5 met=no seeds=2 sd=0", "what is not reached")
    check(re.fullmatch(r"experiment: plain value=0\.\d+ unit=- published=0\.9 bar=- met=- seeds=2 sd=\S+", lines[3]), lines[3])
    check("soon did not reach 0.999" in said, said)
    check((out / "small" / "charts" / "accuracy-time.svg").exists(), "charts")


@case
def test_kept():
    """runs that are there are not run again; a changed scenario's are, and one that was broken off"""
    def ledgers():
        return {path: path.stat().st_mtime_ns for path in sorted(out.glob("small/*/seed*/ledger.db"))}
    before, lines = ledgers(), experiments()[0]
    same(len(before), 4, "ledgers")
    _, said = experiments()
    check("4 of 4 runs are there" in said, said)
    same(ledgers(), before, "the ledgers")
    (folder / "small.yaml").write_text(SCENARIO.replace("lr=0.01", "lr=0.015").replace("at least 100", "at least 99"))
    (out / "small" / "soon" / "seed2.json").unlink()
    _, said = experiments()
    check("1 of 4 runs are there" in said, said)
    after = ledgers()
    same([path.parts[-3] + path.parts[-2] for path in before if after[path] == before[path]], ["soonseed1"], "what is left")
    (folder / "small.yaml").write_text(SCENARIO)
    same(experiments()[0], lines, "the same seeds, the same lines")
    rows = experiments("--table")[0]
    same([row.split(" | ")[4] for row in rows], ["yes", "no", "no", "-"], "what is met, in rows for the documents")


def broken_off(*words):
    """Ctrl-C in the middle of the first run, when it has kept some of its updates."""
    kept = out / "small" / "soon" / "seed7" / "trained.bin"
    child = subprocess.Popen([*RUN, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    harness.wait(lambda: kept.exists() and kept.stat().st_size >= 200_000, "some updates are kept")
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=harness.limit())
    same(child.returncode, 130, f"status of Ctrl-C: {said}")
    check(kept.exists() and not kept.parent.with_suffix(".json").exists(), f"it was broken off: {said}")


@case
def test_broken_off():
    """a run that was broken off goes on where it was, to the same end; of another scenario it begins anew"""
    longer = ("--set", "plan.stop.versions=200", "--set", "plan.train.max_samples=10000", "--set", "plan.train.epochs=1000")
    words = ("--seeds", "7", *longer)
    broken_off(*words)
    _, said = experiments(*words)
    same(said.count("s, resumed;"), 1, f"what goes on where it was: {said}")
    whole = json.loads(simulate(folder / "small.yaml", "--arm", "soon", *longer, "--seed", "7", "--json", "--out",
                                SCRATCH / "whole"))
    found = json.loads((out / "small" / "soon" / "seed7.json").read_text())["summary"]
    same(found["digest"], whole["digest"], "digest")
    (out / "small" / "soon" / "seed7.json").unlink()
    broken_off(*words)
    _, said = experiments(*words, "--set", "plan.train.epochs=2")
    check("small soon seed 7 begins from the start" in said and "plan.train.epochs: 2" in said, said)
    same(said.count("resumed"), 0, f"what goes on where it was: {said}")


@case
def test_diverged():
    """a run that diverged is a result: it is measured as far as it came, and not run again"""
    words = ("--seeds", "8", "--set", "plan.train.lr=1000", "--set", "plan.train.mu=1000", "--set", "plan.train.batch=5")
    lines, said = experiments(*words)
    same(said.count(": diverged at version"), 2, f"runs that diverged: {said}")
    check("gain value=none" in lines[0] and re.search(r"^experiment: plain value=0[.\d]* ", lines[3]), lines)
    check("2 of 2 runs are there" in experiments(*words)[1], "they are there")


@case
def test_refusals():
    """a measure that says what it may not, an arm that is not there: the scenario is named, the status is 1"""
    (folder / "small.yaml").write_text(SCENARIO.replace("best(soon)", "best(sooon)"))
    check("there is no arm sooon" in experiments("--read", status=1)[1], "an unknown arm")
    (folder / "small.yaml").write_text(SCENARIO.replace("best(soon)", "open(soon)"))
    check("open(soon): not something" in experiments("--read", status=1)[1], "an unknown function")
    (folder / "small.yaml").write_text(SCENARIO.replace("best(soon)", "best(so-on)"))
    check("an arm is no number" in experiments("--read", status=1)[1], "a minus in an arm's name")
    (folder / "small.yaml").write_text(SCENARIO.replace("best(soon)", "worst(early, 1)"))
    check("no arm that begins with early" in experiments("--read", status=1)[1], "arms that there are none of")
    (folder / "small.yaml").write_text(SCENARIO.replace("; at least 100", "; least 100"))
    check("small: measure accuracy: found \"least 100\"" in experiments(status=1)[1], "a wrong bar")
    check("no scenario of that name" in experiments("--only", "nobody", status=1)[1], "an unknown name")


@case
def test_front():
    """front.py: a row and a point for each codec of the scenario; on the front is what no other beats in both"""
    arms = re.findall(r'- "(\w+): plan', (harness.ROOT / "configs/scenarios/codecs.yaml").read_text())
    cost = {arm: (4.0 / 1.5 ** i, 99 - 0.1 * i) for i, arm in enumerate(arms)}  # each smaller and worse than the one before,
    cost[arms[3]], cost[arms[4]] = (4.0, 98.9), (3.0, 90.0)  # but for two, which are beaten
    measures = [{"name": f"codecs-{arm}{what}", "value": value, "sd": 0.05} for arm, (size, accuracy) in cost.items()
                for what, value in (("", accuracy), ("-bytes", size), ("-loss", 99 - accuracy))]
    result, picture = SCRATCH / "result.json", SCRATCH / "front.svg"
    result.write_text(json.dumps({"seeds": [1, 2], "measures": measures}))
    done = subprocess.run([harness.ROOT / "tests/experiments/front.py", "--result", result, picture], capture_output=True, text=True)
    same(done.returncode, 0, f"its status ({done.stderr})")
    rows = done.stdout.splitlines()
    same((len(rows), sum(row.endswith("| yes |") for row in rows)), (len(arms), len(arms) - 2), "rows, and those on the front")
    drawn = xml.etree.ElementTree.parse(picture).getroot()
    circles = [element.get("class") for element in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    same((circles.count("on"), circles.count("off")), (len(arms) - 2, 2), "points")


def bench_front(rows, *words):
    return subprocess.run([harness.ROOT / "tests/experiments/front.py", "--bench", rows, *words], capture_output=True, text=True)


@case
def test_bench_front():
    """front.py --bench: of a benchmark's rows the front of bytes and error; what loses nothing may be on it; accuracy beside it"""
    rows, picture = SCRATCH / "rows.md", SCRATCH / "error.svg"
    rows.write_text("| codec | bytes a parameter | encode, ns | decode and add, ns | error |\n| --- | --- | --- | --- | --- |\n"
                    "| `f32` | 4.0000 | 0.11 | 0.08 | 0 |\n| `a` | 2.0000 | 9.00 | 9.00 | 1e-08 |\n| `b` | 2.0000 | 0.01 | 0.01 | 2e-08 |\n"
                    "| `c` | 1.0000 | 0.16 | 0.06 | 0.5 |\n| `d` | 1.5000 | 0.16 | 0.06 | 0.5 |\n| `e` | 0.0100 | 0.16 | 0.06 | 0.9 |\n"
                    "\n| `c` | 1.0107 | 98.75 ± 0.05 | 0.00 | yes |\n")
    done = bench_front(rows, picture)
    same(done.returncode, 0, f"its status ({done.stderr})")
    found = [[cell.strip() for cell in row.strip("| ").split("|")] for row in done.stdout.splitlines()[2:]]
    same([row[0].strip("` ") for row in found if row[-1] == "yes"], ["f32", "a", "c", "e"], "the front")
    check("| `c` | 1.0000 | 0.16 | 0.06 | 0.5 | 98.75 ± 0.05 | yes |" in done.stdout, done.stdout)
    circles = [element.get("class") for element in xml.etree.ElementTree.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}circle")]
    same((circles.count("on"), circles.count("off")), (4, 2), "points")
    rows.write_text("nothing\n")
    check(bench_front(rows).returncode != 0, "a file without rows")


@case
def test_documented_front():
    """docs/codecs.md has the front that its own numbers give, and so has its picture"""
    document, picture = harness.ROOT / "docs/codecs.md", SCRATCH / "error.svg"
    done = bench_front(document, picture)
    same(done.returncode, 0, f"its status ({done.stderr})")
    check(done.stdout.count("| yes |") > 10 and done.stdout in document.read_text(), done.stdout)
    same(picture.read_text(), (harness.ROOT / "docs/codecs-error.svg").read_text(), "docs/codecs-error.svg")


sys.exit(harness.main())
