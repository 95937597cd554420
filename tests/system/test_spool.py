#!/usr/bin/python3
# timeout: 120
"""Devices that are killed, moved, copied and damaged go on from their spools: what was trained arrives, once."""
import random
import shutil
import struct
import sys

import harness
from harness import case, check, same, wait

COUNTS = ("SELECT count(DISTINCT incarnation), count(*), count(DISTINCT sequence), max(sequence) FROM contributions "
          "WHERE node = ?")
cloud = harness.cloud(plan__codec__down="topk(0.05)+int8")  # dozens of increments are fewer bytes than a model
edges = [harness.edge(cloud, f"edge-{i}") for i in (1, 2)]
fleet = harness.devices(edges[0], "fleet", count=1, speed__delay=300)
spool = fleet.folder / "spool"
NAME = "fleet-0"


def identity(edge):
    """(incarnation, highest number) of the device at this edge."""
    return edge.sql("SELECT incarnation, max(sequence) FROM contributions WHERE node = ? AND incarnation = ("
                    "SELECT incarnation FROM contributions WHERE node = ? ORDER BY contribution_id DESC LIMIT 1)",
                    NAME, NAME)[0]


def kept_update():
    """An update without a verdict is in the spool, whatever the device did meanwhile."""
    line = fleet.health()
    return line["waiting"] == 1 and line["unsaved"] == 0


def train_without(edge):
    """Kills the edge at a moment at which the device trains, or has trained. What is in its spool then."""
    while True:
        fleet.wait_more("accepted", 1)
        edge.kill()
        try:
            wait(kept_update, "an update waits", deadline_s=3)
            return (spool / f"{NAME}.spool").read_bytes()
        except harness.Failure:  # it had no model to train on
            edge.start()


def next_number(content):
    """Of a spool: a header, and in the checkpoint behind it magic, format, role, started, two texts, and numbers."""
    plan, schema = struct.unpack_from("<2Q", content, 24 + 32)
    return struct.unpack_from("<8Q", content, 24 + 48 + plan + schema)[7]


@case
def test_killed_before_its_verdict():
    """an update whose edge was away, and whose device was killed, arrives afterwards: once, as the same device's"""
    harness.start_tree(cloud, *edges, fleet)
    fleet.wait_count("accepted", 2)
    kept = train_without(edges[0])
    incarnation, last = identity(edges[0])
    fleet.kill()
    same((spool / f"{NAME}.spool").read_bytes(), kept, "the spool")
    fleet.start()
    fleet.wait_log(" spool_open .*devices=1 resumed=1")
    fleet.wait_health(lambda line: line["waiting"] == 1, "the update is still there")
    same(fleet.count("updates"), 0, "updates trained since")
    edges[0].start()
    fleet.wait_health(lambda line: line["accepted"] >= 1, "its verdict")
    wait(lambda: identity(edges[0])[1] > last, "the update at the edge, or, if it was there already, the next one")
    same(identity(edges[0])[0], incarnation, "the incarnation")
    fleet.wait_more("accepted", 1)
    same(fleet.log().count("incarnation_new"), 0, "new incarnations")


@case
def test_killed_again_and_again():
    """kill -9 at any moment loses nothing that was trained and counts nothing twice"""
    draw = random.Random(6)
    fleet.kill()
    fleet.start(speed__delay=20)
    for _ in range(12):
        before = edges[0].one("SELECT count(*) FROM contributions")
        wait(lambda: edges[0].one("SELECT count(*) FROM contributions") > before + draw.randint(0, 3), "updates",
             pause_s=draw.uniform(0.001, 0.02))
        fleet.kill()
        fleet.start()
    fleet.wait_more("accepted", 2)
    harness.stop(fleet)
    incarnations, rows, numbers, last = edges[0].sql(COUNTS, NAME)[0]
    same((incarnations, rows, numbers), (1, last, last), "incarnations, rows and numbers")
    same(edges[0].one("SELECT count(*) FROM contributions WHERE verdict <> 'accepted'"), 0, "refused updates")
    who = identity(edges[0])[0]
    fleet.start(speed__delay=300)
    # Its first verdict may be of an update that the edge had counted when the device, stopped, had not heard of it.
    wait(lambda: identity(edges[0])[1] > last, "it goes on after a clean stop too")
    same(identity(edges[0])[0], who, "the incarnation")


