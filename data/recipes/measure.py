"""Measure the base and its reader, keep the numbers in log/measured.json and write the tables of data/README.md.

python data/recipes/measure.py             measure what ships (minutes)
python data/recipes/measure.py --after     also train the default liminal run and count what is accepted then
python data/recipes/measure.py --tables    only write the tables again
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parents[1]
sys.path.insert(0, str(DATA.parent))

from samples import fresh_captions, sheet

LOGS = Path(__file__).parent / "log"
MEASURED, README, SHEETS = LOGS / "measured.json", DATA / "README.md", DATA / "sheets"
STEPS, GUIDANCE = 16, 4.5
GENERATED = 100
COLOURS = ("wall_color", "main_color", "second_color")


def pictures_of(base, world):
    """(pixels uint8 (n, 128, 128, 3), captions, attributes) of the shipped held-out pictures of a world."""
    from labkit.data import load_folder, load_picture
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


def read_right(reader, pixels, attributes):
    """Shares of right first answers, and of pictures accepted for their own kind."""
    reading = reader.read(pixels)
    right = {"kind": float(np.mean([k == a["kind"] for k, a in zip(reading.kinds, attributes)]))}
    for name in COLOURS:
        pairs = [(r[name], a[name]) for r, a in zip(reading.attributes, attributes) if a.get(name, "none") != "none"]
        right[name] = float(np.mean([said == true for said, true in pairs]))
    right["accepted"] = float(np.mean(reader.accepted(pixels, [a["kind"] for a in attributes])))
    return right


def fixed_noise_losses(base):
    """Fixed-noise loss of the untouched base on held-out ordinary and liminal pictures, 128 each, 8 timesteps."""
    from labkit.cache import encode
    from labkit.data import territory
    from labkit.validate import ValidationSet
    cache = encode(base, territory("liminal"))
    return {name: float(ValidationSet(getattr(cache, part).take(128), 128, 8).losses(base.denoiser).mean())
            for name, part in (("ordinary", "ordinary"), ("liminal", "validation"))}


def generate(base, captions):
    return base.generate(captions, range(len(captions)), num_inference_steps=STEPS, guidance_scale=GUIDANCE)


def measure(base, reader):
    """All figures of the untouched base, and the sheets."""
    worlds = {world: pictures_of(base, world) for world in ("ordinary", "liminal")}
    back = {world: reconstructed(base, pixels) for world, (pixels, _, _) in worlds.items()}
    captions, attributes = fresh_captions(GENERATED)
    drawn = generate(base, captions)
    _, liminal_captions, liminal_attributes = worlds["liminal"]
    untouched = generate(base, liminal_captions[:GENERATED])
    accepted = reader.accepted(untouched, [a["kind"] for a in liminal_attributes[:GENERATED]])
    save_sheet(np.concatenate([half for world in worlds for half in (worlds[world][0][:10], back[world][:10])]),
               "autoencoder", 10)
    save_sheet(drawn[:40], "ordinary", 10)
    save_sheet(untouched[:20], "liminal-untouched", 10)
    return {
        "base": base.fingerprint,
        "decibels": {world: decibels(worlds[world][0], back[world]) for world in worlds},
        "loss": fixed_noise_losses(base),
        "reader": {f"{world} {how}": read_right(reader, pixels, worlds[world][2])
                   for world in worlds for how, pixels in (("renders", worlds[world][0]), ("autoencoded", back[world]))}
        | {"ordinary generated": read_right(reader, drawn, attributes)},
        "liminal refused": float(1 - accepted.mean()),
        "bytes": {part: sum(f.stat().st_size for f in (DATA / part).rglob("*") if f.is_file()) for part in ("base", "reader")},
    }


def after_default_run(base, reader):
    """Train the default liminal run; -> its figures. The captions are of held-out pictures 128-227."""
    from labkit.cache import encode
    from labkit.config import RunConfig
    from labkit.data import territory
    from labkit.events import Sample, Validation
    from labkit.monitor import Monitor
    from labkit.train import train
    liminal, config = territory("liminal"), RunConfig()
    captions = tuple(liminal.validation.captions[128:128 + GENERATED])
    kinds = [a["kind"] for a in liminal.validation.attributes[128:128 + GENERATED]]
    steps = config.resolved(len(liminal.train)).max_train_steps
    monitor = Monitor(validate_at=(0, steps), sample_at=(steps,), prompts=captions, sample_seeds=(0,),
                      num_inference_steps=STEPS, guidance_scale=GUIDANCE)
    losses, drawn = {}, None
    for event in train(base, encode(base, liminal), [config], monitor=monitor):
        if isinstance(event, Validation):
            losses.setdefault(event.name, []).append(float(event.losses.mean()))
        elif isinstance(event, Sample):
            drawn = event.images
    save_sheet(drawn[:20], "liminal-default-run", 10)
    return {"base": base.fingerprint, "steps": steps, "learning_rate": config.learning_rate, "losses": losses,
            "accepted": float(reader.accepted(drawn, kinds).mean())}


def save_sheet(pictures, name, columns):
    SHEETS.mkdir(exist_ok=True)
    sheet(pictures, columns).save(SHEETS / f"{name}.webp", quality=90, method=6)


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def training_table():
    """Steps, minutes and the course of every training, from its log."""
    watched = {"autoencoder": "dB_ordinary", "polish": "dB_ordinary", "denoiser": "held_out", "reader": "kind"}
    rows = []
    for name, figure in watched.items():
        if (LOGS / f"{name}.jsonl").exists():
            lines = [json.loads(line) for line in (LOGS / f"{name}.jsonl").read_text().splitlines()]
            course = [lines[round(i * (len(lines) - 1) / 5)][figure] for i in range(6)]
            rows.append([name, lines[-1]["step"], f"{lines[-1]['seconds'] / 60:.0f}", figure.replace("_", " "),
                         " ".join(f"{x:.3g}" for x in course)])
    return table(["training", "steps", "minutes", "figure", "its course, at six even times"], rows)


def percent(share):
    return f"{100 * share:.0f} %"


def tables(m):
    """Text of every part of data/README.md that holds measured numbers."""
    rows = [[where, *(percent(right[name]) for name in ("kind", *COLOURS, "accepted"))] for where, right in m["reader"].items()]
    parts = {
        "training": training_table(),
        "sizes": table(["part", "MB"], [[name, f"{size / 1e6:.1f}"] for name, size in m["bytes"].items()]),
        "reconstruction": table(["held-out pictures", "autoencoder, dB PSNR", "fixed-noise loss of the untouched base"],
                                [[w, f"{m['decibels'][w]:.1f}", f"{m['loss'][w]:.3f}"] for w in ("ordinary", "liminal")]),
        "reader": table(["pictures", "kind", "wall colour", "main colour", "second colour", "accepted"], rows),
        "adherence": f"Of pictures drawn from liminal captions by the untouched base, {percent(m['liminal refused'])} are refused.\n",
    }
    if "after" in m:
        after = m["after"]
        parts["after"] = (f"After the default run ({after['steps']} updates at {after['learning_rate']:g}) {percent(after['accepted'])} "
                          f"are accepted; fixed-noise loss {after['losses']['validation'][0]:.3f} -> "
                          f"{after['losses']['validation'][-1]:.3f}.\n")
    return parts


def filled(text, parts):
    """A README with every part between `<!-- name -->` and `<!-- /name -->` written anew."""
    for name, part in parts.items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m: m[1] + part + m[2], text, flags=re.DOTALL)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--after", action="store_true")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    if not a.tables:
        from labkit.base import load_base
        from labkit.reader import load_reader
        base, reader = load_base(str(DATA / "base")), load_reader(DATA / "reader")
        torch.set_num_threads(a.threads)
        if measured.get("base") != base.fingerprint or not a.after:
            measured = measure(base, reader)
        if a.after:
            measured["after"] = after_default_run(base, reader)
        MEASURED.write_text(json.dumps(measured, indent=1) + "\n")
    README.write_text(filled(README.read_text(encoding="utf-8"), tables(measured)), encoding="utf-8")


if __name__ == "__main__":
    main()
