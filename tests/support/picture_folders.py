"""Folders of small pictures with captions, as a person brings them or as the kit ships them."""

import json

import numpy as np
from PIL import Image


def pictures(folder, n, *, first=0, kind=None, suffix="png"):
    """Write n different pictures with metadata.jsonl."""
    folder.mkdir(parents=True)
    rows = []
    for i in range(n):
        pixels = np.random.default_rng(first + i).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.{suffix}")
        row = {"file_name": f"{i:03}.{suffix}", "text": f"picture {first + i}"}
        rows.append(row | {"kind": kind[i % len(kind)]} if kind else row)
    write_rows(folder, rows)
    return folder


def write_rows(folder, rows):
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]


def drawn(i, size=48):
    """Draw picture number i: soft patches of colour, unlike every other."""
    small = np.random.default_rng(i).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def saved(folder, n, *, first=0, suffix="png", names=None):
    """Write n different pictures; give their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [f"{i:02}.{suffix}" for i in range(n)]
    for i, name in enumerate(names):
        drawn(first + i).save(folder / name)
    return names


def with_texts(folder, n, **options):
    """Write n pictures, each with a .txt beside it."""
    for name in saved(folder, n, **options):
        (folder / name).with_suffix(".txt").write_text(f"a room, {name}")
    return folder


def with_rows(folder, n, *, row=lambda name: {"file_name": name, "text": "a room"}, table=None, **options):
    """Write n pictures and a metadata.jsonl of their rows."""
    names = saved(folder, n, **options)
    rows = [json.dumps(row(name), ensure_ascii=False) + "\n" for name in names]
    (table or folder / "metadata.jsonl").write_text("".join(rows), "utf-8")
    return folder