@case
def test_moved_to_another_edge():
    """at another edge a device drops what the first one did not acknowledge, and comes back with higher numbers"""
    waiting = next_number(train_without(edges[0])) - 1
    fleet.kill()
    edges[0].start()
    incarnation, last = identity(edges[0])
    check(last in (waiting - 1, waiting), f"the edge knows {last}, {waiting} waits")  # it may be in its journal
    fleet.start(upstream__endpoint=edges[1].endpoint)
    fleet.wait_more("accepted", 2)
    there = edges[1].sql(COUNTS, NAME)[0]
    same((there[0], identity(edges[1])[0]), (1, incarnation), "the incarnation at the other edge")
    same(edges[1].one("SELECT min(sequence) FROM contributions WHERE node = ?", NAME), waiting + 1,
         "the first number at the other edge")
    fleet.stop()
    same(identity(edges[0]), (incarnation, last), "what the first edge knows")
    fleet.start(upstream__endpoint=edges[0].endpoint)
    fleet.wait_more("accepted", 2)
    fleet.stop()
    same(identity(edges[0])[0], incarnation, "the incarnation, back at the first edge")
    numbers = [row[0] for edge in edges for row in edge.sql("SELECT sequence FROM contributions WHERE node = ?", NAME)]
    same(len(numbers), len(set(numbers)), "numbers at both edges together")


@case
def test_restored_from_a_copy():
    """a device restored from an older copy of its spool begins again as a new one"""
    copy = harness.SCRATCH / "copy"
    shutil.copytree(spool, copy)
    fleet.start()
    fleet.wait_more("accepted", 2)
    fleet.kill()
    before, rows = identity(edges[0])[0], edges[0].sql(COUNTS, NAME)[0][1]
    shutil.rmtree(spool)
    shutil.copytree(copy, spool)
    fleet.start()
    fleet.wait_log(" incarnation_new .*reason=restored")
    fleet.wait_more("accepted", 1)
    check(identity(edges[0])[0] != before, "it kept its incarnation")
    check(edges[0].sql(COUNTS, NAME)[0][1] > rows, "nothing came of it")
    rows, numbers = edges[0].sql("SELECT count(*), count(DISTINCT incarnation || '/' || sequence) FROM contributions "
                                 "WHERE node = ?", NAME)[0]
    same(numbers, rows, "numbers of incarnations, and rows")


@case
def test_damaged():
    """a damaged spool is set aside with a warning, and a wiped one is missed by nobody: the device begins anew"""
    fleet.kill()
    file = spool / f"{NAME}.spool"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    before = identity(edges[0])[0]
    fleet.start()
    fleet.wait_log(rf" spool_damaged device={NAME} error=.*checksum")
    fleet.wait_more("accepted", 1)
    same((spool / f"{NAME}.spool.damaged").read_bytes(), bytes(content), "what was set aside")
    second = identity(edges[0])[0]
    check(second != before, "it kept its incarnation")
    fleet.kill()
    shutil.rmtree(spool)
    fleet.start()
    fleet.wait_more("accepted", 1)
    check(identity(edges[0])[0] not in (before, second), "it kept its incarnation")


