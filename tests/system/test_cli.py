#!/usr/bin/python3
# timeout: 90
"""`tributary` on the ledger of a short real run: history, export, config, keys, and what it says when something is wrong."""
import csv
import hashlib
import io
import json
import math
import re
import shutil
import sqlite3
import stat
import struct
import sys

import harness
import numpy as np
from harness import SCRATCH, Peer, case, check, same, wait

VERSIONS = 6
KEEP = 3
PARAMETERS = 7850
cloud = harness.cloud(evaluation__interval=0, store__keep_models=KEEP, run__label="first try")
edge = harness.edge(cloud)
fleet = harness.devices(edge, "fleet", count=3)


def tributary(*words, status=0):
    """What it prints; the other channel must be empty."""
    found, out, err = harness.run("tributary", *words)
    same(found, status, f"status of tributary {words} ({err})")
    same(err if status == 0 else out, "", f"the other channel of tributary {words}")
    return out if status == 0 else err


def refused(*words, saying=(), status=1):
    """It says in one line what is wrong, with all of these texts in it."""
    err = tributary(*words, status=status)
    same(err.count("\n"), 1, f"lines of {err!r}")
    for text in saying:
        check(str(text) in err, f"{words}: {text!r} is not in {err!r}")


def history(*words):
    return tributary("history", *words)


def as_json(*words):
    return json.loads(history(*words, "--json"))


# ---- history ----

@case
def test_live():
    """history of a run that goes on: an unfinished one, a new one, and updates that were refused"""
    cloud.start()
    cloud.wait_log(" run_begun ")
    cloud.stop()
    cloud.start(run__resume="false", run__label="second", plan__stop__versions=VERSIONS)
    cloud.wait_log(" run_begun ")
    wait(lambda: len(as_json(cloud.store)["runs"]) == 2, "the second run is in the ledger")
    same([run["state"] for run in as_json(cloud.store)["runs"]], ["superseded", "running"], "states of the runs")
    edge.start()
    edge.wait_health(lambda line: line["uplink"], "the uplink is there")
    wait(lambda: edge.one("SELECT count(*) FROM parent_models"), "the edge has a model")
    stranger = Peer(edge, "stranger")
    stranger.hello()
    stranger.pull()
    stranger.push(b"\0" * 11)
    same(stranger.verdict(), (1, "payload"), "the verdict on eleven bytes")
    stranger.close()
    fleet.start()
    cloud.wait_log(" run_finished ")
    cloud.wait_log(f" evaluated version={VERSIONS} ")
    harness.stop(fleet, edge, cloud)


@case
def test_runs():
    """the list of runs: a table for people, and the same with every column as JSON and CSV"""
    lines = history(cloud.store).splitlines()
    same(len(lines), 3, "lines")
    check(lines[0].startswith("run       label      role   started (UTC) "), f"the header is {lines[0]!r}")
    names = [name for name, in cloud.sql("SELECT run FROM runs ORDER BY run_id")]
    for line, name, label, state in zip(lines[1:], names, ("first try", "second"), ("superseded", "stopped")):
        check(re.match(rf"{name[:8]}  {label} +cloud  20\d\d-\d\d-\d\d \d\d:\d\d:\d\d .* {state} ", line), line)
    rows = as_json(cloud.store)["runs"]
    same([row["run"] for row in rows], names, "names of the runs")
    same([(row["label"], row["versions"], row["stop_reason"]) for row in rows],
         [("first try", 0, None), ("second", VERSIONS, "versions")], "labels, versions and reasons")
    columns = "updates, below_updates, refused, samples, staleness_max, device_edge_up_bytes, cloud_down_bytes"
    found = cloud.sql(f"SELECT {columns} FROM run_summary WHERE run_id = 2")[0]
    same(tuple(rows[1][name] for name in columns.split(", ")), found, "numbers of the second run")
    check(rows[1]["updates"] >= VERSIONS and rows[1]["below_updates"] > 0 and rows[1]["device_edge_up_bytes"] > 0,
          f"the second run is {rows[1]}")
    check(0.2 < rows[1]["best_accuracy"] <= 1, f"the best accuracy is {rows[1]['best_accuracy']}")
    same_table(rows, history(cloud.store, "--csv"))
    same(as_json(cloud.store, "--limit", 1)["runs"], rows[1:], "the newest run")


