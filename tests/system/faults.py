"""Failing memory and disks for a real daemon: tests/kill/faults.c preloaded, and its controls mapped here.

    trouble = Faults(edge, seed=1)       # before it starts
    trouble.set(alloc_one_in=2000)       # in force at once; a field that is not named stays
    trouble.count("failed_allocs")
"""
import mmap
import struct

import harness

FIELDS = ("alloc_one_in", "alloc_min_bytes", "alloc_sqlite", "sync_delay_us", "sync_one_in", "write_one_in", "write_errno",
          "draws", "failed_allocs", "failed_syncs", "failed_writes")
LIBRARY = harness.BIN.parent / "faults.so"


class Faults:
    def __init__(self, daemon, seed=1):
        harness.check(LIBRARY.exists(), f"{LIBRARY} is not there: make test builds it")
        path = daemon.folder / "faults"
        path.write_bytes(bytes(4096))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 4096)
        daemon.env.update(LD_PRELOAD=str(LIBRARY), TRIBUTARY_FAULTS=str(path))
        self.set(draws=seed << 32)

    def set(self, **values):
        for name, value in values.items():
            struct.pack_into("=Q", self.map, 8 * FIELDS.index(name), value)

    def count(self, name):
        return struct.unpack_from("=Q", self.map, 8 * FIELDS.index(name))[0]

    def stop(self):
        """Nothing fails any more."""
        self.set(**{name: 0 for name in FIELDS[:7]})
