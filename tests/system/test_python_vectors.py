#!/usr/bin/python3
"""The Python participant's messages and codecs against tests/vectors and docs/protocol.md."""
import itertools
import pathlib
import re
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "python"))
import numpy as np  # noqa: E402
import tributary_wire as wire  # noqa: E402

failures = 0


def check(name, test, *args):
    global failures
    try:
        test(*args)
        print(f"ok - {name}")
    except Exception as error:
        failures += 1
        print(f"# {type(error).__name__}: {error}\nnot ok - {name}")


def expect(found, expected):
    if found != expected:
        raise AssertionError(f"found {found!r:.300}, expected {expected!r:.300}")


def refused(code, function, *args):
    try:
        found = function(*args)
    except wire.Refused as error:
        expect(error.code, code)
    else:
        raise AssertionError(f"was taken: {found!r:.200}")


# ---- vectors ----

def value(form, text):
    if form == "u64":
        return int(text)
    if form == "f32":
        return float(np.float32(text))
    if form == "bin":
        return bytes.fromhex(text)
    if form == "u64s":
        return [int(item) for item in text.split()]
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text.strip()[1:-1])


def read(path):
    vector = {"type": None, "fields": {}, "refuse": None, "version": "1", "read-only": False, "hex": b"", "payload": None}
    part = None
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, rest = line.partition(" ")
        if line in ("hex", "payload"):
            part = line
            vector[part] = b""
        elif part:
            vector[part] += bytes.fromhex(line)
        elif line == "read-only":
            vector[line] = True
        elif word in ("type", "refuse", "version"):
            vector[word] = rest
        elif not line.startswith("#"):
            vector["fields"][word] = value(*rest.split(" ", 1))
    return vector


def test_vector(vector):
    if int(vector["version"]) != wire.PROTOCOL:  # it speaks the first alone
        refused("version", wire.decode, vector["hex"])
        return
    if vector["refuse"]:
        refused(vector["refuse"], wire.decode, vector["hex"])
        return
    expect(wire.decode(vector["hex"]), (vector["type"], vector["fields"]))
    if not vector["read-only"]:
        expect(wire.encode(vector["type"], **vector["fields"]).hex(" "), vector["hex"].hex(" "))


# ---- the document ----

def table(heading):
    """The rows of the first table of a section, without its head."""
    section = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    lines = itertools.dropwhile(lambda line: not line.startswith("|"), section.splitlines())
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in list(rows)[2:]]


def test_documented_fields():
    documented = {}
    for key, name, form, _ in table("4. Fields"):
        kind, _, size = form.partition(" ")
        documented[int(key)] = (name.strip("`"), kind, int(size) if size else None)
    ours = {key: (name, kind, limit if kind in ("text", "bin", "u64s") else None)
            for key, (name, kind, limit) in wire.FIELDS.items()}
    expect(documented, ours)


def test_documented_messages():
    names = lambda text: {name.strip() for name in text.split(",") if name.strip()}  # noqa: E731
    rows = table("5. Messages")
    expect([row[1] for row in rows], wire.TYPES)
    expect([int(row[0]) for row in rows], list(range(1, len(wire.TYPES) + 1)))
    for row in rows:
        expect((names(row[4]), names(row[5])), wire.MESSAGES[row[1]])


def test_documented_codes():
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8").split("\n## 6. Codes\n")[1].split("\n## ")[0]
    rows = [row.strip("|").split("|") for row in text.splitlines() if re.match(r"\| \d", row)]
    documented = [(int(row[0]), row[1].strip()) for row in rows]
    expect(documented, list(enumerate(wire.CODES))[1:] + list(enumerate(wire.REASONS)))


# ---- models and codecs ----

def test_chain():
    """The vectors tell a story: seed, increment, snapshot of the same version."""
    load = lambda name: read(ROOT / "tests" / "vectors" / f"{name}.hex")  # noqa: E731
    welcome, seed, step, snapshot = map(load, ("welcome", "model_seed", "model_increments", "model_snapshot"))
    schema = wire.Schema(welcome["fields"]["schema"])
    expect(schema.fingerprint, welcome["fields"]["fingerprint"])
    model = schema.draw(seed["fields"]["seed"])
    expect(wire.full_digest(model), seed["fields"]["full_digest"])
    expect(wire.chain_start(schema.fingerprint, wire.full_digest(model)), seed["fields"]["to_digest"])
    expect(step["fields"]["parts"], [len(step["payload"])])
    expect(wire.chain_next(step["fields"]["from_digest"], step["payload"]), step["fields"]["to_digest"])
    model += wire.codec("int8").decode(step["payload"], schema.parameters)
    expect(model.tobytes(), snapshot["payload"])
    expect(wire.full_digest(model), snapshot["fields"]["full_digest"])


