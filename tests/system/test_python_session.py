#!/usr/bin/python3
# timeout: 60
"""The Python participant against a parent that follows a script: sessions, offers, chunks, errors."""
import os
import pathlib
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "python"))
import numpy as np  # noqa: E402
import tributary_participant as tp  # noqa: E402
import tributary_wire as wire  # noqa: E402
import zmq  # noqa: E402

SCHEMA = wire.Schema("fc.weight 300x100 0x1p-4\nfc.bias 100 0x0p+0\n")
N = SCHEMA.parameters
LIMIT_S = 20 * float(os.environ.get("TRIBUTARY_SLOW", "1"))
tp.REPLY_S = LIMIT_S  # a script that is held up is not asked a second time
PLAN = "codec.up: int8\ncodec.down: int8\n"
V0 = SCHEMA.draw(7)
CHAIN0 = wire.chain_start(SCHEMA.fingerprint, wire.full_digest(V0))


class Parent:
    """One ROUTER; the test says what is expected and what is answered."""

    def __init__(self, train, **options):
        self.socket = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.linger = 0
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.log = []
        self.child = tp.Participant(f"tcp://127.0.0.1:{port}", "py", train, log=self.log.append, **options)
        self.thread = threading.Thread(target=self.child.run, daemon=True)
        self.thread.start()
        self.sessions = 100

    def expect(self, kind):
        """The next message that is no heartbeat; it must be of this type."""
        while True:
            if not self.socket.poll(LIMIT_S * 1000):
                raise AssertionError(f"no {kind}; the child's log: {self.log}")
            self.route, *frames = self.socket.recv_multipart()
            found, fields = wire.decode(frames[0])
            if found in ("PING", "PONG") and found != kind:
                continue
            if found != kind:
                raise AssertionError(f"{found} {fields} instead of {kind}; the child's log: {self.log}")
            self.payload = frames[1] if len(frames) == 2 else None
            return fields

    def send(self, kind, payload=None, /, **fields):
        fields.setdefault("session", self.sessions)
        frames = [self.route, wire.encode(kind, **fields)] + ([payload] if payload else [])
        self.socket.send_multipart(frames)

    def welcome(self, hello=None, **changes):
        hello = hello or self.expect("HELLO")
        self.sessions += 1
        fields = dict(incarnation=5, fingerprint=SCHEMA.fingerprint, last_number=0, credit=0, plan=PLAN,
                      schema=SCHEMA.text, run=bytes(16), heartbeat_ms=5000)
        self.send("WELCOME", **{**fields, **changes})
        return hello

    def seed(self):
        pull = self.expect("PULL")
        self.send("MODEL", kind=wire.SEED, to_version=0, to_digest=CHAIN0, applied=0, fence=0, seed=7)
        return pull

    def close(self):
        self.child.stop()
        self.thread.join(LIMIT_S)
        same(self.thread.is_alive(), False)
        self.socket.close()


def same(found, expected):
    if found != expected:
        raise AssertionError(f"found {found!r:.200}, expected {expected!r:.200}")


def add_one(model, plan):
    for tensor in model.values():
        tensor += np.float32(1)
    return tp.Work(samples=10, weight=5, steps=2, loss=0.5)


def test_an_update_within_credit():
    p = Parent(add_one, max_updates=1)
    hello = p.welcome(credit=40000)
    same((hello["name"], hello["next_number"], "held_digest" in hello), ("py", 1, False))
    same("held_digest" in p.seed(), False)
    push = p.expect("PUSH")
    same((push["number"], push["base_version"], push["base_digest"]), (1, 0, CHAIN0[:4]))
    same((push["samples"], push["weight"], push["steps"], push["loss"]), (10, 5, 2.0, 0.5))
    update = wire.codec("int8").decode(p.payload, N)
    same(bool(np.allclose(update, 1, atol=1e-2)), True)
    p.send("ACK", number=1, verdict=1, staleness=0)
    same(p.expect("BYE")["reason"], wire.LEAVING)
    p.close()
    same(p.child.verdicts, [(1, 1, "none", 0)])


