#!/usr/bin/python3
# timeout: 120
"""An edge on a file system of 8 MB that fills up, is made room on, and is read-only for a while: it says why it does
not accept, and goes on by itself; nothing is lost. Skipped where a tmpfs cannot be mounted."""
import ctypes
import subprocess
import sys

import harness
import ledgers
from harness import case, check, wait

BALLAST = 4 << 20
cloud = harness.cloud()
edge = harness.edge(cloud, store__checkpoint__records=40)
fleet = harness.devices(edge, count=4, speed__delay=5, log__level="debug")


def mount(*words):
    return subprocess.run(["mount", *map(str, words)], capture_output=True, text=True).returncode == 0


# In mounts of our own, which go with us however we end. The store is a folder of the file system, beside the ballast.
CLONE_NEWNS = 0x20000
disk = edge.folder / "disk"
disk.mkdir()
edge.store = edge.settings["store.path"] = disk / "store"
MOUNTED = (ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0 and mount("--make-rprivate", "/")
           and mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", disk))


def need_mount():
    if not MOUNTED:
        raise harness.Skip("a tmpfs cannot be mounted here")


def not_well(pattern):
    edge.wait_log(rf" store_failed error=.*({pattern})")
    edge.wait_health(lambda line: line["well"] is False, "it is not well")
    check(cloud.health()["well"] and fleet.health()["well"], "the others are not disturbed")


def goes_on():
    edge.wait_health(lambda line: line["well"], "it is well again", 60)
    fleet.wait_more("accepted", 5)


@case
def test_fills():
    """8 MB are full: it says so, and goes on when a file was deleted"""
    need_mount()
    (disk / "ballast").write_bytes(bytes(BALLAST))
    harness.start_tree(cloud, edge, fleet)
    not_well("full|No space left")
    edge.log_from = edge.log_path.stat().st_size
    (disk / "ballast").unlink()
    goes_on()


@case
def test_killed_while_full():
    """full again, and killed: it starts all the same, or ends and says why, and goes on with room"""
    need_mount()
    not_well("full|No space left")
    edge.kill()
    edge.start()

    def says_why():
        return edge.process.poll() is not None or (edge.ask_health() or {}).get("well") is False
    wait(says_why, "it says that it is not well")
    if edge.process.poll() is not None:
        check(edge.wait_exit() > 0 and edge.logged("full|No space left"), "it ended and did not say why")
        check(mount("-o", "remount,size=64m", disk), "the disk grows")
        edge.start()
    else:
        check(mount("-o", "remount,size=64m", disk), "the disk grows")
    goes_on()


@case
def test_read_only():
    """started on a file system that is read-only, as after an error of the card, it ends and says why, and changes nothing"""
    need_mount()
    edge.kill()
    check(mount("-o", "remount,ro", disk), "it is read-only")
    before = {path: path.stat().st_size for path in edge.store.rglob("*")}
    edge.start()
    check(edge.wait_exit() > 0 and edge.logged("(?i)read-?only"), f"it ended and did not say why: {edge.log()}")
    check({path: path.stat().st_size for path in edge.store.rglob("*")} == before, "files changed")
    check(mount("-o", "remount,rw", disk), "it can be written again")
    edge.start()
    goes_on()


@case
def test_nothing_lost():
    """each update that a device was told is accepted is counted once"""
    need_mount()
    print("#", ledgers.check_counted([(fleet, edge)], [(cloud, None), (edge, cloud)], 60))


sys.exit(harness.main(cloud, edge, fleet, chained=True))
