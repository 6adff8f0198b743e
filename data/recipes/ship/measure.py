"""Measure the base and its reader, keep the numbers in log/measured.json and write the tables of data/README.md.

In the folder data:

    python -m recipes.ship.measure              measure what ships, then the run of data/thorough.yaml (minutes)
    python -m recipes.ship.measure --untouched  measure what ships; keep what was measured of the run on this base
    python -m recipes.ship.measure --tables     only write the tables again
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from recipes.ship.float32 import compute_in_float32
from recipes.ship.samples import fresh_captions, sheet
from recipes.ship.tables import write_tables

DATA = Path(__file__).parents[2]
SHEETS = DATA / "sheets"
MEASURED = Path(__file__).parent / "log" / "measured.json"
PAIRS = Path(__file__).parent / "pairs.json"
WORLDS = ("ordinary", "liminal", "near")
GUIDANCE, GUIDANCE_AFTER = 3.0, 2.0  # after a long run 3 pushes too far: LOG, "Guidance after a long run"
GENERATED = 200
COLOURS = ("wall_color", "main_color", "second_color")


def pictures_of(base, world):
    """(pixels uint8 (n, 128, 128, 3), captions, attributes) of the shipped held-out pictures of a world."""
    from labkit.datasets.folders import load_folder, load_picture
    folder = load_folder(DATA / "territories" / world / "validation")
    pixels = np.stack([load_picture(path, base.resolution) for path in folder.paths])
    return pixels, folder.captions, folder.attributes


def reconstructed(base, pixels):
    """What the autoencoder makes of pictures."""
    return base.decode(base.encode_pictures(pixels)[0])


def decibels(first, second):
    """Mean over pictures of the peak signal-to-noise ratio."""
    error = ((first.astype(np.float32) - second.astype(np.float32)) / 255) ** 2
    return float(np.mean(-10 * np.log10(error.mean((1, 2, 3)))))


def share(right):
    """[share, low, high] of trials that went right, by Wilson's interval of 95 %."""
    n, p, z = len(right), float(np.mean(right)), 1.96
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [p, float((middle - half) / (1 + z * z / n)), float((middle + half) / (1 + z * z / n))]


def read_right(reader, pixels, attributes):
    """Shares of right first answers, and of pictures accepted for their own kind."""
    reading = reader.read(pixels)
    right = {"kind": share([k == a["kind"] for k, a in zip(reading.kinds, attributes, strict=True)])}
    for name in COLOURS:
        right[name] = share([r[name] == a[name] for r, a in zip(reading.attributes, attributes, strict=True)
                             if a[name] != "none"])
    right["accepted"] = share(reader.accepted(pixels, [a["kind"] for a in attributes]))
    return right


def confusion(reader, pixels, attributes):
    """How often each kind (rows) is read as each answer (columns): {kind: {answer: count}}."""
    counts = {}
    for answer, a in zip(reader.read(pixels).kinds, attributes, strict=True):
        row = counts.setdefault(a["kind"], {})
        row[answer] = row.get(answer, 0) + 1
    return counts


def unit_features(reader, pixels):
    """Features of unit length, (N, F): their distances are those of directions."""
    features = reader.read(pixels).features
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def neighbours(features, attributes):
    """How near the nearest other picture of the same kind is, against the mean distance of pictures of that kind."""
    found = {}
    for kind in sorted({a["kind"] for a in attributes}):
        some = features[[a["kind"] == kind for a in attributes]]
        distances = np.linalg.norm(some[:, None] - some[None], axis=-1)
        mean = distances[~np.eye(len(some), dtype=bool)].mean()
        np.fill_diagonal(distances, np.inf)
        found[kind] = {"nearest": float(np.median(distances.min(1)) / mean), "least": float(distances.min() / mean)}
    return found


def pairs_agree(features):
    """How well distances follow the pairs of pairs.json, which a person called alike or unlike.

    order: the share of (alike, unlike) couples of pairs whose distances are in that order; alike, unlike: the least
    and the largest distance.
    """
    labelled = json.loads(PAIRS.read_text())
    far = {how: [float(np.linalg.norm(features[world][i] - features[world2][j]))
                 for world, i, world2, j in labelled[how]] for how in ("alike", "unlike")}
    return {"order": float(np.mean([a < u for a in far["alike"] for u in far["unlike"]])),
            "alike": [min(far["alike"]), max(far["alike"])], "unlike": [min(far["unlike"]), max(far["unlike"])]}


def fixed_noise_losses(base):
    """Fixed-noise loss of the untouched base on held-out pictures of each world, 128 each, 8 timesteps."""
    from labkit.datasets.folders import territory
    from labkit.engine.cache import encode
    from labkit.engine.validation import ValidationSet
    caches = {world: encode(base, territory(world)) for world in WORLDS if world != "ordinary"}
    sets = {"ordinary": caches["liminal"].ordinary} | {world: cache.validation for world, cache in caches.items()}
    return {world: float(ValidationSet(sets[world].take(128), 128, 8).losses(base.denoiser).mean())
            for world in WORLDS}


def generate(base, captions, guidance_scale=GUIDANCE, **options):
    """Draw a picture of every caption, its seed the caption's place in the list."""
    return base.generate(captions, range(len(captions)), guidance_scale=guidance_scale, **options)


