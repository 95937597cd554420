#!/usr/bin/python3
# timeout: 90
# serial
"""Starting, stopping and what the programs say of themselves."""
import json
import re
import signal
import sys
import time

import harness
from faults import Faults
from harness import SCRATCH, case, check, same, wait

STOP_S = 2.0  # on a machine that has time
PROGRAMS = ("cloud", "edge", "device")


def tree(name, **settings):
    cloud = harness.cloud(f"{name}-cloud", **settings)
    edge = harness.edge(cloud, f"{name}-edge")
    return cloud, edge, harness.devices(edge, f"{name}-device", count=2)


def stopped_by(signo, name):
    """All three at once, in mid-run: they end well, soon, and what they said is in their ledgers."""
    cloud, edge, device = daemons = tree(name)
    harness.start_tree(*daemons)
    device.wait_health(lambda line: line["accepted"] >= 10 and line["ready"] == 2, "both devices are there, and trained")
    positions = {daemon: daemon.count("position") for daemon in (cloud, edge)}
    start = time.monotonic()
    for daemon in daemons:
        daemon.signal(signo)
    for daemon in daemons:
        same(daemon.wait_exit(STOP_S), 0, f"exit status of {daemon.name}")
    took = time.monotonic() - start
    check(took < harness.limit(STOP_S), f"it took {took:.1f} s")
    for daemon in daemons:
        before, _, after = daemon.log().partition(" stopping reason=signal")
        check(after and "uplink_ready" not in after, f"{daemon.name} did not stop, or connected again: {after}")
        check(" error " not in daemon.log(), f"{daemon.name} logged an error")
    for daemon in positions:
        check(not daemon.database.with_name(daemon.database.name + "-wal").exists(), f"{daemon.name} left a WAL file")
    accepted, refused = map(int, device.wait_log(r" stopped .*accepted=(\d+) refused=(\d+)").groups())
    rows = edge.one("SELECT count(*) FROM contributions WHERE verdict = 'accepted'")
    check(accepted <= rows <= accepted + 2 and refused == 0, f"{accepted} accepted at the devices, {rows} at the edge")
    for daemon, position in positions.items():
        same(daemon.sql("PRAGMA integrity_check"), [("ok",)], f"{daemon.name}'s ledger")
        last = daemon.one("SELECT max(position) FROM journal")
        check(last >= position, f"{daemon.name}'s journal ends at {last}, it was at {position}")
        daemon.start()
        opened = daemon.wait_log(r" store_open .*position=(\d+)")
        same(int(opened[1]), last, f"the position at which {daemon.name} goes on")
        daemon.stop(STOP_S)


@case
def test_sigterm():
    """SIGTERM: exit status 0 within 2 s, with everything written"""
    stopped_by(signal.SIGTERM, "term")


@case
def test_sigint():
    """SIGINT does the same"""
    stopped_by(signal.SIGINT, "int")


@case
def test_alone():
    """SIGTERM ends those whose parent is not there, too"""
    nobody = harness.Daemon("edge", "nobody")
    edge, device = harness.edge(nobody, "alone-edge"), harness.devices(nobody, "alone-device", count=3)
    for daemon in (edge, device):
        daemon.start()
        wait(daemon.health, f"{daemon.name} answers")
    for daemon in (edge, device):
        daemon.stop(STOP_S)


@case
def test_finished():
    """a run that reaches its last version ends all three with exit status 0"""
    cloud, edge, device = daemons = tree("fin", plan__stop__versions=4)
    harness.start_tree(*daemons)
    for daemon in daemons:
        same(daemon.wait_exit(), 0, f"exit status of {daemon.name}")
    check(cloud.logged(r" run_finished reason=versions version=\d+"), "the cloud did not say why it ended")
    check(device.logged(r" finished devices=2"), "the devices did not say that it ended")
    state, reason, version = cloud.sql("SELECT state, stop_reason, last_version FROM run_summary")[0]
    same((state, reason), ("stopped", "versions"), "the run's end in the ledger")
    check(version >= 4, f"the last version is {version}")
    same(cloud.one("SELECT max(version) FROM evaluations"), version, "the last version that was evaluated")
    same(edge.sql("SELECT state FROM run_summary"), [("stopped",)], "the run's end in the edge's ledger")


@case
def test_finished_on_a_slow_disk():
    """an edge whose disk takes longer for a sync than goodbyes linger still tells its devices that the run is over"""
    cloud, edge, device = daemons = tree("slow", plan__stop__versions=2)
    Faults(edge).set(sync_delay_us=700_000)
    harness.start_tree(*daemons)
    for daemon in daemons:
        same(daemon.wait_exit(), 0, f"exit status of {daemon.name}")
    check(device.logged(r" finished devices=2"), "the devices did not say that it ended")


