#!/usr/bin/python3
"""make kill-test: kill -9 of devices, edges and cloud at random times, on real sockets and disks, and SIGSTOP; then counts.

usage: tests/kill/kill.py [--kills N] [--seed N] [--keep DIR]

The kills are spread over federations of a few shapes: flat or with an edge below an edge, small models that travel in one
message and large ones that travel in pieces, checkpoints every few records. Who is killed, when, whether it stays down for
a while, is killed again while it starts, or is stopped and continued instead, is drawn from the seed; timing is the
machine's. At the end of each federation everybody is there again and goes on; then the devices leave, the edges forward what
they have, and tests/system/ledgers.py looks for every update that a device was told is accepted. The last line is
    kill-test: kills=N accepted=N counted=N lost=N twice=N
and the exit status is 0 only if nothing was lost, nothing counts twice, and everybody went on.
"""
import argparse
import collections
import dataclasses
import os
import pathlib
import random
import shutil
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))
import harness  # noqa: E402
import ledgers  # noqa: E402
from faults import Faults  # noqa: E402
from harness import check  # noqa: E402

KILLS_A_FEDERATION = 50
DRAIN_S = 60.0  # a parent that was away for long is asked again every 15 s


@dataclasses.dataclass
class Shape:
    name: str
    model: str
    rule: str       # of the edges
    stacked: bool   # the second edge has an edge below it
    sync_ms: int    # what a sync takes longer, on average
    store: dict     # settings of edges and cloud


SHAPES = (
    Shape("stacked", "softmax", "fedbuff(k=3)", True, 4, {"store__checkpoint__records": 60}),
    Shape("pieces", "2nn", "fedbuff(k=2)", False, 0, {"store__checkpoint__records": 40}),
    Shape("flat", "softmax", "fedasync(form=delta, alpha=0.5)", False, 15, {"store__checkpoint__records": 25}),
    Shape("batched", "softmax", "fedbuff(k=3)", True, 0,
          {"store__durability": "batched", "store__checkpoint__records": 200}),
)


