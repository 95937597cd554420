#!/usr/bin/python3
"""A Tributary participant in plain Python: joins an edge (or a cloud), trains, pushes updates.

As a library:

    def train(model, plan):                     # model: {tensor name: float32 array}, plan: {name: text}
        ...                                     # change the arrays in place
        return Work(samples=1200, weight=600, steps=120, loss=0.3)

    Participant("tcp://127.0.0.1:7000", "device-py", train, spool="/var/lib/device-py").run()

With a spool folder it goes on after a restart: an update that was not acknowledged is sent again, under its number.

As a program it trains models made of dense layers (softmax, 2nn) on MNIST: --help says how. It was written from
docs/protocol.md; the numbers of sections in comments are that page's. Needs pyzmq, msgpack and numpy.
"""
import argparse
import dataclasses
import pathlib
import random
import secrets
import signal
import socket
import sys
import threading
import time

import numpy as np
import zmq

import tributary_wire as wire
from tributary_spool import Spool
from tributary_training import DenseTrainer, Work, read_idx  # noqa: F401: Work is for who imports this module

REPLY_S = 10.0
BACKOFF_S = (0.2, 15.0)
WINDOW_CHUNKS = 4
KEEP_RETRY_S = 5.0
REFUSED_S = 60.0


class Reconnect(Exception):
    """This session is over; `wait_s` before the next one."""

    def __init__(self, why, wait_s=0.0):
        super().__init__(why)
        self.wait_s = wait_s


class Finished(Exception):
    """The run is over, or this participant has done what it should."""


@dataclasses.dataclass
class Update:
    """An update on its way: number and bytes never change."""

    number: int
    fields: dict
    payload: bytes
    sent_at: float = 0.0
    not_before: float = 0.0
    allowed_to: int = 0  # of an offered payload: sent up to here, and allowed up to there
    sent_to: int = 0
    chunk_bytes: int = 0


@dataclasses.dataclass
class Download:
    """A model that comes in chunks."""

    fields: dict
    data: bytearray


