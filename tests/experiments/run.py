#!/usr/bin/python3
"""Runs experiments: the scenarios of configs/scenarios that say what to measure, each arm with each seed, by
`tributary simulate`; then reads the measures off the ledgers by `tributary compare` and prints a line for each:

    experiment: NAME value=V unit=U published=P bar=B met=yes|no|- seeds=N sd=S

Ledgers stay in run/experiments/SCENARIO/ARM/seedN, with charts and result.json in run/experiments/SCENARIO. A run that is
there, of the same scenario, is not run again, and one that was broken off goes on where it was. docs/experiments.md has the table and explains the measures.
"""
import argparse
import ast
import concurrent.futures
import datetime
import fnmatch
import functools
import hashlib
import json
import operator
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SCENARIOS = ROOT / "configs" / "scenarios"
# What may differ without another result: how it is named, measured and run.
NOT_THE_SCENARIO = ("name", "out", "threads", "seeds", "arms", "data", "experiment")

FETCHED = ("mnist", "fashion-mnist", "shakespeare", "beijing-air")


class Wrong(Exception):
    """Something is not as it should be; the text says what and where."""


class NotReached(Exception):
    """The accuracy that a measure asks for."""


# ---- scenarios ----

def read_dump(text):
    """What `tributary simulate --dump` prints: nested maps, values on one line."""
    tree, path = {}, []
    for line in text.splitlines():
        body = line.strip()
        if not body or body.startswith("#"):
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        key, _, value = body.partition(":")
        path[depth:] = [key]
        value = value.strip()
        if value:
            node = tree
            for part in path[:-1]:
                node = node.setdefault(part, {})
            node[key] = json.loads(value) if value[0] in "[\"" else value
    return tree


def leaves(tree, above=""):
    """Dotted keys and their values."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield above + key, value


@functools.cache
def defaults(program):
    """What every key is when nothing is said: of a result it matters only what differs from that, so that a key that a newer
    program knows makes no run another one."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as nothing:
        nothing.write("stop.events: 1\n")
        nothing.flush()
        done = subprocess.run([program, "simulate", nothing.name, "--dump"], capture_output=True, text=True, check=True)
    return dict(leaves(read_dump(done.stdout)))


class Measure:
    """NAME: EXPRESSION; unit U; published P; at least B"""

    def __init__(self, text):
        name, _, rest = text.partition(":")
        self.name = name.strip()
        parts = [part.strip() for part in rest.split(";")]
        self.expression, self.unit, self.published, self.bar, self.least = parts[0], "-", "-", None, True
        for part in parts[1:]:
            word, _, value = part.partition(" ")
            if word in ("unit", "published"):
                setattr(self, word, value.strip())
            elif part.startswith(("at least ", "at most ")):
                self.least, self.bar = part.startswith("at least"), float(part.split()[2])
            else:
                raise Wrong(f"measure {self.name}: found \"{part}\", expected unit U, published P, at least B or at most B")
        try:
            self.tree = ast.parse(self.expression, mode="eval").body
        except SyntaxError as error:
            raise Wrong(f"measure {self.name}: {self.expression}: {error.msg}") from None

    def met(self, value):
        """None where there is no bar; a value of None was not reached."""
        if self.bar is None:
            return None
        return value is not None and (value >= self.bar if self.least else value <= self.bar)

    def targets(self):
        """The accuracies that it asks for."""
        calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call) and node.func.id in Reading.COSTS]
        return {node.args[1].value for node in calls if len(node.args) == 2}


