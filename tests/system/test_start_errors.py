#!/usr/bin/python3
# timeout: 90
"""Daemons that cannot start say why in one line, quickly, with another exit status than 0, and leave things as they were."""
import gzip
import hashlib
import os
import re
import shutil
import socket
import sqlite3
import sys

import harness
from harness import SAMPLE, SCRATCH, case, check, same

QUICK_S = 10.0  # a fraction of a second, on a machine that has time


def refused(program, *words, status, saying, env=None):
    """It ends quickly with this status and one line that has all of these texts in it."""
    found, out, err = harness.run(f"tributary-{program}", *words, env=env, timeout_s=QUICK_S)
    lines = [line for line in err.splitlines() if " info " not in line]
    said = f"{program} {words} said {err!r}"
    same((found, out), (status, ""), f"exit status and output: {said}; it")
    same(len(lines), 1, f"lines but information: {said}; they")
    for text in saying:
        check(text in lines[0], f"{text!r} is not in what it says: {lines[0]!r}")


def sets(**settings):
    return [word for key, value in settings.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


def edge_words(folder, **settings):
    listen = settings.pop("listen", f'["ipc://{folder}/sock"]')
    return sets(store__path=folder / "store", listen=listen, upstream__endpoint=f"ipc://{folder}/parent", **settings)


def fresh(name):
    folder = SCRATCH / name
    folder.mkdir()
    return folder


def listening():
    """A TCP port that is taken: (socket, port)."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server, server.getsockname()[1]


# ---- addresses and keys ----

@case
def test_busy_port():
    """a busy port"""
    folder = fresh("port")
    server, port = listening()
    refused("edge", *edge_words(folder, listen=f'["tcp://127.0.0.1:{port}"]'), status=1,
            saying=[" failed ", f"tcp://127.0.0.1:{port}", "in use"])
    server.close()
    refused("edge", *edge_words(folder, listen='["ipc:///nowhere/sock"]'), status=1, saying=["ipc:///nowhere/sock"])


@case
def test_busy_endpoint():
    """another node on the same ipc endpoint, health endpoint or store; that one goes on"""
    first = harness.Daemon("edge", "first", {"upstream.endpoint": f"ipc://{SCRATCH}/nobody"}).start()
    first.wait_log(" listening ")
    other = fresh("second")
    refused("edge", *edge_words(other, listen=f'["{first.endpoint}"]'), status=1, saying=[first.endpoint, "in use"])
    refused("edge", *edge_words(other, health=first.health_endpoint), status=1,
            saying=[first.health_endpoint, "in use"])
    refused("edge", *edge_words(other), *sets(store__path=first.store), status=1,
            saying=[str(first.store), "in use by process", str(first.process.pid)])
    check(first.health()["well"], "the first one is not well any more")
    first.stop()


@case
def test_exposed():
    """plain on an address that others reach"""
    for endpoint in ("tcp://*:7411", "tcp://0.0.0.0:7411"):
        refused("edge", "--set", f'listen=["{endpoint}"]', status=2,
                saying=["listen: ", endpoint, "encryption", "keys.secret", "allow_insecure"])
    refused("device", "--set", "upstream.endpoint=tcp://192.0.2.1:7410", status=2,
            saying=["upstream.endpoint: ", "encryption", "upstream.key", "allow_insecure"])


@case
def test_keys():
    """key files that are missing, damaged or not a pair; a missing allow-list"""
    folder = fresh("keys")
    for name in ("one", "two"):
        same(harness.run("tributary", "keys", "new", folder / name)[0], 0, "exit status of keys new")
    (folder / "allow").touch()
    damaged = folder / "damaged.key"
    secret = (folder / "one.key").read_text()

    def with_key(path, **settings):
        return edge_words(folder, keys__secret=path, keys__allow=folder / "allow", **settings)
    for content, saying in (("garbage\n", "damaged.key:1"), ("", "damaged.key"),
                            (secret[:-20] + "\n", "damaged.key"),
                            (secret.replace("secret ", "secret #", 1), "damaged.key"),
                            (re.sub(r"(?m)^public .*$", re.search(r"(?m)^public .*$", (folder / "two.key").read_text())[0],
                                    secret), "damaged.key")):
        damaged.write_text(content)
        damaged.chmod(0o600)
        refused("edge", *with_key(damaged), status=1, saying=[saying])
    refused("edge", *with_key(folder / "none.key"), status=1, saying=["none.key", "No such file"])
    refused("edge", *with_key(folder / "one.pub"), status=1, saying=["one.pub", "secret"])
    (folder / "allow").unlink()
    refused("edge", *with_key(folder / "one.key"), status=1, saying=[f"{folder}/allow", "No such file"])
    (folder / "allow").write_text("what is this\n")
    refused("edge", *with_key(folder / "one.key"), status=1, saying=[f"{folder}/allow:1"])
    refused("edge", *sets(keys__secret=folder / "one.key"), status=2, saying=["keys.secret", "keys.allow", "both"])
    refused("device", *sets(keys__folder=folder, upstream__key=folder / "one.pub", name="nobody"), status=1,
            saying=["nobody-0.key", "No such file"])


# ---- configs ----

@case
def test_configs():
    """unknown keys, wrong types and values out of range, with file, line and what is allowed"""
    path = SCRATCH / "config.yaml"
    for program, text, saying in (
        ("edge", "role: edge\nstore:\n  path: x\n  durabilty: full\n", [":4: ", "store.durabilty", "store.durability"]),
        ("cloud", "plan:\n  train:\n    lrr: 1\n", [":3: ", "plan.train.lrr", "plan.train.lr"]),
        ("edge", "limits:\n  peers: many\n", [":2: limits.peers: ", '"many"', "a whole number from 1 to 65535"]),
        ("edge", "limits:\n  peers: 5x\n", [":2: limits.peers: ", '"5x"', "a whole number"]),
        ("edge", "\nlimits: {peers: 0}\n", [":2: limits.peers: ", '"0"', "from 1 to"]),
        ("edge", "listen: 5\nallow_insecure: maybe\n", ["config.yaml:", "listen"]),
        ("edge", "allow_insecure: maybe\n", [":1: allow_insecure: ", '"maybe"', "true"]),
        ("cloud", "evaluation: {interval: 5}\n", [":1: evaluation.interval: ", '"5"', "ms"]),
        ("cloud", "plan: {train.lr: 0}\n", [":1: plan.train.lr: ", '"0"']),
        ("cloud", "plan: {codec: {up: zip}}\n", [":1: plan.codec.up: ", "zip", "int8"]),
        ("cloud", "plan: {edge.rule: fedbuf(k=3)}\n", [":1: plan.edge.rule: ", "fedbuf", "fedbuff"]),
        ("device", "role: edge\n", [":1: role: ", '"edge"', "device"]),
        ("device", "devices: {count: [1, 2]}\n", [":1: devices.count: "]),
        ("device", "name: a\nname: b\n", [":2: ", "name"]),
        ("edge", "role: [edge\n", ["config.yaml:", "YAML"]),
        ("edge", "- role\n", ["config.yaml"]),
        ("edge", "role: \xff\xfe", ["config.yaml"]),
    ):
        path.write_bytes(text.encode("latin-1"))
        refused(program, "--config", path, status=2, saying=[f"tributary-{program}: ", *saying])
    refused("edge", "--config", SCRATCH / "none.yaml", status=2, saying=["none.yaml", "No such file"])
    refused("edge", "--set", "limits.peers=-1", status=2, saying=["limits.peers", '"-1"', "from 1 to"])
    refused("edge", "--set", "limit.peers=1", status=2, saying=["limit.peers", "limits.peers"])
    refused("edge", "--stor", "x", status=2, saying=["--stor", "--store"])


# ---- data ----

def damaged_samples():
    """Folders with a data set each that has something wrong, and what is to be said of it."""
    def copy(name):
        folder = fresh(name)
        for path in SAMPLE.glob("*.gz"):
            shutil.copy(path, folder)
        return folder
    images, labels = "-images-idx3-ubyte", "-labels-idx1-ubyte"
    for kind in ("t10k", "train"):
        cut = copy(f"cut-{kind}") / f"{kind}{images}.gz"
        cut.write_bytes(cut.read_bytes()[:-1000])
        flipped = copy(f"flipped-{kind}") / f"{kind}{images}.gz"
        data = bytearray(flipped.read_bytes())
        data[len(data) // 2] ^= 4
        flipped.write_bytes(data)
        short = copy(f"short-{kind}")
        whole = gzip.decompress((short / f"{kind}{images}.gz").read_bytes())
        (short / f"{kind}{images}.gz").unlink()
        (short / f"{kind}{images}").write_bytes(whole[:-1])
        magic = copy(f"magic-{kind}") / f"{kind}{labels}.gz"
        magic.write_bytes(gzip.compress(b"\1\2\3\4" + gzip.decompress(magic.read_bytes())[4:]))
        eleven = copy(f"eleven-{kind}") / f"{kind}{labels}.gz"
        content = bytearray(gzip.decompress(eleven.read_bytes()))
        content[20] = 11
        eleven.write_bytes(gzip.compress(bytes(content)))
        yield kind, [(cut.parent, cut), (flipped.parent, flipped), (short, short / f"{kind}{images}"),
                     (magic.parent, magic), (eleven.parent, eleven.parent)]


@case
def test_data():
    """a data set that is missing, cut short, or has a flipped bit: the cloud does not start, a device says so"""
    broken = dict(damaged_samples())
    folder = fresh("data")
    words = sets(store__path=folder / "store", listen=f'["ipc://{folder}/sock"]')
    for path, file in broken["t10k"]:
        refused("cloud", *words, "--set", f"data.path={path}", status=1, saying=[" failed ", str(file)])
    refused("cloud", *words, "--set", f"data.path={folder}", status=1, saying=[str(folder), "data.path"])
    refused("cloud", *words, status=1, env={"TRIBUTARY_DATA": str(folder)}, saying=[str(folder), "TRIBUTARY_DATA"])
    refused("cloud", *words, *sets(data__path=SAMPLE, plan__codec__down="layer(gru=int4, else=int8)"), status=1,
            saying=[" failed ", "plan.codec.down: ", "gru", "conv1.weight"])
    check(not (folder / "store").exists(), "a store was made for a run that could not begin")

    cloud = harness.cloud("data-cloud")
    fleet = [harness.devices(cloud, f"data-{i}", first=i, data__path=path)
             for i, (path, _) in enumerate(broken["train"])]
    harness.start_tree(cloud, *fleet)
    for device, (_, file) in zip(fleet, broken["train"]):
        said = device.wait_log(r" error \S+ training_impossible (.*)")[1]
        check(f"device={device.name}-" in said and str(file) in said, f"{file} is not in what it says: {said}")
        same(device.count("updates"), 0, "updates made of damaged data")
    check(cloud.health()["well"], "the cloud is not well")
    harness.stop(*fleet, cloud)


# ---- stores ----

@case
def test_unwritable():
    """a store's folder that cannot be made or written"""
    file = SCRATCH / "a-file"
    file.write_text("not a folder")
    folder = fresh("unwritable")
    for path, why in ((file / "store", "Not a directory"), ("/proc/tributary", "No such file")):
        refused("edge", *edge_words(folder), *sets(store__path=path), status=1, saying=[" failed ", str(path), why])
    same(file.read_text(), "not a folder", "the file in the way")


def trained_store():
    """The stores of a small tree that has trained, at rest: (cloud's, edge's) folders."""
    tree = [harness.cloud("st-cloud"), None, None]
    tree[1] = harness.edge(tree[0], "st-edge")
    tree[2] = harness.devices(tree[1], "st-device")
    harness.start_tree(*tree)
    tree[2].wait_count("accepted", 12)
    tree[0].wait_count("version", 3)
    harness.stop(*reversed(tree))
    return tree[0].store, tree[1].store


def content(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "store.lock"}


def refused_store(role, store, saying):
    """The daemon refuses this store, and nothing in it has changed."""
    before = content(store)
    folder = store.parent
    words = edge_words(folder) if role == "edge" else sets(listen=f'["ipc://{folder}/sock"]', plan__model="softmax",
                                                           data__path=SAMPLE, plan__data__devices=10)
    refused(role, *words, *sets(store__path=store, store__on_damage="refuse"), status=1, saying=[" failed ", *saying])
    same(content(store), before, f"what is in {store}")


@case
def test_stores():
    """a store that is newer, truncated, overwritten or lacks payloads is refused where nothing may be set aside, and stays as it is"""
    stores = dict(zip(("cloud", "edge"), trained_store()))
    for role, name in (("cloud", "ledger.db"), ("edge", "journal.db")):
        def spoil(what, damage):
            store = fresh(f"{role}-{what}") / "store"
            shutil.copytree(stores[role], store)
            damage(store)
            return store

        def newer(store):
            database = sqlite3.connect(store / name)
            database.execute("PRAGMA user_version = 99")
            database.close()
        refused_store(role, spoil("newer", newer), [f"{name}: ", "99", "newer"])

        size = (stores[role] / name).stat().st_size
        for bytes_left in (size // 2, 5000, 50):
            store = spoil(f"cut-{bytes_left}", lambda store: os.truncate(store / name, bytes_left))
            refused_store(role, store, [name])
        store = spoil("noise", lambda store: (store / name).write_bytes(os.urandom(size)))
        refused_store(role, store, [name])

        def largest(store):
            return max((store / "segments").iterdir(), key=lambda path: path.stat().st_size)
        refused_store(role, spoil("gone", lambda store: largest(store).unlink()), ["segment"])
        store = spoil("short", lambda store: os.truncate(largest(store), largest(store).stat().st_size - 100))
        refused_store(role, store, ["segment"])

        def flip(store):
            path = largest(store)
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        refused_store(role, spoil("flipped", flip), ["segment"])


sys.exit(harness.main())
