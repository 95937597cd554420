#!/usr/bin/python3
# timeout: 120
"""Trees with edges below edges: each hop's bytes go up with what the edges forward, into the cloud's ledger, and
`tributary compare` shows each by its level."""
import csv
import io
import json
import sqlite3
import sys

import harness
from harness import SAMPLE, SCRATCH, case, check, same

VERSIONS = 6


def compare(*words):
    status, out, err = harness.run("tributary", "compare", *words)
    same(status, 0, err)
    return out


def totals(rows):
    """Sums over what ledgers say of forwards, (updates, up, down, f32, hops), hop by hop; the hops add up to the whole."""
    hops = []
    for *whole, told in rows:
        parts = json.loads(told)
        same([sum(numbers) for numbers in zip(*parts)], whole, f"the sums of {told}")
        hops += [[0] * 4 for _ in range(len(parts) - len(hops))]
        for hop, part in zip(hops, parts):
            hop[:] = [a + b for a, b in zip(hop, part)]
    return hops


def sums(rows):
    """What it comes to after each row, from nothing on."""
    found = [(0,) * len(rows[0])]
    for row in rows:
        found.append(tuple(a + (b or 0) for a, b in zip(found[-1], row)))
    return found


BELOW = "below_updates, below_up_bytes, below_down_bytes, below_raw_bytes"


@case
def test_real():
    """cloud, edge, edge, devices: what the upper edge tells of both hops is what the ledgers of the edges have"""
    cloud = harness.cloud(evaluation__interval=0, plan__stop__versions=VERSIONS)
    upper = harness.edge(cloud, "upper")
    lower = harness.edge(upper, "lower")
    fleet = harness.devices(lower, count=2, speed__delay=0)
    harness.start_tree(cloud, upper, lower, fleet)
    cloud.wait_log(" run_finished ")
    cloud.wait_log(f" evaluated version={VERSIONS} ")
    harness.stop(fleet, lower, upper, cloud)
    arrived = cloud.sql(f"SELECT {BELOW}, below_hops FROM contributions ORDER BY contribution_id")
    told = totals(arrived)
    same(len(told), 2, "hops below the cloud's")
    check(all(number > 0 for hop in told for number in hop), f"something came and went on each hop: {told}")
    # What the upper edge had told of the devices' hop is what had come up until then; its own links are in its ledger.
    from_below = upper.sql(f"SELECT {BELOW} FROM contributions WHERE verdict = 'accepted' ORDER BY contribution_id")
    check(tuple(told[0]) in sums(from_below), f"{told[0]} is no sum of {from_below}")
    own = upper.sql("SELECT contributions, up_bytes, down_bytes FROM versions WHERE made_by = 'commit' ORDER BY version")
    check(tuple(told[1][:3]) in sums(own), f"{told[1]} is no sum of {own}")
    same({hop for hop, in lower.sql("SELECT hop FROM bytes_by_hop")}, {"device-edge", "edge-cloud"}, "the lower edge's hops")
    same({hop for hop, in upper.sql("SELECT hop FROM bytes_by_hop")}, {"device-edge", "edge-edge", "edge-cloud"},
         "the upper edge's hops")
    same(lower.one("SELECT count(*) FROM forwards WHERE below_hops IS NOT NULL"), 0, "hops below the lower edge's")
    same(cloud.sql("SELECT hop, updates, up_bytes, down_bytes, up_f32_bytes FROM bytes_by_hop WHERE hop <> 'edge-cloud'"),
         [("device-edge", *told[0]), ("edge-edge", *told[1])], "bytes_by_hop")
    status, said, err = harness.run("tributary", "verify", cloud.database)
    same(status, 0, said + err)
    _altered(cloud)


def _altered(cloud):
    """A list of hops is part of the chain."""
    path = SCRATCH / "altered.db"
    path.write_bytes(cloud.database.read_bytes())
    with sqlite3.connect(path) as database:
        database.execute("UPDATE contributions SET below_hops = NULL WHERE contribution_id = 2")
    status, said, _ = harness.run("tributary", "verify", path)
    check(status == 1 and "version 2" in said, said)


