#!/usr/bin/python3
# timeout: 90
"""The participant in plain Python goes on from its spool after kill -9: under a real edge, and against a script."""
import random
import signal
import subprocess
import sys

import harness
from harness import ROOT, SAMPLE, case, check, same, wait

import msgpack
import numpy as np
import test_python_session as script
import tributary_participant as tp
import tributary_spool
import tributary_wire as wire

NAME = "py"
cloud = harness.cloud()
edge = harness.edge(cloud)
spool = harness.SCRATCH / "py-spool"
file = spool / f"{NAME}.pyspool"
COUNTS = ("SELECT count(DISTINCT incarnation), count(*), count(DISTINCT sequence), max(sequence) FROM contributions "
          "WHERE node = ?")


def start():
    words = ["--connect", edge.endpoint, "--name", NAME, "--data", SAMPLE, "--samples", "60", "--spool", spool]
    return subprocess.Popen(["/usr/bin/python3", ROOT / "python/tributary_participant.py", *words],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            preexec_fn=harness._die_with_parent)


def kill(process):
    process.kill()
    process.wait()


def rows():
    return edge.one("SELECT count(*) FROM contributions WHERE node = ?", NAME)


def judged():
    """The number of the last update that the edge has judged."""
    return edge.one("SELECT max(sequence) FROM contributions WHERE node = ?", NAME)


def kept():
    return msgpack.unpackb(file.read_bytes()[24:])


def waiting():
    """The update in the spool, unless the edge has judged it."""
    update = kept()["update"]
    return update if update and update["number"] > judged() else None


@case
def test_killed_before_its_verdict():
    """an update whose edge was away arrives after a kill -9 of the participant, once and under its number"""
    harness.start_tree(cloud, edge)
    process = start()
    wait(lambda: rows() >= 3, "updates at the edge")
    while True:
        edge.signal(signal.SIGSTOP)
        try:
            update = wait(waiting, "an update that waits", deadline_s=1)
            break
        except harness.Failure:  # it had no model to train on
            edge.signal(signal.SIGCONT)
            before = rows()
            wait(lambda: rows() > before, "more updates at the edge")
    edge.kill()
    kill(process)
    edge.start()
    edge.wait_health(lambda line: line["uplink"], "its parent is there")
    process = start()
    wait(lambda: edge.sql(COUNTS, NAME)[0][3] > update["number"], "updates after it")
    kill(process)
    incarnations, count, numbers, last = edge.sql(COUNTS, NAME)[0]
    same((incarnations, count, numbers), (1, last, last), "incarnations, rows and numbers")
    same(edge.one("SELECT payload_crc32c FROM contributions WHERE sequence = ?", update["number"]),
         wire.crc32c(update["payload"]), "the bytes of the update that waited")


@case
def test_killed_again_and_again():
    """kill -9 at any moment loses nothing that was trained and counts nothing twice"""
    draw = random.Random(3)
    for _ in range(5):
        made = kept()["update"]["number"]
        process = start()
        wait(lambda: judged() > made, "an update that this process made", pause_s=draw.uniform(0.001, 0.03))
        kill(process)
    incarnations, count, numbers, last = edge.sql(COUNTS, NAME)[0]
    same((incarnations, count, numbers), (1, last, last), "incarnations, rows and numbers")
    same(edge.one("SELECT count(*) FROM contributions WHERE verdict <> 'accepted'"), 0, "refused updates")


@case
def test_in_use():
    """a second process with the same spool is refused"""
    made = kept()["update"]["number"]
    process = start()
    wait(lambda: judged() > made, "an update that this process made")  # one of the process before may still be read
    other = start()
    said, _ = other.communicate(timeout=harness.limit())
    check(other.returncode != 0 and "in use by another process" in said, said)
    kill(process)
    harness.stop(edge, cloud)


def half(model, _plan):
    for tensor in model.values():
        tensor += np.linspace(0, 1, tensor.size, dtype=np.float32).reshape(tensor.shape)
    return tp.Work(samples=10, weight=5, steps=2, loss=0.5)


