"""Ways to spoil what a file holds: bytes, numbers, JSON, tables, and files compressed by gzip.

Every way takes a `random.Random`, so that a seed says what became of a file.
"""

import gzip
import io
import json
import math
import struct
from copy import deepcopy

WORDS = (
    *("", "0", "-1", "1", "NaN", "inf", "-inf", "1e308", "-1e308", "1e-308", "1e999", "0x10"),
    *("65535", "65536", "2147483648", "4294967295", "99999999999999999999", "9" * 5000),
    *("abc", "ÄÖ\u0000ß", "\ud7ff\uffff", "..", "../../x", "a\\b", "0\\0", "1\\2\\3\\4\\5\\6\\7"),
    *(
        "1e308\\1e308",
        "NaN\\NaN",
        "0\\0\\0",
        "1\\0\\0\\0\\0\\0",
        "\\",
        "\\\\\\",
        " ",
        "%",
        "{",
        "'",
        "=1+1",
    ),
)
NUMBERS = (
    *(0, -1, 1, 2, 3, 5, 7, 255, 256, 32767, -32768, 65535, 1 << 31, -(1 << 31), (1 << 32) - 1),
    *(1 << 40, 1 << 62, 1 << 64, 10**400, 0.5, -0.5, 1e-308, 1e38, 1e308, -1e308, 1e-45),
    *(math.nan, math.inf, -math.inf),
)
PACKS = ("<b", "<h", "<i", "<q", ">h", ">i", ">q", "<f", "<d", ">f", ">d")


def read_tree(folder):
    """Return the files of a folder as a tree."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def packed_number(rng, code=None):
    """Return an odd number as bytes; what is too large for them is cut."""
    code = code or rng.choice(PACKS)
    number = rng.choice(NUMBERS)
    most = 1e308 if code[-1] == "d" else 1e38
    if code[-1] in "fd":
        return struct.pack(code, float(number) if not abs(number) > most else math.inf)
    bits = 8 * struct.calcsize(code)
    whole = int(number) if abs(number) < math.inf else 0
    order = "little" if code[0] == "<" else "big"
    return (whole & ((1 << bits) - 1)).to_bytes(bits // 8, order)


def place(rng, size, most=0):
    """Return a place in something of a size; headers are hit more often than what follows."""
    ends = [n for n in (64, 400, 2000, most) if 0 < n < size] or [size]
    return rng.randrange(max(1, rng.choice([*ends, size])))


def spoiled_bytes(rng, data, other=b""):
    """Return bytes with one thing changed: bits, lengths, pieces missing, double or of another."""
    data = bytearray(data)
    at = place(rng, len(data))
    much = min(len(data), rng.choice((1, 2, 4, 8, 16, 64, 512)))
    match rng.randrange(9):
        case 0:
            for _ in range(rng.choice((1, 1, 2, 8, 32))):
                if data:
                    data[place(rng, len(data))] ^= 1 << rng.randrange(8)
        case 1:
            del data[at:]
        case 2:
            del data[at : at + much]
        case 3:
            data[at:at] = data[at : at + much]
        case 4:
            number = packed_number(rng)
            data[at : at + len(number)] = number
        case 5:
            start = rng.randrange(max(1, len(other)))
            data[at : at + much] = other[start : start + much]
        case 6:
            data[at : at + much] = bytes([rng.choice((0, 255, 0x20, 0x5C))]) * much
        case 7:
            data += other[rng.randrange(max(1, len(other))) :]
        case 8:
            data[at : at + much] = rng.randbytes(much)
    return bytes(data)


def spoiled_gzip(rng, data, inside, other=b""):
    """Return a gzip file, spoiled itself or, by `inside`, in what it holds."""
    if rng.random() < 0.3:
        return spoiled_bytes(rng, data, other)
    return gzip.compress(inside(rng, gzip.decompress(data)), 1, mtime=0)


def odd_value(rng, depth=0):
    """Return something that JSON can say and nobody expects."""
    choice = rng.randrange(8)
    if choice == 0:
        return rng.choice(NUMBERS)
    if choice == 1:
        return rng.choice(WORDS)
    if choice == 2:
        return rng.choice((None, True, False, [], {}, [[]], [None], {"": None}, [{}]))
    if choice == 3 and depth < 3:
        return [odd_value(rng, depth + 1) for _ in range(rng.choice((1, 2, 3, 40)))]
    if choice == 4 and depth < 3:
        return {rng.choice(WORDS): odd_value(rng, depth + 1) for _ in range(2)}
    if choice == 5:
        return [rng.choice((0, 1, 2))] * rng.choice((1, 2, 3, 4, 1000))
    return rng.choice((0, 1, -1, 2.5, "x", 10**6, 10**9, "$__import__('os')", "@"))


def places_in(value, found):
    """Gather every table and list in JSON."""
    if isinstance(value, dict | list):
        found.append(value)
        for one in value.values() if isinstance(value, dict) else value:
            places_in(one, found)
    return found


def spoiled_value(rng, value):
    """Return JSON with one value changed, missing, double or under another's name."""
    value = deepcopy(value)
    places = [one for one in places_in(value, []) if one]
    if not places or rng.random() < 0.02:
        return odd_value(rng)
    one = rng.choice(places)
    keys = list(one) if isinstance(one, dict) else range(len(one))
    key, way = rng.choice(list(keys)), rng.randrange(6)
    if way == 0:
        del one[key]
    elif way == 1:
        before = one[key]
        one[key] = (
            rng.choice((-before, before * 10**9, before + 0.5, str(before), [before]))
            if isinstance(before, int | float)
            else odd_value(rng)
        )
    elif way == 2 and isinstance(one, list):
        one += [one[key]] * rng.choice((1, 2, 200))
    elif way == 2:
        one[rng.choice(WORDS)] = one[key]
    else:
        one[key] = odd_value(rng)
    return value


