"""Run seeded cases of one format in a process of their own, each held to a time and a size; print what came of them as JSON.

`python tests/slow/doors.py FORMAT CASES FOLDER`: FOLDER is empty and its own.
"""

import importlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import zipfile
from collections import Counter
from pathlib import Path
from unittest import mock

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])]

import mutations
from mutations import bytes_damaged, json_damaged, lines_damaged, value_damaged

from labkit import settings as paths
from labkit.cli import parser
from labkit.design import config, design_file
from labkit.errors import LabError

SEED = 0
CPU_S, WAITING_S = 10, 120                                    # at most, a case; waiting is bounded too, widely, since machines are busy
MEGABYTES, OF_PICTURES = 300, 900                             # at most, a case: a picture may have 89 million pixels of 4 bytes, and is converted
MOST_CHARACTERS = 2_000                                       # of a sentence; paths in it may be long
CONTROL = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")


def design_yaml(folder):
    text = design_file.design_text(config.RunConfig(learning_rate=1e-4, rank=16, lr_edits=((100, 3e-5),)).resolved(38), {"rank": "far"}, {"scaling": 1.0})

    def case(draw):
        (folder / "design.yaml").write_bytes(lines_damaged(text, draw))
        return config.load_design(folder / "design.yaml")

    return case


def design_json(folder):
    values = config.RunConfig(learning_rate=1e-4).resolved(38).to_dict() | {"reasons": {"rank": "far"}, "expected": {"scaling": 1.0}}

    def case(draw):
        (folder / "design.json").write_bytes(json_damaged(values, draw))
        return config.load_design(folder / "design.json")

    return case


def share(folder):
    from urllib.parse import quote

    whole = config.RunConfig(learning_rate=1e-4, rank=16, data="own/pictures", lr_edits=((100, 3e-5),))

    def case(draw):
        if draw.random() < 0.3:                               # what was altered does not fit the checksum
            return config.load_design(config.SHARE_PREFIX + bytes_damaged(whole.share()[5:].encode(), draw)[:100_000].decode(errors="surrogateescape"))
        value = value_damaged({"rank": "16", "data": "own", "seed": "3", "lr_edits": "100:3e-5"}, draw)
        pairs = {str(name): str(item) for name, item in (value if isinstance(value, dict) else {draw.choice(("rank", "alpha", "seed")): value}).items()}
        pairs = {name.encode(errors="replace").decode(): value.encode(errors="replace").decode() for name, value in pairs.items()}
        words = [quote(word, safe="").replace("~", "%7E") for pair in pairs.items() for word in pair]
        return config.load_design(config.SHARE_PREFIX + "~".join([*words, config._checksum(pairs)]))

    return case


def safetensors_damaged(data, draw):
    """Damage the length, the header or the bytes of a .safetensors file."""
    length = int.from_bytes(data[:8], "little")
    kind = draw.choice(("length", "header", "header", "header", "bytes"))
    if kind == "length":
        return draw.choice((0, 1, length - 1, length + 1, len(data), 5 * 10**9, 2**63, 2**64 - 1)).to_bytes(8, "little") + data[8:]
    if kind == "bytes":
        return bytes_damaged(data, draw)
    header = json_damaged(json.loads(data[8 : 8 + length]), draw)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def adapters(folder):
    import numpy as np

    from labkit.files import tensor_files
    from labkit.store import adapter_files

    arrays = {f"block.{i}.to_q.lora_{side}.weight": np.ones(shape, np.float32) for i in range(3) for side, shape in (("A", (4, 6)), ("B", (6, 4)))}
    whole = adapter_files.adapter_bytes(arrays, config.RunConfig(rank=4))

    told = {name: value for name, value in config.RunConfig(rank=4).to_dict().items() if name in adapter_files.FIELDS} | {"alpha": 4.0}

    def case(draw):
        if draw.random() < 0.5:
            data = safetensors_damaged(whole, draw)
        else:                                                 # sealed with its checksum, by somebody who means something else by it
            data = tensor_files.sealed(arrays, {adapter_files.OWN_KEY: json_damaged(told, draw).decode(errors="replace")})
        (folder / "adapter.safetensors").write_bytes(data)
        return adapter_files.load_adapter(folder / "adapter.safetensors")

    return case