class Parent(script.Parent):
    """The script's parent, with a child whose spool is as a kill -9 would leave it."""

    def __init__(self, folder):
        super().__init__(half, spool=folder)

    def killed(self):
        """Ends the child, and leaves the file as it was before."""
        path = self.child.spool.path
        data = path.read_bytes()
        self.close()
        path.write_bytes(data)


@case
def test_sent_again_as_it_was():
    """number, base and bytes are the same after a restart, and the residual goes on"""
    pushed = {}
    for name, killed in (("alone", False), ("killed", True)):
        folder = harness.SCRATCH / f"spool-{name}"
        p = Parent(folder)
        first = p.welcome(credit=1 << 30)
        p.seed()
        push, payload = p.expect("PUSH"), p.payload
        if killed:
            p.killed()
            p = Parent(folder)
            hello = p.welcome(credit=1 << 30)
            same((hello["incarnation"], hello["next_number"], hello["parent_incarnation"], "held_version" in hello),
                 (first["incarnation"], 2, 5, False), "what HELLO says")
            again = p.expect("PUSH")
            same(({**again, "session": 0}, p.payload), ({**push, "session": 0}, payload), "what is sent again")
        p.send("ACK", number=1, verdict=1)
        p.seed()
        second = p.expect("PUSH")
        pushed[name] = (second["number"], p.payload)
        p.close()
    same(pushed["killed"], pushed["alone"], "the update after it")
    check(pushed["alone"][1] != payload, "there is no residual")


@case
def test_asks_without_the_bytes():
    """a verdict that was lost with the process is asked for without the payload"""
    folder = harness.SCRATCH / "spool-asks"
    p = Parent(folder)
    p.welcome(credit=1 << 30)
    p.seed()
    p.expect("PUSH")
    p.killed()
    p = Parent(folder)
    p.welcome(credit=1 << 30, last_number=1)
    same((p.expect("PUSH")["number"], p.payload), (1, None), "the question")
    p.send("ACK", number=1, verdict=1)
    p.expect("PULL")
    p.close()


@case
def test_moved_restored_damaged():
    """another parent gets nothing of the old one's; an older copy or a damaged file is somebody else"""
    folder = harness.SCRATCH / "spool-moved"
    p = Parent(folder)
    hello = p.welcome(credit=1 << 30)
    p.seed()
    p.expect("PUSH")
    p.killed()
    p = Parent(folder)
    same(p.welcome(credit=1 << 30, incarnation=6)["incarnation"], hello["incarnation"], "the incarnation")
    p.seed()
    same(p.expect("PUSH")["number"], 2, "the number at another parent")
    p.killed()
    p = Parent(folder)
    p.welcome(last_number=7)
    check(p.expect("HELLO")["incarnation"] != hello["incarnation"], "it kept its incarnation")
    p.killed()
    path = folder / "py.pyspool"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    p = Parent(folder)
    same((p.expect("HELLO")["next_number"], (folder / "py.pyspool.damaged").read_bytes()), (1, bytes(data)), "what it does")
    p.close()


@case
def test_newer_or_failing():
    """a newer spool is left alone; one that cannot be written keeps the update back until it can"""
    folder = harness.SCRATCH / "spool-newer"
    one = tributary_spool.Spool(folder, "py")
    one.save({"format": 2})
    data = one.path.read_bytes()
    try:
        one.load()
        raise harness.Failure("it was read")
    except tributary_spool.SpoolError as error:
        check("format 2" in str(error), str(error))
    same(one.path.read_bytes(), data, "the newer spool")
    one.path.unlink()
    one.close()
    tp.KEEP_RETRY_S = 0.2
    p = Parent(folder)
    p.welcome(credit=1 << 30)
    p.expect("PULL")
    (folder / "py.pyspool.new").mkdir()
    p.send("MODEL", kind=wire.SEED, to_version=0, to_digest=script.CHAIN0, applied=0, fence=0, seed=7)
    wait(lambda: any("cannot be written" in line for line in p.log), "it says so")
    while p.socket.poll(600):
        check(wire.decode(p.socket.recv_multipart()[1])[0] != "PUSH", "the update left")
    (folder / "py.pyspool.new").rmdir()
    same(p.expect("PUSH")["number"], 1, "the number")
    p.close()


sys.exit(harness.main(cloud, edge, chained=True))
