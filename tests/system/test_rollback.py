#!/usr/bin/python3
# timeout: 180
"""`tributary rollback` on a real tree: the cloud stops, goes back to an earlier version and starts again; an edge, an edge
below it and their devices follow; accuracy goes on; the history, its chain and a replay show what happened."""
import json
import re
import sys

import harness
from harness import case, check, same, wait

cloud = harness.cloud(evaluation__interval=0, store__checkpoint__records=60, store__checkpoint__keep=0,
                      plan__stop__versions=0)
edge = harness.edge(cloud)
below = harness.edge(edge, "below")
fleet = harness.devices(edge, "fleet", count=2)
remote = harness.devices(below, "remote", first=2, count=2)
made = {}


def tributary(*words, status=0):
    found, out, err = harness.run("tributary", *words)
    same(found, status, f"status of tributary {words} ({out}{err})")
    return err if status else out


@case
def test_refused():
    """what cannot be gone back to: a running cloud, no earlier version, an edge"""
    harness.start_tree(cloud, edge, below, fleet, remote)
    cloud.wait_version(12)
    check("is running: stop it first" in tributary("rollback", cloud.store, "last", 3, status=1), "a running cloud")
    out = tributary("rollback", cloud.store, "last", 3, "--dry-run")
    check("would be version 3 again" in out and out.rstrip().endswith("written=0"), out)
    check("is not before the current one" in tributary("rollback", cloud.store, "last", 10 ** 6, "--dry-run", status=1), "later")
    check("rolled back at their cloud" in tributary("rollback", edge.store, "last", 1, status=1), "an edge")
    for words in ((), (cloud.store, "last"), (cloud.store, "last", "x"), (cloud.store, "last", 1, 2)):
        check("usage: tributary rollback" in tributary("rollback", *words, status=2), f"{words}")
    same(cloud.one("SELECT count(*) FROM versions WHERE made_by = 'rollback'"), 0, "rollbacks so far")


@case
def test_rollback():
    """the cloud goes back while the tree waits, and the tree follows"""
    cloud.wait_version(20)
    gathered = ("SELECT (SELECT coalesce(sum(samples), 0) FROM contributions WHERE version IS NOT NULL) > "
                "(SELECT coalesce(sum(samples), 0) FROM forwards)")
    judged = "SELECT max(sequence) FROM contributions WHERE node = 'edge'"
    unheard = "SELECT count(*) FROM forwards WHERE verdict IS NULL AND contained_ms IS NULL AND sequence <= ?"
    while True:
        cloud.stop()
        for devices in (fleet, remote):
            devices.wait_more("accepted", 3)
        wait(lambda: edge.one(gathered), "there is something to forward when the cloud is back")
        if not edge.one(unheard, cloud.one(judged)):
            break
        cloud.start()  # it judged a forward in its last moments: when it is back, that would be asked for first
        cloud.wait_version(cloud.one("SELECT max(version) FROM versions") + 3)
    before = cloud.one("SELECT max(version) FROM versions")
    digest = cloud.one("SELECT digest FROM versions WHERE version = 6")
    out = tributary("rollback", cloud.store, "last", 6)
    version = before + 1
    check(f"version {version} is version 6 again, digest {digest}" in out, out)
    check(re.search(rf"^rollback: version={version} from=6 abandoned={before - 6} void=\d+ written=1$", out, re.M), out)
    cloud.start()
    cloud.wait_log(" run_resumed ")
    cloud.wait_count("version", version + 15)
    made.update(version=version, before=before, digest=digest)
    crossed = "SELECT count(*) FROM parent_models WHERE fence > 0"
    for node in (edge, below):
        wait(lambda n=node: n.one(crossed) > 0, f"{node.name} crosses the fence")
    taken = "SELECT count(*) FROM contributions WHERE verdict = 'accepted' AND base_version < ? AND version > ?"
    same(cloud.one(taken, version, version), 0, "updates of abandoned versions in later ones")
    refused = "SELECT count(*) FROM contributions WHERE reason = 'fence'"
    check(cloud.one(refused) + edge.one(refused) + below.one(refused) > 0, "nothing was on its way")
    line = cloud.wait_health(lambda line: line["active"] == 1, "its edge is there, once")  # who was held up was quiet
    check(line["version"] > version, f"{line}")


@case
def test_history():
    """history shows the lineage; the chain is sound; the new version replays to the old one's digest; accuracy goes on"""
    first = cloud.one("SELECT accuracy FROM evaluations WHERE version <= 6 ORDER BY version DESC LIMIT 1")
    wait(lambda: (cloud.one("SELECT max(accuracy) FROM evaluations WHERE version > ?", made["version"]) or 0) > first,
         f"an accuracy after the rollback above {first}, that of the version gone back to")
    harness.stop(fleet, remote, below, edge, cloud)
    rows = json.loads(tributary("history", cloud.store, "last", "--json"))["versions"]
    row = next(row for row in rows if row["version"] == made["version"])
    same((row["made_by"], row["parent_version"], row["digest"], row["published"]), ("rollback", 6, made["digest"], 1), "its row")
    check(re.search(rf"^ *{made['version']} +6? *rollback ", tributary("history", cloud.store, "last"), re.M), "the table")
    same(cloud.sql("SELECT level, event FROM events WHERE event = 'rollback'"), [("warn", "rollback")], "its event")
    check(tributary("verify", cloud.store).rstrip().endswith("findings=0"), "verify")
    out = tributary("replay", cloud.store, "last", made["version"])
    check(f"digest {made['digest']}, as the ledger says" in out, out)
    newest = cloud.one("SELECT max(version) FROM versions")
    check(f"version {newest} rebuilt" in tributary("replay", cloud.store), "the newest one")
    line = cloud.sql("WITH RECURSIVE line(v) AS (SELECT max(version) FROM versions UNION ALL SELECT parent_version FROM versions "
                     "JOIN line ON version = v WHERE parent_version IS NOT NULL) SELECT v FROM line")
    same([v for v, in line if v <= made["version"]], [made["version"], 6, 5, 4, 3, 2, 1, 0], "its ancestors")


@case
def test_again():
    """rolled back twice, to version 0 too; a run that is over is not"""
    before = cloud.one("SELECT max(version) FROM versions")
    for target in (made["version"], 0):
        before += 1
        check(f"version {before} is version {target} again" in tributary("rollback", cloud.store, "last", target), target)
    harness.start_tree(cloud, edge, below, fleet, remote)
    cloud.wait_count("version", before + 5)
    harness.stop(fleet, remote, below, edge, cloud)
    check(tributary("verify", cloud.store).rstrip().endswith("findings=0"), "verify")
    cloud.start(run__resume="false", plan__stop__versions=1)
    harness.start_tree(edge, fleet)
    cloud.wait_log(" run_finished ")
    harness.stop(fleet, edge, cloud)
    check("is over" in tributary("rollback", cloud.store, "last", 0, status=1), "a run that is over")
    old = cloud.one("SELECT run FROM runs WHERE run_id = 1")
    check("is not the newest" in tributary("rollback", cloud.store, old, 0, status=1), "an older run")


sys.exit(harness.main(cloud, edge, below, chained=True))