class Federation:
    def __init__(self, name, shape, rng):
        store = shape.store
        self.rng, self.kills, self.stops = rng, 0, 0
        self.cloud = harness.over_tcp(harness.cloud(
            f"{name}-cloud", model=shape.model, plan__edge__rule=shape.rule, plan__data__devices=8, plan__train__max_samples=60,
            evaluation__max_samples=100, **store))
        self.edges = [self._edge(f"{name}-edge-{i}", self.cloud, store) for i in (1, 2)]
        if shape.stacked:
            self.edges.append(self._edge(f"{name}-edge-3", self.edges[1], store))
        parents = [self.edges[0], self.edges[-1], self.edges[0], self.edges[1]]
        self.fleets = [harness.devices(parent, f"{name}-fleet-{i}", first=2 * i, count=2, devices__workers=1,
                                       log__level="debug") for i, parent in enumerate(parents)]
        del self.fleets[3].settings["spool.path"]  # its devices begin anew each time
        self.fleets[0].settings["spool.model"] = "true"
        self.fleet_parents = list(zip(self.fleets, parents))
        self.node_parents = [(self.cloud, None), *((edge, edge.parent) for edge in self.edges)]
        self.nodes = [self.cloud, *self.edges]
        self.everybody = [*self.nodes, *self.fleets]
        if shape.sync_ms:
            for node in self.nodes:
                Faults(node, rng.getrandbits(30)).set(sync_delay_us=1000 * shape.sync_ms)
        self.due = []  # (time, daemon, "start" or "continue")
        self.stopped = set()

    @staticmethod
    def _edge(name, parent, store):
        edge = harness.over_tcp(harness.edge(parent, name, **store))
        edge.parent = parent
        return edge

    def start(self):
        harness.start_tree(*self.nodes, *self.fleets)
        for fleet in self.fleets:
            fleet.wait_count("accepted", 1, deadline_s=60)

    # ---- trouble ----

    def _running(self, kinds):
        found = [daemon for daemon in kinds if daemon.process is not None and daemon not in self.stopped]
        for daemon in found:
            check(daemon.process.poll() is None, f"{daemon.name} ended by itself with {daemon.process.returncode}")
        return found

    def _victim(self):
        """An edge is what most often has something to lose."""
        kinds = self.rng.choices([self.edges, [self.cloud], self.fleets], [5, 2, 3])[0]
        found = self._running(kinds) or self._running(self.everybody)
        return self.rng.choice(found) if found else None

    def _pause(self, longest_s):
        """As many short ones as long ones: from 5 ms."""
        return 0.005 * (longest_s / 0.005) ** self.rng.random()

    def _later(self, seconds, daemon, what):
        self.due.append((time.monotonic() + seconds, daemon, what))

    def _do_due(self, everything=False):
        for item in sorted(self.due, key=lambda item: item[0]):
            at, daemon, what = item
            if not everything and at > time.monotonic():
                break
            self.due.remove(item)
            if what == "start":
                daemon.start()
            else:
                daemon.signal(signal.SIGCONT)
                self.stopped.discard(daemon)

    def _sleep(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._do_due()
            time.sleep(min(left, 0.02))
        self._do_due()

    def _kill(self, daemon):
        daemon.kill()
        self.kills += 1
        down = 0.0 if self.rng.random() < 0.6 else self._pause(5.0)
        self._later(down, daemon, "start")
        self._do_due()

    def _step(self, longest_stop_s):
        victim, kind = self._victim(), self.rng.random()
        if victim is None:
            return
        if kind < 0.08:
            victim.signal(signal.SIGSTOP)
            self.stopped.add(victim)
            self.stops += 1
            self._later(self._pause(longest_stop_s), victim, "continue")
            return
        self._kill(victim)
        if kind < 0.20 and victim.process is not None:  # again, while it starts
            self._sleep(self._pause(0.3))
            if victim.process is not None:
                self._kill(victim)
        elif kind < 0.28:  # two at once
            other = self._victim()
            if other is not None:
                self._kill(other)

    def trouble(self, kills, longest_stop_s):
        while self.kills < kills:
            self._step(longest_stop_s)
            self._sleep(self._pause(0.8))
        while any(what == "continue" for _, _, what in self.due):  # a stop takes as long as was drawn
            self._sleep(0.1)
        self._do_due(everything=True)

    # ---- the end ----

    def drain(self):
        for node in self.edges:
            node.wait_health(lambda line: line["uplink"], "its parent is there", DRAIN_S)
        for fleet in self.fleets:  # everybody goes on
            fleet.wait_count("accepted", 2, DRAIN_S)
        ledgers.drain(self.fleet_parents, self.node_parents, DRAIN_S)

    def kill_all(self):
        for daemon in self.everybody:
            daemon.kill()

    def audit(self):
        found = ledgers.audit(self.fleet_parents, self.node_parents)
        for node in self.nodes:
            if node.one("SELECT count(*) FROM runs") != 1:
                found.wrong.append(f"{node.name} began {node.one('SELECT count(*) FROM runs')} runs")
        versions = [version for version, in self.cloud.sql("SELECT version FROM versions ORDER BY version")]
        if versions != list(range(len(versions))):
            found.wrong.append("the cloud's versions do not follow each other")
        return found

    def show_logs(self):
        for daemon in self.everybody:
            tail = daemon.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
            tail = [line for line in tail if " update_judged " not in line][-12:]
            print(f"--- {daemon.name}:", *tail, sep="\n    ")


def run_federation(name, shape, rng, kills, longest_stop_s):
    """(kills, Audit or None when it did not come so far)"""
    began = time.monotonic()
    federation = Federation(name, shape, rng)
    found = None
    try:
        federation.start()
        federation.trouble(kills, longest_stop_s)
        try:
            federation.drain()
        except harness.Failure as failure:  # the count may say why
            federation.kill_all()
            found = federation.audit()
            found.wrong.append(str(failure))
        else:
            found = federation.audit()
        places = " ".join(f"{place}={found.places[place]}" for place in ledgers.PLACES)
        print(f"{name}: kills={federation.kills} stops={federation.stops} {found} {places} "
              f"seconds={time.monotonic() - began:.0f}", flush=True)
        for line in found.wrong[:20]:
            print(f"  {line}")
    except harness.Failure as failure:
        print(f"{name}: kills={federation.kills} stops={federation.stops}: {failure}", flush=True)
    finally:
        for daemon in federation.stopped:
            daemon.signal(signal.SIGCONT)
        if found is None or not found.well:
            federation.show_logs()
        federation.kill_all()
    return federation.kills, found


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="0: one of its own, printed")
    parser.add_argument("--keep", help="folder for stores and logs of federations that failed")
    options = parser.parse_args()
    seed = options.seed or int.from_bytes(os.urandom(4), "big") | 1
    print(f"kill-test: seed={seed}", flush=True)
    total, left, well, index = collections.Counter(), options.kills, True, 0
    longest_stop_s = 3.0 if options.kills <= 100 else 60.0
    federations = max(2, round(options.kills / KILLS_A_FEDERATION))
    while left > 0:
        shape = SHAPES[index % len(SHAPES)]
        index += 1
        name = f"{shape.name}-{index}"
        kills, found = run_federation(name, shape, random.Random(f"{seed}/{index}"),
                                      -(-left // max(1, federations - index + 1)), longest_stop_s)
        left -= kills
        total["kills"] += kills
        well = well and found is not None and found.well
        if found is not None:
            total.update(accepted=found.accepted, counted=found.counted, lost=found.lost, twice=found.twice)
        for folder in harness.SCRATCH.glob(f"{name}-*"):
            if options.keep and not (found and found.well):
                shutil.copytree(folder, pathlib.Path(options.keep) / folder.name, dirs_exist_ok=True,
                                ignore=lambda parent, names: [n for n in names if n in ("sock", "health")])
            shutil.rmtree(folder)
    print("kill-test: " + " ".join(f"{key}={total[key]}" for key in ("kills", "accepted", "counted", "lost", "twice")))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
