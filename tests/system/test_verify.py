#!/usr/bin/python3
# timeout: 240
"""`tributary verify` on the ledger of a real run: sound while it goes on; every alteration is found where it was made; and
the chain again in Python, from docs/ledger.md."""
import hashlib
import re
import shutil
import sqlite3
import struct
import sys

import harness
from harness import SCRATCH, Peer, case, check, same, wait

# Versions of two updates: the peers below count as live children for three heartbeats after they were last heard. Some of
# them are published, some are not.
cloud = harness.cloud(evaluation__interval=0, plan__cloud__rule="fedbuff(k=2)", plan__heartbeat="20s",
                      plan__publish__global_interval="200ms", plan__codec__global="auto(min=rotate+2bit)",
                      run__label="chained")
edge = harness.edge(cloud)
fleet = harness.devices(edge, "fleet", count=3)


def verify(path=None, status=0):
    found, out, err = harness.run("tributary", "verify", path or cloud.store)
    same(found, status, f"status of verify ({out}{err})")
    counts = re.search(r"^verify: versions=(\d+) contributions=(\d+) findings=(\d+)$", out, re.M)
    return out, [int(count) for count in counts.groups()], re.findall(r"^(?:run|version .*): .*$", out, re.M)


@case
def test_sound():
    """a run's ledger is sound while it goes on, refused and pending contributions too"""
    harness.start_tree(cloud, edge)
    peers = [Peer(cloud, name) for name in ("one", "two", "three")]
    for peer in peers:
        peer.hello()
        peer.pull()
        peer.push(b"\0" * 11)
        same(peer.verdict(), (1, "payload"), "the verdict on eleven bytes")
    fleet.start()
    for version in (2, 5, 9, 14):
        cloud.wait_version(version)
        out, (versions, _, findings), _ = verify()
        check(versions >= version and findings == 0 and "chain v3" in out and " chained" not in out, out)
    for peer in peers:
        peer.push(b"\0" * 12)
        same(peer.verdict(), (2, "payload"), "the verdict on twelve bytes")
        peer.close()
    cloud.wait_version(cloud.one("SELECT max(version) FROM versions") + 3)
    wait(lambda: middle(0) and middle(1), "versions of two updates, published ones and others")
    harness.stop(fleet, edge, cloud)
    out, (versions, contributions, _), _ = verify()
    same(versions, cloud.one("SELECT count(*) FROM versions"), "versions")
    same(contributions, cloud.one("SELECT count(*) FROM contributions"), "contributions")
    out, _, _ = verify(edge.store)
    check("has no chain" in out, out)


# ---- again, by somebody else ----

def lines(*values):
    def line(v):
        return "" if v is None else struct.pack(">f", v).hex() if isinstance(v, float) else str(v)
    return "".join(line(v) + "\n" for v in values).encode()


def H(before, *rest):
    return hashlib.blake2b(before + b"".join(rest), digest_size=32).digest()


JUDGED = ("judged_ms, node, incarnation, sequence, base_version, staleness, origins, staleness_factor, weight_applied, "
          "norm_added, weight_samples, region_samples, samples, steps, loss, update_norm, cosine, codec, wire_bytes, raw_bytes, "
          "payload_crc32c, verdict, reason, below_updates, below_up_bytes, below_down_bytes, below_raw_bytes, effect, label_divergence, below_hops")
MADE = "rule, commits, contributions, scale, digest, down_bytes, up_bytes, verdicts"
PUBLISHED = "version, published_ms, published_from, published_digest, chain_digest, increment_bytes"
CHOSEN = "published_codec, published_why"


@case
def test_in_python():
    """the chain computed from docs/ledger.md with sqlite3 and hashlib comes to the same digest"""
    run = cloud.sql("SELECT run, label, seed, plan, schema FROM runs")[0]
    zero = bytes(32)
    c = H(hashlib.blake2b(run[4].encode(), digest_size=32).digest(),
          bytes.fromhex(cloud.one("SELECT digest FROM versions WHERE version = 0")))
    c, p, done = H(c, lines(*run)), zero, 0
    rows = cloud.sql(f"SELECT version, {JUDGED} FROM contributions ORDER BY contribution_id")
    for row in cloud.sql(f"SELECT made_by, version, parent_version, made_ms, published, ledger_chain_digest, {MADE} "
                         "FROM versions ORDER BY version"):
        made_by, version, parent, made_ms, published, chain, verdicts = *row[:6], row[-1]
        if version > 0:
            v = zero
            for judged in rows[done:verdicts]:
                v = H(v, lines(*judged[1:] if judged[-1] is not None else judged[1:-1]))
            members = [value for judged in rows[done:verdicts] if judged[0] == version for value in judged[2:5]]
            c = H(c, lines(made_by, version, parent if made_by == "rollback" else None, made_ms, *row[6:], v.hex(), p.hex(),
                           *members))
            same(c.hex(), chain, f"the chain at version {version}")
            done = verdicts
        told = cloud.sql(f"SELECT {PUBLISHED}, {CHOSEN} FROM versions WHERE version = ?", version)[0]
        p = H(zero, lines(*told[:6 if told[6] is None else 8])) if published else zero
    check(version > 10, f"only {version} versions")


# ---- altered ----

def altered(*statements):
    """A copy of the ledger with these run on it."""
    path = SCRATCH / "altered.db"
    path.unlink(missing_ok=True)
    shutil.copy(cloud.database, path)
    database = sqlite3.connect(path)
    with database:
        for statement, *values in statements:
            database.execute(statement, values)
    database.close()
    return path


def other(value):
    """Another value of the same kind, the nearest one."""
    if value is None:
        return 1
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return struct.unpack("<f", struct.pack("<i", struct.unpack("<i", struct.pack("<f", value))[0] + 1))[0]
    end = {"0": "1", "d": "e"}.get(value[-1:], "0")
    return value[:-1] + end


