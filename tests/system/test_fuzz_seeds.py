#!/usr/bin/python3
"""The fuzzers' seeds: every payload of codecs.txt behind the bytes by which the target finds its codec and count."""
import math
import re
import subprocess
import sys

from harness import ROOT, SCRATCH, case, check, main, same

VECTORS = [line.split(" ", 3) for line in (ROOT / "tests/vectors/codecs.txt").read_text().splitlines()
           if line and not line.startswith("#")]


def specs():
    """The codecs of the target, as its source and the table of codecs name them, in any order."""
    source = (ROOT / "tests/fuzz/fuzz_codec.c").read_text() + (ROOT / "shared/codec/codec.c").read_text()
    return re.findall(r'"([a-z0-9]+[^" ]*(?:[,+ ][^"]*)?)"', source)


def seeds(picked):
    return subprocess.run([ROOT / "tests/fuzz/seeds.py", SCRATCH], input="\n".join(picked), capture_output=True, text=True)


@case
def test_heads():
    """a seed for each line: the codec's number, the count less 2, the payload"""
    picked = [*dict.fromkeys(specs())]
    done = seeds(picked)
    same(done.returncode, 0, f"its status ({done.stderr})")
    found = sorted(path.read_bytes() for path in (SCRATCH / "codec").iterdir())
    numbers = {spec.replace(" ", ""): i for i, spec in enumerate(picked)}
    expected = []
    for spec, count, digits, _ in VECTORS:
        values = sum(math.prod(map(int, shape.split("x"))) for shape in count.split(","))
        expected.append(bytes([numbers[spec]]) + max(values - 2, 0).to_bytes(2, "little") + bytes.fromhex(digits.strip("-")))
    same(found, sorted(expected), "seeds")


@case
def test_missing():
    """a line whose codec the target does not pick is named"""
    done = seeds([spec for spec in specs() if spec != "rows(0.5)+f32+rice"])
    check(done.returncode != 0 and "picks no codec rows(0.5)+f32+rice" in done.stderr, f"{done.returncode}: {done.stderr}")


sys.exit(main())
