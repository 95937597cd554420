#!/usr/bin/python3
# timeout: 200
"""Rules, staleness functions and codecs over real sockets: a line of config each, and what the ledgers say afterwards."""
import concurrent.futures
import math
import re
import sys

import harness
from harness import case, check, same, wait

ROUNDS = 16  # of the synchronous run
FORWARDS = 8  # of each edge, in the others
DEVICES = (3, 2)  # of the first edge, and of the second
RECENT = 16  # staleness factors that relative damping looks at

STALENESS = {
    "constant": lambda tau: 1.0,
    "polynomial(0.5)": lambda tau: (1 + tau) ** -0.5,
    "hinge(2, 1)": lambda tau: 1.0 if tau <= 1 else 1 / (2 * (tau - 1) + 1),
    "linear(4)": lambda tau: 1 - min(tau, 4) / 5,
    "exponential(0.3)": lambda tau: math.exp(-0.3 * tau),
}
DEFAULT = STALENESS["polynomial(0.5)"]


class Tree:
    """A cloud, two edges, five devices: run to the plan's stop, or until both edges did their part; ended by SIGTERM."""

    def __init__(self, name, settings, counts=DEVICES):
        # Nobody is taken for gone, and rounds for whole without him, because the machine has no time for him.
        self.cloud = harness.cloud(f"{name}-c", plan__data__devices=sum(counts), plan__data__partition="iid",
                                   plan__heartbeat="10s")
        self.cloud.settings.update({f"plan.{key}": value for key, value in settings.items()})
        self.edge_rule = settings.get("edge.rule", "")
        self.edges = [harness.edge(self.cloud, f"{name}-e{i}") for i in range(len(counts))]
        self.devices = [harness.devices(edge, f"{name}-d{i}", first=sum(counts[:i]), count=counts[i],
                                        speed__delay=0) for i, edge in enumerate(self.edges)]
        self.daemons = [*self.devices, *self.edges, self.cloud]

    def run(self):
        harness.start_tree(self.cloud, *self.edges, *self.devices)
        if "plan.stop.versions" in self.cloud.settings:
            self.cloud.wait_log(" run_finished reason=versions ")
        else:
            wait(self.all_forwarded, f"{FORWARDS} forwards of each edge are in versions")
        harness.stop(*self.daemons)

    def all_forwarded(self):
        counts = self.cloud.sql("SELECT count(*) FROM contributions WHERE version IS NOT NULL GROUP BY node")
        return len(counts) == len(self.edges) and min(counts)[0] >= FORWARDS


class Update:
    """A row of contributions."""
    COLUMNS = ("node", "base_version", "staleness", "staleness_factor", "weight_applied", "norm_added", "weight_samples",
               "verdict", "reason", "version", "wire_bytes", "raw_bytes")

    def __init__(self, row):
        self.__dict__.update(zip(self.COLUMNS, row))

    def __repr__(self):
        return str(self.__dict__)


def updates(node):
    rows = node.sql(f"SELECT {', '.join(Update.COLUMNS)} FROM contributions ORDER BY contribution_id")
    return [Update(row) for row in rows]


def accepted(node):
    return [update for update in updates(node) if update.verdict == "accepted"]


def near(found, expected, what):
    check(abs(found - expected) <= 1e-5 * max(1.0, abs(expected)), f"{what} is {found}, expected {expected}")


# ---- what holds in every run ----

def check_run(tree, run):
    """Nothing was refused, and each update's staleness is what its rows say."""
    run.result()
    # One that comes when the run is over, or a round at its deadline, is told so: that is no mistake of anybody's.
    late = {"finished", "round"} if "deadline=" in tree.edge_rule else {"finished"}
    for node in (tree.cloud, *tree.edges):
        refused = [u for u in updates(node) if u.verdict != "accepted" and u.reason not in late]
        same(refused, [], f"updates that {node.name} refused")
        commits = dict(node.sql("SELECT version, commits FROM versions WHERE commits IS NOT NULL"))
        for update in accepted(node):
            check(update.staleness >= 0 and update.base_version >= 0, f"{node.name} took {update}")
            if update.version is not None:
                # Its base has at least so many commits fewer than the version that it came to be in.
                before = commits[update.version] - 1
                check(before - update.staleness >= 0, f"{node.name}, after {before} commits, took {update}")
                check(update.staleness <= update.version - update.base_version, f"{node.name} took {update}")


def rules_of(node):
    return {row[0].split("(")[0] for row in node.sql("SELECT DISTINCT rule FROM versions WHERE made_by = 'commit'")}


