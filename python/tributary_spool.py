"""A participant's spool: what it must not forget, in one file that is replaced atomically.

    FOLDER/<name>.pyspool           "TRIBPYS1", 16 bytes of BLAKE2b over the rest, the rest: a msgpack map
    FOLDER/<name>.pyspool.new       the next one, while it is written
    FOLDER/<name>.pyspool.damaged   one that was torn or altered, set aside
    FOLDER/<name>.pyspool.lock      held while a process uses it

After a crash there is the file before or the new one, whole. Losing it costs what was not acknowledged, which is
trained again by a participant that its parent takes for a new one; nothing is counted twice.
"""
import fcntl
import hashlib
import os
import pathlib

import msgpack

MAGIC = b"TRIBPYS1"
FORMAT = 1


class SpoolError(Exception):
    """It cannot be used: another process has it, or it is of a newer program."""


class Spool:
    def __init__(self, folder, name, log=lambda text: None):
        if not name or "/" in name or name.startswith("."):
            raise SpoolError(f"{name!r} is no name for a file")
        self.folder, self.log = pathlib.Path(folder), log
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / f"{name}.pyspool"
        self.lock = open(self._beside("lock"), "w", encoding="ascii")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.lock.close()
            raise SpoolError(f"{self.path} is in use by another process") from None

    def close(self):
        self.lock.close()

    def _beside(self, suffix):
        return self.path.with_name(f"{self.path.name}.{suffix}")

    def load(self):
        """What was saved last, or None."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        head, body = len(MAGIC) + 16, data[len(MAGIC) + 16:]
        if data[:len(MAGIC)] != MAGIC or data[len(MAGIC):head] != self._digest(body):
            os.replace(self.path, self._beside("damaged"))
            self._sync_folder()
            self.log(f"the spool {self.path} is damaged: set aside, and this participant begins anew")
            return None
        content = msgpack.unpackb(body)
        if content["format"] > FORMAT:
            raise SpoolError(f"{self.path} has format {content['format']}, this program knows up to {FORMAT}: use a newer "
                             "program, or move the file away to begin anew")
        return content

    def save(self, content):
        """Durable when it returns."""
        body = msgpack.packb({"format": FORMAT, **content})
        fresh = self._beside("new")
        with open(fresh, "wb") as file:
            file.write(MAGIC + self._digest(body) + body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)
        self._sync_folder()

    @staticmethod
    def _digest(body):
        return hashlib.blake2b(body, digest_size=16).digest()

    def _sync_folder(self):
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
