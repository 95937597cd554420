"""Where every update is that a device was told is accepted: devices' logs, edges' ledgers and the cloud's, joined.

An update is followed up the tree by what identifies it: at the edge by device, incarnation and number; from there by the
forward that took it (forwards take whole versions, in order, so the samples of both must add up at each of them); at the
parent by the edge's name, incarnation and number, with the same content. It must be in exactly one place: a version of the
cloud, a rule's buffer, an edge's U, a forward that the edge still holds, or void with a reason.
"""
import collections
import dataclasses
import re

import harness
from harness import check, wait

VERDICT = re.compile(r" update_judged device=(\S+) incarnation=(\w+) number=(\d+) verdict=accepted")
# What a forward says of itself, in the edge's table `forwards` and in its parent's `contributions`.
CONTENT = ("base_version", "origins", "samples", "weight_samples", "region_samples", "steps", "loss", "below_updates",
           "below_up_bytes", "below_down_bytes", "below_raw_bytes")
PLACES = ("version", "buffer", "U", "held", "void")


def told(fleet):
    """The updates that a device process's log (at level debug, of all its lives) says were accepted, as
    (device, incarnation, number)."""
    text = fleet.log_path.read_text(encoding="utf-8", errors="replace")
    return [(device, incarnation, int(number)) for device, incarnation, number in VERDICT.findall(text)]


class Ledger:
    """What an edge or the cloud has on disk."""

    def __init__(self, node, parent=None):
        self.name, self.parent, self.role = node.name, parent, node.role
        self.wrong = []  # what cannot be, as text
        self.runs = node.sql("SELECT run_id, run FROM runs")
        columns = ("node", "incarnation", "sequence", "run_id", "contribution_id", "verdict", "reason", "version",
                   "void_reason", "payload_crc32c", *CONTENT)
        self.rows = collections.defaultdict(list)
        for row in node.sql(f"SELECT {', '.join(columns)} FROM contributions ORDER BY contribution_id"):
            row = dict(zip(columns, row))
            self.rows[row["node"], row["incarnation"], row["sequence"]].append(row)
        columns = ("run_id", "incarnation", "sequence", "verdict", "reason", *CONTENT)
        self.forwards = [dict(zip(columns, row)) for row in
                         node.sql(f"SELECT {', '.join(columns)} FROM forwards ORDER BY rowid")]
        if node.sql("SELECT count(*) FROM events WHERE event = 'void'")[0][0]:
            self.wrong.append(f"{self.name} voided its own part")
        if node.sql("PRAGMA integrity_check") != [("ok",)]:
            self.wrong.append(f"SQLite finds {self.name}'s database damaged")
        self._find_twice()
        self.forward_of = {}  # (run_id, version) -> the forward that it is in
        if self.role == "edge":
            for run_id, _ in self.runs:
                self._match(run_id)

    def _find_twice(self):
        """Numbers with two verdicts, and one training that counts under two numbers."""
        self.twice = sum(len(rows) - 1 for rows in self.rows.values())
        seen = collections.Counter((row["node"], row["incarnation"], row["base_version"], row["payload_crc32c"],
                                    row["loss"]) for rows in self.rows.values() for row in rows if row["verdict"] == "accepted")
        self.twice += sum(count - 1 for count in seen.values())

    def _match(self, run_id):
        """Forwards take the versions committed before them, whole and in order."""
        versions = collections.defaultdict(int)
        for rows in self.rows.values():
            for row in rows:
                if row["run_id"] == run_id and row["version"] is not None:
                    versions[row["version"]] += row["samples"]
        ordered = collections.deque(sorted(versions))
        for forward in self.forwards:
            if forward["run_id"] != run_id:
                continue
            left = forward["samples"]
            while left > 0 and ordered:
                version = ordered.popleft()
                left -= versions[version]
                self.forward_of[run_id, version] = forward
            if left != 0:
                self.wrong.append(f"{self.name}'s forward {forward['sequence']} has {forward['samples']} samples, "
                                  f"the versions in it {forward['samples'] - left}")
                return

    def check_spooled(self, told_updates):
        """A device with a spool is the same over its restarts, and every number that it made was judged."""
        for device in sorted({device for device, _, _ in told_updates}):
            lives = {incarnation for name, incarnation, _ in told_updates if name == device}
            numbers = sorted(key[2] for key in self.rows if key[0] == device and key[1] in lives)
            if len(lives) != 1:
                self.wrong.append(f"{device} has a spool, and {len(lives)} incarnations")
            elif numbers != list(range(1, len(numbers) + 1)):
                self.wrong.append(f"{self.name} has not judged every number of {device}: {numbers[-1:]} is the last of "
                                  f"{len(numbers)}")

    def place(self, key):
        """One of PLACES, or None: lost."""
        rows = self.rows.get(key, [])
        if not rows:
            return None
        row = rows[0]
        if row["verdict"] == "refused":
            return None
        return self._place_of(row)

    def _place_of(self, row):
        if row["void_reason"] is not None:
            return "void"
        if row["version"] is None:
            return "buffer"
        if self.role == "cloud":
            return "version"
        forward = self.forward_of.get((row["run_id"], row["version"]))
        if forward is None:
            return "U"
        there = self.parent.rows.get((self.name, forward["incarnation"], forward["sequence"]), [])
        if not there:
            return "held" if forward["verdict"] is None else None
        refused = there[0]["verdict"] == "refused"  # then nobody asked for the region
        if any(forward[column] != there[0][column] for column in CONTENT if not (refused and column == "region_samples")):
            return None  # another forward went up under its number
        return "void" if refused else self.parent._place_of(there[0])


