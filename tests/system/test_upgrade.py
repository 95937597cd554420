#!/usr/bin/python3
# timeout: 240
"""The last release and this one in one tree, old stores under new programs, a rolling restart, and files of a program that is
newer than ours. The last release is built from the history into build/last-release, once; without it the cases are skipped."""
import hashlib
import os
import shutil
import sqlite3
import struct
import subprocess
import sys

import harness
import ledgers
import tributary_wire as wire
from harness import BIN, ROOT, case, check, same, wait

LAST = "e415de8"  # the release before
OLD = ROOT / "build" / "last-release" / LAST / "build/gcc/bin"
PROGRAMS = ("tributary-cloud", "tributary-edge", "tributary-device", "tributary")


def git(*words, **options):
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, **options)


def build_last():
    """Why it cannot be built, or None."""
    if all((OLD / program).exists() for program in PROGRAMS):
        return None
    if shutil.which("git") is None or git("cat-file", "-e", f"{LAST}^{{commit}}").returncode:
        return f"the history has no {LAST}"
    folder = OLD.parent.parent.parent
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = git("archive", LAST, "--", "Makefile", "VERSION", "mk", "shared", "device", "edge", "cloud", "cli")
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    built = subprocess.run(["make", "-s", "-j2", "CC=gcc", "all"], cwd=folder, capture_output=True, text=True,
                           env={key: value for key, value in os.environ.items() if not key.startswith("MAKE")})
    return None if built.returncode == 0 else f"{LAST} does not build here: {built.stderr[-300:]}"


WHY = build_last()


def old(daemon):
    daemon.bin = OLD
    daemon.settings.pop("spool.path", None)  # it knew none
    return daemon


def new(daemon):
    daemon.bin = BIN
    if daemon.role == "device":
        daemon.settings.update({"log.level": "debug", "spool.path": daemon.folder / "spool"})
    return daemon


def need_history():
    if WHY:
        raise harness.Skip(WHY)


def check_tree(fleet, edge, cloud):
    """What the device was told, the edge's ledger and the cloud's agree; nothing was refused."""
    fleet.signal()
    stopped = fleet.wait_log(r" stopped updates=(\d+) accepted=(\d+) refused=(\d+)")
    same(fleet.wait_exit(), 0, f"exit status of {fleet.name}")
    wait(lambda: ledgers.drained(edge), f"{edge.name} has forwarded all")
    harness.stop(edge, cloud)
    rows = edge.sql("SELECT count(*), count(DISTINCT node || incarnation || sequence), sum(verdict = 'accepted') FROM "
                    "contributions")[0]
    same((rows[0], rows[0]), rows[1:], "updates, different ones, accepted ones")
    check(int(stopped[2]) <= rows[2], f"the device was told of {stopped[2]}, the edge has {rows[2]}")
    found = ledgers.audit([], [(cloud, None), (edge, cloud)])
    check(not found.wrong and not found.twice, f"{found.twice} {found.wrong}")


@case
def test_mixtures():
    """every mixture of old and new cloud, edge and device works together"""
    need_history()
    for i in range(1, 7):  # all old and all new are tested elsewhere
        ages = [new if i & bit else old for bit in (4, 2, 1)]
        name = "-".join(age.__name__ for age in ages)
        cloud = ages[0](harness.cloud(f"{name}-cloud", model="2nn" if i % 2 else "softmax", plan__train__max_samples=30))
        edge = ages[1](harness.edge(cloud, f"{name}-edge"))
        fleet = ages[2](harness.devices(edge, f"{name}-dev", count=3))
        harness.start_tree(cloud, edge, fleet)
        fleet.wait_count("accepted", 12)
        cloud.wait_count("version", 4)
        same((cloud.count("malformed"), edge.count("malformed")), (0, 0), f"malformed messages of {name}")
        check_tree(fleet, edge, cloud)


def check_past(cloud):
    """The older chain fits, and the newest version can be rebuilt."""
    status, out, err = harness.run("tributary", "verify", cloud.store)
    check(status == 0 and "chain v1" in out and "findings=0" in out, f"verify: {out}{err}")
    status, out, err = harness.run("tributary", "replay", cloud.store)
    check(status == 0 and "as the ledger says" in out, f"replay: {out}{err}")