def same_table(rows, text):
    """CSV says what JSON says."""
    found = list(csv.DictReader(io.StringIO(text)))
    same(len(found), len(rows), "rows of CSV")
    for row, expected in zip(found, rows):
        same(list(row), list(expected), "columns of CSV")
        for name, value in expected.items():
            same(row[name] if value is None or isinstance(value, str) else json.loads(row[name]),
                 "" if value is None else value, f"{name} in CSV")


@case
def test_versions():
    """the versions of a run, with accuracy, contributions, staleness, and bytes by hop"""
    lines = history(cloud.store, "last").splitlines()
    name = cloud.one("SELECT run FROM runs WHERE run_id = 2")
    same(lines[0], f"run {name}", "the first line")
    heads = re.split(r"  +", lines[2])
    same(heads[:1] + heads[4:7], ["version", "accuracy", "loss", "updates"], "heads of the table")
    cells = [re.split(r"  +", line.strip()) for line in lines[3:3 + VERSIONS + 1]]
    same([row[0] for row in cells], [str(version) for version in range(VERSIONS + 1)], "the versions")
    same([row[1] for row in cells], ["start"] + ["commit"] * VERSIONS, "what made them")
    hops = [line.split()[0] for line in lines[VERSIONS + 5:]]
    same(hops, ["hop", "device-edge", "edge-cloud"], "the lines below")
    rows = as_json(cloud.store, "last")
    same((rows["run"], len(rows["versions"])), (name, VERSIONS + 1), "the run in JSON")
    for row in rows["versions"]:
        version = row["version"]
        found = cloud.sql("SELECT count(*), sum(samples), avg(staleness), max(staleness), sum(wire_bytes) FROM contributions "
                          "WHERE run_id = 2 AND version = ?", version)[0]
        expected = (row["contributions"], row["samples"], row["staleness_mean"], row["staleness_max"], row["update_bytes"])
        same(expected, found if found[0] else (0, 0, None, None, 0), f"numbers of version {version}")
        marks = cloud.sql("SELECT accuracy, loss FROM evaluations WHERE run_id = 2 AND version = ?", version)
        same([(row["accuracy"], row["loss"])], marks or [(None, None)], f"marks of version {version}")
        same(len(row["digest"]), 64, f"the digest of version {version}")
    shown = [row["accuracy"] for row in rows["versions"]]
    same([row[4] for row in cells], ["-" if mark is None else f"{100 * mark:.2f}%" for mark in shown], "accuracies shown")
    hop = {row["hop"]: row for row in rows["bytes_by_hop"]}
    same(hop["edge-cloud"]["up_bytes"], cloud.one("SELECT sum(wire_bytes) FROM contributions WHERE run_id = 2"),
         "bytes from edge to cloud")
    same_table(rows["versions"], history(cloud.store, "last", "--csv"))
    same(as_json(cloud.store, "last", "--limit", 2)["versions"], rows["versions"][-2:], "the newest two")