def spoiled_json(rng, data, other=b""):
    """Return a JSON file with one thing changed."""
    way = rng.randrange(12)
    if way == 0:
        return spoiled_bytes(rng, data, other)
    if way == 1:
        deep = rng.choice((50, 2000, 200_000))
        return b"[" * deep + b"]" * deep
    if way == 2:
        return data.replace(b"1", b"9" * 5000, 1)
    return json.dumps(spoiled_value(rng, json.loads(data)), indent=1).encode("utf-8", "replace")


def spoiled_text(rng, data, other=b""):
    """Return a file of lines ``name: value`` or ``name = value`` with one line changed."""
    if rng.random() < 0.25:
        return spoiled_bytes(rng, data, other)
    lines = data.split(b"\n")
    at = rng.randrange(max(1, min(len(lines), 24)))
    way = rng.randrange(5)
    if way == 0:
        del lines[at]
    elif way == 1:
        lines.insert(at, rng.choice(lines[:24]))
    else:
        mark = next((m for m in (b"=", b":", b",", b" ") if m in lines[at]), b"=")
        name, _, value = lines[at].partition(mark)
        words = value.split()
        odd = [rng.choice(WORDS).encode("utf-8", "replace") for _ in range(rng.choice((1, 1, 3)))]
        if words and way > 2:
            words[rng.randrange(len(words))] = odd[0]
        else:
            words = odd
        lines[at] = name + mark + b" " + b" ".join(words)
    return b"\n".join(lines)


def spoiled_table(rng, data, other=b""):
    """Return a CSV file with one cell, row or column changed."""
    if rng.random() < 0.2:
        return spoiled_bytes(rng, data, other)
    rows = [line.split(b",") for line in io.BytesIO(data).read().splitlines()]
    row = rng.choice(rows)
    at, way = rng.randrange(len(row)), rng.randrange(6)
    if way == 0:
        row[at] = rng.choice(WORDS).encode("utf-8", "replace")
    elif way == 1:
        row[at] = rng.choice(rng.choice(rows))
    elif way == 2:
        del row[at]
    elif way == 3:
        row.insert(at, rng.choice((b"", b'"', b'"\n"', b"\0", b"x" * 200_000, row[at])))
    elif way == 4:
        rows.append(row)
    else:
        rows.remove(row)
    return b"\n".join(b",".join(one) for one in rows) + b"\n"