def measure(base, reader):
    """All figures of the untouched base, and the sheets."""
    worlds = {world: pictures_of(base, world) for world in WORLDS}
    back = {world: reconstructed(base, pixels) for world, (pixels, _, _) in worlds.items()}
    captions, attributes = fresh_captions(GENERATED)
    drawn = generate(base, captions)
    liminal = generate(base, worlds["liminal"][1][:GENERATED])
    features = {world: unit_features(reader, pixels) for world, (pixels, _, _) in worlds.items()}
    halves = [half for world in worlds for half in (worlds[world][0][:10], back[world][:10])]
    save_sheet(np.concatenate(halves), "autoencoder", 10)
    save_sheet(drawn[:40], "ordinary", 10)
    save_sheet(liminal[:20], "liminal-untouched", 10)
    return {
        "base": base.fingerprint,
        "decibels": {world: decibels(worlds[world][0], back[world]) for world in WORLDS},
        "loss": fixed_noise_losses(base),
        "reader": {f"{world} {how}": read_right(reader, pixels, worlds[world][2])
                   for world in ("ordinary", "liminal")
                   for how, pixels in (("renders", worlds[world][0]), ("autoencoded", back[world]))}
        | {"ordinary generated": read_right(reader, drawn, attributes)},
        "confusion": {world: confusion(reader, back[world], worlds[world][2]) for world in ("ordinary", "liminal")},
        "neighbours": {world: neighbours(features[world], worlds[world][2]) for world in ("ordinary", "liminal")},
        "pairs": pairs_agree(features),
        "liminal accepted": share(reader.accepted(liminal, [a["kind"] for a in worlds["liminal"][2][:GENERATED]])),
        "bytes": {part: sum(f.stat().st_size for f in (DATA / part).rglob("*") if f.is_file())
                  for part in ("base", "reader")},
    }


def thorough_run(base):
    """Train the run of data/thorough.yaml; -> its configuration, adapter and losses {name: means over time}."""
    from labkit.datasets.folders import territory
    from labkit.design.config import load_design
    from labkit.engine.cache import encode
    from labkit.engine.monitor import Monitor
    from labkit.engine.train import train
    from labkit.store.events import Checkpoint, Validation
    liminal = territory("liminal")
    config = load_design(DATA / "thorough.yaml").resolved(len(liminal.train))
    monitor = Monitor(validate_at=(0, *(config.max_train_steps * i // 5 for i in range(1, 6))))
    losses, adapter = {}, None
    for event in train(base, encode(base, liminal), [config], monitor=monitor):
        if isinstance(event, Validation):
            losses.setdefault(event.name, []).append(float(event.losses.mean()))
        elif isinstance(event, Checkpoint):
            adapter = event.adapter
    return config, adapter, losses


def after(base, reader, config, adapter, losses):
    """Draw what the thorough run was asked for, and what it was not; -> its figures."""
    from labkit.datasets.folders import load_picture, territory
    from labkit.engine.adapters import LoRAStack
    from labkit.experiments.memorization import memorization, thumbnails
    liminal, stack = territory("liminal"), LoRAStack(base.unet, [config])
    stack.load(0, adapter)
    captions, attributes = fresh_captions(GENERATED)
    held_out = liminal.validation.take(GENERATED)
    with stack.attached():
        drawn, harder = (generate(base, held_out.captions, guidance, adapters=stack)[0]
                         for guidance in (GUIDANCE_AFTER, GUIDANCE))
        ordinary = generate(base, captions, GUIDANCE_AFTER, adapters=stack)[0]
    save_sheet(drawn[:40], "liminal-thorough-run", 8)         # the eight kinds in columns
    # Generated pictures have been through the autoencoder, so those beside them go through it as well.
    seen, fresh = (reconstructed(base, np.stack([load_picture(path, base.resolution)
                                                 for path in part.paths]))
                   for part in (liminal.train.take(GENERATED), held_out))
    kinds = [a["kind"] for a in held_out.attributes]
    return {"steps": config.max_train_steps, "learning_rate": config.learning_rate, "losses": losses,
            "copies": memorization(drawn, seen, fresh, thumbnails).sentence,
            "accepted": share(reader.accepted(drawn, kinds)), "accepted at 3": share(reader.accepted(harder, kinds)),
            "confusion": confusion(reader, drawn, held_out.attributes),
            "ordinary": read_right(reader, ordinary, attributes)}


def save_sheet(pictures, name, columns):
    """Write pictures as one sheet, data/sheets/NAME.webp."""
    SHEETS.mkdir(exist_ok=True)
    sheet(pictures, columns).save(SHEETS / f"{name}.webp", quality=90, method=6)


def main():
    """Measure what ships, or only write its tables again."""
    compute_in_float32()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="only write the tables again")
    parser.add_argument("--untouched", action="store_true",
                        help="do not train the thorough run again: it sees neither ordinary nor near pictures")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    if not a.tables:
        from labkit.engine.attribute_reader import load_reader
        from labkit.engine.base import load_base
        base, reader = load_base(str(DATA / "base")), load_reader(DATA / "reader")
        torch.set_num_threads(a.threads)
        before = json.loads(MEASURED.read_text()) if a.untouched else {}
        if a.untouched and before["base"] != base.fingerprint:
            sys.exit("measure: the run was measured on another base; leave --untouched out.")
        measured = measure(base, reader)
        measured["after"] = before["after"] if a.untouched else after(base, reader, *thorough_run(base))
        MEASURED.write_text(json.dumps(measured, indent=1) + "\n")
    write_tables(json.loads(MEASURED.read_text()))


if __name__ == "__main__":
    main()