@case
def test_parts():
    """--verdicts, --nodes, --staleness, --events; an edge's journal tells its side"""
    def mistakes(node):  # who comes when the run is over is told so, and made none
        return [row for row in as_json(node.store, "last", "--verdicts")["verdicts"] if row["reason"] != "finished"]
    same([row["reason"] for row in mistakes(edge)], ["payload"], "the reason")
    text = history(edge.store, "last", "--verdicts")
    check(re.search(r"^refused  payload  +stranger +1 ", text, re.M), f"the stranger's line is not in {text}")
    same(mistakes(cloud), [], "what the cloud refused")
    first = cloud.one("SELECT run FROM runs WHERE run_id = 1")
    check(history(cloud.store, first, "--verdicts").endswith("(none)\n"), "somebody was refused in a run without anybody")
    nodes = {row["node"]: row for row in as_json(edge.store, "last", "--nodes")["nodes"]}
    same(sorted(nodes), [name for name, in edge.sql("SELECT DISTINCT node FROM nodes ORDER BY node")], "the edge's participants")
    check({"fleet-0", "fleet-1", "fleet-2", "stranger"} >= nodes.keys() > {"stranger"}, f"participants {nodes.keys()}")
    same((nodes["stranger"]["accepted"], nodes["stranger"]["refused"]), (0, 1), "the stranger's updates")
    same({row["kind"] for row in nodes.values()}, {"device"}, "their kinds")
    for row in as_json(cloud.store, "last", "--nodes")["nodes"]:
        same((row["node"], row["kind"]), ("edge", "edge"), "the cloud's participants")
    steps = as_json(cloud.store, "last", "--staleness")["staleness"]
    same(sum(row["accepted"] for row in steps),
         cloud.one("SELECT count(*) FROM contributions WHERE verdict = 'accepted' AND run_id = 2"), "accepted updates")
    events = as_json(edge.store, "last", "--events")["events"]
    same(len(events), edge.one("SELECT count(*) FROM events"), "events")
    same(as_json(edge.store)["runs"][0]["role"], "edge", "the role")
    same(history(cloud.database, "last"), history(cloud.store, "last"), "file and folder")


@case
def test_names_of_runs():
    """runs by the beginning of their names; unknown and ambiguous ones; wrong calls"""
    copy = SCRATCH / "copy.db"
    shutil.copy(cloud.database, copy)
    with sqlite3.connect(copy) as database:
        database.execute("UPDATE runs SET run = 'abc1' || substr(run, 5) WHERE run_id = 1")
        database.execute("UPDATE runs SET run = 'abc2' || substr(run, 5) WHERE run_id = 2")
    database.close()
    same(as_json(copy, "abc1")["run"][:4], "abc1", "the run that abc1 means")
    same(as_json(copy, "last")["run"][:4], "abc2", "the last run")
    refused("history", copy, "abc", saying=["2 runs begin with \"abc\""])
    refused("history", copy, "xyz", saying=["no run begins with \"xyz\""])
    refused("history", copy, "", saying=["empty name"])
    for words, text in (((), "which ledger"), ((copy, "a", "b"), "one run"), ((copy, "--jsno"), "--jsno"),
                        ((copy, "--limit"), "--limit"), ((copy, "--limit", "0"), "--limit"), ((copy, "--limit", "x"), "x")):
        err = tributary("history", *words, status=2)
        check(text in err.splitlines()[0] and "usage:" in err, f"{words}: {err}")


# ---- export ----

def read_safetensors(path):
    """(metadata, tensors by name in the file's order), read by hand."""
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    metadata = header.pop("__metadata__", {})
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, to = entry["data_offsets"]
        same((entry["dtype"], begin), ("F32", end), f"type and place of {name}")
        same(to - begin, 4 * math.prod(entry["shape"]), f"bytes of {name}")
        tensors[name] = np.frombuffer(data[8 + size + begin:8 + size + to], "<f4").reshape(entry["shape"])
        end = to
    same(len(data), 8 + size + end, "bytes of the file")
    return metadata, tensors


def digest_of(tensors):
    return hashlib.blake2b(b"".join(values.tobytes() for values in tensors.values()), digest_size=32).hexdigest()


