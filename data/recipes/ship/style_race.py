"""Train a race on the style territory, and measure how often the reader finds the style in pictures.

In the folder data; runs that the run store has are not trained again:

    python -m recipes.ship.style_race           write log/style.json, then the tables of data/README.md
"""

import argparse
import json

import numpy as np

from labkit.datasets.folders import load_picture
from labkit.engine.attribute_reader import asked_of, load_reader
from labkit.judge.diagnose import diagnose
from labkit.judge.stats import share_interval
from labkit.lab import Lab
from labkit.view.curves import curve
from recipes.ship.float32 import compute_in_float32
from recipes.ship.measure import DATA, MEASURED, reconstructed
from recipes.ship.tables import STYLE_LOG, write_tables

RATES = (1e-5, 1e-4, 1e-3, 5e-3, 2e-2, 1e-1)
LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2",
          "conv_shortcut")
DESIGN = {"target_modules": LAYERS, "rank": 8, "train_batch_size": 4, "lr_scheduler": "linear",
          "max_train_steps": 150}
KEPT = (4, 8, 15, 25, 40, 60, 80, 100, 125)                   # updates after which adapters are kept, to draw with
# where runs are trained: a lesson's own race has some of the same, and keeps fewer checkpoints of them
STORE = DATA.parent / "out" / "style_race"
PROMPTS, REAL = 64, 64                                       # prompts and real pictures that are scored
INFERENCE_STEPS, MORE_STEPS = 8, 16                          # of what is shown and scored, and of what is scored too


def race(lab):
    """Train the race, its adapters kept at KEPT; -> runs, in the order of their rates."""
    designs = [lab.config(DESIGN, learning_rate=rate) for rate in RATES]
    return lab.train_all(designs, pictures=0, checkpoint_at=KEPT)


def drawn(lab, run=None, step=None, prompts=PROMPTS, inference_steps=INFERENCE_STEPS):
    """Draw held-out captions of the territory, each with its own seed: uint8 (prompts, H, W, 3)."""
    captions = lab.territory.validation.captions[:prompts]
    return lab.generate(captions, run=run, step=step, num_inference_steps=inference_steps)


def accepted(lab, reader, pictures):
    """Say how many pictures of the first captions the reader accepts: a share with its interval."""
    return share_interval(reader.accepted(pictures, asked_of(lab.territory.validation.take(len(pictures)))))


def scores(lab, reader, run=None):
    """Measure the share accepted of a run's drawings, or the untouched base's, by the number of inference steps."""
    return {str(steps): accepted(lab, reader, drawn(lab, run, inference_steps=steps))
            for steps in (INFERENCE_STEPS, MORE_STEPS)}


def measured(lab, reader):
    """Measure shares accepted as drawn in the style: of real pictures, of the untouched base's and of each run's."""
    found, asked = {}, asked_of(lab.territory.validation.take(REAL))
    for world, folder in (("near", lab.territory.validation), ("ordinary", lab.territory.ordinary)):
        pictures = np.stack([load_picture(path, lab.base.resolution) for path in folder.take(REAL).paths])
        for how, pixels in (("renders", pictures), ("autoencoded", reconstructed(lab.base, pictures))):
            found[f"{world} {how}"] = share_interval(reader.accepted(pixels, asked))
    runs = race(lab)
    verdicts = [diagnose(run, runs) for run in runs]
    rates = [{"learning_rate": run.config.learning_rate, "loss": float(curve(run)[1][-1]),
              "verdict": verdict.label, "accepted": scores(lab, reader, run)}
             for run, verdict in zip(runs, verdicts, strict=True)]
    return {"base": lab.base.fingerprint, "pictures": found, "untouched": scores(lab, reader), "rates": rates}


def main():
    """Measure what ships, write the numbers and the tables."""
    compute_in_float32()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=STORE, help="run store (default out/style_race in the checkout)")
    STYLE_LOG.write_text(json.dumps(measured(Lab(data="near", store=parser.parse_args().store), load_reader()),
                                    indent=1) + "\n")
    write_tables(json.loads(MEASURED.read_text()))


if __name__ == "__main__":
    main()
