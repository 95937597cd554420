#!/usr/bin/python3
"""fuzz_codec --specs | seeds.py OUT: what the fuzzers start from, made of tests/vectors, in OUT/TARGET/."""
import math
import pathlib
import random
import struct
import sys

RECORD_KINDS = range(1, 14)


def read(path):
    """The bytes of frame 1."""
    frame, inside = bytearray(), False
    for line in path.read_text().splitlines():
        if line in ("hex", "payload"):
            inside = line == "hex"
        elif inside:
            frame += bytes.fromhex(line)
    return bytes(frame)


def payloads(out, vectors, specs):
    """Lines of codecs.txt: a byte that picks the codec, the count (the target adds 2 to it), the payload."""
    picks = {spec.replace(" ", ""): i for i, spec in enumerate(specs)}
    for number, line in enumerate(vectors.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        spec, count, digits, _ = line.split(" ", 3)
        if spec not in picks:
            sys.exit(f"{vectors.name}, line {number}: fuzz_codec.c picks no codec {spec}: add it there")
        values = sum(math.prod(map(int, shape.split("x"))) for shape in count.split(","))
        head = struct.pack("<BH", picks[spec], max(values - 2, 0))
        (out / "codec" / f"line-{number}").write_bytes(head + bytes.fromhex(digits.strip("-")))


def conversations(out):
    """Long inputs for the fuzzers of the roles: a byte is a step, so any bytes are a conversation."""
    draw = random.Random(1)
    for target in ("aggregator", "participant"):
        (out / target).mkdir(parents=True, exist_ok=True)
        for i in range(60):
            (out / target / f"seed-{i}").write_bytes(draw.randbytes(draw.choice((80, 200, 500))))


def main(out, specs):
    for target in ("wire", "record", "codec"):
        (out / target).mkdir(parents=True, exist_ok=True)
    vectors = pathlib.Path(__file__).resolve().parent.parent / "vectors"
    for path in sorted(vectors.glob("*.hex")):
        frame = read(path)
        (out / "wire" / path.stem).write_bytes(frame)
        kind = RECORD_KINDS[len(frame) % len(RECORD_KINDS)]
        (out / "record" / path.stem).write_bytes(bytes([kind]) + frame[8:])
    payloads(out, vectors / "codecs.txt", specs)
    conversations(out)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.stdin.read().splitlines())