@case
def test_export():
    """export to .safetensors and .npz: what it says, the header, the values, the digest"""
    first, second = SCRATCH / "model.safetensors", SCRATCH / "model.npz"
    said = tributary("export", cloud.store, "last", first)
    digest = cloud.one("SELECT digest FROM versions WHERE run_id = 2 AND version = ?", VERSIONS)
    run = cloud.one("SELECT run FROM runs WHERE run_id = 2")
    same(said, f"{first}: version {VERSIONS} of run {run}, {PARAMETERS} parameters, digest {digest}\n", "what it says")
    metadata, tensors = read_safetensors(first)
    same(metadata, {"run": run, "version": str(VERSIONS), "digest": digest}, "the metadata")
    same(digest_of(tensors), digest, "the digest of the values")
    same(sum(values.size for values in tensors.values()), PARAMETERS, "parameters")
    kept, = (cloud.store / "models").glob(f"{digest}.safetensors")
    for name, values in read_safetensors(kept)[1].items():
        check(np.array_equal(values, tensors[name]), f"{name} is not what the cloud kept")
    tributary("export", cloud.database, f"{run[:12]}:{VERSIONS}", second)
    with np.load(second) as arrays:
        same(sorted(arrays), sorted(tensors), "names in the .npz")
        for name, values in tensors.items():
            same((arrays[name].dtype, arrays[name].shape), (values.dtype, values.shape), f"type and shape of {name}")
            check(np.array_equal(arrays[name], values), f"{name} differs in the .npz")
    before = first.read_bytes()
    tributary("export", cloud.store, f"last:{VERSIONS}", first)
    same(first.read_bytes(), before, "the file, written again")
    same(sorted(path.name for path in SCRATCH.glob("model*")), ["model.npz", "model.safetensors"], "files written")


@case
def test_export_quantised():
    """export --quantise: weights in bytes and half bytes with a scale for each row, near to the floats"""
    tributary("export", cloud.store, "last", SCRATCH / "model.safetensors")
    floats = read_safetensors(SCRATCH / "model.safetensors")[1]
    for name, most in (("int8", 127), ("int4", 7)):
        path = SCRATCH / f"quantised-{name}.safetensors"
        tributary("export", "--quantise", name, cloud.store, "last", path)
        data = path.read_bytes()
        size, = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + size])
        same(header.pop("__metadata__")["quantised"], name, "the metadata")

        def read(tensor, kind):
            begin, end = (8 + size + offset for offset in header[tensor]["data_offsets"])
            return np.frombuffer(data[begin:end], kind).reshape(header[tensor]["shape"])
        for tensor, values in floats.items():
            if values.ndim == 1:
                check(np.array_equal(read(tensor, "<f4"), values), f"{tensor} is not what it was")
                continue
            rows, scale = values.reshape(len(values), -1), read(f"{tensor}.scale", "<f4")
            if name == "int8":
                codes = read(tensor, "i1").reshape(rows.shape)
            else:
                halves = read(tensor, "u1")
                codes = np.stack([halves & 15, halves >> 4], 2).reshape(len(rows), -1)[:, :rows.shape[1]]
                codes = codes.astype("i1") - 16 * (codes > 7)
            check(abs(codes).max() <= most, f"a code of {tensor} is {abs(codes).max()}")
            check((abs(rows - scale[:, None] * codes) <= 0.501 * scale[:, None]).all(), f"{tensor} is far from its floats")
    refused("export", "--quantise", "int4", cloud.store, "last", SCRATCH / "m.npz", status=2, saying=[".safetensors"])
    for path in SCRATCH.glob("*.safetensors"):
        path.unlink()


@case
def test_export_start():
    """version 0 is exported from where it is still kept"""
    parent = harness.cloud("young")
    parent.start()
    parent.wait_log(" evaluated version=0 ")
    parent.stop()
    path = SCRATCH / "zero.safetensors"
    tributary("export", parent.store, "last:0", path)
    same(digest_of(read_safetensors(path)[1]), parent.one("SELECT published_digest FROM versions"), "the digest")


@case
def test_export_refused():
    """export of versions and runs that are not there, and to places that are none"""
    out = SCRATCH / "never.npz"
    refused("export", cloud.store, "last:99", out, saying=["version 99", "not in the ledger", f"model file is {VERSIONS} "])
    gone = [version for version, digest in cloud.sql("SELECT version, digest FROM versions WHERE run_id = 2")
            if not (cloud.store / "models" / f"{digest}.safetensors").exists()]
    # Beside those, the newest stays, for room is made before an evaluation; and the best one, which may be an old one.
    check(len(gone) >= VERSIONS + 1 - KEEP - 2, f"only {gone} are gone, store.keep_models is {KEEP}")
    for version in gone:
        refused("export", cloud.store, f"last:{version}", out, saying=[f"version {version} ", "has no model file;"])
    refused("export", cloud.store, "zzz", out, saying=["no run begins with \"zzz\""])
    refused("export", edge.store, "last", out, saying=["no model file"])
    refused("export", cloud.store, "last", SCRATCH / "no" / "such.npz", saying=[SCRATCH / "no" / "such.npz"])
    refused("export", cloud.store, "last", SCRATCH / "model.h5", status=2, saying=[".safetensors or .npz"])
    refused("export", cloud.store, "last:x", out, status=2, saying=['"x"', "whole number"])
    refused("export", cloud.store, ":1", out, status=2, saying=["RUN or RUN:VERSION"])
    check("usage:" in tributary("export", cloud.store, status=2), "no usage")
    check(not out.exists(), "it wrote something")


