#!/usr/bin/python3
# timeout: 300
"""`tributary simulate`: scenarios that are wrong say where, a result is an ordinary ledger, the same seed gives the same
digest, Ctrl-C ends it in order, --resume goes on from there."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import harness
from harness import BIN, SAMPLE, SCRATCH, case, check, same

TEXT = f"""
data.path: {SAMPLE}
fleet: {{devices: 6, edges: 2, speed: "uniform(1, 3)", delay: "lognormal(0, 0.5)"}}
plan:
  model: softmax
  train: {{max_samples: 60}}
  stop.versions: 20
"""


def scenario(name, text=TEXT):
    path = SCRATCH / f"{name}.yaml"
    path.write_text(text)
    return path


def simulate(*words, status=0, timeout_s=harness.DEADLINE_S):
    found, out, err = harness.run("tributary", "simulate", *words, timeout_s=timeout_s)
    same(found, status, f"status ({out}{err})")
    return out, err


@case
def test_wrong():
    """a wrong scenario is refused with its file, its line and what is near"""
    path = scenario("wrong", TEXT + "fleet.sped: 3\n")
    _, err = simulate(path, status=2)
    check(f"{path}:8: unknown key" in err and "fleet.speed" in err, err)
    path = scenario("endless", TEXT.replace("  stop.versions: 20\n", ""))
    _, err = simulate(path, status=2)
    check(str(path) in err and "never end" in err, err)
    _, err = simulate(SCRATCH / "none.yaml", status=2)
    check("none.yaml" in err, err)
    _, err = simulate(scenario("fine"), "--sed", "3", status=2)
    check("--sed" in err, err)


@case
def test_result():
    """a result is a ledger that history, verify and replay read; its summary says the same"""
    out = SCRATCH / "result"
    said, _ = simulate(scenario("first"), "--out", out, "--json", "--threads", 1)
    summary = json.loads(said)
    same(summary["version"], 20, "version")
    same(summary, json.loads((out / "summary.json").read_text()), "summary.json")
    status, text, err = harness.run("tributary", "history", out, "last", "--json")
    same(status, 0, err)
    history = json.loads(text)
    newest = history["versions"][-1]
    same(newest["version"], 20, "the ledger's newest version")
    check(abs(newest["accuracy"] - summary["accuracy"]) < 1e-6, f"{newest} {summary}")
    wan = next(hop for hop in history["bytes_by_hop"] if hop["hop"] == "edge-cloud")
    # What the cloud committed was sent; beside it there are pulls and pings.
    check(0 < wan["up_bytes"] <= summary["hops"][0]["up_bytes"], f"{wan} {summary['hops']}")
    for command in ("verify", "replay"):
        status, text, err = harness.run("tributary", command, out, *(["last"] if command == "replay" else []))
        same(status, 0, f"{command}: {text}{err}")
    again, _ = simulate(scenario("first"), "--out", out, "--json", "--threads", 3)
    same(json.loads(again)["digest"], summary["digest"], "the digest with another number of threads")


@case
def test_foreign():
    """a folder with somebody else's ledger is left alone"""
    out = SCRATCH / "foreign"
    out.mkdir()
    (out / "ledger.db").write_text("mine")
    _, err = simulate(scenario("first"), "--out", out, status=1)
    check("no simulation" in err, err)
    same((out / "ledger.db").read_text(), "mine", "the ledger")


@case
def test_seeds():
    """several seeds are several results"""
    out = SCRATCH / "seeds"
    said, _ = simulate(scenario("first"), "--seeds", "4..5", "--out", out, "--json", "--set", "plan.stop.versions=4")
    runs = [json.loads(line) for line in said.splitlines()]
    same([run["seed"] for run in runs], [4, 5], "seeds")
    check(runs[0]["digest"] != runs[1]["digest"], said)
    for run in runs:
        check((out / f"seed{run['seed']}" / "ledger.db").exists(), run)
    most = 2 ** 64 - 1
    said, _ = simulate(scenario("first"), "--seeds", f"{most - 1}..{most}", "--dump")
    check(f'seeds: ["{most - 1}", "{most}"]' in said, said)