def test_leaves():
    """The digest of a model of more than one leaf, as in tests/unit/test_digest.c."""
    model = (np.arange(4194305) % 1000003).astype(np.float32)
    expect(wire.full_digest(model).hex(), "d84b9011089bdef381bfb0c8cd60497fed15004adecaed907d0c4d751097b95c")
    expect(wire.full_digest(model[:-1]), wire.blake2b(model[:-1].tobytes()))


def test_crc():
    expect(wire.crc32c(b"123456789"), 0xE3069283)
    expect(wire.crc32c(b""), 0)


def test_codec(spec, n):
    values = np.random.default_rng(n).normal(size=n).astype(np.float32)
    codec = wire.codec(spec)
    data = codec.encode(values)
    once = codec.decode(data, n)
    expect((once.dtype, once.shape), (np.dtype(np.float32), (n,)))
    if not spec.startswith("topk"):
        most = np.abs(values).max()
        coarsest = {"f32": 0, "f16": 2e-3, "bf16": most / 200, "int8": most / 250, "int4": most / 13.9}.get(spec)
        if coarsest is not None and np.abs(once - values).max() > coarsest:
            raise AssertionError(f"off by {np.abs(once - values).max()}")
        lost = np.linalg.norm(once - values) ** 2 / np.linalg.norm(values) ** 2
        bits = {"1bit": 0.42, "2bit": 0.15, "3bit": 0.06, "4bit": 0.04}.get(spec[-4:])
        if bits is not None and n > 200 and lost > bits:
            raise AssertionError(f"{lost:.3f} of the energy is lost")
    else:
        expect(int((once != 0).sum()), max(1, -(-n * 5 // 100)))
    for wrong in (data[:-1], data + b"\0"):
        refused("malformed", codec.decode, wrong, n)


def codec_vectors():
    """Lines of codecs.txt whose codec is known here."""
    for line in (ROOT / "tests" / "vectors" / "codecs.txt").read_text().splitlines():
        found = re.fullmatch(r"(\S+) (\d+) (\S+) ([=!]) ?(.*)", line)
        if not found or line.startswith("#"):
            continue
        try:
            wire.codec(found[1])
        except wire.Refused:
            continue
        yield found[1], int(found[2]), bytes.fromhex(found[3].strip("-")), found[4] == "=", found[5]


def test_codec_vectors():
    specs = set()
    for spec, n, data, good, values in codec_vectors():
        codec = wire.codec(spec)
        if not good:
            refused("malformed", codec.decode, data, n)
            continue
        expected = np.array([float(value) for value in values.split()], np.float32)
        if not (codec.decode(data, n) == expected).all():
            raise AssertionError(f"{spec} {n}: {codec.decode(data, n)}, expected {expected}")
        specs.add(spec)
        again = codec.decode(codec.encode(expected), n)  # what it sends of them is near to them
        if np.linalg.norm(again - expected) > 0.8 * np.linalg.norm(expected):
            raise AssertionError(f"{spec} {n}: {expected} becomes {again}")
    check_all = {"int4", "rotate+1bit", "rotate(block=16)+4bit", "topk(0.5)+rotate+2bit+rice", "bf16", "topk(0.4)+f32+rice"}
    expect(check_all - specs, set())


def test_codec_auto():
    auto = "auto(min=rotate+1bit, max=topk(0.5)+int4(block=64)+rice, loss=0.1)"
    expect(wire.upper_bound(auto), "topk(0.5)+int4(block=64)+rice")
    expect(wire.upper_bound("auto"), "int8")
    expect(wire.upper_bound("auto(rotate+1bit, bf16)"), "bf16")
    expect(wire.upper_bound("int8"), "int8")
    values = np.arange(9, dtype=np.float32)
    expect(wire.codec(auto).encode(values), wire.codec("topk(0.5)+int4(block=64)+rice").encode(values))
    for spec in ("kmeans", "int4(zero=true)", "int9", "rotate", "int8+zstd", "topk(0.1)", "layer(else=int8)", "int4(block=x)"):
        refused("codec", wire.codec, spec)
    for spec in ("topk(nan)+int8", "topk(1e400)+int8", "topk(2)+int8", "int4(block=-5)", "int4(block=100)", "rotate(block=0)+int8"):
        refused("codec", wire.codec, spec)  # out of range


def test_int8_layout():
    values = np.zeros(300, np.float32)
    values[:3], values[299] = (127, -63.5, 1), -2
    data = wire.codec("int8").encode(values)
    expect(len(data), 308)
    expect(data[:7], struct.pack("<f", 1) + bytes([127, 256 - 64, 1]))
    expect(data[260:264] + data[-1:], struct.pack("<f", np.float32(2) / np.float32(127)) + bytes([256 - 127]))
    refused("malformed", wire.codec("int8").decode, struct.pack("<f", 1) + b"\x80", 1)
    refused("malformed", wire.codec("int8").decode, struct.pack("<f", 0) + b"\x01", 1)
    refused("malformed", wire.codec("int8").decode, struct.pack("<f", float("nan")) + b"\x01", 1)


def test_codec_ends_of_range():
    """What is sent of the smallest and the largest floats has no scale that a receiver refuses."""
    tiny, huge = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    expect(wire.codec("int8").encode(np.array([126.9 * tiny, -1e-40], np.float32)), bytes(6))
    expect(wire.codec("int8").encode(np.array([127 * tiny, -tiny], np.float32)), struct.pack("<f", tiny) + bytes([127, 255]))
    refused("malformed", wire.codec("int8").decode, struct.pack("<f", tiny / 2) + b"\x01", 1)
    for spec in ("int8", "int4", "int2", "1bit", "2bit", "3bit", "4bit", "rotate+1bit", "topk(0.5)+int8"):
        for most in [huge, 3.3999e38, *(float(tiny) * 2.0**e for e in range(-23, 20))]:
            values = np.array([most, -most, most / 3, 0], np.float32)
            wire.codec(spec).decode(wire.codec(spec).encode(values), len(values))


def test_topk_layout():
    values = np.zeros(1000, np.float32)
    values[[0, 1, 999]] = 3, -1, 2
    data = wire.codec("topk(0.003)+f32").encode(values)
    expect(data.hex(" "), "03 00 00 00 00 01 e6 07 " + struct.pack("<3f", 3, -1, 2).hex(" "))
    expect(wire.codec("topk(0.003)+f32").decode(data, 1000).tobytes(), values.tobytes())
    values = struct.pack("<2f", 1, 2)
    for gaps in (b"\x05\x00", b"\x80\x00\x01", b"\x05", b"\xff\xff\xff\xff\x1f\x01", b"\x09\x01"):
        refused("malformed", wire.codec("topk(0.2)+f32").decode, b"\x02\0\0\0" + gaps + values, 10)
    refused("malformed", wire.codec("topk(0.2)+f32").decode, b"\x01\0\0\0" + b"\x01" + values[:4], 10)


def test_plan():
    expect(wire.parse_plan('seed: 7\nedge.rule: "fedbuff(k=3, s=\\"x\\")"\ntrain.lr: 0.05\n'),
           {"seed": "7", "edge.rule": 'fedbuff(k=3, s="x")', "train.lr": "0.05"})


def main():
    vectors = sorted((ROOT / "tests" / "vectors").glob("*.hex"))
    check("there are vectors of every type", lambda: expect(
        {read(path)["type"] for path in vectors} - {None}, set(wire.TYPES)))
    for path in vectors:
        check(f"vector {path.stem}", lambda: test_vector(read(path)))
    for name, test in sorted(globals().items()):
        if name.startswith("test_") and name not in ("test_vector", "test_codec"):
            check(name[5:].replace("_", " "), test)
    for spec in ("f32", "f16", "bf16", "int8", "int4", "int2", "rotate+1bit", "rotate+2bit", "rotate+3bit", "rotate(block=64)+4bit",
                 "2bit(block=0)", "topk(0.05)+int8", "topk(0.05)+f16", "topk(0.05)+f32", "topk(0.05)+f32+rice",
                 "topk(0.05)+bf16+rice"):
        for n in (1, 2, 255, 256, 257, 1000):
            check(f"codec {spec} of {n}", test_codec, spec, n)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
