#!/usr/bin/python3
# timeout: 120
"""Models in auto(...) over real sockets, at both hops: the codec changes with the line, everybody below can read it, the
ledger says which it was and why, and what is restarted or replayed comes to the same bits."""
import re
import subprocess
import sys

import harness
from harness import ROOT, SAMPLE, case, check, same, wait
from proxy import Proxy

PUBLISHED = "SELECT published_codec, published_why FROM versions WHERE published AND increment_bytes > 0 ORDER BY version"
cloud = harness.over_tcp(harness.cloud(plan__codec__up="rotate+1bit", plan__codec__forward="rotate+1bit",
                                       plan__codec__down="auto(max=int8, loss=0.02)",
                                       plan__codec__global="auto(max=int8, loss=0.001)", evaluation__interval=0,
                                       store__keep_models=0))
line = Proxy(cloud.endpoint)
edge = harness.edge(cloud, upstream__endpoint=line.endpoint)
device = harness.devices(edge, count=2)


def published(daemon):
    return daemon.sql(PUBLISHED)


def begins(rows):
    """The publications that the ledger explains, from the smallest codec on."""
    same(rows[0][0], "rotate+1bit", "the first codec")
    check(re.fullmatch(r"reason=unmeasured lost=0\.\d+ bytes_per_s=0 waiting=0", rows[0][1]), f"the first reason: {rows[0][1]}")
    for codec, why in rows:
        check(re.fullmatch(r"reason=[a-z]+ lost=[01]\.\d{4} bytes_per_s=\d+ waiting=\d+", why), f"{codec}: {why}")


@case
def test_fast():
    """over a fast line a publisher takes what loses little enough, once its children have said how fast it is"""
    harness.start_tree(cloud, edge, device)
    wait(lambda: "rotate+4bit" in dict(published(edge)), "the edge takes four bits")
    wait(lambda: "int8" in dict(published(cloud)), "the cloud takes eight bits")
    begins(published(edge))
    begins(published(cloud))
    cloud.wait_log(r"codec_chosen .*codec=int8 reason=energy")


@case
def test_slow():
    """over a slow line it takes fewer bytes, for that reason; over a fast one again more"""
    line.set(bytes_per_s=1500)
    def less():  # of one publication: the next one may take more again, for a small one gets through the proxy at once
        codec, why = published(cloud)[-1]
        return codec if re.search("reason=(bandwidth|queue)", why) else None
    check(wait(less, "the cloud takes less") != "int8", "it takes eight bits over a slow line")
    line.set(bytes_per_s=0)
    wait(lambda: published(cloud)[-1][0] == "int8", "the cloud takes eight bits again")


@case
def test_python():
    """a participant in Python reads the same increments, by their digests"""
    done = subprocess.run(["/usr/bin/python3", ROOT / "python/tributary_participant.py", "--connect", edge.endpoint,
                           "--name", "py", "--data", SAMPLE, "--samples", "100", "--updates", "6"],
                          capture_output=True, text=True, timeout=harness.limit(), stdin=subprocess.DEVNULL)
    same(done.returncode, 0, f"its exit status (it said: {done.stdout[-2000:]} {done.stderr[-2000:]})")
    check("accepted=6 refused=0" in done.stdout and "refused:" not in done.stdout, f"it said: {done.stdout}")


@case
def test_restarts():
    """killed and started again, edge and cloud go on, and no child has to begin anew"""
    edge.kill()
    cloud.kill()
    cloud.start()
    edge.start()
    edge.wait_health(lambda health: health.get("uplink"), "the uplink is there")
    before = len(published(cloud))
    wait(lambda: len(published(cloud)) > before + 5, "the cloud publishes")
    device.wait_more("accepted", 5)
    for daemon in (cloud, edge, device):
        check(not daemon.logged("model_refused|record_refused|corrupt"), f"{daemon.name} refused something")


@case
def test_replay():
    """the whole run, replayed, has the ledger's digests; verify finds the chain sound"""
    harness.stop(device, edge, cloud)
    status, out, err = harness.run("tributary", "replay", cloud.store)
    same(status, 0, f"status of replay ({out}{err})")
    newest = cloud.one("SELECT digest FROM versions ORDER BY version DESC LIMIT 1")
    check(f"digest {newest}, as the ledger says" in out, out)
    status, out, err = harness.run("tributary", "verify", cloud.store)
    check(status == 0 and "findings=0" in out, f"{out}{err}")


sys.exit(harness.main(chained=True))
