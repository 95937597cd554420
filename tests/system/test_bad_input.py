#!/usr/bin/python3
# timeout: 90
"""What must not be believed, sent to a real edge while an honest device trains through it: each gets the right answer, is
written down, and disturbs nobody."""
import os
import socket
import struct
import sys

import harness
import msgpack
import numpy as np
from harness import Peer, case, check, same, wait, wire

cloud = harness.cloud()
edge = harness.edge(cloud)
honest = harness.devices(edge, "honest", speed__delay=100)  # some 8 updates a second: each case waits for one
PREAMBLE = wire.MAGIC + bytes([wire.PROTOCOL, 1, 0, 0])  # of a HELLO
UNKNOWN = 200  # a key that nobody knows, for padding


class Guest(Peer):
    """A peer that has said HELLO and has a model to send updates for."""

    def __init__(self, name, **options):
        super().__init__(edge, name, **options)
        self.hello()
        self.pull()
        self.zeros = wire.codec("int8").encode(np.zeros(self.schema.parameters, np.float32))


def undisturbed():
    """The edge is well, and the honest device gets further."""
    line = edge.health()
    check(line["well"] and line["store_failures"] == 0, f"the edge's health is {line}")
    honest.wait_more("accepted", 1)


def event(name, *texts):
    """Such an event is in the edge's ledger."""
    like = "%" + "%".join(texts) + "%"
    wait(lambda: edge.one("SELECT count(*) FROM events WHERE event = ? AND detail LIKE ?", name, like),
         f"an event {name} with {texts}")


def contribution(peer, number):
    rows = edge.sql("SELECT verdict, reason FROM contributions WHERE node = ? AND sequence = ?", peer.name, number)
    same(len(rows), 1, f"rows of {peer.name}'s update {number}")
    return rows[0]


def refused(peer, reason):
    """The last update was refused for this reason, which is written down."""
    same(peer.verdict(), (peer.number, reason), "the verdict")
    same(contribution(peer, peer.number), ("refused", reason), "the ledger's row")


def accepted(peer):
    peer.push(peer.zeros)
    same(peer.verdict(), (peer.number, "accepted"), "the verdict on an honest update")
    same(contribution(peer, peer.number)[0], "accepted", "the ledger's row")


@case
def test_start():
    """a tree that trains"""
    harness.start_tree(cloud, edge, honest)
    honest.wait_count("accepted", 3)


def padded_hello(size=None, items=None, depth=None):
    """A HELLO with a map of so many bytes, items, or containers inside each other."""
    fields = dict(name="padded", incarnation=os.getpid(), next_number=1, protocol_min=1, protocol_max=1, kind=1)
    content = {wire.KEYS[name]: value for name, value in fields.items()}
    if items:
        content.update({UNKNOWN + i: 0 for i in range(items - len(content))})
    if depth:
        nested = 0
        for _ in range(depth - 1):
            nested = [nested]
        content[UNKNOWN] = nested
    if size:
        content[UNKNOWN] = bytes(size - len(msgpack.packb({**content, UNKNOWN: bytes(40000)})) + 40000)
    return PREAMBLE + msgpack.packb(content)


@case
def test_limits_hold_exactly():
    """a map of 64 KiB, 256 items, 8 containers is taken, one more is not"""
    for limit in ({"size": 65536}, {"items": 256}, {"depth": 8}):
        peer = Peer(edge, "padded")
        peer.raw(padded_hello(**limit))
        peer.expect("WELCOME")
        (what, most), = limit.items()
        peer.raw(padded_hello(**{what: most + 1}))
        peer.error("malformed")
        peer.close()
    undisturbed()


