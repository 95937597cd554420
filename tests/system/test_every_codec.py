#!/usr/bin/python3
# timeout: 200
"""Every codec over real sockets: devices' updates, an edge's forwards, and the models of both tiers in it."""
import concurrent.futures
import re
import sys

import harness
from harness import case, check, same, wait

SPECS = ("f32", "f16", "bf16", "int8", "int8(zero=true)", "int4(round=stochastic)", "int4(per=channel)", "int2", "int2(per=tensor)",
         "1bit", "2bit", "3bit(scale=unbiased)", "rotate+4bit", "ternary", "qsgd(levels=1)", "kmeans(bits=2)",
         "powersgd(2)+int8", "rows(0.2)+int8+leb", "topk(0.04)+int4+rice", "threshold(2)+f16", "randomk(0.1)+bf16", "int8+zstd",
         "topk(0.01)+1bit(block=0)+rice", "layer(fc1=int4, else=rotate+2bit)")


def took_models(spec, edge):
    """Increments; one in f32 is no smaller than the model, and all of it is sent."""
    kind = "snapshot" if spec == "f32" else "increments"
    return edge.one("SELECT count(*) FROM parent_models WHERE kind = ?", kind)


def run(number, spec):
    """A cloud, an edge and two devices under one codec, until each way was gone. Of accuracy nothing is asked here."""
    codecs = {f"plan__codec__{way}": spec for way in ("up", "down", "forward", "global")}
    cloud = harness.cloud(f"c{number}", **codecs)
    edge = harness.edge(cloud, f"e{number}")
    devices = harness.devices(edge, f"d{number}", count=2)
    harness.start_tree(cloud, edge, devices)
    wait(lambda: took_models(spec, edge) >= 2, f"the edge took models in {spec}")
    for node in (edge, cloud):
        wait(lambda: node.one("SELECT count(*) FROM contributions WHERE verdict = 'accepted' AND base_version > 0") >= 2,
             f"{node.name} took updates in {spec}, of children that had taken a model in it")
    harness.stop(devices, edge, cloud)
    return cloud, edge


pool = concurrent.futures.ThreadPoolExecutor(2)  # the kernel ends a daemon with the thread that started it
runs = {spec: pool.submit(run, number, spec) for number, spec in enumerate(SPECS)}


def case_of(spec):
    def test():
        cloud, edge = runs[spec].result()
        for node in (cloud, edge):
            verdicts = node.sql("SELECT verdict, reason, count(*) FROM contributions GROUP BY 1, 2")
            check(all(verdict == "accepted" or reason == "finished" for verdict, reason, _ in verdicts), f"{node.name}: {verdicts}")
            refused = node.one("SELECT count(*) FROM events WHERE event = 'model_refused'")
            same(refused, 0, f"models that {node.name} refused")
        status, out, err = harness.run("tributary", "verify", cloud.store)
        check(status == 0 and "findings=0" in out, f"verify: {out}{err}")
    test.__doc__ = f"{spec}, all four ways"
    case(test)


for spec_ in SPECS:
    case_of(spec_)


@case
def test_every_row():
    """every stage that docs/codecs.md has is in one of them"""
    text = (harness.ROOT / "docs/codecs.md").read_text()
    table = text[text.index("## What each does"):text.index("Sparse ternary compression")]
    stages = [name for row in re.findall(r"^\| (`[^|]*) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)]
    check({"int8", "rice", "powersgd", "zstd", "1bit", "4bit"} <= set(stages), f"stages in docs/codecs.md: {stages}")
    used = " ".join(SPECS)
    same([stage for stage in stages if not re.search(rf"\b{stage}\b", used)], [], "stages in no run")


sys.exit(harness.main())
