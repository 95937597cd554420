"""Tributary's codecs with numpy: how a vector of floats becomes bytes and back. docs/codecs.md has all of them; here are

    f32 f16 bf16   int8   int4 int2 (block=)   1bit 2bit 3bit 4bit (block=)
    rotate(block=) +, topk(fraction) + before one of these, + leb or + rice behind it

and decoding gives the same bits as everywhere. Nothing here does I/O.
"""
import math
import re
import struct
import zlib

import numpy as np

KNOWN = "f32 f16 bf16 int8 int4 int2 1bit 2bit 3bit 4bit rotate topk leb rice"
TINY = np.finfo(np.float32).tiny
HUGE = np.finfo(np.float32).max
F32_0, F32_1 = np.float32(0), np.float32(1)


class Refused(Exception):
    """Bytes that are not what the protocol allows; `code` is the name of the ERROR to answer with."""

    def __init__(self, text, code="malformed"):
        super().__init__(text)
        self.code = code


# ---- values ----

class F32:
    def size(self, n):
        return 4 * n

    def encode(self, values):
        return values.astype("<f4").tobytes()

    def decode(self, data, n):
        return np.frombuffer(data, "<f4", n)


class F16:
    def size(self, n):
        return 2 * n

    def encode(self, values):
        return np.clip(values, -65504, 65504).astype("<f2").tobytes()

    def decode(self, data, n):
        return np.frombuffer(data, "<f2", n).astype(np.float32)


class BF16:
    """The upper half of a float, rounded to nearest even, kept finite."""

    def size(self, n):
        return 2 * n

    def encode(self, values):
        bits = values.astype("<f4").view(np.uint32).astype(np.uint64)
        upper = (bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))) >> np.uint64(16)
        overflow = (upper & np.uint64(0x7FFF)) > 0x7F7F
        return np.where(overflow, upper - np.uint64(1), upper).astype("<u2").tobytes()

    def decode(self, data, n):
        return (np.frombuffer(data, "<u2", n).astype(np.uint32) << np.uint32(16)).view(np.float32)


def _usable(scale, most):
    """As a float 32: 0 if it is too small to divide by, and no larger than lets scale x most be finite."""
    scale = min(float(scale), float(np.nextafter(HUGE / np.float32(most), F32_0)))
    return np.float32(scale) if scale >= TINY else F32_0