MALFORMED = {
    "garbage": bytes(range(7, 250)),
    "another magic": b"BIRT" + PREAMBLE[4:] + b"\x80",
    "half a preamble": PREAMBLE[:5],
    "no map": PREAMBLE,
    "reserved bytes": PREAMBLE[:6] + b"\1\0\x80",
    "an array of 2^28 items in 5 bytes": PREAMBLE + b"\xdd\x10\0\0\0",
    "a map of 2^32 - 1 items": PREAMBLE + b"\xdf" + b"\xff" * 4,
    "a text longer than the frame": PREAMBLE + b"\x81\x13\xdb\xff\xff\xff\xf0ab",
    "bytes behind the map": padded_hello() + b"\0",
    "a map that lacks what it must have": PREAMBLE + b"\x80",
    "a NaN where a loss is": wire.MAGIC + b"\1\5\0\0" + msgpack.packb(
        {1: 1, 2: 1, 4: 0, 6: 1, 7: 1, 8: 1.0, 9: float("nan")}, use_single_float=True),
    "an infinite number of steps": wire.MAGIC + b"\1\5\0\0" + msgpack.packb(
        {1: 1, 2: 1, 4: 0, 6: 1, 7: 1, 8: float("inf")}, use_single_float=True),
    "a negative number": wire.MAGIC + b"\1\5\0\0" + msgpack.packb({1: 1, 2: -1, 4: 0, 6: 1, 7: 1, 8: 1.0}),
    "a histogram of 129 numbers": wire.MAGIC + b"\1\5\0\0" + msgpack.packb(
        {1: 1, 2: 1, 4: 0, 6: 1, 7: 1, 8: 1.0, 14: [1] * 129}),
    "a histogram of 3 numbers": wire.MAGIC + b"\1\5\0\0" + msgpack.packb(
        {1: 1, 2: 1, 4: 0, 6: 1, 7: 1, 8: 1.0, 14: [1, 2, 3]}),
}


@case
def test_malformed():
    """what is no message is answered with ERROR malformed, and an event"""
    peer = Guest("garbler")
    for what, frame in MALFORMED.items():
        before = edge.health()["malformed"]
        peer.raw(frame)
        peer.error("malformed")
        same(edge.health()["malformed"], before + 1, f"malformed messages after {what}")
        undisturbed()
    wait(lambda: edge.one("SELECT count(*) FROM events WHERE event = 'message_malformed' AND level = 'warn'") >= len(MALFORMED),
         "an event of each malformed message")  # it is told before it is written down
    accepted(peer)  # its session has not suffered
    peer.close()


@case
def test_frames():
    """three frames and empty ones are answered with ERROR malformed, and an event"""
    peer = Guest("framer")
    ping = wire.encode("PING", session=peer.session, token=1)
    for frames, text in (((ping, b"x", b"y"), "two frames"), ((b"",), "empty frame"), ((ping, b""), "empty frame"),
                         ((ping,) * 300, "two frames"), ((b"", b""), "empty frame")):
        before = edge.health()["malformed"]
        peer.raw(*frames)
        peer.error("malformed")
        same(edge.health()["malformed"], before + 1, f"malformed messages after {len(frames)} frames")
        event("message_malformed", text)
        undisturbed()
    accepted(peer)
    peer.close()


@case
def test_versions_and_types():
    """another protocol version, an unknown type, a parent's message and names that are none are told so"""
    peer = Guest("newcomer")
    peer.raw(wire.MAGIC + b"\3\1\0\0\x80")
    peer.error("version")
    peer.hello(protocol_min=3, protocol_max=9, expect="version")
    for kind in (0, 15, 99, 255):
        peer.raw(wire.MAGIC + bytes([1, kind, 0, 0]) + b"\x80")
        peer.error("type")
    peer.send("WAIT", wait_ms=1)
    peer.error("type")
    peer.send("PULL", session=peer.session + 1)
    peer.error("hello")
    for name in ("a b", 'a"b', "\u00e9".join("ab") + " "):
        peer.hello(name=name, expect="denied")
    for name in ("", "x" * 65, "a\0b", "\x85"):
        peer.hello(name=name, expect="malformed")
    peer.hello(incarnation=0, expect="malformed")
    accepted(peer)
    undisturbed()
    peer.close()


