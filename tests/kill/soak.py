#!/usr/bin/python3
"""make soak: a federation for hours while devices come and go, links are cut and nodes restarted; does anything grow?

usage: tests/kill/soak.py [--hours H] [--seed N] [--out FILE.csv]

A cloud and two edges stay up all the time; an edge below the second is killed and restarted; four device processes are
stopped, killed, suspended and started again; peers say HELLO, pull, push and vanish; the first edge's uplink is cut. Every
five seconds memory, descriptors and disk of the three that stay are sampled into FILE.csv. The slope of the memory is
fitted to the second half: the first fills what has a limit (4,096 published versions, SQLite's page cache).
The last line is
    soak: hours=H updates=N rss_slope_kib_per_hour=N fds=N disk=N ...
(slope: the steepest of the three; fds: the most of any of them, in the last third; disk: bytes beside the ledgers, which
grow by design, in the last third; ledger: bytes for each judged update) and the exit status is 0 only if none of it grew
beyond the bounds below, and every update that a device was told is accepted is counted once.
"""
import argparse
import csv
import os
import pathlib
import random
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))
import harness  # noqa: E402
import ledgers  # noqa: E402
from proxy import Proxy  # noqa: E402

SAMPLE_S = 5.0
RSS_SLOPE_KIB_PER_HOUR = 1024  # beyond this it is a leak
FDS_MORE = 8                   # in the last third than in the first: churn makes the number vary
DISK_BYTES = 200 << 20         # beside the ledger: a segment and a spare of 64 MiB, checkpoints, SQLite's log
LEDGER_BYTES_PER_UPDATE = 1500


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def folder_bytes(folder):
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass  # a checkpoint that has just been replaced
    return total


