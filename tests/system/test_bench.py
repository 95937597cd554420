#!/usr/bin/python3
"""The benchmark program: what a figure's line says, and that a single figure can be asked for."""
import json
import re
import subprocess
import sys

from harness import BIN, ROOT, SCRATCH, case, check, limit, main, same

LINE = r"(\S+) (\S+) (.+) ratio=(\S+) limit=(.+) bar=(\S+) of=(value|ratio|-) met=(yes|no|-)"


def bench(*words, status=0):
    done = subprocess.run([BIN / "bench", *words], capture_output=True, text=True, cwd=ROOT, timeout=limit())
    same(done.returncode, status, f"status of {words}: {done.stderr}")
    return done.stdout.splitlines(), done.stderr


def figures(*words):
    """Of each line: name, value, bar, what it is a bar of, and whether it is met."""
    found = [re.fullmatch(LINE, line) for line in bench(*words)[0]]
    check(all(found), f"lines of {words}")
    return [(line[1], float(line[2]), line[6], line[7], line[8]) for line in found]


@case
def test_single_figure():
    """the name of a figure: the benchmark that it is of, and only its line, with its bar and whether it is met"""
    saved = SCRATCH / "bench.json"
    (name, value, bar, of, met), = figures("--json", saved, "decode-int4")
    same((name, bar, of), ("decode-int4", "6", "value"), "the line")
    same(met, "yes" if value >= 6 else "no", f"a bar of 6, and {value}")
    kept, = json.loads(saved.read_text())["figures"]
    same((kept["name"], kept["value_at_least"], kept["met"]), (name, 6, met == "yes"), "what is kept")
    same([line[0] for line in figures("encode-rotate1")], ["encode-rotate1"], "another figure")


@case
def test_whole_benchmark():
    """the name of a benchmark: all its figures, those that --list has; one without a bar says so"""
    listed = [line.split() for line in bench("--list")[0]]
    names = listed[[line[0] for line in listed].index("decode") + 1]
    same([line[0] for line in figures("decode")], names, "figures")
    (name, _, bar, of, met), = figures("crc32c")
    same((name, bar, of, met), ("crc32c", "-", "-", "-"), "no bar")


@case
def test_unknown():
    """a name that is none: the nearest of benchmarks and figures is said"""
    check("did you mean encode-large" in bench("encode-lorge", status=2)[1], "the nearest name")


sys.exit(main())