@case
def test_one_process():
    """a second process is told that the folder is in use, and a newer spool is left alone"""
    other = harness.devices(edges[0], "other", first=3, spool__path=spool)
    other.start()
    pid = fleet.process.pid
    check(other.wait_exit() != 0, "it started")
    check(other.logged(f"in use by process {pid}"), other.log())
    fleet.kill()
    file = spool / f"{NAME}.spool"
    content = bytearray(file.read_bytes())
    content[8] = 2
    content[12:16] = crc32c(content[8:12] + content[16:]).to_bytes(4, "little")
    file.write_bytes(content)
    fleet.start()
    check(fleet.wait_exit() != 0, "it started")
    check(fleet.logged("format 2"), fleet.log())
    same(file.read_bytes(), bytes(content), "the spool")
    file.unlink()
    fleet.start()
    fleet.wait_count("accepted", 1)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@case
def test_disk_that_fails():
    """an update that cannot be kept does not leave; when the disk is well again the device goes on by itself"""
    obstacle = spool / f"{NAME}.spool.new"

    def is_in_the_way():
        try:
            obstacle.mkdir()
        except FileExistsError:  # it is just being written
            return False
        return True
    wait(is_in_the_way, "a folder where the file is to be", pause_s=0.003)
    fleet.wait_log(f" spool_failed device={NAME} ")
    fleet.wait_health(lambda line: not line["well"] and line["spools_failing"] == 1 and line["waiting"] == 1, "it says so")
    waiting = next_number((spool / f"{NAME}.spool").read_bytes())
    who = identity(edges[0])
    same(who[1], waiting - 1, "the last number that the edge knows")
    check(fleet.logged(" spool_recovered ") is None, fleet.log())
    obstacle.rmdir()
    fleet.wait_log(" spool_recovered ")
    wait(lambda: identity(edges[0])[1] > who[1], "the update at the edge")
    same(identity(edges[0])[0], who[0], "the incarnation")
    fleet.wait_health(lambda line: line["well"], "it is well")


@case
def test_model_kept():
    """after a restart the edge's model is fetched, unless it was kept: then only what is newer"""
    model, fetched = 4 * 7850, {}
    for keep in ("false", "true"):
        fleet.stop()
        fleet.start(spool__model=keep, speed__delay=300)
        fleet.wait_count("accepted", 2)
        fleet.kill()
        fleet.start(speed__delay=3000)  # it has not trained many when it is asked
        fetched[keep] = fleet.wait_count("updates", 1)["down_bytes"]  # one that it trained itself: there is a model
    check(fetched["true"] < model <= fetched["false"], f"bytes fetched: {fetched}, the model has {model}")
    harness.stop(fleet, *edges, cloud)


def run_to_the_end(name, kills):
    """The digests of the 13 versions of a run with one device, which is killed on the way."""
    node = harness.cloud(name, plan__cloud__rule="fedavg", plan__codec__up="topk(0.05)+int8", plan__stop__versions=12,
                         plan__codec__forward="topk(0.05)+int8", on_finish="wait")
    device = harness.devices(node, f"{name}-device", speed__delay=40)
    harness.start_tree(node, device)
    draw = random.Random(kills)
    for version in range(1, 2 * kills, 2):  # there will be 12, however late this comes
        wait(lambda: node.count("version") >= version, "a version", pause_s=draw.uniform(0.001, 0.03))
        device.kill()
        device.start()
    node.wait_version(12)
    same(node.one("SELECT count(DISTINCT incarnation) FROM contributions"), 1, "incarnations")
    digests = node.sql("SELECT version, hex(digest) FROM versions ORDER BY version")
    # It ends by itself, also one that was started when the run was over: a signal might come before it takes any.
    same(device.wait_exit(), 0, "exit status of the device")
    node.stop()
    return digests


@case
def test_nothing_of_it_shows():
    """a run whose device was killed on the way has the versions of one that was left alone, bit for bit: the residual
    of its codec and its random numbers go on where they were"""
    killed, alone = run_to_the_end("killed", kills=5), run_to_the_end("alone", kills=0)
    same([version for version, _ in killed], [version for version, _ in alone], "versions")
    same([a for a, b in zip(killed, alone) if a != b], [], "versions of the killed one with another digest")


sys.exit(harness.main(cloud, *edges, fleet, chained=True))