def slope(points):
    """Of a least-squares line through (x, y)."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    below = sum((x - mean_x) ** 2 for x, _ in points)
    return above / below if below else 0.0


class Soak:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        small = {"store__checkpoint__records": 300}
        self.cloud = harness.over_tcp(harness.cloud(
            "cloud", plan__data__devices=12, plan__publish__interval="100ms", plan__publish__global_interval="100ms",
            evaluation__interval="3s", evaluation__max_samples=200, store__keep_models=5, **small))
        self.link = Proxy(self.cloud.endpoint)
        self.edge_1 = harness.over_tcp(harness.edge(self.cloud, "edge-1", upstream__endpoint=self.link.endpoint, **small))
        self.edge_2 = harness.over_tcp(harness.edge(self.cloud, "edge-2", **small))
        self.edge_3 = harness.over_tcp(harness.edge(self.edge_2, "edge-3", **small))
        self.stay = [self.cloud, self.edge_1, self.edge_2]
        self.parents = []
        for i, parent in enumerate((self.edge_1, self.edge_2, self.edge_3, self.edge_1)):
            fleet = harness.devices(parent, f"fleet-{i}", first=3 * i, count=3, devices__workers=1, speed__delay=400,
                                    log__level="debug")
            if i == 3:
                del fleet.settings["spool.path"]  # its devices begin anew each time
            self.parents.append((fleet, parent))
        self.due = []
        self.visitors = 0

    def start(self):
        harness.start_tree(self.cloud, self.edge_1, self.edge_2, self.edge_3, *(fleet for fleet, _ in self.parents))

    # ---- churn ----

    def _later(self, seconds, what, *arguments):
        self.due.append((time.monotonic() + seconds, what, arguments))

    def _continue(self, daemon):
        daemon.signal(signal.SIGCONT)
        daemon.suspended = False

    def _churn_fleet(self):
        fleet, _ = self.rng.choice(self.parents)
        if fleet.process is None or getattr(fleet, "suspended", False):
            return
        kind = self.rng.random()
        if kind < 0.3:
            fleet.signal(signal.SIGSTOP)
            fleet.suspended = True
            self._later(self.rng.uniform(1, 30), self._continue, fleet)
            return
        if kind < 0.6:
            fleet.stop()
        else:
            fleet.kill()
        self._later(self.rng.uniform(0, 15), fleet.start)

    def _churn_edge(self):
        if self.edge_3.process is not None:
            self.edge_3.kill()
            self._later(self.rng.uniform(0, 5), self.edge_3.start)

    def _churn_link(self):
        if self.rng.random() < 0.5:
            self.link.cut()
            self._later(self.rng.uniform(1, 20), self.link.mend)
        else:
            self.link.set(hole=True)
            self._later(self.rng.uniform(1, 20), lambda: self.link.set(hole=False))

    def _visit(self):
        """A peer that takes part once and vanishes without a word."""
        self.visitors += 1
        peer = harness.Peer(self.rng.choice((self.edge_1, self.edge_2)), f"visitor-{self.visitors % 20}")
        try:
            peer.hello()
            peer.pull()
            peer.push(bytes(self.rng.randrange(1, 2000)))  # a payload that is none
            peer.verdict()
        except harness.Failure as failure:
            print(f"# a visitor: {failure}", flush=True)
        finally:
            peer.close()

    def churn(self, now):
        for item in [item for item in self.due if item[0] <= now]:
            self.due.remove(item)
            item[1](*item[2])

    def run(self, hours, out):
        began = time.monotonic()
        end, next_sample, next_print = began + hours * 3600, began, began
        turns = [(20, self._churn_fleet), (120, self._churn_edge), (75, self._churn_link), (7, self._visit)]
        next_turn = [began + period for period, _ in turns]
        while (now := time.monotonic()) < end:
            self.churn(now)
            for i, (period, turn) in enumerate(turns):
                if now >= next_turn[i]:
                    next_turn[i] = now + self.rng.uniform(0.5, 1.5) * period
                    turn()
            if now >= next_sample:
                next_sample += SAMPLE_S
                self.sample((now - began) / 3600, out, show=now >= next_print)
                if now >= next_print:
                    next_print += 300
            time.sleep(0.2)

    def sample(self, hour, out, show):
        for node in self.stay:
            database = node.database.stat().st_size
            row = (round(hour, 5), node.name, rss_kib(node.process.pid), descriptors(node.process.pid),
                   folder_bytes(node.store) - database, database)
            out.append(row)
            if show:
                print("# hour=%.2f node=%s rss_kib=%d fds=%d disk=%d ledger=%d" % row, flush=True)

    # ---- the end ----

    def finish(self):
        self.link.set(hole=False)
        self.link.mend()
        self.churn(float("inf"))
        for fleet, _ in self.parents:
            fleet.wait_count("accepted", 1, 120)
        parents = [(self.cloud, None), (self.edge_1, self.cloud), (self.edge_2, self.cloud), (self.edge_3, self.edge_2)]
        ledgers.drain(self.parents, parents, 120)
        return ledgers.audit(self.parents, parents)


def judge(node, rows):
    """(slope, descriptors, disk, bytes an update, what grew) of one node's samples."""
    third = len(rows) // 3
    first, last, half = rows[:third], rows[-third:], rows[len(rows) // 2:]
    steep = slope([(row[0], row[2]) for row in half])
    fds, fds_before = (max(row[3] for row in part) for part in (last, first))
    disk = max(row[4] for row in last)
    judged = max(1, node.one("SELECT count(*) FROM contributions"))
    each = node.database.stat().st_size / judged
    grew = []
    if steep > RSS_SLOPE_KIB_PER_HOUR:
        grew.append(f"{node.name}'s memory grows by {steep:.0f} KiB an hour")
    if fds > fds_before + FDS_MORE:
        grew.append(f"{node.name} has {fds} descriptors, it had {fds_before}")
    if disk > DISK_BYTES:
        grew.append(f"{node.name} has {disk} bytes beside its ledger")
    if each > LEDGER_BYTES_PER_UPDATE:
        grew.append(f"{node.name}'s ledger has {each:.0f} bytes for each update")
    print(f"soak: node={node.name} rss_kib={rows[-1][2]} rss_slope_kib_per_hour={steep:.0f} fds={fds} disk={disk} "
          f"ledger={rows[-1][5]} judged={judged}")
    return steep, fds, disk, each, grew


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default="build/soak.csv")
    options = parser.parse_args()
    soak, samples = Soak(options.seed), []
    soak.start()
    try:
        soak.run(options.hours, samples)
        found = soak.finish()
    finally:
        pathlib.Path(options.out).parent.mkdir(parents=True, exist_ok=True)
        with open(options.out, "w", newline="", encoding="ascii") as file:
            csv.writer(file).writerows([("hour", "node", "rss_kib", "fds", "disk", "ledger"), *samples])
    results = [judge(node, [row for row in samples if row[1] == node.name]) for node in soak.stay]
    wrong = [line for result in results for line in result[4]] + found.wrong
    for line in wrong[:20]:
        print(f"  {line}")
    print(f"soak: hours={options.hours:g} updates={found.accepted} counted={found.counted} lost={found.lost} "
          f"twice={found.twice} rss_slope_kib_per_hour={max(r[0] for r in results):.0f} fds={max(r[1] for r in results)} "
          f"disk={max(r[2] for r in results)} ledger_bytes_per_update={max(r[3] for r in results):.0f}")
    return 0 if found.well and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
