#!/usr/bin/python3
# timeout: 90
"""deploy/demo on the carried sample: to its target, past it, interrupted, and with a program that dies."""
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("TRIBUTARY_BIN", ROOT / "build/gcc/bin")).resolve()
SCRATCH = pathlib.Path(os.environ.get("TRIBUTARY_SCRATCH", "/tmp/tributary-test-demo"))
RUN = SCRATCH / "demo"
LAST_LINE = re.compile(
    r"demo: accuracy=(0\.\d{4}) target=(0\.\d{4}) seconds=(\d+\.\d) versions=(\d+) updates=(\d+) staleness_p95=(\d+) "
    r"device_up_bytes=(\d+) edge_up_bytes=(\d+) down_bytes=(\d+) f32_bytes=(\d+)$")
SLOW = float(os.environ.get("TRIBUTARY_SLOW", "1"))
ENV = {name: value for name, value in os.environ.items() if name != "TRIBUTARY_DATA"}


class Demo:
    """One run of the script, in a session of its own, so that what it leaves behind can be told."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [ROOT / "deploy/demo", "--bin", BIN, "--dir", RUN, *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=ENV, start_new_session=True)
        self.output = ""

    def until_updates(self):
        """Reads on until the table shows that the cloud has merged something."""
        for line in self.process.stdout:
            self.output += line
            if re.match(r" +\d+\.\d +[1-9]\d* ", line):
                return
        raise AssertionError(f"it ended before anything was merged:\n{self.output}")

    def end(self):
        self.output += self.process.communicate(timeout=60 * SLOW)[0]
        return self.process.wait()

    def members(self):
        """pid: command line, of what runs in its session."""
        found = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
                if session == self.process.pid:
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                pass  # it has just ended
        return found

    def last_line(self):
        match = LAST_LINE.match(self.output.splitlines()[-1])
        assert match, f"the last line is not what programs read:\n{self.output}"
        return [float(value) for value in match.groups()]


def check(condition, what):
    assert condition, what


ENDLESS = ("--target", "1")  # it does not get there: however late this test is, the demo still runs


def interrupted():
    demo = Demo(*ENDLESS)
    demo.until_updates()
    check(len(demo.members()) >= 7, f"fewer programs than it should start: {demo.members()}")
    demo.process.send_signal(signal.SIGINT)
    status = demo.end()
    check(status == 130, f"status {status}, not 130:\n{demo.output}")
    check("interrupted" in demo.output, demo.output)
    check(not demo.members(), f"left behind: {demo.members()}")
    for name in ("cloud", "edge-1", "edge-2"):
        log = (RUN / f"{name}.log").read_text()
        check("stopping reason=signal" in log, f"{name} was not asked to end:\n{log}")


def reached():
    """Where an interrupted one has left its files."""
    demo = Demo("--target", "0.8")
    status = demo.end()
    check(status == 0, f"status {status}:\n{demo.output}")
    accuracy, target, seconds, versions, updates, _, device_up, edge_up, down, f32 = demo.last_line()
    check(target == 0.8 and accuracy >= target, demo.output)
    check(seconds > 0 and versions >= 3 and updates >= 3 * versions, demo.output)
    # int8 both ways: something between three and six times less, early in a run; less on a machine that has no time.
    check(2 < f32 / (device_up + edge_up + down) < 6, demo.output)
    check(not demo.members(), f"left behind: {demo.members()}")
    check((SCRATCH / "demo.1/cloud/ledger.db").exists(), "the files of the run before are gone")
    with sqlite3.connect(f"file:{RUN}/cloud/ledger.db?mode=ro", uri=True) as ledger:
        rows = ledger.execute("SELECT stop_reason, versions, best_accuracy FROM run_summary").fetchall()
    check(len(rows) == 1 and rows[0][0] == "accuracy" and rows[0][1] == versions, f"{rows}, not as\n{demo.output}")
    check(abs(rows[0][2] - accuracy) < 1e-4, f"{rows}, not as\n{demo.output}")
    check("sample" in demo.output and f"history {RUN}/cloud" in demo.output, demo.output)


def not_reached():
    demo = Demo("--target", "0.99", "--set", "plan.stop.versions=3")
    status = demo.end()
    check(status == 1, f"status {status}, not 1:\n{demo.output}")
    accuracy, target, *_ = demo.last_line()
    check(accuracy < target == 0.99, demo.output)
    check(not demo.members(), f"left behind: {demo.members()}")


def program_dies():
    demo = Demo(*ENDLESS)
    demo.until_updates()
    edge = [pid for pid, line in demo.members().items() if "tributary-edge" in line and "name=edge-2" in line]
    check(len(edge) == 1, f"no edge-2 among {demo.members()}")
    os.kill(edge[0], signal.SIGKILL)
    status = demo.end()
    check(status == 1, f"status {status}, not 1:\n{demo.output}")
    check("edge-2 ended with status 137" in demo.output and "uplink_ready" in demo.output, demo.output)
    check(not demo.members(), f"left behind: {demo.members()}")


def watch_says_why():
    def watch(*words):
        done = subprocess.run([BIN / "tributary", "watch", *words], capture_output=True, text=True, timeout=20 * SLOW)
        return done.returncode, done.stderr
    status, text = watch(SCRATCH / "nowhere", "--timeout", "300ms")
    check(status == 1 and "no run" in text, f"{status} {text}")
    status, text = watch(ROOT / "README.md")
    check(status == 1 and "README.md" in text, f"{status} {text}")
    status, text = watch(RUN / "cloud", "--target", "2")
    check(status == 2 and "0 to 1" in text, f"{status} {text}")


def main():
    SCRATCH.mkdir(parents=True, exist_ok=True)
    cases = {"an interrupted demo leaves no process": interrupted,
             "a demo can be run again, and reaches its target": reached,
             "a demo that does not reach its target says so and fails": not_reached,
             "a program that dies ends the demo, with its log": program_dies,
             "watch says why it cannot": watch_says_why}
    failures = 0
    for name, case in cases.items():
        began = time.monotonic()
        try:
            case()
            print(f"ok - {name}", flush=True)
        except (AssertionError, OSError, subprocess.SubprocessError) as problem:
            failures += 1
            print(f"not ok - {name}\n# {problem}", flush=True)
        print(f"# {time.monotonic() - began:.1f} s", flush=True)
    return 1 if failures else 0


sys.exit(main())
