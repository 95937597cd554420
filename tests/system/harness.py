"""What the system tests share: real daemons on ipc endpoints in a scratch folder, waiting for events with a deadline,
raw peers, and cases that print `ok - name` or `not ok - name`.

The programs come from TRIBUTARY_BIN (default build/gcc/bin), everything written goes to TRIBUTARY_SCRATCH (default a new
folder in /tmp). No daemon outlives the script, however it ends.
"""
import atexit
import ctypes
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "python"))
import tributary_wire as wire  # noqa: E402
import zmq  # noqa: E402

BIN = pathlib.Path(os.environ.get("TRIBUTARY_BIN", ROOT / "build/gcc/bin")).resolve()
SAMPLE = ROOT / "data" / "mnist-sample"
SLOW = float(os.environ.get("TRIBUTARY_SLOW", "1"))  # tests/run --slow: what every time limit is multiplied by
JITTER = float(os.environ.get("TRIBUTARY_JITTER", "0"))  # tests/run --jitter: how long who runs may be held up, in seconds
DEADLINE_S = 30.0  # no wait takes so long unless something is broken, on a machine that has time
PR_SET_PDEATHSIG = 1


def _scratch():
    if "TRIBUTARY_SCRATCH" in os.environ:
        return pathlib.Path(os.environ["TRIBUTARY_SCRATCH"])
    path = tempfile.mkdtemp(prefix="tributary-system-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return pathlib.Path(path)


SCRATCH = _scratch()


class Failure(AssertionError):
    pass


def limit(seconds=DEADLINE_S):
    """How long it may take here."""
    return seconds * SLOW


def same(found, expected, what="it"):
    if found != expected:
        raise Failure(f"{what} is {found!r:.300}, expected {expected!r:.300}")


def check(condition, what):
    if not condition:
        raise Failure(what)


def wait(condition, what, deadline_s=DEADLINE_S, pause_s=0.02):
    """The first true value of condition(), which must come before the deadline."""
    end = time.monotonic() + limit(deadline_s)
    while True:
        value = condition()
        if value:
            _hold_up()
            return value
        if time.monotonic() > end:
            raise Failure(f"not within {limit(deadline_s):.0f} s: {what}")
        time.sleep(pause_s)


# ---- a busy machine ----

def _held_up_s():
    return JITTER * random.random() ** 3


def _hold_up():
    """With --jitter the test is, now and then, as late as it may be on a machine that is busy."""
    if JITTER:
        time.sleep(_held_up_s())


def _hold_up_daemons():
    """... and so are the daemons, one at a time."""
    while True:
        time.sleep(0.05 + _held_up_s())
        for daemon in random.sample(sorted(list(_running), key=lambda daemon: daemon.name), min(1, len(_running))):
            process = daemon.process
            if process is not None and not daemon.stopped and process.poll() is None:
                process.send_signal(signal.SIGSTOP)
                time.sleep(_held_up_s())
                if not daemon.stopped:
                    process.send_signal(signal.SIGCONT)


# ---- daemons ----

_running = set()
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _end_all():
    for daemon in list(_running):
        daemon.kill()


atexit.register(_end_all)


def _stop_on_signal(signo, _frame):
    sys.exit(128 + signo)  # so that atexit runs


signal.signal(signal.SIGTERM, _stop_on_signal)


def run(program, *words, env=None, timeout_s=DEADLINE_S):
    """A program that ends by itself: its exit status, stdout, stderr."""
    done = subprocess.run([BIN / program, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=limit(timeout_s), cwd=ROOT, env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr


class Daemon:
    """One of the three programs. Settings are what --set takes; it listens and answers on ipc in its own folder."""

    def __init__(self, role, name, settings=None, words=(), wrapper=(), env=None):
        self.role, self.name, self.words, self.wrapper = role, name, list(map(str, words)), list(wrapper)
        self.folder = SCRATCH / name
        self.folder.mkdir(exist_ok=True)
        self.health_endpoint = f"ipc://{self.folder}/health"
        self.endpoint = f"ipc://{self.folder}/sock"
        self.store = self.folder / "store"
        self.settings = {"name": name, "health": self.health_endpoint}
        if role != "device":
            self.settings["listen"] = json.dumps([self.endpoint])
            self.settings["store.path"] = self.store
        if role == "device":
            self.settings["spool.path"] = self.folder / "spool"
        if role != "edge":
            self.settings["data.path"] = SAMPLE
        self.settings.update(settings or {})
        self.env = {**os.environ, **(env or {})}
        self.log_path = self.folder / "log"
        self.bin = BIN  # where its program is
        self.process = None
        self.stopped = False  # by the test, with SIGSTOP
        self.log_from = 0  # of the running process

    def start(self, **changes):
        """Starts it, again too: on the same store, with the same settings but for `changes` (dots as __)."""
        check(self.process is None, f"{self.name} runs already")
        self.settings.update({key.replace("__", "."): value for key, value in changes.items()})
        command = self.wrapper + [str(self.bin / f"tributary-{self.role}")] + self.words
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        self.log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                                            env=self.env, preexec_fn=_die_with_parent)
        _running.add(self)
        return self

    def log(self):
        """What it has logged since its last start."""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            log.seek(self.log_from)
            return log.read()

    def logged(self, pattern):
        return re.search(pattern, self.log())

    def wait_log(self, pattern, deadline_s=DEADLINE_S):
        def found():
            match = self.logged(pattern)
            if not match and self.process is not None and self.process.poll() is not None:
                match = self.logged(pattern)
                check(match, f"{self.name} ended with status {self.process.returncode} without logging {pattern}")
            return match
        return wait(found, f"{self.name} logs {pattern}", deadline_s)

    def ask_health(self):
        """Its --health line, or None when it does not answer. (The edge's program asks: it starts fastest.)"""
        status, out, _ = run("tributary-edge", "--health", "--set", f"health={self.health_endpoint}")
        return json.loads(out) if out.startswith("{") else None

    def health(self):
        """Its health line, now."""
        return self.wait_health(lambda line: True, "it answers")

    def wait_health(self, condition, what, deadline_s=DEADLINE_S):
        """The first health line of which condition(line) is true."""
        last = []

        def good():
            check(self.process is None or self.process.poll() is None, f"{self.name} has ended")
            last[:] = [self.ask_health()]
            return last[0] if last[0] is not None and condition(last[0]) else None
        try:
            return wait(good, what, deadline_s)
        except Failure as failure:
            raise Failure(f"{self.name}: {failure}; the last health line was {last}") from None

    def count(self, key):
        """A number of its health line, once it has one."""
        return self.health()[key]

    def wait_more(self, key, more):
        """So much more of it than now."""
        return self.wait_count(key, self.count(key) + more)

    def wait_count(self, key, least, deadline_s=DEADLINE_S):
        return self.wait_health(lambda line: line.get(key, 0) >= least, f"{key} reaches {least}", deadline_s)

    def wait_version(self, least, deadline_s=DEADLINE_S):
        """This version is in its ledger. Its health line is ahead of that: it has what is still being written."""
        query = "SELECT coalesce(max(version), -1) FROM versions"
        wait(lambda: self.one(query) >= least, f"version {least} in the ledger of {self.name}", deadline_s)

    def kill(self):
        """kill -9."""
        _hold_up()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self._gone()

    def signal(self, signo=signal.SIGTERM):
        _hold_up()
        self.stopped = signo == signal.SIGSTOP or (self.stopped and signo != signal.SIGCONT)
        self.process.send_signal(signo)

    def wait_exit(self, deadline_s=DEADLINE_S):
        """Its exit status; negative: the signal that it died of."""
        try:
            status = self.process.wait(limit(deadline_s))
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} has not ended within {limit(deadline_s):.0f} s") from None
        self._gone()
        return status

    def stop(self, deadline_s=DEADLINE_S):
        """SIGTERM, and it ends well."""
        self.signal()
        same(self.wait_exit(deadline_s), 0, f"exit status of {self.name}")

    def _gone(self):
        _running.discard(self)
        self.process, self.stopped = None, False

    @property
    def database(self):
        return self.store / ("ledger.db" if self.role == "cloud" else "journal.db")

    def sql(self, query, *values):
        return sql(self.database, query, *values)

    def one(self, query, *values):
        return self.sql(query, *values)[0][0]


def sql(path, query, *values):
    """Rows of a query on a database that may be in use."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return database.execute(query, values).fetchall()
    finally:
        database.close()


def cloud(name="cloud", model="softmax", **settings):
    """Settings with __ for dots. A small model, quick rounds, short heartbeats."""
    plan = {"plan.model": model, "plan.data.devices": 10, "plan.train.max_samples": 100, "plan.heartbeat": "300ms",
            "plan.publish.interval": "20ms", "plan.publish.global_interval": "10ms", "plan.train.lr": 0.02,
            "evaluation.interval": "1s"}
    plan.update({key.replace("__", "."): value for key, value in settings.items()})
    return Daemon("cloud", name, plan)


def edge(parent, name="edge", **settings):
    return Daemon("edge", name, {"upstream.endpoint": parent.endpoint,
                                 **{key.replace("__", "."): value for key, value in settings.items()}})


def devices(parent, name="device", first=0, count=1, **settings):
    return Daemon("device", name, {"upstream.endpoint": parent.endpoint, "devices.first": first,
                                   "devices.count": count, "speed.delay": 30,
                                   **{key.replace("__", "."): value for key, value in settings.items()}})


def free_port():
    """A TCP port of the loopback that nobody listens on now. It is none of those that the kernel gives to connections: one
    of these would be taken, now and then, while the node that listens on it starts again."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first = int(file.read().split()[0])
    while True:
        port = random.randrange(10000, first) if first > 12000 else random.randrange(1024, 65536)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def over_tcp(node):
    """The edge or cloud listens on TCP instead, on the same port after each start. Before its children are made."""
    node.endpoint = f"tcp://127.0.0.1:{free_port()}"
    node.settings["listen"] = json.dumps([node.endpoint])
    return node


def start_tree(*daemons):
    """Starts parents before children, each once the one above is there for it."""
    for daemon in daemons:
        daemon.start()
        if daemon.role == "cloud":
            daemon.wait_log(r" run_(begun|resumed) ")
        elif daemon.role == "edge":
            daemon.wait_health(lambda line: line.get("uplink"), "the uplink is there")


def stop(*daemons):
    """SIGTERM to all of them at once, and they end well."""
    for daemon in daemons:
        daemon.signal()
    for daemon in daemons:
        same(daemon.wait_exit(), 0, f"exit status of {daemon.name}")


# ---- raw peers ----

class Peer:
    """A DEALER that says what the test wants."""

    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 4096)

    def __init__(self, parent, name, incarnation=None, curve=None):
        self.parent, self.name = parent, name
        self.incarnation = incarnation or int.from_bytes(os.urandom(7), "big") + 1
        self.curve = curve
        self.number = 0
        self.connect()

    def connect(self):
        self.session = None
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        if self.curve:
            self.socket.curve_serverkey, self.socket.curve_publickey, self.socket.curve_secretkey = self.curve
        self.socket.connect(self.parent if isinstance(self.parent, str) else self.parent.endpoint)

    def close(self):
        self.socket.close()

    def raw(self, *frames):
        self.socket.send_multipart(frames)

    def send(self, kind, payload=None, /, **fields):
        if kind != "HELLO":
            fields.setdefault("session", self.session)
        self.raw(wire.encode(kind, **fields), *([payload] if payload is not None else []))

    def receive(self):
        """(type, fields, payload), or None if nothing came."""
        if not self.socket.poll(limit() * 1000):
            return None
        frames = self.socket.recv_multipart()
        kind, fields = wire.decode(frames[0])
        return kind, fields, frames[1] if len(frames) == 2 else None

    def expect(self, *kinds):
        """The next message of one of these types, as (fields, payload); ADVANCE and WAIT may come in between."""
        while True:
            message = self.receive()
            check(message is not None, f"{self.name}: no {' or '.join(kinds)} came")
            kind, fields, payload = message
            if kind in kinds:
                return fields, payload
            check(kind in ("ADVANCE", "WAIT", "PING", "PONG"),
                  f"{self.name}: {kind} {fields} came instead of {' or '.join(kinds)}")

    def error(self, code):
        """The next message is ERROR with this code."""
        fields, _ = self.expect("ERROR")
        same(wire.name_of(wire.CODES, fields["code"]), code, f"the code in {fields}")
        return fields

    def hello(self, expect="WELCOME", **changes):
        fields = {"name": self.name, "incarnation": self.incarnation, "next_number": self.number + 1, "kind": 1,
                  "protocol_min": 1, "protocol_max": 1}
        self.send("HELLO", **{**fields, **changes})
        if expect != "WELCOME":
            return self.error(expect)
        self.welcome, _ = self.expect("WELCOME")
        self.session = self.welcome["session"]
        self.schema = wire.Schema(self.welcome["schema"])
        return self.welcome

    def pull(self):
        """Where the parent is: an update made now starts from (base_version, base_digest)."""
        kind = "WAIT"
        while kind != "MODEL":
            if kind == "WAIT":  # each is asked for once; an edge may have no model yet
                self.send("PULL", credit=64 << 20)
            message = self.receive()
            check(message is not None, f"{self.name}: no MODEL came")
            kind, model, _ = message
            check(kind in ("MODEL", "WAIT", "ADVANCE", "PING", "PONG"), f"{self.name}: {kind} {model} came instead of MODEL")
            if kind == "WAIT":
                time.sleep(0.05)
        self.base = {"base_version": model["to_version"], "base_digest": model["to_digest"][:4]}
        return model

    def push_fields(self, **changes):
        fields = {"number": self.number, **self.base, "samples": 10, "weight": 10, "steps": 1.0, "loss": 1.0}
        fields.update(changes)
        return {key: value for key, value in fields.items() if value is not None}

    def push(self, payload=None, /, **changes):
        """The next update, without waiting for an answer."""
        self.number = changes.pop("number", self.number + 1)
        self.send("PUSH", payload, **self.push_fields(**changes))

    def verdict(self):
        """(number, "accepted" or the reason of the refusal) of the next ACK."""
        ack, _ = self.expect("ACK")
        if ack["verdict"] == wire.ACCEPTED:
            return ack["number"], "accepted"
        return ack["number"], wire.name_of(wire.REASONS, ack["reason"])