def base_weights(folder):
    import numpy as np
    from safetensors.numpy import save

    from labkit.engine.base_files import CLASSES, find_base

    configs = {file: {} for file in ("unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json")}
    for file, values in (configs | {"model_index.json": {part: ["", name] for part, name in CLASSES.items()}}).items():
        (folder / "base" / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / "base" / file).write_text(json.dumps(values))
    names = ("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.x", "cond_stage_model.x", "model.diffusion_model.a.attn2.to_k.weight")
    whole = save({name: np.ones((4, 2), np.float32) for name in names})

    def case(draw):
        (folder / "base.safetensors").write_bytes(safetensors_damaged(whole, draw))
        return find_base(str(folder / "base.safetensors"))

    return case


def base_configs(folder):
    from small_bases import write_folder

    from labkit.engine.base import load_base

    whole = write_folder(folder / "whole")
    files = ("model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json")

    def case(draw):
        file = draw.choice(files)
        before = (whole / file).read_bytes()
        try:
            (whole / file).write_bytes(json_damaged(json.loads(before), draw))
            base = load_base(str(whole), device="cpu")
            return base.generate(["a"], [0], num_inference_steps=2)
        finally:
            (whole / file).write_bytes(before)

    return case


def recorded(folder):
    from labkit.store.recorded import recorded as open_set

    source = paths.REPO / "data" / "runs" / "bf16_weights.zip"
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
                inside[draw.choice(("../../x", "/tmp/labkit-x", "a\0b", "\x1b[31m", "x" * 300, "a/" * 3000 + "b", name + "/x", "CON", ""))] = inside.pop(name)
            elif kind == "large":
                inside[name] = bytes(60_000_000)
            else:
                name = draw.choice([name for name in inside if name.endswith("config.json" if kind == "config" else "events.jsonl")])
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


def captions(folder):
    from small_pictures import write_territory

    from labkit.datasets.folders import load_folder

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
            odd = draw.choice(('"', "\0", "\x1b[31m", "é".encode("latin-1").decode(errors="surrogateescape"), ",,,,", "~nouser/x", "x" * 200_000, "\n\n", "../", "/"))
            at = draw.randrange(len(table))
            (pictures / "metadata.csv").write_bytes((table[:at] + odd + table[at:]).encode(errors="surrogateescape"))
        return load_folder(pictures).fingerprint

    return case


def pictures(folder):
    import io

    import numpy as np
    from PIL import Image

    from labkit.datasets.folders import load_folder, load_picture

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
    from labkit.files.content import Memo, sha256

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
            found = of(folder / "file")
        assert isinstance(found, str) and len(found) == len(right), "a memo gave what is no hash"

    return case


def encoded(folder):
    import torch

    from labkit.engine import cache

    tensors = {"mean": torch.ones(2, 4, 4, 4).half(), "std": torch.ones(2, 4, 4, 4).half()}
    cache._write(folder / "whole.safetensors", tensors, "key")
    whole = (folder / "whole.safetensors").read_bytes()

    def case(draw):
        (folder / "some.safetensors").write_bytes(safetensors_damaged(whole, draw))
        found = cache.read(folder / "some.safetensors", "key")
        assert found is None or all(torch.equal(found[name], tensors[name]) for name in tensors), "other numbers were read"

    return case


def notebook_files(folder):
    from labkit.cli import chapter, student
    from labkit.lessons import notebooks

    cells = [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "student = ''\nseed = 0", "execution_count": 1,
              "outputs": [{"output_type": "error", "ename": "E", "evalue": "v", "traceback": []}]},
             {"cell_type": "markdown", "metadata": {}, "source": ["some ", "words"]}]
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"labkit": {"seconds": {"cpu": 3}}}, "cells": cells}

    def case(draw):
        file = folder / "00_own.ipynb"
        file.write_bytes(json_damaged(whole, draw))
        chapter.given([file], []), chapter.published_seconds(file), notebooks.failure(notebooks.read(file))
        return student.copy(notebooks.read(file), file.stem)

    return case


