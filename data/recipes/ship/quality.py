"""Measure how well bases draw ordinary places, against the pictures that their denoiser has seen.

In the folder data:

    python -m recipes.ship.quality --latents WORK/latents.safetensors WORK/base_before WORK/kept/*

Each further name is a base's folder or a checkpoint of `recipes.model.denoiser`, whose averages are measured as they
would ship. A line for each goes into log/quality.jsonl, where it takes the place of an earlier one of the same base,
and the table of data/README.md is written anew. One thread draws the pictures of a base in some minutes.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from recipes.model.denoiser import fixed_noise_loss
from recipes.model.export import export
from recipes.model.latents import read
from recipes.ship.measure import COLOURS, DATA, MEASURED, generate, share
from recipes.ship.samples import fresh_captions
from recipes.ship.tables import LOGS, write_tables

COUNT, STEPS, RESAMPLES = 1000, 8, 50  # pictures, sampling steps, bootstrap samples


def frechet(first, second):
    """Fréchet distance (squared) between the Gaussians of two sets of features, (N, F) and (M, F).

    Heusel et al. 2017, eq. 6, where the features are Inception's: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).
    The trace of the root is that of the symmetric (S1^(1/2) S2 S1^(1/2))^(1/2), so eigenvalues suffice.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    covariance, other = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    between = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()
    apart = np.square(first.mean(0) - second.mean(0)).sum()
    return float(apart + np.trace(covariance) + np.trace(other) - 2 * between)


def spread(first, second, seed=0):
    """Standard deviation of their Fréchet distance over bootstrap samples of the first set."""
    rng = np.random.default_rng(seed)
    samples = (first[rng.integers(0, len(first), len(first))] for _ in range(RESAMPLES))
    return float(np.std([frechet(sample, second) for sample in samples], ddof=1))


def real_features(base, reader, moments):
    """Reader's features of two sets of renders that went through the autoencoder, COUNT pictures each.

    moments: (mean, std) of latents that the denoiser is trained on; their first ones alternate between all kinds.
    """
    means = moments[0][:2 * COUNT]
    if len(means) < 2 * COUNT:
        raise SystemExit(f"The latents are of {len(means)} pictures: render {2 * COUNT} and encode them.")
    features = reader.read(base.decode(means)).features
    return features[:COUNT], features[COUNT:]


def quality(base, reader, held, real):
    """All figures of one base; `real` are the features of two sets of renders, `held` the latents held out."""
    captions, attributes = fresh_captions(COUNT)
    reading = reader.read(generate(base, captions, num_inference_steps=STEPS))
    right = {"kind": share([k == a["kind"] for k, a in zip(reading.kinds, attributes, strict=True)])}
    for name in COLOURS:
        right[name] = share([r[name] == a[name] for r, a in zip(reading.attributes, attributes, strict=True)
                             if a[name] != "none"])
    return {"base": base.fingerprint,
            "held_out": fixed_noise_loss(base.unet, base.text_encoder, base.noise_scheduler, held), **right,
            "distance": frechet(reading.features, real[0]), "spread": spread(reading.features, real[0]),
            "floor": frechet(real[1], real[0])}


def opened(source, vae):
    """Load a base's folder, or a checkpoint as it would ship; -> (base, pictures of its further training)."""
    from labkit.engine.base import load_base
    if not Path(source).is_file():
        return load_base(str(source), device="cpu"), 0
    with tempfile.TemporaryDirectory() as aside:
        state = export(vae, source, Path(aside) / "base")
        return load_base(str(Path(aside) / "base"), device="cpu"), state["pictures"]


def keep(line, path=LOGS / "quality.jsonl"):
    """Write a line among those of other bases, by the pictures seen."""
    lines = [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
    lines = [other for other in lines if other["base"] != line["base"]] + [line]
    path.write_text("".join(json.dumps(one) + "\n" for one in sorted(lines, key=lambda one: one["pictures"])))


def main():
    """Measure every base that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help="folders of bases, or checkpoints of the denoiser")
    parser.add_argument("--latents", required=True, help="what recipes.model.latents made of the renders")
    parser.add_argument("--vae", default=str(DATA / "base" / "vae"), help="folder of the autoencoder")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    from labkit.engine.attribute_reader import load_reader
    reader = load_reader(DATA / "reader")
    torch.set_num_threads(a.threads)
    real = None
    for source in a.sources:
        base, pictures = opened(source, a.vae)
        train, held = read(a.latents, base.vae, base.tokenizer)  # refuses those of another autoencoder
        real = real or real_features(base, reader, train[0])
        line = {"pictures": pictures, **quality(base, reader, held, real)}
        keep(line)
        print(source, json.dumps(line), flush=True)
    write_tables(json.loads(MEASURED.read_text()))


if __name__ == "__main__":
    main()