# ---- cases ----

_cases = []


def case(function):
    """Marks a case; main runs them in order. It is named by its docstring's first line, or by itself."""
    _cases.append(function)
    return function


class Skip(Exception):
    """This case cannot run here."""


def main(*shared, chained=False):
    """Runs the cases. `shared`: daemons whose logs are shown when one fails; chained: each case builds on those before it.
    Returns the exit status."""
    failed = False
    if JITTER:
        threading.Thread(target=_hold_up_daemons, daemon=True).start()
    for function in _cases:
        if failed and chained:
            print("# the cases after it were not run")
            break
        name = function.__doc__.strip().splitlines()[0]
        start = time.monotonic()
        try:
            function()
            print(f"ok - {name}", flush=True)
        except Skip as why:
            print(f"ok - {name} # SKIP {why}", flush=True)
        except Exception:
            failed = True
            traceback.print_exc(file=sys.stdout)
            _show_logs(shared)
            print(f"not ok - {name}", flush=True)
        if "TRIBUTARY_TIMES" in os.environ:
            print(f"# {time.monotonic() - start:.2f} s", flush=True)
    _end_all()
    return 1 if failed else 0


def _show_logs(shared):
    for daemon in dict.fromkeys([*shared, *_running]):
        if daemon.log_path.exists():
            tail = daemon.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
            print(f"--- {daemon.name}:", *tail, sep="\n    ")