class Participant:
    def __init__(self, endpoint, name, train, *, server_key=None, public_key=None, secret_key=None,
                 frame_bytes=wire.FRAME_PAYLOAD, max_updates=None, spool=None, log=lambda text: None):
        """`train(model, plan)` is called in a thread of its own. Keys are Z85 texts, all three or none.
        frame_bytes: the largest payload to be sent in one frame; above it the parent sends chunks.
        spool: a folder for what it must not forget; None: it begins anew each time."""
        self.endpoint, self.name, self.train = endpoint, name, train
        self.keys = (server_key, public_key, secret_key)
        self.frame_bytes, self.max_updates, self.log = frame_bytes, max_updates, log
        self.context = zmq.Context()
        self.stopping = threading.Event()
        self.waker, self.wake = socket.socketpair()  # the trainer's thread ends the wait for messages
        self.accepted = self.refused = 0
        self.verdicts = []  # (number, verdict, reason, staleness)
        self.residual = self.parent = self.last_version = None
        self.spool = Spool(spool, name, log) if spool is not None else None
        self.kept, self.keep_at = True, 0.0  # is what must be kept in the spool? If not, when to try again
        kept = self.spool.load() if self.spool else None
        self._new_incarnation()
        if kept is not None:
            self._restore(kept)
        self._forget_model()
        self.known_schema = False
        self.schema = None
        self.plan = {}

    def stop(self):
        """From any thread or a signal handler: says BYE and ends run()."""
        self.stopping.set()
        self._wake()

    def _wake(self):
        """From any thread: ends the wait for messages."""
        try:
            self.waker.send(b"w")
        except OSError:
            pass  # run() has returned, nobody waits

    def run(self):
        """Returns when the run is finished, max_updates are judged, or stop() was called."""
        backoff = BACKOFF_S[0]
        try:
            while not self.stopping.is_set():
                try:
                    self._session()
                except Reconnect as reason:
                    wait = max(reason.wait_s, backoff * (1 + random.random() / 2))
                    self.log(f"session over: {reason}; next in {wait:.1f} s")
                    self.stopping.wait(wait)
                    backoff = BACKOFF_S[0] if self.welcomed else min(2 * backoff, BACKOFF_S[1])
        except Finished as reason:
            self.log(f"finished: {reason}")
        finally:
            self._keep()  # the last verdict too
            if self.spool:
                self.spool.close()
            self.context.destroy(linger=500)
            self.waker.close()
            self.wake.close()

    # ---- what is held ----

    def _new_incarnation(self):
        self.incarnation = secrets.randbits(64) or 1
        self.next_number = 1
        self.update = None  # at most one is on its way
        self.training = None

    def _renew(self):
        """A new one from now on: everything unacknowledged is forgotten."""
        self._new_incarnation()
        if self.residual is not None:
            self.residual[:] = 0
        self._keep()

    def _keep(self):
        """Into the spool: before what depends on it is told (section 7). A disk that fails is tried again."""
        self.kept = self.spool is None or self.residual is None
        if self.kept:
            return
        update = self.update and {"number": self.update.number, "fields": self.update.fields,
                                  "payload": self.update.payload}
        try:
            self.spool.save({"incarnation": self.incarnation, "next_number": self.next_number, "parent": self.parent,
                             "last_version": self.last_version, "residual": self.residual.tobytes(), "update": update})
            self.kept = True
        except OSError as error:
            self.keep_at = time.monotonic() + KEEP_RETRY_S
            self.log(f"the spool cannot be written: {error}")

    def _restore(self, kept):
        self.incarnation, self.next_number = kept["incarnation"], kept["next_number"]
        self.parent, self.last_version = kept["parent"], kept["last_version"]
        self.residual = np.frombuffer(kept["residual"], np.float32).copy()
        self.update = Update(**kept["update"]) if kept["update"] else None

    def _forget_model(self):
        self.model = None
        self.version = self.digest = None

    # ---- a session (section 7) ----

    def _open(self):
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        if self.keys[0]:
            self.socket.curve_serverkey, self.socket.curve_publickey, self.socket.curve_secretkey = (
                key.encode() for key in self.keys)
        self.socket.connect(self.endpoint)
        self.session = None
        self.welcomed = False
        self.download = None
        self.pulled_at = None  # a PULL that was not answered yet
        self.pull_at = 0.0
        self.heard_at = self.said_at = time.monotonic()

    def _session(self):
        self._open()
        try:
            self._hello()
            while True:
                timeout = self._due()
                self._wait(timeout)
                while (message := self._receive()) is not None:
                    self._on_message(*message)
                if self.stopping.is_set():
                    self._bye()
                    raise Finished("stopped")
        except Finished:
            self.socket.linger = 500
            raise
        finally:
            self.socket.close()

    def _bye(self):
        if self.session is not None:
            self._send("BYE", reason=wire.LEAVING)

    def _wait(self, timeout_s):
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(self.wake, zmq.POLLIN)
        ready = dict(poller.poll(max(0, timeout_s) * 1000))
        if self.wake.fileno() in ready:
            self.wake.recv(64)

    def _receive(self):
        """(type, fields, payload) of the next message that can be read, or None."""
        while self.socket.poll(0):
            frames = self.socket.recv_multipart()
            self.heard_at = time.monotonic()
            if len(frames) > 2:
                continue
            try:
                kind, fields = wire.decode(frames[0])
            except wire.Refused as error:
                self.log(f"the parent sent what cannot be read: {error}")
                continue
            if kind not in ("WELCOME", "ERROR") and fields.get("session") != self.session:
                continue
            return kind, fields, frames[1] if len(frames) == 2 else None
        return None

    def _send(self, kind, payload=None, /, **fields):
        if kind != "HELLO":
            fields["session"] = self.session
        frames = [wire.encode(kind, **fields)] + ([payload] if payload else [])
        self.said_at = time.monotonic()
        self.socket.send_multipart(frames)

    def _hello(self):
        fields = {"name": self.name, "incarnation": self.incarnation, "next_number": self.next_number, "kind": 1,
                  "protocol_min": wire.PROTOCOL, "protocol_max": wire.PROTOCOL, "build": "python",
                  "codecs": wire.KNOWN.replace(" ", ",")}
        if self.parent is not None:
            fields["parent_incarnation"] = self.parent
        if self.known_schema:
            fields["fingerprint"] = self.schema.fingerprint
            if self.model is not None:
                fields.update(held_version=self.version, held_digest=self.digest)
        self._send("HELLO", **fields)

    def _due(self):
        """Does what is due; returns after how many seconds there will be something again."""
        now = time.monotonic()
        if self.session is None:
            if now - self.said_at > REPLY_S:
                raise Reconnect("no WELCOME")
            return self.said_at + REPLY_S - now
        if now - self.heard_at > 4 * self.heartbeat_s + REPLY_S:
            raise Reconnect("silence")
        self._collect()
        if not self.kept and now >= self.keep_at:
            self._keep()
        if not self.kept:
            pass  # nothing that depends on it leaves
        elif self.update is not None:
            if now - self.update.sent_at >= REPLY_S and now >= self.update.not_before:
                self._push()
        elif self.training is None:
            if self.pulled_at is None and now >= self.pull_at or \
                    self.pulled_at is not None and now - self.pulled_at >= REPLY_S:
                self._pull()
        if now - self.said_at >= self.heartbeat_s:
            self._send("PING", token=int(now * 1000))
        return min(0.25, self.heartbeat_s / 2)

    def _on_message(self, kind, fields, payload):
        handler = getattr(self, "_on_" + kind.lower(), None)
        if handler is None or (self.session is None and kind not in ("WELCOME", "ERROR")):
            return
        handler(fields, payload)

    def _on_welcome(self, fields, _):
        if self.session is not None:
            return
        if fields["last_number"] >= self.next_number:
            self._renew()
            raise Reconnect("the parent knows more numbers than were issued: a new incarnation")
        schema = wire.Schema(fields["schema"])
        if schema.fingerprint != fields["fingerprint"]:
            raise Reconnect("a schema that has not the fingerprint it comes with", BACKOFF_S[1])
        plan = wire.parse_plan(fields["plan"])
        self._check_plan(plan)
        try:
            up, down = wire.codec(plan["codec.up"]), wire.codec(plan["codec.down"])
        except wire.Refused as error:
            raise Reconnect(f"the plan's codecs: {error}", REFUSED_S) from None
        if self.parent != fields["incarnation"] or len(self.residual) != schema.parameters:
            # Another parent, or a new run: what was made for the old one goes.
            self.update = self.training = None
            self._forget_model()
            self.residual = np.zeros(schema.parameters, np.float32)
            self.parent, self.last_version = fields["incarnation"], None
            self._keep()
        self.schema, self.known_schema = schema, True
        self.plan, self.up, self.down = plan, up, down
        self.session, self.welcomed = fields["session"], True
        self.heartbeat_s = fields["heartbeat_ms"] / 1000
        self.last_number = fields["last_number"]
        self.credit, self.used = fields["credit"], 0
        self.chunk_bytes = wire.FRAME_PAYLOAD
        if self.update is not None:  # sent again, whatever an ACK may have said before
            self.update.sent_at = -REPLY_S
            self.update.allowed_to = self.update.sent_to = 0
        self.log(f"session {self.session:#x}: {schema.parameters} parameters, last number {fields['last_number']}")

    def _check_plan(self, plan):
        """What an update is by this plan must be what is sent here: the change of the model (section 12)."""
        algorithm = plan.get("train.algorithm", "sgd")
        if algorithm != "sgd":
            raise Reconnect(f"the plan's train.algorithm is {algorithm}; this participant does sgd alone, "
                            "tributary-device does all", REFUSED_S)
        if float(plan.get("train.worker_momentum", 0)) > 0:
            raise Reconnect("the plan has a train.worker_momentum; this participant sends its last change alone, "
                            "tributary-device does both", REFUSED_S)

    # ---- errors and the rest ----

    def _on_error(self, fields, _):
        code, wait_s = wire.name_of(wire.CODES, fields["code"]), fields.get("wait_ms", 1000) / 1000
        if fields.get("session", 0) not in (0, self.session):
            return
        self.log(f"the parent says {code}: {fields.get('detail', '')}")
        if code in ("credit", "store"):
            if self.update is not None:
                self.update.not_before = time.monotonic() + wait_s
                self.update.sent_at = -REPLY_S
            if code == "credit":
                self.credit = self.used  # offer it
            return
        if code in ("retired", "conflict"):
            self._renew()
        elif code == "schema":
            self.known_schema = False
            self._forget_model()
        elif code == "gap" and self.update is not None and self.update.number <= self.last_number:
            self.update = None  # judged, and its verdict forgotten
        elif code == "type":
            return
        raise Reconnect(code, 0.0 if code == "hello" else wait_s)

    def _on_bye(self, fields, _):
        if fields["reason"] == wire.FINISHED:
            raise Finished("the run is over")
        raise Reconnect("the parent is leaving", 1.0)

    def _on_ping(self, fields, _):
        self._send("PONG", token=fields["token"])

    def _on_wait(self, fields, _):
        self.pulled_at = None
        self.pull_at = time.monotonic() + fields["wait_ms"] / 1000 * (1 + random.random() / 8)

    def _on_advance(self, _fields, _payload):
        self.pull_at = 0.0

    # ---- models (section 8) ----

    def _pull(self):
        fields = {"credit": self.frame_bytes}
        if self.model is not None:
            fields.update(held_version=self.version, held_digest=self.digest)
        self.pulled_at = time.monotonic()
        self._send("PULL", **fields)

    def _on_model(self, fields, payload):
        if self.training is not None or self.update is not None:
            return  # asked for before; it will be asked for again
        try:
            if "payload_bytes" in fields and payload is None:
                self._offered(fields)
            else:
                self._take_model(fields, payload or b"")
        except wire.Refused as error:
            self.log(f"a model was refused: {error}")
            self._start_over()

    def _start_over(self):
        self._forget_model()
        self.download = self.pulled_at = None
        self.pull_at = time.monotonic() + BACKOFF_S[0]

    def _offered(self, fields):
        size = fields["payload_bytes"]
        if not 0 < size <= 4 * self.schema.parameters + wire.FREE_PAYLOAD:
            raise wire.Refused(f"an offer of {size} bytes for {self.schema.parameters} parameters")
        same = ("to_version", "payload_bytes", "payload_crc")
        old = self.download
        if old is None or any(old.fields[key] != fields[key] for key in same):
            self.download = Download(fields, bytearray())
        else:
            old.fields = fields
        self.pulled_at = time.monotonic()
        self._credit()

    def _credit(self):
        chunk = min(max(self.frame_bytes, wire.CHUNK_MIN), wire.CHUNK_MAX)
        self._send("CREDIT", number=self.download.fields["to_version"], offset=len(self.download.data),
                   chunk_bytes=chunk, window_bytes=WINDOW_CHUNKS * chunk)

    def _on_chunk(self, fields, payload):
        if self.download is None or fields["number"] != self.download.fields["to_version"] or not payload:
            return
        model, data = self.download.fields, self.download.data
        self.pulled_at = time.monotonic()
        if fields["offset"] == len(data) and len(data) + len(payload) <= model["payload_bytes"]:
            data += payload
        if len(data) < model["payload_bytes"]:
            self._credit()
            return
        self.download = None
        try:
            if wire.crc32c(data) != model["payload_crc"]:
                raise wire.Refused("a payload with another checksum")
            self._take_model(model, bytes(data))
        except wire.Refused as error:
            self.log(f"a model was refused: {error}")
            self._start_over()

    def _take_model(self, fields, payload):
        kind, model = fields["kind"], None
        if kind == wire.CURRENT:
            if self.model is None or fields["to_digest"] != self.digest:
                raise wire.Refused("said to be current, and is not what is held")
            model = self.model
        elif kind == wire.INCREMENTS:
            if self.model is None or (fields["from_version"], fields["from_digest"]) != (self.version, self.digest):
                raise wire.Refused("increments from a version that is not held")
            model = self._add_increments(fields, payload, self.model.copy(), self.digest)
        elif kind == wire.SEED:
            model = self.schema.draw(fields["seed"])
            chain = wire.chain_start(self.schema.fingerprint, wire.full_digest(model))
            if "parts" in fields:
                model = self._add_increments(fields, payload, model, chain)
            elif chain != fields["to_digest"]:
                raise wire.Refused("a seed that gives another model here")
        else:
            model = wire.codec("f32").decode(payload, self.schema.parameters).copy()
        if "full_digest" in fields and wire.full_digest(model) != fields["full_digest"]:
            raise wire.Refused("a model with another digest")
        if not np.isfinite(model).all():
            raise wire.Refused("a model with NaN or infinity")
        if self.last_version is not None and fields.get("fence", 0) > self.last_version:
            self.residual[:] = 0  # a rollback: what is left of an abandoned version is void
        self.model, self.version, self.digest = model, fields["to_version"], fields["to_digest"]
        self.last_version = self.version
        self.pulled_at = None
        self._start_training()

    def _add_increments(self, fields, payload, model, chain):
        at, codec = 0, self.down
        specs = fields["codec"].split(";") if fields.get("codec") else []
        if len(specs) > len(fields["parts"]):
            raise wire.Refused("more codecs than increments")
        for size in fields["parts"]:
            if specs and (spec := specs.pop(0)):  # an empty one is the one before
                codec = wire.codec(spec)
            piece = payload[at:at + size]
            at += size
            model += codec.decode(piece, self.schema.parameters)  # float32, rounded once
            chain = wire.chain_next(chain, piece)
        if at != len(payload) or chain != fields["to_digest"]:
            raise wire.Refused("increments of another size or chain digest")
        return model

    # ---- training and updates (section 9) ----

    def _start_training(self):
        job = {"version": self.version, "digest": self.digest, "parent": self.parent, "done": None}
        start, plan = self.model.copy(), dict(self.plan)
        plan["version"] = str(self.version)

        def work():
            try:
                trained = start.copy()
                job["done"] = (self.train(self.schema.views(trained), plan), trained - start)
            except Exception as error:  # whatever it is, it is the trainer's; the session goes on
                job["done"] = (error, None)
            self._wake()

        self.training = job
        threading.Thread(target=work, daemon=True).start()

    def _collect(self):
        """Makes an update of what the trainer has done."""
        job = self.training
        if job is None or job["done"] is None:
            return
        self.training = None
        done, difference = job["done"]
        if isinstance(done, Exception) or not np.isfinite(difference).all():
            self.log(f"training failed: {done}")
            self.pull_at = time.monotonic() + 1.0
            return
        whole = difference + self._bounded_residual(difference)
        payload = self.up.encode(whole)
        self.residual = whole - self.up.decode(payload, len(whole))
        fields = {"base_version": job["version"], "base_digest": job["digest"][:4], "samples": done.samples,
                  "weight": done.weight, "steps": done.steps}
        if np.isfinite(done.loss):
            fields["loss"] = done.loss
        # Which one a parent expects depends on its tier (version 1); of auto(...) it is the upper bound.
        up = self.plan["codec.up"]
        if up != self.plan.get("codec.forward", up) or up.startswith("auto"):
            fields["codec"] = wire.upper_bound(up)
        self.update = Update(self.next_number, fields, payload, sent_at=-REPLY_S)
        self.next_number += 1
        self._keep()

    def _bounded_residual(self, difference):
        """What the codec left over, cut where it would outweigh the new update (plan: codec.residual_cap)."""
        cap = float(self.plan.get("codec.residual_cap", 20))
        update, residual = np.linalg.norm(difference), np.linalg.norm(self.residual)
        return self.residual * np.float32(cap * update / residual) if cap > 0 and cap * update < residual else self.residual

    def _push(self):
        update, size = self.update, len(self.update.payload)
        update.sent_at = time.monotonic()
        fits = update.number > self.last_number and (  # else it is judged, and the question needs no bytes
            size <= wire.FREE_PAYLOAD or (size <= self.chunk_bytes and self.used + size <= self.credit))
        if fits:
            self.used += size if size > wire.FREE_PAYLOAD else 0
            self._send("PUSH", update.payload, number=update.number, **update.fields)
        else:
            self._send("PUSH", number=update.number, payload_bytes=size, payload_crc=wire.crc32c(update.payload),
                       **update.fields)

    def _on_credit(self, fields, _):
        self.credit = max(self.credit, fields.get("credit", 0))
        update = self.update
        if update is None or fields.get("number") != update.number or not fields.get("chunk_bytes"):
            return
        offset = fields.get("offset", 0)
        end = min(offset + fields.get("window_bytes", 0), len(update.payload))
        if offset > update.sent_to or end <= update.allowed_to:
            update.sent_to = offset  # what was sent behind it is lost
        update.allowed_to = end
        self.chunk_bytes = min(max(fields["chunk_bytes"], wire.CHUNK_MIN), wire.CHUNK_MAX)
        while update.sent_to < update.allowed_to:
            piece = update.payload[update.sent_to:min(update.sent_to + self.chunk_bytes, update.allowed_to)]
            self._send("CHUNK", piece, number=update.number, offset=update.sent_to)
            update.sent_to += len(piece)
        update.sent_at = time.monotonic()

    def _on_ack(self, fields, _):
        self.credit = max(self.credit, fields.get("credit", 0))
        if self.update is None or fields["number"] != self.update.number:
            return
        reason = wire.name_of(wire.REASONS, fields.get("reason", 0))
        self.verdicts.append((fields["number"], fields["verdict"], reason, fields.get("staleness", 0)))
        self.update = None
        self.pull_at = 0.0
        if fields["verdict"] == wire.ACCEPTED:
            self.accepted += 1
            self.log(f"update {fields['number']} accepted, staleness {fields.get('staleness', 0)}")
        else:
            self.refused += 1
            self.log(f"update {fields['number']} refused: {reason}")
        if self.max_updates is not None and self.accepted + self.refused >= self.max_updates:
            self._bye()
            raise Finished(f"{self.accepted} updates accepted, {self.refused} refused")


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description="Joins an edge and trains a model of dense layers on MNIST.")
    parser.add_argument("--connect", required=True, metavar="ENDPOINT", help="tcp://HOST:PORT of the edge")
    parser.add_argument("--name", help="unique among its siblings (default: python- and some digits)")
    parser.add_argument("--data", type=pathlib.Path, default=here / "data" / "mnist-sample")
    parser.add_argument("--samples", type=int, default=600, help="train on so many images (default 600)")
    parser.add_argument("--updates", type=int, help="stop after so many verdicts")
    parser.add_argument("--server-key", help="the edge's public CURVE key (Z85)")
    parser.add_argument("--public-key")
    parser.add_argument("--secret-key-file", type=pathlib.Path, help="a file with `secret KEY` or the key alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spool", type=pathlib.Path, metavar="FOLDER", help="goes on from there after a restart")
    args = parser.parse_args()
    if args.spool and not args.name:
        parser.error("--spool needs --name: whose spool is it?")
    args.name = args.name or f"python-{secrets.token_hex(3)}"
    images = read_idx(args.data, "train-images-idx3-ubyte")
    labels = read_idx(args.data, "train-labels-idx1-ubyte")
    mine = np.random.default_rng(args.seed).permutation(len(images))[:args.samples]
    pixels = (images[mine].reshape(len(mine), -1) / np.float32(255)).astype(np.float32)
    trainer = DenseTrainer(pixels, labels[mine].astype(np.int64), args.seed)
    secret = args.secret_key_file.read_text().split()[-1] if args.secret_key_file else None
    participant = Participant(args.connect, args.name, trainer, server_key=args.server_key,
                              public_key=args.public_key, secret_key=secret, max_updates=args.updates, spool=args.spool,
                              log=lambda text: print(f"{args.name}: {text}", flush=True))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: participant.stop())
    participant.run()
    print(f"accepted={participant.accepted} refused={participant.refused}")
    return 0 if participant.accepted else 1


if __name__ == "__main__":
    sys.exit(main())
