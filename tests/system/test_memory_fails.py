#!/usr/bin/python3
# timeout: 180
"""Allocations that fail now and then, and I/O errors of the disk, in running daemons (tests/kill/faults.c): each goes on by
itself, or ends in good order and goes on after a restart; nothing is lost, nothing counts twice."""
import errno
import sys

import harness
import ledgers
from faults import Faults
from harness import case, check, same, wait


class Tree:
    def __init__(self, name, model, **settings):
        self.cloud = harness.cloud(f"{name}-cloud", model=model, plan__train__max_samples=30, **settings)
        self.edge = harness.edge(self.cloud, f"{name}-edge", **settings)
        self.fleet = harness.devices(self.edge, f"{name}-dev", count=3, log__level="debug")
        self.all = [self.cloud, self.edge, self.fleet]
        self.faults = [Faults(daemon, seed=i + 1) for i, daemon in enumerate(self.all)]
        self.ended = 0

    def watch(self):
        """Who has ended did so in good order, and is started again, as an init system would."""
        for daemon in self.all:
            if daemon.process.poll() is not None:
                status = daemon.wait_exit()
                check(status == 1, f"{daemon.name} ended with {status}: {daemon.log()[-1500:]}")
                # Before it has a log, it says so as any program does.
                check(daemon.logged(r" failed error=|^tributary-\w+: .*memory"), f"{daemon.name} ended without a word")
                self.ended += 1
                daemon.start()

    def told(self):
        return len(ledgers.told(self.fleet))

    def go_on_until(self, condition, what, deadline_s=60):
        def there():
            self.watch()
            return condition()
        wait(there, what, deadline_s, 0.05)

    def suffer(self, daemon, count, field, what, says="", **values):
        """Failures at one node until so many have happened, and its log says so; then it goes on."""
        faults, node = self.faults[self.all.index(daemon)], daemon
        faults.set(**values)
        least = faults.count(field) + count
        # A checkpoint or a model's file that fails is no failure of the store: there may be more until it says that.
        self.go_on_until(lambda: faults.count(field) >= least and node.logged(says), f"{what} at {node.name}")
        faults.stop()
        more = self.told() + 4
        self.go_on_until(lambda: self.told() >= more, f"the devices go on after {what} at {node.name}")

    def finish(self):
        self.go_on_until(lambda: all((daemon.ask_health() or {}).get("well") for daemon in self.all), "all are well")
        found = ledgers.check_counted([(self.fleet, self.edge)], [(self.cloud, None), (self.edge, self.cloud)], 60)
        print(f"# {found}, {self.ended} ended and were started again")


@case
def test_allocations():
    """allocations of edge, cloud and devices fail"""
    tree = Tree("small", "softmax", store__checkpoint__records=30)
    harness.start_tree(*tree.all)
    for daemon, one_in in ((tree.edge, 800), (tree.cloud, 800), (tree.fleet, 200)):
        tree.suffer(daemon, 2, "failed_allocs", "failed allocations", alloc_one_in=one_in)
    tree.finish()


@case
def test_large_allocations():
    """there is memory for small things, and none for models and updates"""
    tree = Tree("large", "2nn", store__checkpoint__records=30)
    harness.start_tree(*tree.all)
    tree.suffer(tree.edge, 3, "failed_allocs", "large allocations", alloc_one_in=12, alloc_min_bytes=4096)
    tree.finish()


@case
def test_allocations_of_sqlite():
    """SQLite's own allocations fail too"""
    tree = Tree("sqlite", "softmax", store__checkpoint__records=30)
    harness.start_tree(*tree.all)
    tree.suffer(tree.edge, 2, "failed_allocs", "failed allocations", alloc_one_in=300, alloc_sqlite=1)
    tree.finish()


@case
def test_disk_errors():
    """writes and syncs of edge and cloud fail with an I/O error now and then"""
    tree = Tree("disk", "softmax", store__checkpoint__records=30)
    harness.start_tree(*tree.all)
    for daemon in (tree.edge, tree.cloud):
        says = " store_failed error=.*(I/O|Input/output)"
        tree.suffer(daemon, 2, "failed_syncs", "failed syncs", says, sync_one_in=15)
        tree.suffer(daemon, 2, "failed_writes", "failed writes", says, write_one_in=60)
    tree.finish()


@case
def test_read_only():
    """an edge whose disk takes no more writes, as one that became read-only: it says so until it does"""
    tree = Tree("shut", "softmax")
    harness.start_tree(*tree.all)
    tree.fleet.wait_count("accepted", 3)
    tree.faults[1].set(write_one_in=1, write_errno=errno.EROFS)
    tree.edge.wait_log(" store_failed error=.*(ead-only|I/O)")  # SQLite says only that it could not write
    line = tree.edge.wait_health(lambda line: line["well"] is False, "it is not well")
    check(line["store_error"], f"its health line is {line}")
    tree.faults[1].stop()
    tree.fleet.wait_more("accepted", 4)
    same(tree.ended, 0, "daemons that ended")
    tree.finish()


@case
def test_slow_disk():
    """an edge whose syncs take a quarter of a second answers later, and everything counts"""
    tree = Tree("slow", "softmax")
    tree.faults[1].set(sync_delay_us=250_000)
    harness.start_tree(*tree.all)
    tree.fleet.wait_count("accepted", 3)
    same(tree.ended, 0, "daemons that ended")
    check(tree.edge.health()["well"], "the edge is well")
    tree.finish()


sys.exit(harness.main())
