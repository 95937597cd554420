"""Decodes int8 updates of N parameters (blocks of 256, a scale each) and adds them with numpy, as a server written in
Python does; prints the median seconds of one update. N a multiple of 256 is rounded up to."""
import sys
import time

import numpy

blocks = -(-int(sys.argv[1]) // 256)
payload = numpy.zeros((blocks, 260), numpy.uint8)
payload[:, :4] = numpy.full(blocks, 0.01, "<f4").view(numpy.uint8).reshape(blocks, 4)
payload[:, 4:] = numpy.random.default_rng(1).integers(0, 256, (blocks, 256), numpy.uint8)
total = numpy.zeros(blocks * 256, numpy.float32)
seconds = []
for _ in range(15):
    start = time.perf_counter()
    scales = numpy.ascontiguousarray(payload[:, :4]).view("<f4")
    values = payload[:, 4:].view(numpy.int8).astype(numpy.float32) * scales
    total += numpy.float32(1e-6) * values.reshape(-1)
    seconds.append(time.perf_counter() - start)
print(sorted(seconds)[len(seconds) // 2])