def found_at(path, version, row=None):
    """It is found, at this version first (and its row), and nothing more than two versions are said to be concerned."""
    out, (_, _, findings), said = verify(path, status=1)
    check(findings > 0 and said[0].startswith(f"version {version}"), f"expected version {version} first: {out}")
    concerned = {int(re.match(r"version (\d+)", line).group(1)) for line in said if line.startswith("version")}
    check(len(concerned) <= 2 and max(concerned) <= version + 1, f"expected about version {version}: {out}")
    if row is not None:
        spans = [(int(a), int(b or a)) for a, b in re.findall(r"contributions? (\d+)(?: to (\d+))?:", out)]
        check(any(a <= row <= b for a, b in spans), f"row {row} is not named: {out}")


def columns(table):
    return [name for _, name, *_ in cloud.sql(f"PRAGMA table_info({table})")]


def middle(published=1):
    """A version of at least two updates, with others before and behind it; None: there is none yet."""
    found = cloud.sql("SELECT version FROM contributions JOIN versions USING (version) WHERE version > 1 AND published = ? "
                      "GROUP BY version HAVING count(*) >= 2 AND version < (SELECT max(version) FROM versions) "
                      "ORDER BY abs(version - (SELECT max(version) / 2 FROM versions)) LIMIT 1", published)
    return found[0][0] if found else None


@case
def test_contributions():
    """each column of an accepted and of a refused contribution, altered"""
    version = middle()
    accepted = cloud.one("SELECT max(contribution_id) FROM contributions WHERE version = ?", version)
    refused, = cloud.sql("SELECT contribution_id FROM contributions WHERE verdict = 'refused' AND sequence = 2 "
                         "ORDER BY contribution_id")[0]
    # The version made next, also when that was for the buffer's deadline and took nothing that came behind it.
    into = cloud.one("SELECT min(version) FROM versions WHERE verdicts >= ?", refused)
    for row, at in ((accepted, version), (refused, into)):
        for name in columns("contributions"):
            if name in ("contribution_id", "run_id"):
                continue
            value = cloud.one(f"SELECT {name} FROM contributions WHERE contribution_id = ?", row)
            change = f"UPDATE contributions SET {name} = ? WHERE contribution_id = ?"
            if name == "version" and value is not None:
                found_at(altered((change, value + 1, row)), at, row)
            elif name == "version":
                found_at(altered((change, at, row)), at, row)
            else:
                found_at(altered((change, other(value), row)), at, row)
            if value is not None and name != "version":
                found_at(altered((change, None, row)) if name not in ("judged_ms", "node", "incarnation", "sequence", "verdict")
                         else altered((change, "", row)), at, row)


@case
def test_rows():
    """contributions dropped, swapped, doubled, and moved to another run"""
    version = middle()
    first, last = cloud.sql("SELECT min(contribution_id), max(contribution_id) FROM contributions WHERE version = ?", version)[0]
    found_at(altered(("DELETE FROM contributions WHERE contribution_id = ?", last)), version)
    found_at(altered(("UPDATE contributions SET run_id = 7 WHERE contribution_id = ?", first)), version)
    swap = "UPDATE contributions SET contribution_id = ? WHERE contribution_id = ?"
    found_at(altered((swap, -1, first), (swap, first, last), (swap, last, -1)), version, last)
    names = ", ".join(columns("contributions")[1:])
    found_at(altered(("UPDATE contributions SET contribution_id = -contribution_id WHERE contribution_id > ?", last),
                     ("UPDATE contributions SET contribution_id = 1 - contribution_id WHERE contribution_id < 0",),
                     (f"INSERT INTO contributions(contribution_id, {names}) SELECT ?, {names} FROM contributions "
                      "WHERE contribution_id = ?", last + 1, last)), version, last + 1)


@case
def test_versions():
    """each column of a version, published and not, altered; versions dropped; the run's texts"""
    for version in middle(0), middle(1):
        check_columns(version)
    out, _, said = verify(altered(("DELETE FROM versions WHERE version = ?", version)), status=1)
    check(said[0].startswith(f"version {version}: this version is missing"), out)
    newest = cloud.one("SELECT max(version) FROM versions")
    out, _, said = verify(altered(("DELETE FROM versions WHERE version = ?", newest)), status=1)
    check(said[0].startswith(f"version {newest} contribution"), out)
    for name in ("run", "label", "seed", "plan", "schema", "ledger_format"):
        value = cloud.one(f"SELECT {name} FROM runs")
        new = 1 if name == "ledger_format" else value[:-2] + "1\n" if name in ("plan", "schema") else other(value)
        _, (_, _, findings), _ = verify(altered((f"UPDATE runs SET {name} = ?", new)), status=1)
        check(findings > 0, f"runs.{name} was altered")


def check_columns(version):
    for name in columns("versions"):
        if name in ("run_id", "version"):
            continue
        value = cloud.one(f"SELECT {name} FROM versions WHERE version = ?", version)
        change = f"UPDATE versions SET {name} = ? WHERE version = ?"
        publication = name.startswith("published") or name in ("chain_digest", "increment_bytes")
        for new in {other(value), None if name not in ("made_by", "made_ms", "published") else 0}:
            if new == value:
                continue
            path = altered((change, new, version))
            out, (_, _, findings), said = verify(path, status=1)
            check(findings > 0, f"{name} = {new}: nothing was found")
            at = int(re.match(r"version (\d+)", said[0]).group(1))
            check(version <= at <= version + publication, f"{name} = {new}: {out}")


sys.exit(harness.main(cloud, edge, chained=True))
