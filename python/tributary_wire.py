"""The bytes of Tributary's protocol: messages, schema, digests; codecs are in tributary_codecs.py. docs/protocol.md is the
description.

Nothing here does I/O. Needs msgpack and numpy (Debian: python3-msgpack, python3-numpy).
"""
import hashlib
import math
import re
import struct

import msgpack
import numpy as np

from tributary_codecs import KNOWN, Refused, codec, upper_bound  # noqa: F401

PROTOCOL = 1
MAGIC = b"TRIB"
FREE_PAYLOAD = 16384
FRAME_PAYLOAD = 262144
CHUNK_MIN, CHUNK_MAX = 16384, 1048576
MAP_BYTES, MAP_ITEMS, MAP_DEPTH = 65536, 256, 8

TYPES = ("HELLO WELCOME PULL MODEL PUSH ACK CHUNK CREDIT ADVANCE WAIT BYE ERROR PING PONG").split()

# key: name, type, limit (section 4)
FIELDS = {
    1: ("session", "u64", None), 2: ("number", "u64", None), 3: ("after", "u64", None),
    4: ("base_version", "u64", None), 5: ("base_digest", "bin", 4), 6: ("samples", "u64", None),
    7: ("weight", "u64", None), 8: ("steps", "f32", None), 9: ("loss", "f32", None),
    10: ("codec", "text", 512), 11: ("payload_bytes", "u64", None), 12: ("payload_crc", "u64", 2**32 - 1),
    13: ("region", "u64", None), 14: ("histogram", "u64s", 128), 15: ("below_updates", "u64", None),
    16: ("below_up_bytes", "u64", None), 17: ("below_down_bytes", "u64", None),
    18: ("below_raw_bytes", "u64", None), 19: ("name", "text", 64), 20: ("incarnation", "u64", None),
    21: ("next_number", "u64", None), 22: ("held_version", "u64", None), 23: ("held_digest", "bin", 32),
    24: ("protocol_min", "u64", 255), 25: ("protocol_max", "u64", 255), 26: ("build", "text", 128),
    27: ("fingerprint", "bin", 32), 28: ("codecs", "text", 1024), 29: ("kind", "u64", 255),
    30: ("parent_incarnation", "u64", None), 31: ("last_number", "u64", None), 32: ("credit", "u64", None),
    33: ("plan", "text", 16384), 34: ("schema", "text", 32768), 35: ("run", "bin", 16),
    36: ("heartbeat_ms", "u64", None), 37: ("from_version", "u64", None), 38: ("from_digest", "bin", 32),
    39: ("to_version", "u64", None), 40: ("to_digest", "bin", 32), 41: ("applied", "u64", None),
    42: ("fence", "u64", None), 43: ("parts", "u64s", 128), 44: ("seed", "u64", None),
    45: ("full_digest", "bin", 32), 46: ("verdict", "u64", 255), 47: ("staleness", "u64", None),
    48: ("reason", "u64", 255), 49: ("applied_weight", "f32", None), 50: ("offset", "u64", None),
    51: ("chunk_bytes", "u64", None), 52: ("window_bytes", "u64", None), 53: ("wait_ms", "u64", None),
    54: ("code", "u64", 255), 55: ("detail", "text", 512), 56: ("token", "u64", None),
    57: ("subscribe", "u64", 1), 58: ("accuracy_ppm", "u64", 1000000),
    59: ("device_class", "text", 32), 60: ("battery", "u64", 100), 61: ("link", "u64", None),
    62: ("labels", "u64s", 128),
    63: ("rate", "u64", None),
}
KEYS = {name: key for key, (name, _, _) in FIELDS.items()}

# type: must carry, may carry (section 5)
MESSAGES = {
    "HELLO": ("name incarnation next_number protocol_min protocol_max kind",
              "region held_version held_digest build fingerprint codecs parent_incarnation subscribe"
              " base_version base_digest device_class battery link"),
    "WELCOME": ("session incarnation fingerprint last_number credit plan schema run heartbeat_ms", "build"),
    "PULL": ("session", "held_version held_digest credit rate device_class battery link"),
    "MODEL": ("session kind to_version to_digest applied fence",
              "codec payload_bytes payload_crc from_version from_digest parts seed full_digest"),
    "PUSH": ("session number base_version samples steps",
             "after base_digest weight loss codec kind reason payload_bytes payload_crc region histogram below_updates"
             " below_up_bytes below_down_bytes below_raw_bytes labels parts"),
    "ACK": ("session number verdict", "credit staleness reason applied_weight"),
    "CHUNK": ("session number offset", ""),
    "CREDIT": ("session", "number credit offset chunk_bytes window_bytes"),
    "ADVANCE": ("session to_version", "accuracy_ppm"),
    "WAIT": ("session wait_ms", ""),
    "BYE": ("session reason", ""),
    "ERROR": ("code", "session number wait_ms detail"),
    "PING": ("session token", ""),
    "PONG": ("session token", ""),
}
MESSAGES = {name: (set(must.split()), set(may.split())) for name, (must, may) in MESSAGES.items()}

