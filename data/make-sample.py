#!/usr/bin/env python3
"""Draws data/mnist-sample from the full MNIST: make-sample.py FOLDER-WITH-THE-FOUR-FILES [OUT].

Of each digit 1,000 training and 200 test images, chosen and ordered by numpy's PCG64 with the seed below. Run
again it gives the same bytes: gzip -9 without a time stamp or a name.
"""
import gzip
import io
import os
import struct
import sys

import numpy

SEED = 20130


def read(path):
    with gzip.open(path) as file:
        data = file.read()
    rank = data[3]
    dims = struct.unpack(">%dI" % rank, data[4:4 + 4 * rank])
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * rank).reshape(dims)


def write(path, array):
    raw = struct.pack(">BBBB%dI" % array.ndim, 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as file:
        file.write(raw)
    with open(path, "wb") as file:
        file.write(packed.getvalue())


def main():
    source = sys.argv[1]
    out = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "mnist-sample")
    generator = numpy.random.Generator(numpy.random.PCG64(SEED))
    for split, each in (("train", 1000), ("t10k", 200)):
        images = read(os.path.join(source, split + "-images-idx3-ubyte.gz"))
        labels = read(os.path.join(source, split + "-labels-idx1-ubyte.gz"))
        chosen = [generator.permutation(numpy.flatnonzero(labels == digit))[:each] for digit in range(10)]
        order = generator.permutation(numpy.concatenate(chosen))
        write(os.path.join(out, split + "-images-idx3-ubyte.gz"), images[order])
        write(os.path.join(out, split + "-labels-idx1-ubyte.gz"), labels[order])


main()