@case
def test_payloads():
    """a payload that is shorter, longer, not finite or of an unknown codec is refused, and the reason kept"""
    peer = Guest("spoiler")
    n = peer.schema.parameters
    f32 = np.zeros(n, np.float32)

    def spoilt(value, at=n // 2):
        values = f32.copy()
        values[at] = value
        return values.tobytes()
    bad_scale = struct.pack("<f", float("nan")) + peer.zeros[4:]
    cases = [
        ("payload", peer.zeros[:-1], {}), ("payload", peer.zeros + b"\0", {}), ("payload", b"\0", {}),
        ("payload", None, {}), ("payload", f32.tobytes()[:-4], {"codec": "f32"}),
        ("payload", f32.tobytes() + bytes(4), {"codec": "f32"}),
        ("payload", struct.pack("<I", 2**32 - 1) + peer.zeros[4:], {"codec": "topk(0.05)+int8"}),
        ("not_finite", spoilt(np.nan), {"codec": "f32"}), ("not_finite", spoilt(np.inf, 0), {"codec": "f32"}),
        ("not_finite", spoilt(-np.inf, n - 1), {"codec": "f32"}),
        ("not_finite", np.full(n, 3e38, np.float32).tobytes(), {"codec": "f32"}),
        ("codec", peer.zeros, {"codec": "zip(9)"}), ("codec", peer.zeros, {"codec": "int8" + "(" * 50}),
    ]
    for reason, payload, fields in cases:
        peer.push(payload, **fields)
        refused(peer, reason)
    peer.push(bad_scale)
    check(peer.verdict()[1] in ("payload", "not_finite"), "a NaN for a scale was not refused")
    undisturbed()
    accepted(peer)
    peer.push(f32.tobytes(), codec="f32")
    same(peer.verdict(), (peer.number, "accepted"), "the verdict on f32 that is whole")
    peer.close()


@case
def test_counts():
    """samples, weights and steps that count nothing are refused"""
    peer = Guest("braggart")
    for fields in ({"weight": 0}, {"weight": 2**40 + 1}, {"samples": 0}, {"samples": 2**64 - 1}, {"steps": -1.0},
                   {"region": 2**40 + 1}, {"histogram": [0, 11]}, {"histogram": [0, 2**64 - 1, 1, 11]},
                   {"histogram": [2**64 - 1] * 128}, {"histogram": [0, 9]}, {"below_updates": 2**64 - 1},
                   {"below_up_bytes": 2**63}, {"below_down_bytes": 2**63}, {"below_raw_bytes": 2**63}, {"labels": [0, 0]},
                   {"labels": [1, 2**40 + 1]}, {"labels": [2**64 - 1] * 128}):
        peer.push(peer.zeros, **fields)
        refused(peer, "weight")
    undisturbed()
    peer.push(peer.zeros, histogram=[0, 4, 2**64 - 1, 6])
    same(peer.verdict(), (peer.number, "accepted"), "the verdict on a histogram of what it has")
    peer.push(peer.zeros, labels=[2**40] * 128)
    same(peer.verdict(), (peer.number, "accepted"), "the verdict on labels that nobody asked for")
    peer.close()
    peer = Guest("divider")
    for fields in ({"below_updates": 3, "parts": [1, 0, 0, 0, 1, 0, 0, 0]}, {"below_updates": 1, "parts": [1, 0, 0]},
                   {"below_up_bytes": 1, "parts": [0, 2**64 - 1, 0, 0, 0, 2, 0, 0]}, {"parts": [0] * 36}):
        peer.push(peer.zeros, **fields)
        refused(peer, "weight")
    peer.push(peer.zeros, below_updates=3, below_up_bytes=5, parts=[1, 5, 0, 0, 2, 0, 0, 0])
    same(peer.verdict(), (peer.number, "accepted"), "the verdict on hops that add up")
    peer.close()


@case
def test_bases():
    """a base that was never published, or has another digest, is refused"""
    peer = Guest("inventor")
    peer.push(peer.zeros, base_version=10**9)
    refused(peer, "base")
    peer.push(peer.zeros, base_version=2**64 - 1, base_digest=None)
    refused(peer, "base")
    peer.push(peer.zeros, base_digest=bytes(4))
    refused(peer, "base")
    for held in ({"held_version": 10**9, "held_digest": bytes(32)}, {"held_version": 0, "held_digest": bytes(32)}):
        peer.send("PULL", credit=64 << 20, **held)
        model, _ = peer.expect("MODEL")
        check(model["kind"] in (wire.SEED, wire.SNAPSHOT), f"increments on what is not held: {model}")
    undisturbed()
    peer.close()


@case
def test_schema():
    """another model's fingerprint is told so in HELLO"""
    peer = Guest("stranger")
    peer.hello(fingerprint=bytes(32), parent_incarnation=peer.welcome["incarnation"], expect="schema")
    event("schema_differs", "stranger")
    same(peer.hello()["fingerprint"], peer.schema.fingerprint, "the fingerprint in WELCOME")
    undisturbed()
    peer.close()


@case
def test_repeats():
    """a number said again gets the same verdict, and counts once; with other content it is a conflict"""
    peer = Guest("stutterer")
    peer.push(peer.zeros)
    first, _ = peer.expect("ACK")
    peer.push(peer.zeros[:-1])
    second, _ = peer.expect("ACK")
    for number, payload, ack in ((1, peer.zeros, first), (2, peer.zeros[:-1], second)):
        for _ in range(3):
            peer.push(payload, number=number)
            again, _ = peer.expect("ACK")
            same({**again, "credit": 0}, {**ack, "credit": 0}, "the verdict said again")
    peer.push(peer.zeros[:-2] + b"\0\1", number=1)
    peer.error("conflict")
    event("number_conflict", "stutterer", "number=1")
    same([contribution(peer, n)[0] for n in (1, 2)], ["accepted", "refused"], "its rows")
    old, peer.incarnation, peer.number = peer.incarnation, peer.incarnation + 1, 0
    same(peer.hello()["last_number"], 0, "the last number of its new incarnation")
    peer.hello(incarnation=old, expect="retired")
    peer.hello()
    undisturbed()
    peer.close()


@case
def test_gaps():
    """a gap in the numbers is told so; numbers judged long ago are not judged again"""
    peer = Guest("jumper")
    accepted(peer)
    peer.push(peer.zeros, number=5, after=3)
    peer.error("gap")
    for fields in ({"number": 0}, {"number": 7, "after": 7}):
        peer.push(peer.zeros, **fields)
        peer.error("malformed")
    peer.number = 1
    for _ in range(17):
        accepted(peer)
    peer.push(peer.zeros, number=1)
    peer.error("gap")
    same(edge.one("SELECT count(*) FROM contributions WHERE node = 'jumper'"), 18, "its rows")
    undisturbed()
    peer.close()


@case
def test_one_identity_twice():
    """of two participants with one identity the newest is heard; when they go on, both are told to part"""
    one, two = Guest("twin"), Guest("twin")
    one.send("PULL")
    one.error("hello")
    one.hello(expect="retired")
    accepted(two)
    for changes in range(2, 10):
        one.incarnation += 1
        one.send("HELLO", name="twin", incarnation=one.incarnation, next_number=1, protocol_min=1, protocol_max=1, kind=1)
        fields, _ = one.expect("WELCOME", "ERROR")
        if "code" in fields:
            break
        one, two = two, one
    same(wire.name_of(wire.CODES, fields.get("code", 0)), "duplicate", f"the answer to change {changes}")
    check(fields["wait_ms"] > 1000, f"told to wait for {fields['wait_ms']} ms")
    event("identity_shared", "twin")
    undisturbed()
    one.close()
    two.close()


@case
def test_silence():
    """peers that connect and say nothing, or half a greeting, cost nobody anything"""
    silent = [Peer(edge, "silent") for _ in range(20)]
    path = edge.endpoint.removeprefix("ipc://")
    raw = []
    for greeting in (b"", b"\xff", b"\xff\0\0\0\0\0\0\0\1\x7f", b"GET / HTTP/1.1\r\n\r\n", os.urandom(100)):
        raw.append(socket.socket(socket.AF_UNIX))
        raw[-1].connect(path)
        raw[-1].sendall(greeting)
    quiet = Guest("quiet")
    event("peer_quiet", "peer=quiet ")
    undisturbed()
    quiet.pull()  # it keeps its session
    for one in silent + raw + [quiet]:
        one.close()


@case
def test_chunks():
    """one that stops in mid-chunk goes on after a reconnect where it was, and counts once"""
    peer = Guest("slow")
    payload = np.zeros(peer.schema.parameters, "<f4").tobytes()
    half = 16384
    offer = {"codec": "f32", "payload_bytes": len(payload), "payload_crc": wire.crc32c(payload)}
    peer.push(**offer)
    credit, _ = peer.expect("CREDIT")
    same((credit["number"], credit["offset"]), (1, 0), "what the edge has")
    check(credit["window_bytes"] >= len(payload), f"a window of {credit['window_bytes']} bytes")
    peer.send("CHUNK", payload[:half], number=1, offset=0)
    peer.send("PING", token=7)
    peer.expect("PONG")  # the half has arrived
    peer.close()
    undisturbed()
    peer.connect()
    same(peer.hello(next_number=2)["last_number"], 0, "its last number")
    peer.push(**offer, number=1)
    credit, _ = peer.expect("CREDIT")
    same((credit["number"], credit["offset"]), (1, half), "what the edge still has")
    peer.send("CHUNK", payload[half:], number=1, offset=half)
    same(peer.verdict(), (1, "accepted"), "the verdict")
    same(contribution(peer, 1)[0], "accepted", "the ledger's row")
    same(edge.health()["in_flight_bytes"], 0, "bytes on their way")
    undisturbed()
    peer.close()


@case
def test_offers():
    """offers that lie about size or checksum, and pieces that fit nowhere, come to nothing"""
    peer = Guest("liar")
    payload = np.zeros(peer.schema.parameters, "<f4").tobytes()
    for size in (0, 4 * peer.schema.parameters + 1, 10**12, 2**64 - 1):
        peer.push(codec="f32", payload_bytes=size, payload_crc=1)
        refused(peer, "payload")
    same(edge.health()["in_flight_bytes"], 0, "bytes on their way")
    peer.send("CHUNK", b"x", number=peer.number, offset=0)
    peer.send("CREDIT", number=2**64 - 1, offset=2**64 - 1, chunk_bytes=2**64 - 1, window_bytes=2**64 - 1)
    lie = {"codec": "f32", "payload_bytes": len(payload), "payload_crc": 1}
    peer.push(**lie)
    peer.expect("CREDIT")
    peer.send("CHUNK", payload, number=peer.number, offset=2**64 - 8)
    peer.expect("ERROR", "CREDIT")
    peer.send("CHUNK", payload + b"x", number=peer.number, offset=0)
    peer.error("malformed")
    peer.send("CHUNK", payload, number=peer.number, offset=0)
    peer.error("credit")
    event("payload_damaged", "liar", f"number={peer.number}")
    peer.push(**{**lie, "payload_crc": wire.crc32c(payload)}, number=peer.number)  # no verdict yet: the same number
    peer.expect("CREDIT")
    peer.send("CHUNK", payload, number=peer.number, offset=0)
    same(peer.verdict(), (peer.number, "accepted"), "the verdict on the whole payload")
    undisturbed()
    peer.close()


@case
def test_credit():
    """a payload beyond the credit is not taken, and can be offered"""
    peer = Guest("greedy")
    check(peer.welcome["credit"] >= 4 * peer.schema.parameters, f"the grant is {peer.welcome['credit']} bytes")
    for size in (peer.welcome["credit"] + 1, 20 << 20):
        peer.push(bytes(size), number=1)
        peer.error("credit")
        event("credit_exceeded", "greedy", f"bytes={size}")
    same(edge.one("SELECT count(*) FROM contributions WHERE node = 'greedy'"), 0, "its rows")
    peer.number = 0
    accepted(peer)
    undisturbed()
    peer.close()


@case
def test_downloads():
    """a child that asks for crumbs, or acknowledges nonsense, gets pieces of a decent size or none"""
    peer = Guest("crumb")
    peer.send("PULL", credit=1)
    model, payload = peer.expect("MODEL")
    if model["kind"] == wire.SNAPSHOT:
        check(payload is None and "payload_bytes" in model, f"a snapshot that was not offered: {model}")
        for offset in (2**64 - 1, model["payload_bytes"] + 1):
            peer.send("CREDIT", number=model["to_version"], offset=offset, chunk_bytes=1, window_bytes=2**64 - 1)
        peer.send("CREDIT", number=model["to_version"], offset=0, chunk_bytes=1, window_bytes=2**64 - 1)
        got = 0
        while got < model["payload_bytes"]:
            chunk, piece = peer.expect("CHUNK")
            same(chunk["offset"], got, "the piece's place")
            got += len(piece)
            check(len(piece) >= 16384 or got == model["payload_bytes"], f"a piece of {len(piece)} bytes")
    undisturbed()
    peer.close()


@case
def test_nobody_was_disturbed():
    """the honest device had one session all the time, and nothing of all this reached the cloud"""
    same(len(honest.log().split(" uplink_ready ")), 2, "its sessions, and one")
    for bad in ("uplink_closed", "parent_error", "update_refused"):
        check(bad not in honest.log(), f"the honest device logged {bad}")
    same(honest.health()["refused"], 0, "its refused updates")
    told = honest.count("accepted")
    mine = edge.one("SELECT count(*) FROM contributions WHERE node = 'honest-0' AND verdict = 'accepted'")
    check(mine >= told, f"the honest device was told of {told} accepted updates, the edge has {mine}")
    line = cloud.health()
    same((line["malformed"], line["refused"]), (0, 0), "what the cloud found malformed, and refused")
    for daemon in (honest, edge, cloud):
        check(" error " not in daemon.log(), f"{daemon.name} logged an error")
    harness.stop(honest, edge, cloud)


sys.exit(harness.main(cloud, edge, honest))
