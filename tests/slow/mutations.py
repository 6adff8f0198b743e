"""Seeded damage to what the kit reads: flipped and cut bytes, odd values at any place, odd lines in texts."""

import json
import random

DEEP = "[" * 50_000
NESTED = "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + NESTED + "rank: *i\n"   # nine to the ninth values, if aliases are followed
LINES = (
    "rank: " + DEEP, "rank: " + "{a: " * 5000, "? [a, b]\n: 1", "{a: b}: 1", "rank: !!int ''", "rank: !!int x",
    "rank: !!float ''", "rank: !!bool maybe", "rank: !!timestamp x", "rank: !!binary '='", "rank: !!set {a, b}",
    "rank: !!omap [a]", "rank: !!pairs [[a]]", "rank: !!python/object/apply:os.getcwd []", "rank: !own 3",
    "<<: [1, 2]", "<<: *a", "rank: =", "rank: 0x_", "rank: 0b_", "rank: 190:20:30", "rank: 2024-02-31",
    "rank: 0x" + "f" * 20_000, "rank: " + "9" * 300, "rank: '" + "9" * 400 + "'", "rank: " + "9" * 5000,
    "seed: -" + "9" * 300, "alpha: 1e999", "alpha: .nan", "data: \"\\ud800\"", "data: \"\\e[31mred\\a\"",
    "data: ~nouser/x", "data: '" + "x" * 5000 + "'", "data: \"a\\0b\"",
    "lr_edits: [[1, 1e-4], [" + "9" * 400 + ", 1]]", "target_modules: [[to_q], {a: 1}]", "reasons: {rank: [x]}",
    "reasons: {[a]: x}", "expected: {scaling: " + "9" * 400 + "}", "%YAML 9.9", "--- 1\n--- 2", "\t- x", "&a", "*a",
)
ODD = (
    None, True, -1, 0, 2**63, 10**300, 10**400, -(10**400), 1e308, float("nan"), float("inf"), "", " ", "\ud800",
    "\x1b[31mred\x07\nline", "a\0b", "x" * 5000, "9" * 400, "~nouser/x", "../../x", "/", [], {}, [[]], [{}], {"": {}},
    [1, "a", None], "@DEEP@", "@LONG@",
)


def draw_for(kind, seed, number):
    """Give the random source of one case."""
    return random.Random(f"{kind} {seed} {number}")


def bytes_damaged(data: bytes, draw) -> bytes:
    """Flip, cut, repeat or fill a stretch of bytes."""
    if not data:
        return draw.randbytes(9)
    at = draw.randrange(len(data))
    until = min(len(data), at + draw.choice((1, 1, 2, 8, 64, 1000)))
    piece = {
        "flip": lambda: bytes(byte ^ 1 << draw.randrange(8) for byte in data[at:until]), "cut": lambda: b"",
        "noise": lambda: draw.randbytes(until - at), "ones": lambda: b"\xff" * (until - at),
        "zeros": lambda: bytes(until - at), "twice": lambda: data[at:until] * 2, "deep": lambda: DEEP.encode(),
    }
    kind = draw.choice(("flip", "flip", "cut", "noise", "ones", "zeros", "twice", "deep", "head", "tail"))
    return data[:at] if kind == "head" else data[at:] if kind == "tail" else data[:at] + piece[kind]() + data[until:]


def value_damaged(value, draw):
    """Replace, take away or add one value at any depth; the value given is left as it was."""
    value = json.loads(json.dumps(value))
    holders = [value]
    for holder in holders:
        items = holder.values() if isinstance(holder, dict) else holder
        holders += [item for item in items if isinstance(item, dict | list)]
    holder = draw.choice(holders)
    if not holder or draw.random() < 0.05:
        return draw.choice(ODD)
    place = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    act = draw.choice(("replace", "replace", "replace", "delete", "nest", "rename"))
    if act == "delete":
        del holder[place]
    elif act == "rename" and isinstance(holder, dict):
        holder[draw.choice([odd for odd in ODD if isinstance(odd, str)])] = holder.pop(place)
    else:
        holder[place] = [holder[place]] if act == "nest" else draw.choice(ODD)
    return value


def as_json(value) -> bytes:
    """Write a damaged value as JSON, whatever is in it."""
    text = json.dumps(value)
    return text.replace('"@DEEP@"', DEEP + "]" * len(DEEP)).replace('"@LONG@"', "9" * 5000).encode()


def json_damaged(value, draw) -> bytes:
    """Damage a value, or the bytes it is written as."""
    return as_json(value_damaged(value, draw)) if draw.random() < 0.8 else bytes_damaged(as_json(value), draw)


def lines_damaged(text: str, draw) -> bytes:
    """Put an odd line into a YAML text, or damage its bytes."""
    if draw.random() < 0.05:
        return BOMB.encode()
    if draw.random() < 0.6:
        lines = text.splitlines()
        lines.insert(draw.randrange(len(lines) + 1), draw.choice(LINES))
        return "\n".join(lines).encode()
    return bytes_damaged(text.encode(), draw)
