"""Cases of folders: captions, pictures, what is remembered of files, recorded sets, notebooks."""

import io
import json
import os
import shutil
import zipfile

import numpy as np
from mutations import bytes_damaged, json_damaged
from PIL import Image
from small_pictures import write_territory

from labkit.cli import chapter, forms
from labkit.datasets.folders import load_folder, load_picture
from labkit.files.content import Memo, sha256
from labkit.lessons import notebooks
from labkit.settings import REPO
from labkit.store.recorded import recorded as open_set

ODD_NAMES = ("../../x", "/tmp/labkit-x", "a\0b", "\x1b[31m", "x" * 300, "a/" * 3000 + "b")
ODD_TEXTS = ('"', "\0", "\x1b[31m", "é".encode("latin-1").decode(errors="surrogateescape"), ",,,,", "~nouser/x",
             "x" * 200_000, "\n\n", "../", "/")


def captions(folder):
    os.environ["LABKIT_CACHE"] = str(folder / "cache")
    pictures = write_territory(folder) / "train"
    texts = {path.name: path.with_suffix(".txt").read_text() for path in sorted(pictures.glob("*.png"))}

    def case(draw):
        for file in (pictures / "metadata.jsonl", pictures / "metadata.csv"):
            file.unlink(missing_ok=True)
        if draw.random() < 0.5:
            lines = [json.dumps({"file_name": name, "text": text}).encode() for name, text in texts.items()]
            at = draw.randrange(len(lines))
            lines[at] = json_damaged(json.loads(lines[at]), draw)
            (pictures / "metadata.jsonl").write_bytes(b"\n".join(lines))
        else:
            table = "file_name,text\n" + "".join(f'{name},"{text}"\n' for name, text in texts.items())
            odd = draw.choice(ODD_TEXTS)
            at = draw.randrange(len(table))
            (pictures / "metadata.csv").write_bytes((table[:at] + odd + table[at:]).encode(errors="surrogateescape"))
        return load_folder(pictures).fingerprint

    return case


def pictures(folder):
    os.environ["LABKIT_CACHE"] = str(folder / "cache")
    picture = Image.fromarray(np.arange(48 * 48 * 3, dtype=np.uint8).reshape(48, 48, 3))
    wholes = {}
    for suffix, kind in ((".png", "PNG"), (".jpg", "JPEG"), (".webp", "WEBP"), (".bmp", "BMP"), (".tif", "TIFF")):
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        wholes[suffix] = buffer.getvalue()
    (folder / "one.txt").write_text("a room")

    def case(draw):
        suffix = draw.choice(list(wholes))
        file = folder / f"one{suffix}"
        data = bytearray(wholes[suffix])
        if draw.random() < 0.7:
            data[draw.randrange(min(200, len(data)))] = draw.randrange(256)
        else:
            data = bytes_damaged(bytes(data), draw)
        file.write_bytes(data)
        try:
            load_folder(folder)
            return load_picture(file, 32)
        finally:
            file.unlink()

    return case


def memos(folder):
    os.environ["LABKIT_CACHE"] = str(folder)
    (folder / "file").write_text("x")
    right = sha256(folder / "file")
    with Memo("sha256", sha256) as of:
        of(folder / "file")
    [memo] = folder.glob("memo-*")
    known = json.loads(memo.read_text())

    def case(draw):
        memo.write_bytes(json_damaged(known, draw))
        with Memo("sha256", sha256) as of:
            remembered = of(folder / "file")
        assert isinstance(remembered, str) and len(remembered) == len(right), "a memo gave what is no hash"

    return case


def recorded(folder):
    source = REPO / "data" / "runs" / "bf16_weights.zip"
    whole = source.read_bytes()
    with zipfile.ZipFile(source) as packed:
        files = {name: packed.read(name) for name in packed.namelist()[:6]}
    (folder / "runs").mkdir()
    os.environ |= {"LABKIT_DATA": str(folder), "LABKIT_CACHE": str(folder / "cache")}

    def case(draw):
        kind = draw.choice(("bytes", "bytes", "names", "config", "journal", "large"))
        if kind == "bytes":
            (folder / "runs" / "some.zip").write_bytes(bytes_damaged(whole, draw))
        else:
            inside = dict(files)
            name = draw.choice(list(inside))
            if kind == "names":
                odd = draw.choice((*ODD_NAMES, name + "/x", "CON", ""))
                inside[odd] = inside.pop(name)
            elif kind == "large":
                inside[name] = bytes(60_000_000)
            else:
                ending = "config.json" if kind == "config" else "events.jsonl"
                name = draw.choice([name for name in inside if name.endswith(ending)])
                lines = [inside[name]] if kind == "config" else inside[name].splitlines()
                at = draw.randrange(len(lines))
                lines[at] = json_damaged(json.loads(lines[at]), draw)
                inside[name] = b"\n".join(lines) + b"\n"
            with zipfile.ZipFile(folder / "runs" / "some.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
                for name, data in inside.items():
                    packed.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
        try:
            return open_set("some")
        finally:
            shutil.rmtree(folder / "cache", ignore_errors=True)

    return case


def notebook_files(folder):
    error = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": []}
    cells = [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "student = ''\nseed = 0",
              "execution_count": 1, "outputs": [error]},
             {"cell_type": "markdown", "metadata": {}, "source": ["some ", "words"]},
             {"cell_type": "raw", "metadata": {}, "source": "as it is"}]
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"labkit": {"seconds": {"cpu": 3}}}, "cells": cells}

    def case(draw):
        file = folder / "00_own.ipynb"
        file.write_bytes(json_damaged(whole, draw))
        chapter.given([file], []), chapter.published_seconds(file), notebooks.failure(notebooks.read(file))
        return forms.for_student(notebooks.read(file), file.stem)

    return case