def check_factors(node, function):
    for update in accepted(node):
        near(update.staleness_factor, function(update.staleness), f"{node.name}'s factor for {update}")


def check_asynchronous(tree):
    """Somebody was overtaken: else the run says nothing about staleness."""
    stale = sum(update.staleness for node in (tree.cloud, *tree.edges) for update in accepted(node))
    check(stale > 0, "no update was stale at any node")


# ---- what is particular ----

def check_synchronous(tree):
    same(tree.cloud.sql("SELECT state, stop_reason, versions, last_version FROM run_summary"),
         [("stopped", "versions", ROUNDS, ROUNDS)], "the run")
    for node in (tree.cloud, *tree.edges):
        same(rules_of(node), {"fedavg"}, f"the rules of {node.name}")
        same({update.staleness for update in accepted(node)}, {0}, f"staleness at {node.name}")
    same(tree.cloud.sql("SELECT contributions, count(*) FROM versions WHERE made_by = 'commit' GROUP BY 1"),
         [(len(tree.edges), ROUNDS)], "updates in a version of the cloud, and versions")
    for version in range(1, ROUNDS + 1):
        same(tree.cloud.one("SELECT count(DISTINCT node) FROM contributions WHERE version = ?", version), len(tree.edges),
             f"edges in version {version}")
    for edge, devices in zip(tree.edges, DEVICES):
        check_rounds(edge, devices)