@case
def test_interrupted():
    """Ctrl-C ends it: what happened is in the ledger"""
    out = SCRATCH / "interrupted"
    child = subprocess.Popen([BIN / "tributary", "simulate", scenario("first"), "--out", out, "--set",
                              "plan.stop.versions=100000000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    harness.wait(lambda: size_of(out / "trained.bin") > 1_000_000, "dozens of updates")
    child.send_signal(signal.SIGINT)
    said, err = child.communicate(timeout=harness.limit())
    same(child.returncode, 1, f"status ({said}{err})")
    check("interrupted" in said, said)
    status, text, err = harness.run("tributary", "verify", out)
    same(status, 0, f"{text}{err}")


@case
def test_diverged():
    """when trainings do nothing but fail the run ends, and summary, ledger and status say so"""
    words = (scenario("first"), "--out", SCRATCH / "diverged", "--set", "plan.train.lr=1000", "--set", "plan.train.mu=1000",
             "--set", "plan.train.batch=5", "--set", "plan.stop.versions=100000000")
    said, err = simulate(*words, status=1)
    check("the run diverged: the last 100 trainings failed" in err and "a smaller lr" in err, err)
    check("first, seed 1: diverged after" in said and "100 trainings failed" in said, said)
    said, _ = simulate(*words, "--json", status=1)
    summary = json.loads(said)
    same([summary["reason"], summary["failed"]], ["diverged", 100], "summary")
    check(not (SCRATCH / "diverged" / "trained.bin").exists(), "trained.bin stays")
    status, text, err = harness.run("tributary", "verify", SCRATCH / "diverged")
    same(status, 0, f"{text}{err}")


ENDLESS = ("--set", "plan.stop.versions=100000000")


def on_terminal(name, *words, until):
    """What it writes to a terminal until there is `until` (an expression) and Ctrl-C ended it; and how much went to stdout."""
    ours, its = pty.openpty()
    child = subprocess.Popen([BIN / "tributary", "simulate", scenario("first"), "--out", SCRATCH / name, *words],
                             stdout=subprocess.PIPE, stderr=its)
    os.close(its)
    seen, deadline, told = "", time.monotonic() + harness.limit(), False
    while True:
        check(time.monotonic() < deadline, f"no {until} in {seen[-2000:]!r}")
        if select.select([ours], [], [], 0.1)[0]:
            try:
                seen += os.read(ours, 65536).decode()
            except OSError:  # it has ended, and nobody holds the terminal any more
                break
        if not told and re.search(until, seen):
            child.send_signal(signal.SIGINT)
            told = True
    os.close(ours)
    said = child.communicate(timeout=harness.limit())[0].decode()
    same(child.returncode, 1, f"status of one that was interrupted ({seen})")
    check("\r" not in said and "\x1b" not in said, f"progress on stdout: {said}")
    return seen


LINE = (r"\r\x1b\[Kfirst seed 1: [0-9.]+ s  version \d+  accuracy (?:0\.\d{4}|-)%s  updates \d+  \d+ events/s  "
        r"[0-9.]+ MB  ")
TIME = r"(?:\d+s|\d+m|[0-9.]+h)"


@case
def test_progress():
    """on a terminal one line is written anew, with how far it is and how long it still takes; it is gone at the end"""
    estimate = LINE % "" + TIME + " left"
    seen = on_terminal("capped", *ENDLESS, "--set", "plan.stop.time=1000h", until=LINE % "")
    check("\r\n" not in seen.split("tributary simulate: interrupted")[0], f"more than a line: {seen!r}")
    check(seen.split("tributary simulate: interrupted")[0].endswith("\r\x1b[K"), f"it stays: {seen!r}")
    seen = on_terminal("near", "--set", "plan.stop.versions=100000", until=estimate)
    versions = [int(found) for found in re.findall(r"  version (\d+)  ", seen)]
    check(versions == sorted(versions) and versions[-1] > 0, f"versions in {seen!r}")


@case
def test_progress_to_an_accuracy():
    """where only an accuracy ends it: the one now and the one wanted, and an estimate that is called rough, or the time so far"""
    words = ("--set", "plan.stop.versions=0", "--set", "plan.stop.accuracy=0.9999", "--set", "evaluate.every=1")
    seen = on_terminal("accuracy", *words, until=LINE % " of 0\\.9999" + f"(?:roughly {TIME} left by its accuracy|{TIME} so far)")
    check("at most" not in seen, seen)
    seen = on_terminal("both", *words, "--set", "plan.stop.versions=100000", until=LINE % " of 0\\.9999" + f"at most {TIME} left")


@case
def test_progress_elsewhere():
    """no terminal: whole lines, every ten seconds, and nothing of a short one"""
    _, err = simulate(scenario("first"), "--out", SCRATCH / "short")
    same(err, "", "stderr of a short one")
    path = SCRATCH / "stderr"
    with open(path, "w") as file:
        child = subprocess.Popen([BIN / "tributary", "simulate", scenario("first"), "--out", SCRATCH / "elsewhere", *ENDLESS],
                                 stdout=subprocess.PIPE, stderr=file)
        harness.wait(lambda: "\n" in path.read_text(), "a line")
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=harness.limit())
    said = path.read_text()
    check(re.match((LINE % "").replace(r"\r\x1b\[K", "") + rf"{TIME} (?:left|so far)\n", said), said)
    check("\r" not in said and "\x1b" not in said, f"a terminal's codes in a file: {said!r}")


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def begin(out, *words):
    """a long one, which has kept a megabyte more than there was: 32 of its 600 updates; on one thread, so that it is far
    from its end for long"""
    kept = out / "trained.bin"
    enough = size_of(kept) + 1_000_000
    child = subprocess.Popen([BIN / "tributary", "simulate", scenario("first"), "--out", out, *LONG, "--threads", "1", *words],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    harness.wait(lambda: size_of(kept) >= enough, "so many updates are kept")
    return child


LONG = ("--json", "--set", "plan.train.max_samples=10000", "--set", "plan.train.epochs=700",
        "--set", "plan.stop.versions=200")
WHOLE_S = 120


@case
def test_in_use():
    """a folder in which a simulation is at work is left to it"""
    out = SCRATCH / "in-use"
    child = begin(out, "--set", "plan.stop.versions=100000000")  # it does not end by itself
    _, err = simulate(scenario("first"), "--out", out, status=1)
    check("another simulation is at work" in err, err)
    child.send_signal(signal.SIGINT)
    said, err = child.communicate(timeout=harness.limit())
    check("interrupted" in err, f"{said}{err}")


@case
def test_resumed():
    """after Ctrl-C and after kill -9 --resume gives what it would have been; the file is gone then"""
    whole, _ = simulate(scenario("first"), "--out", SCRATCH / "whole", *LONG, timeout_s=WHOLE_S)
    out = SCRATCH / "resumed"
    _, err = simulate(scenario("first"), "--out", out, "--json", "--resume")
    check("nothing to resume" in err, err)
    child = begin(out)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=harness.limit())
    same(child.returncode, 1, err)
    check("--resume" in err and str(out) in err, err)
    _, err = simulate(scenario("first"), "--out", out, *LONG, "--resume", "--set", "plan.train.lr=0.3", status=1)
    check("plan.train.lr: 0.3" in err and "trained.bin" in err, err)
    other = SCRATCH / "another-build"
    other.write_bytes((harness.BIN / "tributary").read_bytes() + b"\0")
    other.chmod(0o755)
    status, _, err = harness.run(other, "simulate", scenario("first"), "--out", out, *LONG, "--resume")
    check(status == 1 and "program=" in err, f"another build goes on with it: {err}")
    status, text, err = harness.run("tributary", "verify", out)
    same(status, 0, f"refused, it leaves the folder alone: {text}{err}")
    child = begin(out, "--resume")
    child.kill()
    child.communicate(timeout=harness.limit())
    same(child.returncode, -signal.SIGKILL, "it was killed")
    resumed, err = simulate(scenario("first"), "--out", out, *LONG, "--resume", timeout_s=WHOLE_S)
    check("nothing to resume" not in err, err)
    first, second = json.loads(whole), json.loads(resumed)
    for key in ("digest", "trained", "accuracy", "hops"):
        same(second[key], first[key], key)
    check(not (out / "trained.bin").exists(), "trained.bin stays")
    status, text, err = harness.run("tributary", "verify", out)
    same(status, 0, f"{text}{err}")


@case
def test_unread():
    """one whose summary nobody reads has ended all the same"""
    out = SCRATCH / "unread"
    words = (scenario("first"), "--out", out, "--set", "plan.stop.versions=4")
    with open("/dev/full", "w") as full:
        done = subprocess.run([BIN / "tributary", "simulate", *words], stdout=full, stderr=subprocess.PIPE, text=True,
                              timeout=harness.limit())
    same(done.returncode, 1, done.stderr)
    check("cannot write the summary" in done.stderr, done.stderr)
    said, err = simulate(*words, "--resume")
    check("had ended" in err and "first, seed 1: versions" in said, said + err)


@case
def test_resumed_seeds():
    """of several seeds those that had ended are not simulated again; another scenario's are refused"""
    out, words = SCRATCH / "resumed-seeds", ("--set", "plan.stop.versions=4", "--threads", 1)
    said, _ = simulate(scenario("first"), "--seeds", "1..2", "--out", out, *words)
    ledgers = {seed: (out / f"seed{seed}" / "ledger.db").stat().st_mtime_ns for seed in (1, 2)}
    again, err = simulate(scenario("first"), "--seeds", "1..3", "--out", out, "--resume", *words[:-1], 2)
    check(again.startswith(said) and "first, seed 3: versions" in again, f"{said}{again}")
    same([line.split(";")[0] for line in err.splitlines() if "ended" in line],
         [f"tributary simulate: seed {seed} had ended" for seed in (1, 2)], "what had ended")
    check("nothing to resume in " + str(out / "seed3") in err, err)
    same({seed: (out / f"seed{seed}" / "ledger.db").stat().st_mtime_ns for seed in (1, 2)}, ledgers, "the ledgers")
    lines, _ = simulate(scenario("first"), "--seeds", "1..3", "--out", out, "--resume", "--json", *words)
    same([json.loads(line)["seed"] for line in lines.splitlines()], [1, 2, 3], "as JSON")
    _, err = simulate(scenario("first"), "--seeds", "1..3", "--out", out, "--resume", *words, "--set", "plan.train.lr=0.3",
                      status=1)
    check("seed1/ended.bin is of another simulation" in err and "plan.train.lr: 0.3" in err, err)
    same((out / "seed1" / "ledger.db").stat().st_mtime_ns, ledgers[1], "a result that is refused")
    (out / "seed2" / "ended.bin").unlink()
    _, err = simulate(scenario("first"), "--seeds", "2", "--out", out / "seed2", "--resume", *words)
    check("nothing to resume" in err, err)
    check((out / "seed2" / "ledger.db").stat().st_mtime_ns != ledgers[2], "without ended.bin it is simulated")


if __name__ == "__main__":
    sys.exit(harness.main())