@dataclasses.dataclass
class Audit:
    accepted: int  # updates that devices were told are accepted
    counted: int   # of these, found in exactly one place
    lost: int
    twice: int     # at whichever node: a number's verdicts beyond the first, trainings under another number too, and the
                   # updates in forwards that the edge no longer knows of
    places: collections.Counter
    wrong: list    # anything else that cannot be

    @property
    def well(self):
        return not (self.lost or self.twice or self.wrong) and self.accepted > 0

    def __str__(self):
        return f"accepted={self.accepted} counted={self.counted} lost={self.lost} twice={self.twice}"


def audit(fleets, parents):
    """`fleets`: device processes with the Daemon that each talks to; `parents`: the cloud first, then (edge, parent)."""
    ledgers = {}
    for node, parent in parents:
        ledgers[node.name] = Ledger(node, ledgers[parent.name] if parent else None)
    places, accepted, lost = collections.Counter(), 0, 0
    updates = {fleet.name: set(told(fleet)) for fleet, _ in fleets}
    for fleet, parent in fleets:
        if fleet.settings.get("spool.path"):
            ledgers[parent.name].check_spooled(updates[fleet.name])
    wrong = [line for ledger in ledgers.values() for line in ledger.wrong]
    for fleet, parent in fleets:
        for update in updates[fleet.name]:
            accepted += 1
            place = ledgers[parent.name].place(update)
            if place is None:
                lost += 1
                wrong.append(f"{update} was accepted by {parent.name} and is nowhere")
            else:
                places[place] += 1
    twice = sum(ledger.twice for ledger in ledgers.values())
    for ledger in ledgers.values():
        for (name, incarnation, number), rows in ledger.rows.items():
            child = ledgers.get(name)
            if child and not any((f["incarnation"], f["sequence"]) == (incarnation, number) for f in child.forwards):
                twice += rows[0]["below_updates"]  # they went up again in another one
                wrong.append(f"{ledger.name} has {name}'s forward {number} of {incarnation}, which {name} never made")
    return Audit(accepted, accepted - lost, lost, twice, places, wrong)


def drained(edge):
    """Every version of the edge is in a forward that has its verdict, or that a model says it contains."""
    check(not edge.one("SELECT count(*) FROM events WHERE event = 'void'"), f"{edge.name} voided its own part")
    return edge.one("SELECT count(*) FROM forwards WHERE verdict IS NULL AND contained_ms IS NULL") == 0 and edge.one(
        "SELECT (SELECT coalesce(sum(samples), 0) FROM contributions WHERE version IS NOT NULL) = "
        "(SELECT coalesce(sum(samples), 0) FROM forwards)")


def drain(fleets, parents, deadline_s=harness.DEADLINE_S):
    """The devices leave, edges forward what they have, those below others first, and everybody is stopped. Arguments as
    for audit()."""
    harness.stop(*(fleet for fleet, _ in fleets))
    edges = [node for node, parent in reversed(parents) if parent]
    for edge in edges:
        wait(lambda: drained(edge), f"{edge.name} has forwarded all and has verdicts", deadline_s, pause_s=0.1)
    harness.stop(*edges)
    harness.stop(parents[0][0])


def check_counted(fleets, parents, deadline_s=harness.DEADLINE_S):
    """Drains; every update that a device was told is accepted is in one place."""
    drain(fleets, parents, deadline_s)
    found = audit(fleets, parents)
    check(found.well, f"{found}: {'; '.join(found.wrong[:5])}")
    return found