@case
def test_export_damaged_model():
    """a model file that is not what the ledger names is not exported"""
    copy, out = SCRATCH / "damaged", SCRATCH / "never.npz"
    shutil.copytree(cloud.store, copy)
    digest = cloud.one("SELECT digest FROM versions WHERE run_id = 2 AND version = ?", VERSIONS)
    path = copy / "models" / f"{digest}.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    refused("export", copy, "last", out, saying=[path, "damaged"])
    path.write_bytes(data[:-8])
    refused("export", copy, "last", out, saying=[path])
    check(not out.exists(), "it wrote something")


# ---- ledgers that are none ----

def ledgers():
    """(what, path, text that is said)"""
    whole = cloud.database.read_bytes()
    yield "missing", SCRATCH / "nowhere.db", "No such file"
    (SCRATCH / "empty-folder").mkdir()
    yield "an empty folder", SCRATCH / "empty-folder", "no ledger.db"
    for what, content, text in (("text", b"not a database at all\n" * 99, "SQLite"), ("empty", b"", "no ledger"),
                                ("cut", whole[:len(whole) // 2], "restore"),
                                ("overwritten", whole[:4096] + b"\xa5" * (len(whole) - 4096), "restore")):
        path = SCRATCH / f"{what}.db"
        path.write_bytes(content)
        yield what, path, text
    for what, sql, text in (("newer", "PRAGMA user_version = 77", "77"), ("foreign", "PRAGMA application_id = 77", ""),
                            ("without tables", "DROP VIEW run_summary", "no ledger")):
        path = SCRATCH / f"{what}.db"
        path.write_bytes(whole)
        with sqlite3.connect(path) as database:
            database.execute(sql)
        database.close()
        yield what, path, text


@case
def test_bad_ledgers():
    """a damaged, newer, foreign or missing ledger: one line that says so, and nothing is changed"""
    for what, path, text in ledgers():
        before = path.read_bytes() if path.is_file() else None
        for words in (("history", path), ("history", path, "last", "--json"), ("export", path, "last", SCRATCH / "x.npz")):
            refused(*words, saying=[path, text])
        same(path.read_bytes() if path.is_file() else None, before, f"the {what} ledger")


@case
def test_watch():
    """watch: a finished run with its summary, a target that was not reached, and no ledger"""
    out = tributary("watch", cloud.store, "--summary", "--timeout", "10s")
    last = out.splitlines()[-1]
    check(re.match(rf"demo: accuracy=0\.\d{{4}} target=0\.0000 seconds=\d+\.\d versions={VERSIONS} updates=\d+ ", last), last)
    status, out, err = harness.run("tributary", "watch", cloud.store, "--target", "1", "--timeout", "10s")
    same((status, err), (1, ""), "status and error for a target that was not reached")
    refused("watch", SCRATCH / "nowhere.db", "--timeout", "300ms", saying=["no run in the ledger yet"])
    refused("watch", SCRATCH / "newer.db", "--timeout", "10s", saying=["newer.db"])


# ---- config ----

GOOD = """role: edge
name: edge-7
listen: ["tcp://127.0.0.1:7555"]
store:
  path: run/edge-7
"""


def config(name, text):
    path = SCRATCH / f"{name}.yaml"
    path.write_text(text)
    return path


@case
def test_config_check():
    """config check: good files, and what is wrong in bad ones, with file, line and what is near"""
    good = config("good", GOOD)
    same(tributary("config", "check", good), f"{good}: a good config for tributary-edge\n", "what it says")
    waits = config("waits", "role: cloud\nplan: {cloud.rule: fedavg}\n")
    out = tributary("config", "check", waits)
    check(out.startswith(f"{waits}: warning: plan.cloud.rule: without a deadline") and out.count("\n") == 2, f"what it warns of: {out}")
    bad = {
        "unknown": ("role: edge\nstore:\n  pth: x\n", [":3", "store.pth", "store.path"]),
        "far": ("role: cloud\nplan:\n  train:\n    epochs: 1\n    zzzzzz: 1\n", [":5", "plan.train.zzzzzz"]),
        "type": ("role: cloud\nplan.train.batch: 5x\n", [":2", "plan.train.batch", "5x"]),
        "range": ("role: cloud\nname: c\nplan:\n  train: {lr: -1}\n", [":4", "plan.train.lr", "-1"]),
        "choice": ("role: device\nlog: {level: loud}\n", [":2", "log.level", "loud", "debug"]),
        "rule": ("role: cloud\nplan:\n  edge.rule: fedbuf(3)\n", [":3", "fedbuf", "fedbuff"]),
        "codec": ("role: cloud\nplan:\n  codec.up: int9\n", [":3", "int9"]),
        "layer": ("role: cloud\nplan: {data.set: glyphs, codec.forward: \"layer(gru=int4, else=int8)\"}\n",
                  ["plan.codec.forward", "gru", "conv1.weight"]),
        "syntax": ("role: edge\nname: [unclosed\n", [":"]),
        "twice": ("role: edge\nname: a\nname: b\n", [":3", "name"]),
        "role": ("role: egde\n", ["egde", "edge"]),
        "none": ("name: a\n", ["role"]),
        "exposed": ("role: edge\nlisten: [\"tcp://*:7410\"]\n", ["listen", "keys.secret"]),
    }
    for name, (text, saying) in bad.items():
        path = config(name, text)
        refused("config", "check", path, saying=[path, *saying])
    refused("config", "check", SCRATCH / "missing.yaml", saying=["missing.yaml", "No such file"])
    refused("config", "check", "--role", "bogus", good, saying=["bogus"])
    refused("config", "check", "--role", "cloud", good, saying=[good, "role"])
    same(tributary("config", "check", "--role", "edge", config("anon", GOOD.split("\n", 1)[1])).count("good"), 1, "good ones")
    status, out, err = harness.run("tributary", "config", "check", good, config("none", "name: a\n"), good)
    same((status, out.count("a good config"), err.count("\n")), (1, 2, 1), "status, good and bad of three")


@case
def test_config_options():
    """config options lists the keys of each role; config dump writes a file that says the same"""
    keys = {}
    for role in ("cloud", "edge", "device"):
        text = tributary("config", "options", role)
        keys[role] = set(re.findall(r"^ *([a-z][a-z_.]+)\b", text, re.MULTILINE))
        check({"role", "name", "log.level", "health", "on_finish"} <= keys[role], f"the keys of {role} are {keys[role]}")
    check("plan.edge.rule" in keys["cloud"] and "limits.parameters" in keys["edge"] and "speed.factor" in keys["device"],
          "a key is missing")
    check("plan.edge.rule" not in keys["edge"], "an edge has a plan in its config")
    markdown = tributary("config", "options", "--markdown")
    for role, names in keys.items():
        for name in ("health", "on_finish"):
            check(f"`{name}`" in markdown, f"{name} is not in the document")
    data = tributary("config", "options", "data")
    for word in ("mnist:", "csv:", "user", "every", "shuffle", "NAME%24", "NAME#", "idx:", "classes", "std"):
        check(word in data and (word.strip(":") in markdown), f"{word} is not among the options of data sets")
    model = tributary("config", "options", "model")
    for word in ("cnn-small:", "conv:", "padding", "gru:", "cross-entropy:"):
        check(word in model and word.strip(":") in markdown, f"{word} is not among the models and layers")
    refused("config", "options", "clod", status=2, saying=["clod", "cloud"])
    dumped = config("dumped", tributary("config", "dump", config("good", GOOD)))
    tributary("config", "check", dumped)
    same(tributary("config", "dump", dumped), dumped.read_text(), "a dump of a dump")
    check("edge-7" in dumped.read_text() and "run/edge-7" in dumped.read_text(), "values are missing")


# ---- keys ----

def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@case
def test_keys():
    """keys new, show and allow: files and their modes, no overwriting, no secret shown, nothing allowed twice"""
    base = SCRATCH / "gate"
    key, pub, allow = base.with_suffix(".key"), base.with_suffix(".pub"), SCRATCH / "allow"
    said = tributary("keys", "new", base, "--name", "gate-1")
    same((mode(key), mode(pub)), (0o600, 0o644), "modes of the two files")
    public = re.search(r"^public (\S{40})$", pub.read_text(), re.MULTILINE)[1]
    secret = re.search(r"^secret (\S{40})$", key.read_text(), re.MULTILINE)[1]
    check(public in said and secret not in said, f"it said {said}")
    before = key.read_bytes(), pub.read_bytes()
    refused("keys", "new", base, saying=[base, "there"])
    same((key.read_bytes(), pub.read_bytes()), before, "the two files after a refusal")
    for path, there in ((key, "(there"), (pub, "(not in this file)")):
        said = tributary("keys", "show", path)
        check(said.startswith(f"name gate-1\npublic {public}\nsecret {there}") and secret not in said, f"it showed {said}")
    tributary("keys", "allow", allow, pub)
    same((allow.read_text(), mode(allow)), (f"{public} gate-1\n", 0o644), "the allow-list and its mode")
    refused("keys", "allow", allow, pub, saying=[allow])
    tributary("keys", "new", SCRATCH / "other")
    tributary("keys", "allow", allow, SCRATCH / "other.pub")
    same(len(allow.read_text().splitlines()), 2, "lines of the allow-list")
    same(allow.read_text().splitlines()[0], f"{public} gate-1", "its first line")


@case
def test_keys_refused():
    """names and files that are none"""
    refused("keys", "new", SCRATCH / "bad", "--name", "a b", saying=["character 2 of the name"])
    refused("keys", "new", SCRATCH / "no" / "such", saying=[SCRATCH / "no"])
    refused("keys", "show", SCRATCH / "none.key", saying=["none.key"])
    broken = SCRATCH / "broken.pub"
    broken.write_text("public tooshort\n")
    refused("keys", "show", broken, saying=[broken, "1"])
    refused("keys", "allow", SCRATCH / "allow", broken, saying=[broken])
    same(list(SCRATCH.glob("bad.*")), [], "files of a refused name")
    for words in ((), ("new",), ("show",), ("allow", "x"), ("new", "--name")):
        check("usage:" in tributary("keys", *words, status=2), f"no usage for keys {words}")


# ---- the program ----

@case
def test_help():
    """--help and -h of everything: status 0, on stdout; unknown words: the nearest one"""
    commands = re.findall(r"^  ([a-z]+) ", tributary("--help"), re.MULTILINE)
    same(commands, ["history", "compare", "watch", "export", "replay", "rollback", "simulate", "verify", "keys", "config"], "the commands")
    for command in commands:
        text = tributary(command, "--help")
        check(text.startswith(f"usage: tributary {command}"), f"the help of {command} is {text}")
        same(tributary(command, "-h"), text, f"-h of {command}")
    same(tributary("help"), tributary("--help"), "help")
    check(tributary("--version").startswith("tributary 0"), "--version")
    for program in ("tributary-cloud", "tributary-edge", "tributary-device"):
        status, out, err = harness.run(program, "--help")
        same((status, err), (0, ""), f"{program} --help")
        check("--set KEY=VALUE" in out and "store.path" in out or "device" in program, f"the help of {program}")
    check("usage:" in tributary(status=2), "no usage without words")
    refused("histroy", status=2, saying=["histroy", "history"])
    refused("qqqqqqqq", status=2, saying=["qqqqqqqq", "--help"])
    refused("keys", "nwe", status=2, saying=["nwe", "new"])
    refused("config", "chekc", status=2, saying=["chekc", "check"])


sys.exit(harness.main(cloud, edge, fleet))
