#!/usr/bin/python3
"""seeds.py OUT: what the fuzzers start from, made of tests/vectors/*.hex, in OUT/TARGET/."""
import pathlib
import random
import sys

RECORD_KINDS = range(1, 14)


def read(path):
    """The bytes of frame 1 and of the payload."""
    parts = {"hex": bytearray(), "payload": bytearray()}
    part = None
    for line in path.read_text().splitlines():
        if line in parts:
            part = line
        elif part:
            parts[part] += bytes.fromhex(line)
    return bytes(parts["hex"]), bytes(parts["payload"])


def conversations(out):
    """Long inputs for the fuzzers of the roles: a byte is a step, so any bytes are a conversation."""
    draw = random.Random(1)
    for target in ("aggregator", "participant"):
        (out / target).mkdir(parents=True, exist_ok=True)
        for i in range(60):
            (out / target / f"seed-{i}").write_bytes(draw.randbytes(draw.choice((80, 200, 500))))


def main(out):
    for target in ("wire", "record", "codec"):
        (out / target).mkdir(parents=True, exist_ok=True)
    vectors = pathlib.Path(__file__).resolve().parent.parent / "vectors"
    for path in sorted(vectors.glob("*.hex")):
        frame, payload = read(path)
        (out / "wire" / path.stem).write_bytes(frame)
        kind = RECORD_KINDS[len(frame) % len(RECORD_KINDS)]
        (out / "record" / path.stem).write_bytes(bytes([kind]) + frame[8:])
        if payload:
            (out / "codec" / path.stem).write_bytes(payload)
    conversations(out)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