CODES = [None, "hello", "malformed", "version", "schema", "retired", "duplicate", "gap", "conflict", "credit",
         "busy", "denied", "type", "store"]
REASONS = ["none", "stale", "base", "fence", "payload", "not_finite", "round", "codec", "superseded", "weight",
           "finished", "norm", "direction", "quarantine"]
ACCEPTED, REFUSED = 1, 2
CURRENT, INCREMENTS, SEED, SNAPSHOT = 1, 2, 3, 4
LEAVING, FINISHED = 1, 2
MODEL_NEEDS = {CURRENT: (), INCREMENTS: ("from_version", "from_digest", "parts"), SEED: ("seed",),
               SNAPSHOT: ("full_digest",)}


def name_of(names, index):
    return names[index] if 0 <= index < len(names) and names[index] else str(index)


# ---- messages ----

def _shortest(number):
    """A float as it is sent: whole numbers that float 32 holds exactly go as integers."""
    number = float(number)
    whole = 0 <= number <= 2**24 and number.is_integer() and math.copysign(1, number) > 0
    return int(number) if whole else number


def encode(kind, /, **fields):
    """Frame 1 of a message. Fields are int, float, str, bytes or lists of int, as section 4 has them."""
    must, may = MESSAGES[kind]
    if must - fields.keys() or fields.keys() - must - may:
        raise ValueError(f"{kind} with {sorted(fields)}: it must have {sorted(must)}, it may have {sorted(may)}")
    content = {}
    for key, name in sorted((KEYS[name], name) for name in fields):
        content[key] = _shortest(fields[name]) if FIELDS[key][1] == "f32" else fields[name]
    head = MAGIC + bytes([PROTOCOL, TYPES.index(kind) + 1, 0, 0])
    return head + msgpack.packb(content, use_single_float=True, use_bin_type=True)


class _Pairs(list):
    """A map as it stood there: nested, with keys of any type, in order."""


def _unpack(data):
    if not 0 < len(data) <= MAP_BYTES:
        raise Refused(f"a map of {len(data)} bytes")
    try:
        content = msgpack.unpackb(data, raw=False, unicode_errors="surrogateescape", strict_map_key=False,
                                  object_pairs_hook=_Pairs, max_array_len=MAP_ITEMS, max_map_len=MAP_ITEMS)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise Refused(f"no msgpack map: {error}") from None
    if not isinstance(content, _Pairs):
        raise Refused("no map behind the preamble")
    _check_depth(content)
    return content


def _check_depth(value, depth=1):
    if not isinstance(value, list):
        return
    if depth > MAP_DEPTH:
        raise Refused(f"containers nested deeper than {MAP_DEPTH}")
    for item in value:
        for inner in item if isinstance(value, _Pairs) else (item,):
            _check_depth(inner, depth + 1)