def test_an_update_in_chunks():
    """Beyond its credit it offers; the parent restarts in mid-chunk, and the transfer goes on."""
    p = Parent(add_one, max_updates=1)
    p.welcome()
    p.seed()
    offer = p.expect("PUSH")
    same(p.payload, None)
    p.send("CREDIT", number=1, offset=0, chunk_bytes=1, window_bytes=20000)  # no chunk is smaller than 16 KiB
    data = b""
    for size in (16384, 20000 - 16384):
        same(p.expect("CHUNK")["offset"], len(data))
        same(len(p.payload), size)
        data += p.payload
    p.send("ERROR", code=1, session=p.sessions)
    hello = p.welcome()
    same((hello["next_number"], hello["held_version"], hello["held_digest"]), (2, 0, CHAIN0))
    again = p.expect("PUSH")
    same({**again, "session": 0}, {**offer, "session": 0})
    p.send("CREDIT", number=1, offset=len(data), chunk_bytes=20000, window_bytes=40000)
    while len(data) < offer["payload_bytes"]:
        same(p.expect("CHUNK")["offset"], len(data))
        data += p.payload
    same(wire.crc32c(data), offer["payload_crc"])
    p.send("ERROR", code=9, number=1, wait_ms=1)  # it arrived damaged: all of it once more
    same(p.expect("PUSH")["payload_bytes"], len(data))
    p.send("CREDIT", number=1, offset=0, chunk_bytes=20000, window_bytes=1 << 20)
    again = b""
    while len(again) < len(data):
        same(p.expect("CHUNK")["offset"], len(again))
        again += p.payload
    same(again, data)
    p.send("ACK", number=1, verdict=2, reason=1, staleness=9)
    p.expect("BYE")
    p.close()
    same(p.child.verdicts, [(1, 2, "stale", 9)])


def test_models_of_all_kinds():
    """Seed, two increments in one MODEL, an offered snapshot, current; the model that the trainer gets is exact."""
    got = []

    def train(model, plan):
        got.append((plan["version"], np.concatenate([t.ravel() for t in model.values()]).tobytes()))
        return add_one(model, plan)

    p = Parent(train, frame_bytes=50000)
    p.welcome(credit=1 << 30)
    acknowledge = lambda: p.send("ACK", number=p.expect("PUSH")["number"], verdict=1)  # noqa: E731
    p.seed()
    acknowledge()
    steps = [wire.codec("int8").encode(np.full(N, x, np.float32)) for x in (0.5, -0.25)]
    chain1 = wire.chain_next(CHAIN0, steps[0])
    chain2 = wire.chain_next(chain1, steps[1])
    pull = p.expect("PULL")
    same((pull["held_version"], pull["held_digest"], pull["credit"]), (0, CHAIN0, 50000))
    p.send("MODEL", b"".join(steps), kind=wire.INCREMENTS, from_version=0, from_digest=CHAIN0, to_version=2,
           to_digest=chain2, applied=1, fence=0, parts=[len(step) for step in steps])
    acknowledge()
    v2 = V0.copy()
    for step in steps:
        v2 += wire.codec("int8").decode(step, N)
    same(p.expect("PULL")["held_digest"], chain2)
    v3 = V0 * np.float32(3)
    data = v3.tobytes()
    p.send("MODEL", kind=wire.SNAPSHOT, to_version=3, to_digest=bytes(32), applied=2, fence=0,
           full_digest=wire.full_digest(v3), payload_bytes=len(data), payload_crc=wire.crc32c(data))
    at = 0
    while at < len(data):
        credit = p.expect("CREDIT")
        same((credit["number"], credit["offset"]), (3, at))
        piece = data[at:at + credit["chunk_bytes"]]
        p.send("CHUNK", piece, number=3, offset=at)
        at += len(piece)
    acknowledge()
    same(p.expect("PULL")["held_version"], 3)
    p.send("MODEL", kind=wire.CURRENT, to_version=3, to_digest=bytes(32), applied=3, fence=0)
    acknowledge()
    p.expect("PULL")
    p.close()
    same(got, [("0", V0.tobytes()), ("2", v2.tobytes()), ("3", v3.tobytes()), ("3", v3.tobytes())])


