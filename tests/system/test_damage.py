#!/usr/bin/python3
# timeout: 90
"""Damaged stores of edge and cloud: set aside with a report, the sound part goes on under a new incarnation, and a cloud of
which nothing is left does not start by itself."""
import sqlite3
import sys

import harness
from harness import case, check, same, wait

EVERY = {"store__checkpoint__records": 40}
NEVER = 10 ** 8
cloud = harness.cloud(evaluation__interval="100ms", **EVERY)
edge = harness.edge(cloud, **EVERY)
fleet = harness.devices(edge, "fleet", count=3, speed__delay=5)


def flip(path, at):
    """The byte at `at` (from the end if negative) is another one."""
    with open(path, "r+b") as file:
        file.seek(at, 0 if at >= 0 else 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0x10]))


def incarnation(node):
    return node.one("SELECT incarnation FROM runs ORDER BY run_id DESC LIMIT 1")


def report(node, number):
    return (node.store / f"damaged-{number}" / "report.txt").read_text()


def goes_on():
    fleet.wait_more("accepted", 5)
    cloud.wait_more("version", 3)


@case
def test_checkpoint_of_an_edge():
    """an edge whose newest checkpoint is damaged goes on from the one before: nothing is lost, nobody is told"""
    harness.start_tree(cloud, edge, fleet)
    wait(lambda: edge.one("SELECT count(*) FROM checkpoints") == 2, "two checkpoints")
    edge.kill()
    before = incarnation(edge)
    position = max(edge.one("SELECT max(position) FROM journal"), edge.one("SELECT max(position) FROM checkpoints"))
    file = edge.one("SELECT file FROM checkpoints ORDER BY position DESC LIMIT 1")
    flip(edge.store / "checkpoints" / f"{file:016x}.ckp", 1000)
    edge.start(store__checkpoint__records=NEVER)  # what it writes from here on is read at its next start
    edge.wait_log(r"store_damaged what=.*checkpoint of position.* lost=no")
    same(int(edge.wait_log(r" store_open .*position=(\d+)")[1]), position, "its position")
    goes_on()
    same(incarnation(edge), before, "the incarnation")
    check("lost: nothing" in report(edge, 1), report(edge, 1))
    same(edge.one("SELECT count(*) FROM events WHERE event = 'store_repaired'"), 1, "events")


@case
def test_payload_of_an_edge():
    """an edge whose last payload is damaged loses it, takes a new incarnation, and its devices go on with it"""
    edge.kill()
    before = incarnation(edge)
    where = edge.sql("SELECT segment, offset, position FROM journal WHERE segment > 0 ORDER BY position DESC LIMIT 1")[0]
    check(where[2] > edge.one("SELECT max(position) FROM checkpoints"), "no payload is behind the checkpoint")
    flip(edge.store / "segments" / f"{where[0]:016x}.seg", where[1] + 24 + 5)
    edge.start()
    edge.wait_log(r"store_damaged what=.*the payload of position.* lost=yes")
    check("not match its CRC32C" in report(edge, 2), report(edge, 2))
    goes_on()
    check(incarnation(edge) != before, "its incarnation is another one")
    check(not (edge.store / "store.lost").exists(), "the mark is gone")
    # Nothing counts twice: the cloud has each of the edge's numbers of each incarnation once.
    same(cloud.sql("SELECT node, incarnation, sequence FROM contributions GROUP BY 1, 2, 3 HAVING count(*) > 1"), [],
         "numbers judged twice")


@case
def test_edge_begins_anew():
    """an edge of whose database nothing is left begins anew"""
    edge.kill()
    database = edge.store / "journal.db"
    (edge.store / "journal.db-wal").unlink(missing_ok=True)
    database.write_bytes(b"not a database, not any more" * 1000)
    edge.start()
    edge.wait_log(r"store_damaged .*kept=0 lost=yes")
    edge.wait_health(lambda line: line["well"] and line["uplink"], "it is well")
    goes_on()
    check((edge.store / "damaged-3" / "journal.db").stat().st_size == 28000, "what it was is set aside")


@case
def test_record_of_the_cloud():
    """a cloud that lost records goes back to what is sound, takes a new incarnation, and its edges begin again from there"""
    cloud.kill()
    cloud.start(store__checkpoint__records=NEVER)
    goes_on()
    cloud.kill()
    before, run = incarnation(cloud), cloud.one("SELECT run FROM runs")
    position = cloud.one("SELECT max(position) FROM checkpoints") + 3
    check(cloud.one("SELECT max(position) FROM journal") >= position, "no three records are behind the checkpoint")
    with sqlite3.connect(cloud.database) as database:
        database.execute("UPDATE journal SET row_crc32c = row_crc32c + 1 WHERE position = ?", (position,))
    database.close()
    cloud.start()
    cloud.wait_log(r"store_damaged what=.*row at position %d is damaged.* lost=yes" % position)
    same(int(cloud.wait_log(r" store_open .*position=(\d+)")[1]) >= position - 1, True, "it keeps what is before")
    goes_on()
    check(incarnation(cloud) != before, "its incarnation is another one")
    same(cloud.sql("SELECT DISTINCT run FROM runs WHERE state = 'running'"), [(run,)], "the run")
    same(cloud.one("SELECT count(*) FROM contributions c WHERE version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM versions v "
                   "WHERE v.version = c.version)"), 0, "updates in versions that are not there")
    status, out, _ = harness.run("tributary", "verify", str(cloud.store))
    same(status, 0, f"exit status of verify, which says: {out}")


@case
def test_nothing_left_of_the_cloud():
    """a cloud of which nothing is left does not start, changes nothing and says what to do; told so, it begins a new run"""
    cloud.kill()
    run = cloud.one("SELECT run FROM runs")
    (cloud.store / "ledger.db-wal").unlink(missing_ok=True)
    (cloud.store / "ledger.db").write_bytes(b"nothing that anybody could read" * 1000)
    before = sorted(path.name for path in cloud.store.rglob("*"))
    cloud.start()
    status = cloud.wait_exit()
    check(status not in (0, None), f"its exit status is {status}")
    check("store.on_damage=begin" in cloud.log(), "it says what to do")
    same(sorted(path.name for path in cloud.store.rglob("*")), before, "its files")
    cloud.start(store__on_damage="begin")
    goes_on()
    check(cloud.one("SELECT run FROM runs") != run, "the run is a new one")
    for node in (fleet, edge, cloud):
        node.stop()


sys.exit(harness.main(cloud, edge, fleet, chained=True))