def check_rounds(edge, devices):
    """Each round that began when all devices were there has one update of each."""
    there_ms = edge.one("SELECT max(admitted_ms) FROM nodes")
    rounds = edge.sql(
        "SELECT v.version, v.contributions, (SELECT count(DISTINCT node) FROM contributions c WHERE c.version = v.version)"
        " FROM versions v JOIN versions base ON base.version = v.version - 1"
        " WHERE v.made_by = 'commit' AND base.published_ms > ?", there_ms)
    check(len(rounds) >= ROUNDS // 2, f"{edge.name} had {len(rounds)} rounds with all its devices")
    for version, contributions, nodes in rounds:
        same((contributions, nodes), (devices, devices), f"updates and devices in version {version} of {edge.name}")


def check_mean(edge):
    """FedBuff at an edge: w = n s, and the commit divides by the sum of n."""
    for update in accepted(edge):
        near(update.norm_added, update.weight_samples, f"what {edge.name} adds to the norm for {update}")
        near(update.weight_applied, update.weight_samples * update.staleness_factor, f"{edge.name}'s weight for {update}")
    for version, scale in edge.sql("SELECT version, scale FROM versions WHERE made_by = 'commit'"):
        norm = edge.one("SELECT sum(norm_added) FROM contributions WHERE version = ?", version)
        near(scale * norm, 1.0, f"scale by norm of version {version} of {edge.name}")


def check_relative(node, full):
    """Damping at the cloud is by the mean of recent factors: w = full(update) min(1, s / mean)."""
    factors = []
    for update in accepted(node):
        factors = (factors + [update.staleness_factor])[-RECENT:]
        mean = sum(factors) / len(factors)
        near(update.weight_applied, full(update) * min(1.0, update.staleness_factor / mean), f"the weight of {update}")


def check_regions(tree):
    """A forward speaks for the devices in it, and tells of all that are there: no fewer, and more where not all are in it."""
    rows = tree.cloud.sql("SELECT node, weight_samples, region_samples FROM contributions")
    check(all(region >= weight for _, weight, region in rows), f"weights and regions of forwards: {rows}")
    for edge in tree.edges:
        here = sum(n for n, in edge.sql("SELECT max(weight_samples) FROM contributions GROUP BY node"))
        largest = max(region for node, _, region in rows if node == edge.name)
        check(largest <= here, f"{edge.name} told of {largest} samples below it, there are {here}")
    check(any(region > weight for _, weight, region in rows), f"every forward had all devices in it: {rows}")


def check_fedbuff(function):
    def particular(tree):
        for edge in tree.edges:
            same(rules_of(edge), {"fedbuff"}, f"the rules of {edge.name}")
            check_factors(edge, function)
            check_mean(edge)
        check_factors(tree.cloud, DEFAULT)
        check_regions(tree)
        check_asynchronous(tree)
    return particular


def check_fedbuff_cloud(tree):
    same(rules_of(tree.cloud), {"fedbuff"}, "the cloud's rules")
    check_relative(tree.cloud, lambda update: update.weight_samples)
    check(tree.cloud.one("SELECT max(contributions) FROM versions") == 2, "no version has two updates in it")
    check_asynchronous(tree)


def check_fedasync(alpha, shares):
    def particular(tree):
        same(rules_of(tree.cloud), {"fedasync"}, "the cloud's rules")
        same(tree.cloud.sql("SELECT DISTINCT contributions FROM versions WHERE made_by = 'commit'"), [(1,)],
             "updates in a version")
        check_factors(tree.cloud, DEFAULT)
        check_asynchronous(tree)
        if not shares:
            check_relative(tree.cloud, lambda update: alpha)
        for update in accepted(tree.cloud):
            check(0 < update.weight_applied <= alpha * 1.0001, f"the cloud took {update}")
    return particular


def check_codec(up, forward, down):
    """How many times smaller than f32 each way is, at least and at most."""
    def particular(tree):
        def ratio(raw, wire, bounds, what):
            check(bounds[0] <= raw / wire <= bounds[1], f"{what}: {raw} bytes of f32 are {wire}, expected "
                                                        f"{bounds[0]} to {bounds[1]} times fewer")
        for node, bounds in ((tree.cloud, forward), *((edge, up) for edge in tree.edges)):
            for update in accepted(node):
                ratio(update.raw_bytes, update.wire_bytes, bounds, f"an update at {node.name}")
        for node in (tree.cloud, *tree.edges):
            raw = accepted(node)[0].raw_bytes
            sizes = node.sql("SELECT increment_bytes FROM versions WHERE published AND increment_bytes > 0")
            check(sizes, f"{node.name} published no increment")
            for size, in sizes:
                ratio(raw, size, down, f"an increment of {node.name}")
    return particular


def check_stages(edge, cloud, full=False):
    """The versions' rules have these stages, and the ledger's chain fits what became of every update."""
    def particular(tree):
        for node, names in ((tree.cloud, cloud), *((edge_, edge) for edge_ in tree.edges)):
            for text, in node.sql("SELECT DISTINCT rule FROM versions WHERE made_by = 'commit'"):
                same([stage.split("(")[0] for stage in text.split(" | ")], names.split(), f"stages at {node.name}")
        status, out, err = harness.run("tributary", "verify", tree.cloud.store)
        check(status == 0 and "findings=0" in out, f"verify: {out}{err}")
        for node in tree.edges:
            lost = node.one("SELECT count(*) FROM contributions WHERE void_reason IS NOT NULL AND void_reason <> 'superseded'")
            same(lost, 0, f"updates void at {node.name}")
            twice = node.one("SELECT count(*) FROM (SELECT version, node FROM contributions WHERE version IS NOT NULL "
                             "GROUP BY version, node HAVING count(*) > 1)")
            check(not full or twice == 0, f"{node.name} has {twice} times two updates of a device in a version")
    return particular


def stages(spec):
    return " ".join(stage.strip().split("(")[0] for stage in re.sub(r"\([^|]*\)", "", spec).split("|"))


def run_of(edge, cloud, **more):
    """A tree of two edges, or, where a combiner needs five devices, of one."""
    robust = any(name in edge for name in ("krum", "median", "bulyan"))
    settings = {"edge.rule": edge, "cloud.rule": cloud, **{key.replace("__", "."): value for key, value in more.items()}}
    return settings, check_stages(stages(edge), stages(cloud), robust), (5,) if robust else DEVICES


F32, F16, INT8, TOPK = (0.9, 1.0), (1.8, 2.0), (3.6, 4.0), (15, 80)
INT4, ROTATE1, RICE, ZSTD = (7, 8), (26, 32), (30, 90), (7.9, 40)
ALL_CODECS = ("codec.up", "codec.down", "codec.forward", "codec.global")

RUNS = {
    "synchronous: fedavg at both tiers, and hold": (
        {"edge.rule": "fedavg", "cloud.rule": "fedavg", "forward.hold": "true",
         "stop.versions": ROUNDS}, check_synchronous),
    "fedasync delta at the cloud": (
        {"cloud.rule": "fedasync(form=delta, alpha=0.8, share=no)"}, check_fedasync(0.8, False)),
    "fedasync mix at the cloud": (
        {"cloud.rule": "fedasync(form=mix, alpha=0.6)"}, check_fedasync(0.6, True)),
    "fedbuff at the cloud": (
        {"cloud.rule": "fedbuff(k=2, deadline=10s)"}, check_fedbuff_cloud),
    **{f"fedbuff at the edges, staleness {spec}": (
        {"edge.rule": f"fedbuff(k=2, staleness={spec})"}, check_fedbuff(function)) for spec, function in STALENESS.items()},
    "f32 all the way, glyphs for data": (
        {**dict.fromkeys(ALL_CODECS, "f32"), "data.set": "glyphs(1000)"}, check_codec(F32, F32, F32)),
    "f16 all the way": (dict.fromkeys(ALL_CODECS, "f16"), check_codec(F16, F16, F16)),
    "int8 all the way": (dict.fromkeys(ALL_CODECS, "int8"), check_codec(INT8, INT8, INT8)),
    "topk(0.05)+int8 up, int8 down": (
        {"codec.up": "topk(0.05)+int8", "codec.forward": "topk(0.05)+int8"}, check_codec(TOPK, TOPK, INT8)),
    "rotate+1bit all the way": (dict.fromkeys(ALL_CODECS, "rotate+1bit"), check_codec(ROTATE1, ROTATE1, ROTATE1)),
    "topk(0.05)+rotate+4bit+rice all the way": (
        dict.fromkeys(ALL_CODECS, "topk(0.05)+rotate+4bit+rice"), check_codec(RICE, RICE, RICE)),
    "ternary up, qsgd on, int4+zstd down": (
        {"codec.up": "ternary", "codec.forward": "qsgd", "codec.down": "int4+zstd", "codec.global": "int4+zstd"},
        check_codec((17, 20), (6.5, 7.5), ZSTD)),
    "threshold up, randomk on, kmeans down": (
        {"codec.up": "threshold(2)+int4+rice", "codec.forward": "randomk(0.2)+bf16", "codec.down": "kmeans",
         "codec.global": "kmeans"}, check_codec((15, 4000), (9, 10), INT4)),
    "codecs for tensors": (
        dict.fromkeys(ALL_CODECS, "layer(fc1=rotate+2bit, else=int8)"), check_codec((8, 17), (8, 17), (8, 17))),
    "buckets and a median; adam": run_of("bucket(2) | median | fedbuff(k=5)", "fedasync | adam(lr=0.01)"),
    "krum; asynchronous SGD": run_of("krum(f=1) | fedbuff(k=5)", "async_sgd(lr=0.9, decay=0.01)"),
    "multi-krum and yogi": run_of("multi_krum(f=1) | fedbuff(k=5) | yogi(lr=0.01)", "fedasync"),
    "bulyan and amsgrad": run_of("bulyan(f=0) | fedbuff(k=4) | amsgrad(lr=0.01)", "fedasync"),
    "geometric median and fadas": run_of("geometric_median | fedbuff(k=4) | fadas(lr=0.01)", "fedasync"),
    "centred clipping and momentum; fedat": run_of("centered_clip | fedbuff(k=2) | momentum(0.5)", "fedat"),
    "trimmed mean; ca2fl and adagrad": run_of("trimmed_mean(f=0) | fedbuff(k=2)", "ca2fl(k=2) | adagrad(lr=0.01)"),
    "gates; periods": run_of("norm_clip | norm_filter(50) | cosine_filter(-1) | trust(threshold=0) | fedasync", "semiasync(period=300ms)"),
    "compensated": run_of("compensated(minimum=1, deadline=300ms)", "fedasync"),
    "area": run_of("area(k=2)", "area(k=1)", train__algorithm="area"),
    "fednova, forwards by commits": run_of("fednova", "fednova", forward__hold="true", forward__commits=2),
    "elastic": run_of("fedbuff(k=2)", "fedasync(share=no, staleness=constant)", forward__elastic=0.4),
}

pool = concurrent.futures.ThreadPoolExecutor(2)
# The kernel ends a daemon with the thread that started it: these live as long as the pool.
trees = {name: Tree(f"r{i}", settings, *counts) for i, (name, (settings, _, *counts)) in enumerate(RUNS.items())}
started = {name: pool.submit(tree.run) for name, tree in trees.items()}


def case_of(name, particular):
    def test():
        check_run(trees[name], started[name])
        particular(trees[name])
    test.__doc__ = name
    case(test)


for title, (_, what, *_) in RUNS.items():
    case_of(title, what)


@case
def test_every_row():
    """every row of the tables of rules is in one of the runs above"""
    text = (harness.ROOT / "docs/algorithms.md").read_text()
    rows = re.findall(r"^### `(\w+)`$", text[:text.index("## Staleness functions")], re.M)
    check(len(rows) > 20, f"rows in docs/algorithms.md: {rows}")
    used = " ".join(f"{settings.get('edge.rule', '')} {settings.get('cloud.rule', '')}" for settings, *_ in RUNS.values())
    same([row for row in rows if not re.search(rf"\b{row}\b", used)], [], "rows in no run")

sys.exit(harness.main())