def simulated(name, levels):
    text = f"""
data.path: {SAMPLE}
fleet: {{devices: 8, levels: {levels}, delay: "uniform(0.5, 2)"}}
evaluate.every: 1
plan: {{model: softmax, train.max_samples: 60, stop.versions: {VERSIONS}}}
"""
    path, out = SCRATCH / f"{name}.yaml", SCRATCH / name
    path.write_text(text)
    status, said, err = harness.run("tributary", "simulate", path, "--out", out, "--json")
    same(status, 0, err)
    return out, json.loads(said)


def last_point(out):
    said = json.loads(compare(out, "--json", "--points"))
    return said["labels"][0]["runs"][0]["points"][-1]


@case
def test_simulated():
    """trees of two to five hops: compare has each hop's bytes, those of the ledger, no more than the simulator counted"""
    for name, levels in (("two", [2]), ("three", [1, 2]), ("four", [1, 2, 4]), ("five", [1, 2, 2, 4])):
        out, summary = simulated(name, levels)
        rows = harness.sql(out / "ledger.db", f"SELECT {BELOW}, below_hops FROM contributions ORDER BY contribution_id "
                           "LIMIT (SELECT verdicts FROM versions ORDER BY version DESC LIMIT 1)")
        if len(levels) == 1:
            check(all(row[-1] is None for row in rows), "parts, where there is one hop")
            told = [[sum(numbers) for numbers in zip(*(row[:4] for row in rows))]]
        else:
            told = totals(rows)
        same(len(told), len(levels), f"hops told in {name}")
        point = last_point(out)
        names = ["device_edge", *(f"edge_edge{'_%d' % i if i > 1 else ''}" for i in range(1, len(levels))), "cloud"]
        same([key for key in point if key.endswith("_up_bytes")], [f"{hop}_up_bytes" for hop in names], "hops of compare")
        for i, hop in enumerate(names[:-1]):
            same((point[f"{hop}_up_bytes"], point[f"{hop}_down_bytes"]), tuple(told[i][1:3]), f"bytes of {hop} in {name}")
            counted = summary["hops"][len(levels) - i]
            check(0 < told[i][1] <= counted["up_bytes"] and 0 < told[i][2] <= counted["down_bytes"],
                  f"{hop} of {name}: {told[i]}, counted were {counted}")
        same(point["updates"], told[0][0], "updates of devices")


@case
def test_forms():
    """the table, CSV and charts have the hops between edges where there are any, and only there"""
    deep, flat = SCRATCH / "four", SCRATCH / "two"
    table = compare(f"deep={deep}", f"flat={flat}", "--to", "0.6", "--svg", SCRATCH / "charts")
    rows = [line.strip().split("  ")[0] for line in table.splitlines()]
    hops = [row for row in rows if row.endswith((" up", " down"))]
    same(hops, [f"{hop} {way}" for hop in ("device-edge", "edge-edge", "edge-edge-2", "cloud") for way in ("up", "down")], table)
    check((SCRATCH / "charts" / "accuracy-edge-edge-2-down.svg").exists(), "the chart of a hop between edges")
    check(not (SCRATCH / "charts" / "accuracy-edge-edge-3-up.svg").exists(), "a chart of no hop")
    quantities = lambda *words: {row["quantity"] for row in csv.DictReader(io.StringIO(compare(*words, "--to", "0.6", "--csv")))}  # noqa: E731
    same(quantities(deep) - quantities(flat), {f"{hop}_{way}_bytes" for hop in ("edge_edge", "edge_edge_2") for way in ("up", "down")},
         "quantities of a deeper tree")
    check("edge-edge" not in compare(flat, "--to", "0.6"), "hops between edges in a tree without")
    status, said, err = harness.run("tributary", "history", deep, "last", "--curve")
    check(status == 0 and "edge-edge-2 up" in said and "edge-edge-3" not in said, said + err)


sys.exit(harness.main())