def _is_u64(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text_is_good(text):
    return not any(c < " " and c != "\n" or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff" for c in text)


def _value(name, kind, limit, value):
    """The value as Python has it; Refused if it is not of the field's type."""
    if kind == "u64" and _is_u64(value) and (limit is None or value <= limit):
        return value
    if kind == "f32" and isinstance(value, (int, float)) and not isinstance(value, bool):
        if abs(value) <= float(np.finfo(np.float32).max):  # a NaN compares false
            return float(np.float32(value))
    if kind == "text" and isinstance(value, str) and _text_is_good(value) and len(value.encode()) <= limit:
        return value
    if kind == "bin" and isinstance(value, bytes) and len(value) == limit:
        return value
    if kind == "u64s" and type(value) is list and len(value) <= limit and all(map(_is_u64, value)):
        return value
    raise Refused(f"field {name} is {value!r:.60}, expected {kind}{'' if limit is None else f' {limit}'}")


def decode(frame):
    """(type, fields) of frame 1; Refused with the code to answer with."""
    if len(frame) < 8 or frame[:4] != MAGIC:
        raise Refused(f"a frame begins with {frame[:4].hex(' ')}, expected \"TRIB\" and 4 more bytes")
    if frame[4] != PROTOCOL:
        raise Refused(f"protocol version {frame[4]}, expected {PROTOCOL}", "version")
    if not 1 <= frame[5] <= len(TYPES):
        raise Refused(f"message type {frame[5]}, expected 1 to {len(TYPES)}", "type")
    if frame[6:8] != b"\0\0":
        raise Refused("the reserved bytes of the preamble are not 0")
    kind, fields, seen = TYPES[frame[5] - 1], {}, set()
    must, may = MESSAGES[kind]
    for key, value in _unpack(frame[8:]):
        if not _is_u64(key) or key in seen:
            raise Refused(f"key {key!r:.40} is no number from 0, or there twice")
        if key < 64:
            seen.add(key)
        if key in FIELDS:
            name, form, limit = FIELDS[key]
            value = _value(name, form, limit, value)
            if name in must or name in may:
                fields[name] = value
    if must - fields.keys():
        raise Refused(f"{kind} lacks {', '.join(sorted(must - fields.keys()))}")
    _check_fields(kind, fields)
    return kind, fields


def _check_fields(kind, fields):
    if ("payload_bytes" in fields) != ("payload_crc" in fields):
        raise Refused("payload_bytes or payload_crc alone")
    if len(fields.get("histogram", ())) % 2:
        raise Refused("a histogram that is not made of pairs")
    if kind == "HELLO":
        if not fields["name"] or fields["kind"] not in (1, 2):
            raise Refused("HELLO with an empty name or an unknown kind")
        if not 1 <= fields["protocol_min"] <= fields["protocol_max"]:
            raise Refused("HELLO with an empty range of protocol versions")
    if kind == "ACK" and fields["verdict"] not in (ACCEPTED, REFUSED):
        raise Refused("ACK without a verdict")
    if kind == "MODEL":
        if fields["kind"] not in MODEL_NEEDS:
            raise Refused(f"MODEL of kind {fields['kind']}")
        missing = [name for name in MODEL_NEEDS[fields["kind"]] if name not in fields]
        if missing:
            raise Refused(f"MODEL of kind {fields['kind']} lacks {', '.join(missing)}")


# ---- digests and checksums ----

def blake2b(*parts):
    return hashlib.blake2b(b"".join(parts), digest_size=32).digest()


DIGEST_WHOLE, DIGEST_LEAF = 4194304, 262144  # parameters


def full_digest(parameters):
    data = memoryview(parameters.astype("<f4").tobytes())
    if len(parameters) <= DIGEST_WHOLE:
        return blake2b(data)
    leaf = 4 * DIGEST_LEAF
    return blake2b(struct.pack("<Q", len(parameters)), *(blake2b(data[i:i + leaf]) for i in range(0, len(data), leaf)))


def chain_start(fingerprint, full):
    return blake2b(fingerprint, full)


def chain_next(previous, increment):
    return blake2b(previous, increment)


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


# ---- schema ----

_M64 = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def _mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _M64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _M64
    return x ^ (x >> 31)


def _mix_array(x):
    """The same on uint64 arrays, which wrap by themselves."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Schema:
    """The tensors of a model: (name, shape, bound) in order."""

    def __init__(self, text):
        self.text = text
        self.fingerprint = blake2b(text.encode())
        self.tensors = []
        for line in text.splitlines():
            name, shape, bound = line.split(" ")
            self.tensors.append((name, tuple(int(d) for d in shape.split("x")), float.fromhex(bound)))
        self.parameters = sum(math.prod(shape) for _, shape, _ in self.tensors)

    def draw(self, seed):
        """Version 0."""
        out = []
        for t, (_, shape, bound) in enumerate(self.tensors):
            count = math.prod(shape)
            state = _mix(_mix(seed + _GOLDEN & _M64) ^ (t * _GOLDEN + 1 & _M64))
            with np.errstate(over="ignore"):
                steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
                x = _mix_array(np.uint64(state) + steps) >> np.uint64(40)
            value = (x.astype(np.float32) - np.float32(8388608)) * np.float32(2.0**-23) * np.float32(bound)
            out.append(value if bound > 0 else np.zeros(count, np.float32))
        return np.concatenate(out)

    def views(self, parameters):
        """{name: array of its shape}, views into the flat vector."""
        out, at = {}, 0
        for name, shape, _ in self.tensors:
            count = math.prod(shape)
            out[name] = parameters[at:at + count].reshape(shape)
            at += count
        return out


# ---- the plan ----

def parse_plan(text):
    """{name: value as text}; see section 14."""
    plan = {}
    for line in text.splitlines():
        name, colon, value = line.partition(": ")
        if colon:
            value = value.strip()
            if len(value) >= 2 and value[0] == value[-1] == '"':
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            plan[name] = value
    return plan