@case
def test_old_stores():
    """ledger and journal of the old version are gone on with, after SIGTERM and after kill -9, and rolled back"""
    need_history()
    for name, end in (("stopped", harness.Daemon.stop), ("killed", harness.Daemon.kill)):
        cloud = old(harness.cloud(f"{name}-cloud", store__checkpoint__records=20))
        edge = old(harness.edge(cloud, f"{name}-edge", store__checkpoint__records=20))
        fleet = old(harness.devices(edge, f"{name}-dev", count=3))
        harness.start_tree(cloud, edge, fleet)
        fleet.wait_count("accepted", 60)  # checkpoints, and records behind the last
        for daemon in (fleet, edge, cloud):
            end(daemon)
        version, updates = cloud.one("SELECT max(version) FROM versions"), edge.one("SELECT count(*) FROM contributions")
        check_past(cloud)
        harness.start_tree(*(new(daemon) for daemon in (cloud, edge, fleet)))
        check(cloud.logged(rf" run_resumed version={version}\b"), f"the cloud did not resume at version {version}")
        fleet.wait_count("accepted", 30)
        check(edge.one("SELECT count(*) FROM contributions") >= updates + 30, "the edge's ledger began anew")
        same(edge.one("SELECT count(DISTINCT incarnation) FROM forwards"), 1, "incarnations of the edge")
        ledgers.check_counted([(fleet, edge)], [(cloud, None), (edge, cloud)])
        status, out, err = harness.run("tributary", "history", cloud.store)
        same((status, err), (0, ""), f"history of the migrated ledger: {out}")
        check_past(cloud)
        newest = cloud.one("SELECT max(version) FROM versions")
        status, out, err = harness.run("tributary", "rollback", cloud.store, "last", newest - 1)
        same((status, err), (0, ""), f"rollback: {out}")
        check_past(cloud)
        with sqlite3.connect(cloud.database) as database:
            database.execute("UPDATE contributions SET weight_applied = weight_applied * 2 WHERE version = ?", (newest,))
        status, out, err = harness.run("tributary", "verify", cloud.store)
        check(status == 1 and out.startswith(f"version {newest} contribution") and "findings=1" in out, f"altered: {out}{err}")


@case
def test_rolling_restart():
    """every node of a running tree is replaced by a new one, the others going on: nothing is lost"""
    need_history()
    cloud = old(harness.over_tcp(harness.cloud("roll-cloud", plan__data__devices=6)))
    edges = [old(harness.over_tcp(harness.edge(cloud, f"roll-edge-{i}"))) for i in (1, 2)]
    below = old(harness.over_tcp(harness.edge(edges[1], "roll-edge-3")))
    parents = [edges[0], below]
    fleets = [old(harness.devices(parent, f"roll-dev-{i}", first=3 * i, count=3)) for i, parent in enumerate(parents)]
    harness.start_tree(cloud, *edges, below, *fleets)
    told = 0
    for daemon in (cloud, edges[1], below, edges[0], *fleets):
        for fleet in fleets:
            fleet.wait_more("accepted", 4)
        if daemon in fleets:
            daemon.signal()
            told += int(daemon.wait_log(r" stopped updates=\d+ accepted=(\d+) ")[1])
            daemon.wait_exit()
        else:
            daemon.stop()
        new(daemon).start()
        if daemon.role == "cloud":
            daemon.wait_log(" run_resumed ")
    for fleet in fleets:
        fleet.wait_more("accepted", 5)
    for node in (*edges, below):
        same(node.one("SELECT count(*) FROM contributions WHERE verdict <> 'accepted'"), 0, f"refused at {node.name}")
    nodes = [(cloud, None), *((edge, cloud) for edge in edges), (below, edges[1])]
    found = ledgers.check_counted(list(zip(fleets, parents)), nodes)
    there = sum(parent.one("SELECT count(*) FROM contributions WHERE verdict = 'accepted'") for parent in parents)
    check(there >= told + found.accepted, f"devices were told of {told} + {found.accepted}, the edges have {there}")
    same(cloud.one("SELECT count(*) FROM runs"), 1, "runs")


