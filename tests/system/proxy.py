"""A bad network between a child and its parent: a TCP proxy that delays, slows down, cuts, swallows and corrupts.

    link = Proxy(edge.endpoint)                # link.endpoint is what the child connects to
    link.set(delay_s=0.2, bytes_per_s=20000)   # each way; in force at once, also for connections that are there
    link.set(corrupt=1e-5)                     # each byte is another one with this probability
    link.set(corrupt_from=4096)                # ... behind so many of a connection's way; the first ones say who is there
    link.set(drop_after=50000)                 # a connection is closed after so many bytes of both ways, in mid-frame
    link.set(hole=True)                        # connections stay, no byte arrives: what was sent comes when it is False
    link.cut() ... link.mend()                 # connections are closed and refused
Keyword arguments that are not named stay as they were; `link.set()` alone changes nothing.
"""
import asyncio
import random
import threading
import time

CHUNK = 4096


class Proxy:
    def __init__(self, target, seed=1):
        host, port = target.removeprefix("tcp://").rsplit(":", 1)
        self.target, self.rng = (host, int(port)), random.Random(seed)
        self.settings = {"delay_s": 0.0, "bytes_per_s": 0, "corrupt": 0.0, "corrupt_from": 0, "drop_after": 0, "hole": False}
        self.connections = self.corrupted = self.dropped = self.bytes = 0
        self.open, self.is_cut = set(), False
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.server = self._call(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        self.endpoint = f"tcp://127.0.0.1:{self.port}"

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def set(self, **settings):
        unknown = settings.keys() - self.settings.keys()
        if unknown:
            raise TypeError(f"a proxy has no {unknown}")
        self.settings.update(settings)

    def cut(self):
        self.is_cut = True
        self._call(self._close_all())

    def mend(self):
        self.is_cut = False

    async def _close_all(self):
        for writer in list(self.open):
            writer.transport.abort()

    async def _accept(self, reader, writer):
        if self.is_cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        if self.is_cut:  # meanwhile
            writer.transport.abort()
            far_writer.transport.abort()
            return
        self.connections += 1
        both = {writer, far_writer}
        self.open |= both
        passed = [0]  # bytes of both ways
        try:
            await asyncio.gather(self._pump(reader, far_writer, passed), self._pump(far_reader, writer, passed))
        except (OSError, EOFError):
            pass
        finally:
            for end in both:
                end.transport.abort()
            self.open -= both

    async def _pump(self, reader, writer, passed):
        """One way: what was read at some time is written `delay_s` later, at the rate in force. Ends with EOFError."""
        queue = asyncio.Queue(256)
        sender = asyncio.ensure_future(self._send(queue, writer, passed))
        put = None
        try:
            while data := await reader.read(CHUNK):
                put = asyncio.ensure_future(queue.put((time.monotonic(), data)))
                await asyncio.wait({put, sender}, return_when=asyncio.FIRST_COMPLETED)
                if sender.done():
                    break
        finally:
            sender.cancel()
            if put is not None:
                put.cancel()
        raise EOFError

    async def _send(self, queue, writer, passed):
        sent = 0
        while True:
            read_at, data = await queue.get()
            while self.settings["hole"]:
                await asyncio.sleep(0.02)
            wait_s = read_at + self.settings["delay_s"] - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            if sent >= self.settings["corrupt_from"]:
                data = self._corrupted(data)
            sent += len(data)
            left = self.settings["drop_after"] - passed[0]
            if self.settings["drop_after"] and left <= len(data):
                writer.write(data[:max(left, 0)])
                self.dropped += 1
                raise EOFError
            passed[0] += len(data)
            writer.write(data)
            await writer.drain()
            self.bytes += len(data)
            if self.settings["bytes_per_s"]:
                await asyncio.sleep(len(data) / self.settings["bytes_per_s"])

    def _corrupted(self, data):
        if not self.settings["corrupt"]:
            return data
        data = bytearray(data)
        for i in range(len(data)):
            if self.rng.random() < self.settings["corrupt"]:
                data[i] ^= self.rng.randrange(1, 256)
                self.corrupted += 1
        return bytes(data)
