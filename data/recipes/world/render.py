"""Render a range of the world into a folder, resumable at any picture.

In the folder data:

    python -m recipes.world.render ordinary --start 0 --count 2500 --size 128 --out DIR --processes 2

A picture that exists and is whole is never made again; a half-written one is. The folder gets a
metadata.jsonl (file_name, text, attributes) of the pictures that are there, renewed on the way.
"""

import argparse
import json
import multiprocessing
import os
import sys
from pathlib import Path

from recipes.world import liminal, ordinary, restyle
from recipes.world.captions import caption
from recipes.world.draws import KINDS

WORLDS = {"ordinary": ordinary, "liminal": liminal, "near": restyle}
RENEW_EVERY = 50                           # pictures between two renewals of metadata.jsonl


def file_name(index, suffix="png"):
    """The file name of the picture at an index."""
    return f"{index:06d}.{suffix}"


def record(world, index, suffix="png"):
    """The metadata row of an index: file name, caption, attributes as flat columns."""
    attributes = WORLDS[world].attributes(index)
    return {"file_name": file_name(index, suffix), "text": caption(attributes, index), "index": index, **attributes}


def is_whole(path, size):
    """Whether a picture exists, has the size (pixels) and can be read to its last byte."""
    from PIL import Image
    try:
        with Image.open(path) as image:
            image.load()
            return image.size == (size, size)
    except (OSError, SyntaxError):         # a torn PNG raises SyntaxError
        return False


def write_aside(path, write):
    """Let write(temporary path) make a file, then put it in place at once."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_metadata(folder, rows):
    """Write the rows as a folder's metadata.jsonl, whole or not at all."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_aside(Path(folder) / "metadata.jsonl", lambda path: path.write_text(text, encoding="utf-8"))


def load_metadata(folder):
    """The rows of a folder's metadata.jsonl, in order of index."""
    path = Path(folder) / "metadata.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: render the folder with recipes.world.render first")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number} is not JSON ({error}): "
                             "delete the file and render again") from error
    return sorted(rows, key=lambda row: row["index"])


def listed(folder, world):
    """The indices of a folder's metadata whose pictures are there."""
    if not (folder / "metadata.jsonl").is_file():
        return set()
    rows = [row for row in load_metadata(folder) if (folder / row["file_name"]).is_file()]
    if any(row["kind"] not in KINDS[world] for row in rows):
        raise ValueError(f"{folder} holds pictures of another world than '{world}': choose another --out")
    return {row["index"] for row in rows}


def make(job):
    """Render one picture of (world, index, size, samples, quality, path) and return its index."""
    world, index, size, samples, quality, path = job
    from PIL import Image

    from recipes.world.picture import picture
    image = Image.fromarray(picture(WORLDS[world].build(index), size, samples, seed=2 * index))
    how = {"format": "PNG"} if quality is None else {"format": "WEBP", "quality": quality, "method": 6}
    write_aside(path, lambda aside: image.save(aside, **how))
    return index


def render(world, indices, size, out, processes=1, samples=16, quality=None):
    """Render the indices of a world that are not there yet; quality None is PNG, else WebP.

    One render at a time works on a folder; other indices that its metadata lists stay listed.
    """
    from tqdm import tqdm
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for aside in out.glob(".*.part"):      # left by a killed process
        aside.unlink()
    suffix = "png" if quality is None else "webp"
    path_of = {i: out / file_name(i, suffix) for i in indices}
    others = listed(out, world) - set(path_of)
    here = {i for i, path in path_of.items() if is_whole(path, size)}
    jobs = [(world, i, size, samples, quality, path) for i, path in path_of.items() if i not in here]

    def renew():
        write_metadata(out, [record(world, i, suffix) for i in sorted(here | others)])

    renew()
    if not jobs:
        return
    with multiprocessing.get_context("spawn").Pool(min(processes, len(jobs))) as pool:
        for done in tqdm(pool.imap_unordered(make, jobs), total=len(path_of), initial=len(here),
                         desc=f"{world} {size}x{size}", unit="picture"):
            here.add(done)
            if len(here) % RENEW_EVERY == 0:
                renew()
    renew()


def main():
    """Render a range of pictures of one world."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", choices=KINDS)
    parser.add_argument("--start", type=int, default=0, help="first index; ranges are given out in draws.py")
    parser.add_argument("--count", type=int, default=2500, help="number of pictures")
    parser.add_argument("--size", type=int, default=128, help="edge in pixels")
    parser.add_argument("--out", required=True, help="folder of the pictures and their metadata.jsonl")
    parser.add_argument("--processes", type=int, default=1, help="one per core: each works on one thread")
    parser.add_argument("--samples", type=int, default=16, help="paths per pixel before denoising")
    parser.add_argument("--quality", type=int, help="WebP quality 1-100; without it pictures are lossless PNG")
    a = parser.parse_args()
    try:
        render(a.world, range(a.start, a.start + a.count), a.size, a.out, a.processes, a.samples, a.quality)
    except (RuntimeError, OSError, ValueError) as error:
        sys.exit(f"render: {error}")


if __name__ == "__main__":
    main()