class Int8:
    BLOCK = 256

    def size(self, n):
        return n + 4 * -(-n // self.BLOCK)

    def encode(self, values):
        out = bytearray()
        for at in range(0, len(values), self.BLOCK):
            block = values[at:at + self.BLOCK].astype(np.float32)
            scale = _usable(np.abs(block).max() / np.float32(127), 127)
            q = np.rint(block / scale) if scale > 0 else np.zeros_like(block)
            out += struct.pack("<f", scale) + np.clip(q, -127, 127).astype(np.int8).tobytes()
        return bytes(out)

    def decode(self, data, n):
        out = np.empty(n, np.float32)
        for at in range(0, n, self.BLOCK):
            begin = at + at // self.BLOCK * 4
            count = min(self.BLOCK, n - at)
            scale = np.frombuffer(data, "<f4", 1, begin)
            q = np.frombuffer(data, np.int8, count, begin + 4)
            if np.signbit(scale[0]) or 0 < scale[0] < TINY or not np.isfinite(scale[0] * np.float32(127)) or (q == -128).any():
                raise Refused(f"int8: block {at // self.BLOCK} has scale {scale[0]}, or a byte of -128")
            if scale[0] == 0 and q.any():
                raise Refused(f"int8: block {at // self.BLOCK} has scale 0 and bytes that are not 0")
            out[at:at + count] = scale * q.astype(np.float32)
        return out


def _pack(codes, bits):
    """Codes of `bits` bits, the first in the lowest; the last byte is filled up with zeros."""
    spread = codes[:, None] >> np.arange(bits, dtype=np.uint8) & 1
    return np.packbits(spread.astype(np.uint8).reshape(-1), bitorder="little").tobytes()


def _unpack(data, bits, n):
    spread = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    if spread[n * bits:].any():
        raise Refused("codes that end in more than 0")
    return (spread[:n * bits].reshape(n, bits) << np.arange(bits, dtype=np.uint8)).sum(axis=1, dtype=np.uint8)


class Packed:
    """Blocks of a scale and codes of a few bits."""

    def __init__(self, block):
        self.block = block

    def size(self, n):
        block = self.block or max(n, 1)
        return sum(4 + -(-min(block, n - at) * self.bits // 8) for at in range(0, n, block))

    def encode(self, values):
        out, block = bytearray(), self.block or max(len(values), 1)
        for at in range(0, len(values), block):
            x = values[at:at + block].astype(np.float32)
            scale, codes = self.quantise(x)
            scale = _usable(scale, self.most)
            out += struct.pack("<f", scale)
            out += _pack(codes if scale > 0 else np.zeros(len(x), np.uint8), self.bits)
        return bytes(out)

    def decode(self, data, n):
        out, begin, block = np.empty(n, np.float32), 0, self.block or max(n, 1)
        for at in range(0, n, block):
            count = min(block, n - at)
            scale, = np.frombuffer(data, "<f4", 1, begin)
            end = begin + 4 + -(-count * self.bits // 8)
            codes = _unpack(data[begin + 4:end], self.bits, count)
            if not abs(float(scale)) * float(self.most) <= float(np.finfo(np.float32).max):
                raise Refused(f"the block of value {at} has NaN or infinity")
            if np.signbit(scale) or 0 < scale < TINY or (scale == 0 and codes.any()):
                raise Refused(f"the block of value {at} has scale {scale}")
            out[at:at + count] = self.levels(scale)[codes]
            if np.isnan(out[at:at + count]).any():
                raise Refused(f"the block of value {at} has a code that is none")
            begin = end
        return out


class Int(Packed):
    """int4, int2: codes in two's complement, -L to L."""

    def __init__(self, bits, block):
        super().__init__(block)
        self.bits, self.limit = bits, (1 << bits - 1) - 1
        self.most = np.float32(self.limit)

    def levels(self, scale):
        codes = np.arange(1 << self.bits)
        signed = np.where(codes < len(codes) // 2, codes, codes - len(codes)).astype(np.float32)
        return np.where(np.abs(signed) <= self.limit, scale * signed, np.float32(np.nan)).astype(np.float32)

    def quantise(self, x):
        scale = np.float32(np.abs(x).max() / self.most)
        if not scale >= TINY:
            return np.float32(0), None
        q = np.clip(np.rint(x * (F32_1 / scale)), -self.limit, self.limit)
        if self.bits == 2 and q.any():  # fitted: <x, q> / <q, q>
            scale = np.float32(np.dot(x.astype(float), q) / np.dot(q, q))
        return scale, (q.astype(np.int8).view(np.uint8) & ((1 << self.bits) - 1)).astype(np.uint8)


class Levels(Packed):
    """1bit to 4bit: a sign and one of the magnitudes that suit normally distributed values."""
    MAGNITUDES = {
        1: [1.0],
        2: [0.45278, 1.51042],
        3: [0.24509, 0.75601, 1.34391, 2.15195],
        4: [0.12840, 0.38805, 0.65676, 0.94234, 1.25623, 1.61805, 2.06902, 2.73259],
    }

    def __init__(self, bits, block):
        super().__init__(block)
        self.bits = bits
        self.magnitudes = np.array(self.MAGNITUDES[bits], np.float32)
        self.most = self.magnitudes[-1]

    def levels(self, scale):
        values = scale * self.magnitudes
        return np.concatenate([values, -values])

    def quantise(self, x):
        wide = x.astype(float)
        rms = math.sqrt(np.dot(wide, wide) / len(wide)) if self.bits > 1 else 1.0
        if rms < TINY:
            return np.float32(0), None
        borders = (self.magnitudes[1:] + self.magnitudes[:-1]) / 2
        codes = np.searchsorted(borders, np.abs(wide) / rms, side="right").astype(np.uint8)
        level = self.magnitudes[codes].astype(float) * np.where(np.signbit(x), -1, 1)
        return np.dot(wide, level) / np.dot(level, level), codes | np.signbit(x).astype(np.uint8) << self.bits - 1


# ---- rotate ----

_M64 = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def _mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _M64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _M64
    return x ^ (x >> 31)


class Rotate:
    """Random signs and a Walsh-Hadamard transform before the values are coded, the inverse afterwards."""
    HEAD = 4
    LARGEST = np.float32(2.0**90)

    def __init__(self, block, values):
        self.block, self.values = block, values

    def size(self, n):
        return self.HEAD + self.values.size(n)

    def encode(self, values):
        seed = zlib.crc32(values.astype("<f4").tobytes())
        x = np.clip(values.astype(np.float32), -self.LARGEST, self.LARGEST)
        for at, turns in self._turns(len(x)):
            for stream, begin, end in turns:
                x[begin:end] = _hadamard(x[begin:end] * self._signs(seed, stream, end - begin))
        return struct.pack("<I", seed) + self.values.encode(x)

    def decode(self, data, n):
        seed, = struct.unpack_from("<I", data)
        x = np.array(self.values.decode(data[self.HEAD:], n), np.float32)
        if np.dot(x.astype(float), x.astype(float)) > 2.0**224:
            raise Refused("rotate: there could be NaN or infinity among the values")
        for at, turns in self._turns(n):
            for stream, begin, end in reversed(turns):
                x[begin:end] = _hadamard(x[begin:end]) * self._signs(seed, stream, end - begin)
        return x

    def _turns(self, n):
        """For each block its rotations: one, or two where its length is no power of two."""
        for at in range(0, n, self.block):
            count = min(self.block, n - at)
            p = 1 << count.bit_length() - 1
            yield at, [(2 * at, at, at + p)] + ([(2 * at + 1, at + count - p, at + count)] if p < count else [])

    @staticmethod
    def _signs(seed, stream, n):
        state = _mix(_mix((seed + _GOLDEN) & _M64) ^ (stream * _GOLDEN + 1) & _M64)
        words = [_mix((state + (i + 1) * _GOLDEN) & _M64) for i in range(-(-n // 64))]
        minus = np.unpackbits(np.array(words, "<u8").view(np.uint8), bitorder="little")[:n].astype(bool)
        factor = F32_1 / np.sqrt(np.float32(n))
        return np.where(minus, -factor, factor)


def _hadamard(x):
    n, h = len(x), 1
    while h < n:
        pairs = x.reshape(-1, 2, h)
        x = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(n)
        h *= 2
    return x


# ---- positions ----

class Leb:
    def write(self, positions):
        return b"".join(map(_leb128, np.diff(positions, prepend=0).tolist()))

    def read(self, data, at, k, n):
        position, positions = 0, []
        for i in range(k):
            gap, at = _read_leb128(data, at)
            position += gap
            if position >= n or (i > 0 and gap == 0):
                raise Refused(f"topk: position {position} of {n}, or twice")
            positions.append(position)
        return positions, at


def _leb128(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def _read_leb128(data, at):
    value = 0
    for i in range(5):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << 7 * i
        if byte < 128:
            if value > 2**32 - 1 or (byte == 0 and i > 0):
                break
            return value, at
    raise Refused("topk: a gap that is cut short or not in its shortest form")


class Rice:
    """Distances less 1, in Golomb-Rice code with the parameter that needs the fewest bits."""
    MOST = 31

    def write(self, positions):
        distances = np.diff(np.asarray(positions, np.int64), prepend=-1) - 1
        b = min(range(self.MOST + 1), key=lambda b: int((distances >> b).sum()) + len(distances) * (b + 1))
        bits = "".join("0" * (d >> b) + "1" + f"{d & (1 << b) - 1:0{b}b}"[::-1] * (b > 0) for d in distances.tolist())
        return bytes([b]) + np.packbits(np.array(list(map(int, bits)), np.uint8), bitorder="little").tobytes()

    def read(self, data, at, k, n):
        if at >= len(data) or data[at] > self.MOST:
            raise Refused(f"rice: a number of bits above {self.MOST}, or none")
        b, bits = data[at], np.unpackbits(np.frombuffer(data, np.uint8, offset=at + 1), bitorder="little")
        ones = np.flatnonzero(bits)
        bit, position, positions = 0, -1, []
        for _ in range(k):
            which = np.searchsorted(ones, bit)
            if which == len(ones):
                raise Refused("rice: positions that are cut short")
            zeros, bit = int(ones[which]) - bit, int(ones[which]) + 1
            if bit + b > len(bits):
                raise Refused("rice: positions that are cut short")
            low = int((bits[bit:bit + b].astype(np.int64) << np.arange(b)).sum())
            bit, position = bit + b, position + 1 + (zeros << b | low)
            if position >= n:
                raise Refused(f"rice: position {position} of {n}")
            positions.append(position)
        end = -(-bit // 8)
        if bits[bit:end * 8].any():
            raise Refused("rice: positions that end in more than 0")
        if end > -(-min(k * (b + 1) + (n >> b) for b in range(self.MOST + 1)) // 8):
            raise Refused("rice: more bytes than the best parameter can need")
        return positions, at + 1 + end


class TopK:
    def __init__(self, fraction, values, positions):
        self.fraction, self.values, self.positions = fraction, values, positions

    def size(self, n):
        return None  # depends on the values

    def kept(self, n):
        return min(n, max(1, math.ceil(self.fraction * n)))

    def encode(self, values):
        k = self.kept(len(values))
        positions = np.sort(np.argsort(-np.abs(values), kind="stable")[:k])
        return struct.pack("<I", k) + self.positions.write(positions) + self.values.encode(values[positions])

    def decode(self, data, n):
        k = self.kept(n)
        if len(data) < 4 or struct.unpack_from("<I", data)[0] != k:
            raise Refused(f"topk: not the {k} of {n} values that the plan keeps")
        room = len(data) - self.values.size(k)  # positions end where the values begin
        if room < 4:
            raise Refused(f"topk: {len(data)} bytes, too few for {k} values")
        positions, at = self.positions.read(data[:room], 4, k, n)
        if at != room:
            raise Refused(f"topk: {len(data) - at} bytes of values, expected {self.values.size(k)}")
        out = np.zeros(n, np.float32)
        out[positions] = self.values.decode(data[at:], k)
        return out


# ---- specs ----

def _split(text, between):
    """At this character, where it stands in no parentheses."""
    depth, parts = 0, [""]
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == between and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def _stage(text, spec):
    """(name, {parameter: value}); a value without a name stands under its number."""
    found = re.fullmatch(r"([a-z0-9]+)(?:\((.*)\))?", text)
    if not found:
        raise Refused(f"no codec is known as {spec!r}", "codec")
    arguments = {}
    for i, item in enumerate(_split(found[2], ",") if found[2] else []):
        name, equals, value = item.partition("=")
        arguments[name.strip() if equals else i] = value.strip() if equals else item
    return found[1], arguments


def _take(arguments, name, fallback, read):
    return read(arguments.pop(name, arguments.pop(0, fallback)))


def _fraction(text):
    value = float(text)
    if not 1e-6 <= value <= 1:
        raise ValueError
    return value


def _block(text, whole=True):
    value = int(text)
    if not (value == 0 and whole) and (not 16 <= value <= 4096 or value & value - 1):
        raise ValueError
    return value


def codec(spec):
    """The codec of a spec: encode(values) -> bytes, decode(bytes, n) -> values (exactly n, finite, or Refused). Of
    auto(...) it is the upper bound, which a sender may always take."""
    try:
        return _Checked(_build(upper_bound(spec)))
    except ValueError:
        raise Refused(f"no codec is known as {spec!r}", "codec") from None


def upper_bound(spec):
    """`max` of auto(...), or the spec itself."""
    name, arguments = _stage(spec, spec) if spec.startswith("auto") else (spec, {})
    return arguments.get("max", arguments.get(1, "int8")) if name == "auto" else spec


def _build(spec):
    stages = [_stage(text, spec) for text in _split(spec, "+")]
    select = rotate = positions = None
    if stages[0][0] == "topk":
        select = _take(stages.pop(0)[1], "fraction", "0.05", _fraction)
    if stages and stages[0][0] == "rotate":
        rotate = _take(stages.pop(0)[1], "block", "4096", lambda text: _block(text, False))
    if select is not None and stages and stages[-1][0] in ("leb", "rice"):
        positions = {"leb": Leb, "rice": Rice}[stages.pop()[0]]()
    if len(stages) != 1:
        raise ValueError
    name, arguments = stages[0]
    simple = {"f32": F32, "f16": F16, "bf16": BF16, "int8": Int8}
    if name in simple:
        values = simple[name]()
    elif name in ("int4", "int2"):
        values = Int(int(name[3]), _take(arguments, "block", "256", _block))
    elif name in ("1bit", "2bit", "3bit", "4bit"):
        values = Levels(int(name[0]), _take(arguments, "block", "4096", _block))
    else:
        raise ValueError
    if arguments:  # a parameter that is not known here
        raise ValueError
    if rotate is not None:
        values = Rotate(rotate, values)
    return TopK(select, values, positions or Leb()) if select is not None else values


class _Checked:
    """Sizes and finiteness, for all codecs alike."""

    def __init__(self, inner):
        self.inner = inner

    def encode(self, values):
        if not np.isfinite(values).all():
            raise ValueError("NaN or infinity cannot be encoded")
        return self.inner.encode(values)

    def decode(self, data, n):
        size = self.inner.size(n)
        if size is not None and len(data) != size:
            raise Refused(f"a payload of {len(data)} bytes, expected {size}")
        values = self.inner.decode(data, n)
        if not np.isfinite(values).all():
            raise Refused("a payload with NaN or infinity")
        return values