@case
def test_dump():
    """--dump-config prints what is loaded back the same"""
    odd = {"cloud": ["run.label=a \"quoted\" #label: 'x'", "plan.layers=[]", "plan.stop.accuracy=0.97",
                     "plan.edge.rule=fedbuff(k=7, staleness=hinge(3, 2))", "plan.forward.interval=90s"],
           "edge": ['listen=["tcp://127.0.0.1:7777", "ipc:///tmp/a b"]', "limits.in_flight=3MiB", "name=e-1"],
           "device": ["speed.factor=[1, 2.5, 10]", "speed.delay=lognormal(3, 0.5)", "devices.count=17"]}
    for program, settings in odd.items():
        words = [word for setting in settings for word in ("--set", setting)]
        status, first, err = harness.run(f"tributary-{program}", *words, "--dump-config")
        same((status, err), (0, ""), "exit status and errors")
        path = SCRATCH / f"{program}.yaml"
        path.write_text(first)
        status, second, err = harness.run(f"tributary-{program}", "--config", path, "--dump-config")
        same((status, err), (0, ""), f"exit status and errors with what {program} dumped")
        same(second, first, f"what {program} dumps of its own dump")
        plain = harness.run(f"tributary-{program}", "--dump-config")[1]
        check(len(set(first.splitlines()) - set(plain.splitlines())) >= len(settings) - 1,
              f"the settings are not in what {program} dumps: {first}")
        status, out, _ = harness.run("tributary", "config", "check", path)
        same(status, 0, f"exit status of config check ({out})")


@case
def test_version_and_help():
    """--version names the kernels in use, --help every key"""
    for program in PROGRAMS:
        status, out, err = harness.run(f"tributary-{program}", "--version")
        same((status, err), (0, ""), "exit status and errors")
        check(re.match(rf"tributary-{program} \d+\.\d+\.\d+\nkernels: \w+\n", out), f"it says {out!r}")
        same("OpenBLAS: " in out, program != "edge", f"whether {program} names its BLAS in {out!r}")
        status, out, _ = harness.run(f"tributary-{program}", "--help")
        same(status, 0, "exit status of --help")
        for word in ("--config", "--health", "log.format"):
            check(word in out, f"{word} is not in {program}'s help")
    same(harness.run("tributary-device", "--version")[1].count("OpenBLAS: "), 1, "lines with the BLAS kernel")


@case
def test_health():
    """--health: status 0 of one that is well, 1 of one that is not there or hangs"""
    edge = harness.edge(harness.Daemon("edge", "nobody"), "health-edge")
    ask = ("tributary-edge", "--health", "--set", f"health={edge.health_endpoint}")
    status, out, err = harness.run(*ask)
    same((status, out), (1, ""), "status and answer where nobody listens")
    check(edge.health_endpoint in err, f"it says {err!r}")
    edge.start()
    line = wait(edge.health, "it answers")
    same((line["name"], line["well"], line["uplink"]), ("health-edge", True, False), "its answer")

    def finds_it_well(program):
        found, _, said = harness.run(f"tributary-{program}", *ask[1:])
        check(found == 0 or "within 2000 ms" in said, f"tributary-{program} finds {found}: {said}")
        return found == 0  # else there was no time for an answer
    for program in PROGRAMS:
        wait(lambda: finds_it_well(program), f"tributary-{program} finds it well")
    edge.signal(signal.SIGSTOP)
    start = time.monotonic()
    status, _, err = harness.run(*ask)
    same(status, 1, "status of one that hangs")
    check(err.count("\n") == 1 and time.monotonic() - start < harness.limit(10), f"it took long, or says {err!r}")
    edge.signal(signal.SIGCONT)
    edge.stop()
    status, _, err = harness.run("tributary-edge", "--health")
    check(status == 1 and "no health endpoint is set" in err, f"without an endpoint: status {status}, {err!r}")


@case
def test_log_format():
    """--log-format json logs one JSON object a line"""
    edge = harness.edge(harness.Daemon("edge", "nobody"), "json-edge", log__format="json", log__level="debug")
    edge.start()
    edge.wait_log("listening")
    edge.stop()
    events = [json.loads(line) for line in edge.log().splitlines()]
    check(all({"time", "level", "node", "event"} <= set(event) for event in events), f"fields lack in {events}")
    check({"store_open", "listening", "stopping"} <= {event["event"] for event in events}, f"events lack in {events}")


sys.exit(harness.main())