class Scenario:
    def __init__(self, options, path):
        self.options, self.path, self.name = options, path, path.stem
        self.tree = read_dump(self.dump())
        self.arms = [arm.partition(":")[0].strip() for arm in self.tree.get("arms", [])] or [""]
        experiment = self.tree.get("experiment", {})
        self.measures = [Measure(text) for text in experiment.get("measures", [])]
        self.short = experiment.get("short") == "true"
        self.seeds = options.seeds or [int(seed) for seed in self.tree.get("seeds", [])] or [1, 2, 3]

    def command(self, arm, *words):
        return [str(self.options.bin / "tributary"), "simulate", str(self.path), *(["--arm", arm] if arm else []),
                *sum((["--set", setting] for setting in self.options.set), []), *words]

    def dump(self, arm="", *words):
        done = subprocess.run(self.command(arm, "--dump", *words), capture_output=True, text=True, cwd=ROOT)
        if done.returncode != 0:
            raise Wrong(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no dump")
        return done.stdout

    def check_data(self):
        """The sample that comes with the project gives other figures, silently."""
        data = self.tree["plan"]["data"]["set"].partition("(")[0]
        places = [self.tree["data"].get("path"), os.environ.get("TRIBUTARY_DATA"), ROOT / "data" / "full"]
        if data in FETCHED and not any(place and (pathlib.Path(place) / data).is_dir() for place in places):
            raise Wrong(f"{data} is not here: `make data DATASET={data}` fetches it, or TRIBUTARY_DATA names its folder")

    def folder(self):
        return self.options.out / self.name

    def run_folder(self, arm, seed):
        return self.folder() / (arm or "run") / f"seed{seed}"

    def runs(self):
        return [Run(self, arm, seed) for arm in self.arms for seed in self.seeds]


class Run:
    """One arm with one seed."""

    def __init__(self, scenario, arm, seed):
        self.scenario, self.arm, self.seed = scenario, arm, seed
        self.folder = scenario.run_folder(arm, seed)
        self.marker = self.folder.with_suffix(".json")
        tree = read_dump(scenario.dump(arm, "--seed", str(seed)))
        usual = defaults(str(scenario.options.bin / "tributary"))
        said = {key: value for key, value in leaves(tree)
                if key.partition(".")[0] not in NOT_THE_SCENARIO and usual.get(key) != value}
        text = json.dumps([seed, said], sort_keys=True)
        self.hash = hashlib.sha256(text.encode()).hexdigest()

    def __str__(self):
        return " ".join(filter(None, [self.scenario.name, self.arm, f"seed {self.seed}"]))

    def done(self):
        try:
            return json.loads(self.marker.read_text())["scenario"] == self.hash and (self.folder / "ledger.db").exists()
        except (OSError, ValueError, KeyError):
            return False

    def simulate(self, running, *words):
        """Its status, what it printed, and the last line of what it said."""
        log = self.folder.with_suffix(".log")
        with open(log, "w") as errors:
            process = subprocess.Popen(
                self.scenario.command(self.arm, "--seed", str(self.seed), "--out", str(self.folder), "--threads",
                                      str(self.scenario.options.threads), "--json", *words),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT)
            running.add(process)
            try:
                out = process.communicate()[0]
            finally:
                running.discard(process)
        lines = log.read_text(errors="replace").strip().splitlines()
        return process.returncode, out, f"{lines[-1] if lines else f'status {process.returncode}'} (see {log})"

    def go(self, running):
        """Its summary. The marker is written last: what was broken off goes on, with what its folder has of it."""
        self.marker.unlink(missing_ok=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        broken_off = (self.folder / "trained.bin").exists() and not self.scenario.options.again
        status, out, said = self.simulate(running, *(["--resume"] if broken_off else []))
        if status != 0 and broken_off and "without --resume" in said:  # the scenario is another one now, or the program
            print(f"  {self} begins from the start: {said}", file=sys.stderr, flush=True)
            broken_off = False
            status, out, said = self.simulate(running)
        summary = json.loads(out) if out else {}
        if status != 0 and summary.get("reason") != "diverged":  # that is a result as well
            raise Wrong(f"{self}: {said}")
        self.marker.write_text(json.dumps({"scenario": self.hash, "summary": summary}) + "\n")
        return summary, broken_off


# ---- measures ----

class Reading:
    """What a measure's expression may ask of one seed's runs."""

    COSTS = ("seconds", "updates", "samples", "rounds", "up", "down", "broadcast", "wan_up", "wan_down")
    OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
    PLAIN = {"min": min, "max": max, "abs": abs}

    def __init__(self, runs):
        self.runs = runs  # arm -> a run of compare's JSON

    def value(self, node):
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        if isinstance(node, ast.Name):
            return node.id  # an arm
        if isinstance(node, ast.BinOp) and type(node.op) in self.OPERATORS:
            left, right = self.value(node.left), self.value(node.right)
            if isinstance(left, str) or isinstance(right, str):
                raise Wrong(f"{ast.unparse(node)}: an arm is no number; in a measure its name has _ and not -")
            return self.OPERATORS[type(node.op)](left, right)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self.value(node.operand)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            arguments = [self.value(argument) for argument in node.args]
            name = node.func.id
            if name in self.PLAIN:
                return self.PLAIN[name](*arguments)
            if name in self.COSTS:
                return self.cost(name, *arguments)
            if name in ("best", "final", "tail", "worst", "total"):
                return getattr(self, name)(*arguments)
        raise Wrong(f"{ast.unparse(node)}: not something that a measure may say")

    def run(self, arm):
        if arm not in self.runs:
            raise Wrong(f"there is no arm {arm}, but {', '.join(self.runs)}")
        return self.runs[arm]

    def cost(self, name, arm, accuracy):
        """What it took to reach the accuracy."""
        for point in self.run(arm)["to"]:
            if abs(point["accuracy"] - accuracy) < 1e-12 and point["reached"]:
                return cost_of(name, point)
        raise NotReached(f"{arm} did not reach {accuracy}")

    def best(self, arm):
        return self.run(arm)["best_accuracy"]

    def final(self, arm):
        return self.run(arm)["final_accuracy"]

    def tail(self, arm, count):
        """Mean of the last evaluations."""
        return statistics.mean(point["accuracy"] for point in self.run(arm)["points"][-int(count):])

    def worst(self, prefix, count):
        """The least tail of all arms whose names begin so."""
        arms = [arm for arm in self.runs if arm.startswith(prefix)]
        if not arms:
            raise Wrong(f"there is no arm that begins with {prefix}, but {', '.join(self.runs)}")
        return min(self.tail(arm, count) for arm in arms)

    def total(self, name, arm):
        """The cost of the whole run."""
        return cost_of(name, self.run(arm)["points"][-1])


def cost_of(name, point):
    """A device's link is the hop to its edge, or to the cloud where there are no edges."""
    edges = point["device_edge_up_bytes"] > 0
    return {
        "rounds": lambda: point["versions"],
        "up": lambda: point["device_edge_up_bytes" if edges else "cloud_up_bytes"],
        "down": lambda: point["device_edge_down_bytes" if edges else "cloud_down_bytes"],
        "broadcast": lambda: point["broadcast_bytes"],
        "wan_up": lambda: point["cloud_up_bytes"],
        "wan_down": lambda: point["cloud_down_bytes"],
    }.get(name, lambda: point[name])()


def compare(scenario):
    """compare's JSON; charts on the way."""
    targets = sorted(set().union(*(measure.targets() for measure in scenario.measures)))
    words = [f"{arm or 'run'}=" + ",".join(str(scenario.run_folder(arm, seed)) for seed in scenario.seeds)
             for arm in scenario.arms]
    done = subprocess.run([str(scenario.options.bin / "tributary"), "compare", *words, "--json", "--points", "--svg",
                           str(scenario.folder() / "charts"),
                           *(["--to", ",".join(map(repr, targets))] if targets else [])],
                          capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise Wrong(done.stderr.strip())
    return json.loads(done.stdout)


def number(value):
    return f"{value:.6g}"


def yes_or_no(met):
    return "-" if met is None else "yes" if met else "no"


def judge(scenario):
    """Prints a line for each measure; returns them as they go into result.json."""
    compared = compare(scenario)
    by_seed = {seed: {label["label"]: label["runs"][i] for label in compared["labels"]}
               for i, seed in enumerate(scenario.seeds)}
    results = []
    for measure in scenario.measures:
        values, missed = [], []
        for seed, runs in by_seed.items():
            try:
                values.append(Reading(runs).value(measure.tree))
            except NotReached as reason:
                missed.append(f"seed {seed}: {reason}")
        whole = bool(values) and not missed
        mean = statistics.mean(values) if whole else None
        met = measure.met(mean)
        result = {"name": measure.name, "expression": measure.expression, "value": mean,
                  "values": values, "missed": missed, "unit": measure.unit, "published": measure.published,
                  "bar": measure.bar, "least": measure.least, "met": met,
                  "sd": statistics.stdev(values) if len(values) > 1 else 0.0, "seeds": len(scenario.seeds)}
        results.append(result)
        print(f"experiment: {measure.name} value={number(mean) if whole else 'none'} unit={measure.unit} "
              f"published={measure.published} bar={'-' if measure.bar is None else number(measure.bar)} "
              f"met={yes_or_no(met)} seeds={len(scenario.seeds)} sd={number(result['sd'])}", flush=True)
        for reason in missed:
            print(f"  {measure.name}: {reason}", file=sys.stderr)
    return results


# ---- running ----

class Progress:
    """A line on stderr when a run ends, with how far all of it is."""

    def __init__(self, total):
        self.total, self.ended, self.began, self.lock = total, 0, time.monotonic(), threading.Lock()

    def say(self, run, summary, resumed):
        with self.lock:
            self.ended += 1
            spent = time.monotonic() - self.began
            left = spent / self.ended * (self.total - self.ended)
            print(f"  {self.ended} of {self.total}: {run}: {summary['reason']} at version {summary['version']}, best "
                  f"{summary.get('best_accuracy', float('nan')):.4f}, {summary['wall_s']:.0f} s"
                  f"{', resumed' if resumed else ''}; about {left / 60:.0f} min "
                  "left", file=sys.stderr, flush=True)


def run_all(runs, jobs):
    """Runs what is not there yet; what went wrong, by scenario."""
    todo = [run for run in runs if not run.done()]
    if len(todo) < len(runs):
        print(f"  {len(runs) - len(todo)} of {len(runs)} runs are there", file=sys.stderr)
    progress, running, failed = Progress(len(todo)), set(), {}

    def go(run):
        progress.say(run, *run.go(running))

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(go, run): run for run in todo}
        try:
            for future in concurrent.futures.as_completed(futures):
                error = future.exception()
                if isinstance(error, Wrong):
                    failed.setdefault(futures[future].scenario.name, []).append(str(error))
                    print(f"  {error}", file=sys.stderr, flush=True)
                elif error is not None:
                    raise error
        except BaseException:
            for future in futures:
                future.cancel()
            for process in list(running):
                process.send_signal(signal.SIGTERM)
            raise
    return failed


def choose(options):
    """The scenarios asked for, and those that cannot be read."""
    chosen, unread = [], []
    for path in sorted(options.scenarios.glob("*.yaml")):
        if options.only and not any(fnmatch.fnmatch(path.stem, pattern) for pattern in options.only):
            continue
        if "measures:" not in path.read_text():
            continue
        try:
            scenario = Scenario(options, path)
        except Wrong as error:
            unread.append(f"{path.stem}: {error}")
            continue
        if options.all or options.only or scenario.short:
            chosen.append(scenario)
    return chosen, unread


def seeds_of(text):
    """1..5 or 1,4,7"""
    match = re.fullmatch(r"(\d+)\.\.(\d+)", text)
    return list(range(int(match[1]), int(match[2]) + 1)) if match else [int(word) for word in text.split(",")]


def write_result(scenario, results):
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    result = {"scenario": scenario.name, "date": datetime.date.today().isoformat(), "commit": commit,
              "seeds": scenario.seeds, "set": scenario.options.set, "measures": results}
    (scenario.folder() / "result.json").write_text(json.dumps(result, indent=1) + "\n")


def table(options):
    """The results that are there, as rows of docs/experiments.md."""
    for path in sorted(options.out.glob("*/result.json")):
        result = json.loads(path.read_text())
        for m in result["measures"]:
            found = "not reached" if m["value"] is None else f"{m['value']:.4g} ± {m['sd']:.2g}"
            bar = "-" if m["bar"] is None else f"{'at least' if m['least'] else 'at most'} {number(m['bar'])}"
            met = yes_or_no(None if m["bar"] is None else m["met"])  # older ones say true there
            print(f"| {m['name']} | {m['published']} | {bar} | {found} {m['unit']} | {met} | "
                  f"`make experiments-all ONLY={result['scenario']}` | {result['date']} | {m['seeds']} seeds |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="the long ones too")
    parser.add_argument("--only", action="append", default=[], help="scenarios by name; * stands for anything")
    parser.add_argument("--seeds", type=seeds_of, help="1..5 or 1,4,7 instead of the scenario's own")
    parser.add_argument("--jobs", type=int, default=1, help="simulations at a time")
    parser.add_argument("--threads", type=int, help="threads of each (default: the processors, shared by the jobs)")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE for every run, as tributary simulate takes it")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "run" / "experiments")
    parser.add_argument("--bin", type=pathlib.Path, default=os.environ.get("TRIBUTARY_BIN", ROOT / "build/gcc/bin"))
    parser.add_argument("--scenarios", type=pathlib.Path, default=SCENARIOS, help="folder of the scenarios")
    parser.add_argument("--again", action="store_true", help="run what is there too")
    parser.add_argument("--read", action="store_true", help="run nothing: read the measures off what is there")
    parser.add_argument("--list", action="store_true", help="what there is, with its runs")
    parser.add_argument("--table", action="store_true", help="the results that are there, as Markdown")
    options = parser.parse_args()
    options.bin, options.out = pathlib.Path(options.bin).resolve(), options.out.resolve()
    options.only = [name for word in options.only for name in word.split(",")]
    options.threads = options.threads or max(1, (os.cpu_count() or 1) // options.jobs)
    if options.table:
        return table(options)
    chosen, unread = choose(options)
    for line in unread:
        print(f"cannot be read: {line}", file=sys.stderr)
    if not chosen and not unread:
        print("no scenario of that name measures anything", file=sys.stderr)
    wrong = bool(unread) or not chosen
    for scenario in chosen:
        runs = scenario.runs()
        if options.list:
            there = sum(run.done() for run in runs)
            print(f"{scenario.name}: {len(scenario.arms)} arms, seeds {scenario.seeds}, {there} of {len(runs)} runs are there"
                  f"{'' if scenario.short else ', long'}; measures {', '.join(m.name for m in scenario.measures)}")
            continue
        print(f"{scenario.name}: {len(scenario.arms)} arms, seeds {scenario.seeds}", file=sys.stderr, flush=True)
        if options.again:
            for run in runs:
                run.marker.unlink(missing_ok=True)
        try:
            if not options.read:
                scenario.check_data()
                if run_all(runs, options.jobs):
                    wrong = True
                    continue
            write_result(scenario, judge(scenario))
        except Wrong as error:
            wrong = True
            print(f"{scenario.name}: {error}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted; the runs that ended are kept, and the others go on where they are", file=sys.stderr)
        sys.exit(130)