def test_bad_models_are_refused():
    p = Parent(add_one)
    p.welcome(credit=1 << 30)
    p.seed()
    p.send("ACK", number=p.expect("PUSH")["number"], verdict=1)
    step = wire.codec("int8").encode(np.full(N, 0.5, np.float32))
    base = dict(kind=wire.INCREMENTS, from_version=0, to_version=1, applied=0, fence=0, parts=[len(step)])
    p.expect("PULL")
    p.send("MODEL", step, from_digest=CHAIN0, to_digest=bytes(32), **base)  # another chain digest
    same("held_digest" in p.expect("PULL"), False)
    p.send("MODEL", step, from_digest=CHAIN0, to_digest=wire.chain_next(CHAIN0, step), **base)  # nothing held
    p.expect("PULL")
    nan = np.full(N, np.nan, np.float32)
    p.send("MODEL", nan.tobytes(), kind=wire.SNAPSHOT, to_version=1, to_digest=bytes(32), applied=0, fence=0,
           full_digest=wire.full_digest(nan))
    p.expect("PULL")
    p.send("WAIT", wait_ms=1)
    p.seed()
    same(p.expect("PUSH")["number"], 2)
    p.close()


def test_numbers_and_incarnations():
    p = Parent(add_one)
    first = p.expect("HELLO")
    p.welcome(first, last_number=3)  # knows more than was issued: restored from a backup
    second = p.welcome()
    same(second["incarnation"] != first["incarnation"], True)
    p.seed()
    push = p.expect("PUSH")
    same(push["number"], 1)
    p.send("ERROR", code=wire.CODES.index("conflict"), number=1)
    third = p.welcome()
    same((third["incarnation"] != second["incarnation"], third["next_number"]), (True, 1))
    p.expect("PULL")
    p.send("ERROR", code=wire.CODES.index("retired"))
    fourth = p.expect("HELLO")
    same(fourth["incarnation"] != third["incarnation"], True)
    p.welcome(fourth, incarnation=6)  # another parent: nothing that was held counts
    same("held_digest" in p.expect("PULL"), False)
    p.send("PING", token=77)
    same(p.expect("PONG")["token"], 77)
    p.send("BYE", reason=wire.FINISHED)
    p.thread.join(LIMIT_S)
    same(p.thread.is_alive(), False)
    p.socket.close()


def test_a_damaged_transfer_is_offered_again():
    p = Parent(add_one)
    p.welcome()
    p.seed()
    p.expect("PUSH")
    p.send("ERROR", code=wire.CODES.index("credit"), number=1, wait_ms=1)
    same("payload_bytes" in p.expect("PUSH"), True)
    p.close()


def test_an_algorithm_that_it_does_not_know():
    for more, why in (("train.algorithm: scaffold\n", "train.algorithm is scaffold; this participant does sgd alone"),
                      ("train.worker_momentum: 0.9\n", "has a train.worker_momentum"),
                      ("codec.up: kmeans\n", "no codec is known as 'kmeans'")):
        p = Parent(add_one)
        p.welcome(plan=PLAN + more)
        deadline = time.monotonic() + LIMIT_S
        while not any(why in line for line in p.log) and time.monotonic() < deadline:
            time.sleep(0.01)
        same([why in line for line in p.log], [True])
        same(p.child.residual, None)
        p.close()
    p = Parent(add_one)
    p.welcome(plan=PLAN + "train.algorithm: sgd\ntrain.worker_momentum: 0\n")
    p.expect("PULL")
    p.close()


def main():
    failures = 0
    for name, test in sorted(globals().items()):
        if name.startswith("test_"):
            try:
                test()
                print(f"ok - {name[5:].replace('_', ' ')}")
            except Exception as error:
                failures += 1
                print(f"# {type(error).__name__}: {error}\nnot ok - {name[5:].replace('_', ' ')}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