def settings(folder):
    odd = ["", " ", "0", "-1", "nan", "inf", "1e999", "9" * 400, "9" * 5000, "²", "٣", "~nouser/x", "x" * 5000, "/dev/null", "/dev/null/x", "\x1b[31m", "a\nb", os.fsdecode(b"\xff"), "1;2",
           str(folder)]
    doors = {"LABKIT_THREADS": lambda: importlib.import_module("labkit.machine").quota(), "LABKIT_TIMEOUT": lambda: importlib.import_module("labkit.cli.chapter").timeout(),
             "LABKIT_STORE": lambda: quietly("runs"), "LABKIT_DATA": lambda: importlib.import_module("labkit.datasets.folders").territory("liminal"), "LABKIT_CACHE": lambda: remembered(folder),
             "LABKIT_FRONTEND": lambda: importlib.import_module("labkit.view.frontend").frontend(), "XDG_CACHE_HOME": lambda: remembered(folder)}
    arguments = (lambda text: quietly("runs", "--store", text), lambda text: quietly("export", text, "--to", "x.safetensors"), lambda text: quietly("export", "a", "--to", text),
                 lambda text: quietly("diagnose", text), lambda text: config.load_design(text), lambda text: importlib.import_module("labkit.datasets.folders").territory(text),
                 lambda text: importlib.import_module("labkit.engine.base_files").find_base(text) if "/" in text and len(text) > 3 else None,
                 lambda text: config.load_design(None, **dict([draw_field(text)])), lambda text: quietly("checkup", text))

    def draw_field(text):
        return "rank", text

    def case(draw):
        text = draw.choice(odd)
        if draw.random() < 0.5:
            name = draw.choice(list(doors))
            with mock.patch.dict(os.environ, {name: text}):
                return doors[name]()
        return draw.choice(arguments)(text.replace("\0", ""))

    return case


def remembered(folder):
    from labkit.files.content import Memo, sha256

    (folder / "file").write_text("x")
    with Memo("sha256", sha256) as of:
        return of(folder / "file")


def quietly(*arguments):
    """Run a verb in this process, its output thrown away as a terminal would take it: as UTF-8."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, mock.patch("sys.stdout", nowhere), mock.patch("sys.stderr", nowhere):
        code = parser.run(parser.parse(list(arguments)))
    assert code in (0, 1, 2)


FORMATS = {door.__name__: door for door in (design_yaml, design_json, share, adapters, base_weights, base_configs, recorded, captions, pictures, memos, encoded, notebook_files, settings)}


class TooLong(BaseException):
    """Ends a case that took too long; no `except Exception` keeps it."""


def too_long(*_):
    raise TooLong


def outcome(case, draw, megabytes) -> str:
    """Return "works", "refused" or what was wrong."""
    hold_memory(megabytes)
    signal.setitimer(signal.ITIMER_PROF, CPU_S), signal.setitimer(signal.ITIMER_REAL, WAITING_S)
    try:
        case(draw)
        return "works"
    except LabError as error:
        sentence = str(error)
        return "refused" if 10 < len(sentence) <= MOST_CHARACTERS and not CONTROL.search(sentence) else f"no clean sentence: {sentence[:80]!a} ({len(sentence)} characters)"
    except SystemExit as error:
        return "refused" if error.code == 2 else f"SystemExit {error.code}"
    except BaseException as error:
        place = error.__traceback__
        while place.tb_next:
            place = place.tb_next
        return f"{type(error).__name__}: {str(error)[:80]!a} at {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0), signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def hold_memory(megabytes):
    """Let this process take so many megabytes more than it has; only Linux tells what it has and counts what it maps."""
    if os.path.exists("/proc/self/status"):
        held = int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (held + (megabytes << 20), resource.RLIM_INFINITY))


def main(name, cases, folder):
    """Print {what came of it: how many cases}, with the number of the first case of each fault."""
    signal.signal(signal.SIGALRM, too_long), signal.signal(signal.SIGPROF, too_long)
    case, counts, first = FORMATS[name](Path(folder)), Counter(), {}
    for number in range(int(cases)):
        said = outcome(case, mutations.draw_for(name, SEED, number), OF_PICTURES if name == "pictures" else MEGABYTES)
        counts[said] += 1
        first.setdefault(said, number)
    print(json.dumps({"counts": counts, "first": first}))


if __name__ == "__main__":
    main(*sys.argv[1:])
