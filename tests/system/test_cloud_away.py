#!/usr/bin/python3
# timeout: 120
"""An edge without its cloud goes on within bounds, over a restart too, and then sends one regional update that says how old it
is; an edge without devices does nothing."""
import json
import sys
import time

import harness
import ledgers
from harness import case, check, same, wait
from proxy import Proxy

RECORDS = 150  # between checkpoints
PART = 250     # updates between two measurements while the cloud is away
WAL_BYTES, SEGMENT_BYTES = 4000 * 4120, 64 << 20

cloud = harness.over_tcp(harness.cloud(plan__data__devices=8, plan__train__max_samples=40, plan__staleness_cap=10000,
                                       evaluation__max_samples=100))
link = Proxy(cloud.endpoint)
away = harness.over_tcp(harness.edge(cloud, "away", upstream__endpoint=link.endpoint, store__checkpoint__records=RECORDS))
near = harness.over_tcp(harness.edge(cloud, "near"))
fleets = [harness.devices(edge, f"{edge.name}-dev", first=4 * i, count=4, speed__delay=delay, log__level="debug")
          for i, (edge, delay) in enumerate([(away, 3), (near, 60)])]
seen = {}


def rss_kib(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def size_of(path):
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # it has been deleted, or named, since the folder was read
        return 0


def measured(node):
    """Memory; bytes beside the ledger; journal rows; bytes of the ledger for each judged update."""
    database = node.database.stat().st_size
    rest = sum(size_of(path) for path in node.store.rglob("*")) - database
    judged, journal = node.sql("SELECT (SELECT count(*) FROM contributions), (SELECT count(*) FROM journal)")[0]
    return rss_kib(node), rest, journal, database // judged


@case
def test_goes_on():
    """without its cloud an edge takes thousands of updates; memory, disk and journal stay where they are"""
    harness.start_tree(cloud, away, near, *fleets)
    cloud.wait_count("version", 10)
    link.cut()
    away.wait_health(lambda line: not line["uplink"], "the uplink is gone")
    seen["cut"] = cloud.one("SELECT max(version) FROM versions")
    samples = []
    for _ in range(4):
        fleets[0].wait_more("accepted", PART)
        samples.append(measured(away))
    print("# rss_kib, bytes beside the ledger, journal rows, ledger bytes an update:", *samples)
    check(samples[-1][0] - samples[0][0] < 1024, f"its memory grew: {samples}")
    for _, rest, journal, each in samples:
        check(rest < WAL_BYTES + 2 * SEGMENT_BYTES, f"its disk has {rest} bytes")
        check(journal < 3 * RECORDS, f"its journal has {journal} rows")
        check(each < 2500, f"its ledger has {each} bytes an update")
    same(away.one("SELECT count(*) FROM contributions WHERE verdict <> 'accepted'"), 0, "refused updates")


@case
def test_restarted_meanwhile():
    """killed while the cloud is away, it goes on serving its devices from what is on its disk"""
    version = away.count("version")
    away.kill()
    away.start()
    fleets[0].wait_more("accepted", 50)
    check(away.count("version") > version, "it does not go on from its version")
    check(not away.health()["uplink"], "the uplink is there")
    same(away.one("SELECT count(*) FROM forwards WHERE verdict IS NULL"), 1, "forwards without a verdict")


@case
def test_one_update_goes_up():
    """back again: one update speaks for all of it, with its true staleness and where the work started"""
    last = away.one("SELECT max(sequence) FROM forwards")  # made before or at the cut
    wait(lambda: cloud.one("SELECT max(version) FROM versions") > seen["cut"] + 20, "the cloud is ahead")
    link.mend()
    wait(lambda: cloud.one("SELECT max(sequence) FROM contributions WHERE node = 'away'") > last + 1, "it has pushed")
    columns = "staleness, origins, samples, below_updates, staleness_factor, base_version, version, weight_applied"
    staleness, origins, samples, below, factor, base, version, weight = cloud.sql(
        f"SELECT {columns} FROM contributions WHERE node = 'away' AND sequence = ?", last + 1)[0]
    check(below > 4 * PART, f"its update speaks for {below}")
    same(staleness, version - 1 - base, "its staleness, beside the cloud's commits since its base")
    check(staleness >= 20 and base <= seen["cut"], f"it is {staleness} stale, its base is {base}")
    origins = json.loads(origins)
    same(sum(part for _, part in origins), samples, "samples by origin")
    check(max(origin for origin, _ in origins) <= seen["cut"], f"origins {origins} are newer than the cut")
    fresh = cloud.one("SELECT avg(staleness_factor) FROM contributions WHERE node = 'near'")
    check(factor < fresh / 2 and weight < 1, f"its factor is {factor}, of the others' {fresh}; its weight is {weight}")


@case
def test_idle():
    """an edge whose devices are gone does nothing, and grows nowhere"""
    harness.stop(*fleets)
    pending = "SELECT count(*) FROM contributions WHERE verdict = 'accepted' AND version IS NULL AND void_reason IS NULL"
    for edge in (away, near):
        edge.wait_health(lambda line: line["active"] == 0, "its devices have left")  # then it commits what is pending
        wait(lambda: edge.one(pending) == 0 and ledgers.drained(edge), f"{edge.name} has forwarded all")
    # A cloud that is held up tells of its last version later: that would move an edge's journal again.
    for edge in (away, near):
        wait(lambda: edge.one("SELECT max(version) FROM parent_models") == cloud.count("version"),
             f"{edge.name} has the last model")
    cloud.wait_health(lambda line: line["active"] == 2, "only edges are there")
    settled = []

    def quiet():
        before = list(settled)
        settled[:] = [(edge.count("position"), rss_kib(edge), len(list(edge.store.rglob("*")))) for edge in (away, near)]
        return before == settled
    wait(quiet, "both come to rest", pause_s=1)
    before = list(settled)
    time.sleep(4)  # ten heartbeats
    quiet()
    for (position, memory, files), (position_then, memory_then, files_then) in zip(settled, before):
        same((position, files), (position_then, files_then), "journal position and files of an idle edge")
        check(memory - memory_then <= 64, f"an idle edge grew from {memory_then} to {memory} KiB")
    for fleet in fleets:
        fleet.start()
        fleet.wait_count("accepted", 3)
    ledgers.check_counted(list(zip(fleets, (away, near))), [(cloud, None), (away, cloud), (near, cloud)])


sys.exit(harness.main(cloud, away, near, *fleets, chained=True))