# ---- newer files ----

def contents(folder):
    """Digests of all that counts: SQLite's shared memory, its empty log and the lock are made anew at each start."""
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.stat().st_size and not path.name.endswith(("-shm", ".lock"))}


def newer_schema(edge):
    with sqlite3.connect(edge.database) as database:
        database.execute("PRAGMA user_version = 1000")


def crc_of(*numbers, body=b""):
    """A row's: numbers of 8 bytes but for the last two, or the last one of three and more."""
    return wire.crc32c(b"".join(numbers) + body)


def u64(value):
    return struct.pack("<Q", value)


def u32(value):
    return struct.pack("<I", value)


def newer_record(edge):
    """The last record is of a kind that we do not know."""
    with sqlite3.connect(edge.database) as database:
        position, body, segment, offset, length, crc = database.execute(
            "SELECT position, body, segment, offset, length, payload_crc32c FROM journal ORDER BY position DESC LIMIT 1"
        ).fetchone()
        row_crc = crc_of(u64(position), u64(200), u64(segment), u64(offset), u32(length), u32(crc), body=body)
        database.execute("UPDATE journal SET kind = 200, row_crc32c = ? WHERE position = ?", (row_crc, position))


def newer_checkpoint(edge):
    with sqlite3.connect(edge.database) as database:
        position, file, size = database.execute(
            "SELECT position, file, bytes FROM checkpoints ORDER BY position DESC LIMIT 1").fetchone()
        path = edge.store / "checkpoints" / f"{file:016x}.ckp"
        data = bytearray(path.read_bytes())
        same(bytes(data[:8]), b"TRIBCKPT", "how a checkpoint begins")
        data[8:12] = u32(1000)
        path.write_bytes(data)
        crc = wire.crc32c(bytes(data))
        row_crc = crc_of(u64(position), u64(file), u64(size), u32(crc))
        database.execute("UPDATE checkpoints SET file_crc32c = ?, row_crc32c = ? WHERE position = ?",
                         (crc, row_crc, position))


def newer_segment(edge):
    path = max((edge.store / "segments").glob("*.seg"))
    data = path.read_bytes()
    same(data[:8], b"TRIBSEG1", "how a segment begins")
    path.write_bytes(b"TRIBSEG2" + data[8:])


@case
def test_newer_files():
    """a schema, record, checkpoint or segment of a newer program is refused, and not a byte of it changes"""
    cloud = harness.cloud("newer-cloud")
    edge = harness.edge(cloud, "newer-edge", store__checkpoint__records=20)
    fleet = harness.devices(edge, "newer-dev", count=2)
    harness.start_tree(cloud, edge, fleet)
    wait(lambda: edge.one("SELECT count(*) FROM checkpoints"), "a checkpoint")
    edge.stop()
    edge.start(store__checkpoint__records=10 ** 8)  # a record and a payload behind it are read at the next start
    fleet.wait_more("accepted", 3)
    harness.stop(fleet, edge, cloud)
    kept = edge.folder / "kept"
    shutil.copytree(edge.store, kept)
    for make in (newer_schema, newer_record, newer_checkpoint, newer_segment):
        shutil.rmtree(edge.store)
        shutil.copytree(kept, edge.store)
        make(edge)
        sqlite3.connect(edge.database).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        before = contents(edge.store)
        edge.start()
        status = edge.wait_exit()
        check(status > 0, f"{make.__name__}: exit status {status}")
        check(edge.logged(r" failed error=.*(newer|kind 200)"), f"{make.__name__}: {edge.log()}")
        same(contents(edge.store), before, f"files after {make.__name__}")
    shutil.rmtree(edge.store)
    shutil.copytree(kept, edge.store)
    harness.start_tree(cloud, edge)  # what was kept is still good
    harness.stop(edge, cloud)


sys.exit(harness.main())
