"""How far is a territory from what a base knows, before anything is trained?

n pictures of each set, F features of the reader.
"""

import re
from dataclasses import dataclass

import numpy as np

from labkit.engine.attribute_reader import load_reader
from labkit.engine.monitor import FIRST_SCORED
from labkit.engine.validation import ValidationSet, untouched_losses
from labkit.judge.stats import Interval, by_picture, interval_of, resampled_means, spread
from labkit.text import interval_text

PICTURES, STRATA = 32, 8
# A territory is far where half of it is harder than this share of the ordinary pictures,
HARDER_THAN = 0.9
# and, whatever its loss, where it lies this many times as far from ordinary pictures as those lie from each other.
UNLIKE = 1.05
# The autoencoder does not know pictures that it gives back with this many times the ordinary error (3 dB).
LOST = 2.0


@dataclass(frozen=True)
class Distance:
    """Hold how an untouched base meets a territory's held-out pictures, beside the ordinary ones it knows."""

    base: str
    territory: str
    loss: Interval                                            # on fixed noise
    ordinary: Interval
    ratio: Interval                                           # loss / ordinary
    harder: float                                             # share with a loss above nine in ten ordinary ones
    redrawn: Interval                                         # squared error after the autoencoder / the ordinary one
    features: Interval                                        # distance to the nearest ordinary picture / among those
    broken_words: tuple[str, ...]                             # of the captions, known to the tokenizer in pieces only

    @property
    def is_near(self) -> bool:
        """Tell whether the base denoises such pictures as well as what it knows, and they look like it to the reader.

        The loss alone would call places near that share walls and floors with what the base knows and nothing else.
        """
        return self.harder < 0.5 and self.features.low < UNLIKE

    @property
    def why(self) -> str:
        """Name what makes it far, or that neither does."""
        by_loss, by_reader = self.harder >= 0.5, self.features.low >= UNLIKE
        if by_loss and by_reader:
            return "far, by the loss and by what the reader sees"
        if by_loss or by_reader:
            return f"far, by {'the loss' if by_loss else 'what the reader sees'} alone"
        return "near, by both"

    @property
    def is_out_of_reach(self) -> bool:
        """Tell whether the autoencoder, which no adapter changes, loses these pictures."""
        return self.redrawn.low > LOST

    @property
    def sentence(self) -> str:
        """Say how far it is, and when only a real base can learn it."""
        parts = [f"On the base {self.base} the loss on {self.territory} is {interval_text(self.ratio)} times that on "
                 f"what it knows ({self.loss.mean:.3f} against {self.ordinary.mean:.3f}), and {self.harder:.0%} of "
                 "the pictures are harder than nine in ten ordinary ones. To the reader a picture lies "
                 f"{interval_text(self.features)} times as far from the nearest ordinary one as those lie apart. "
                 f"So it is {self.why}."]
        if self.broken_words:
            more = " …" if len(self.broken_words) > 6 else ""
            parts.append(f"Its tokenizer knows only in pieces: {', '.join(self.broken_words[:6])}{more}.")
        reach = (": an adapter changes the U-Net alone and cannot mend that. "
                 "Only a base that knows such pictures, such as Stable Diffusion, can learn them."
                 if self.is_out_of_reach else
                 ", so it can show them; "
                 "what it blurs there (letters, faces, fine pattern) only a larger base can learn.")
        parts.append(f"Its autoencoder gives the pictures back with {interval_text(self.redrawn)} times the error of "
                     f"ordinary ones{reach}")
        return " ".join(parts)


def measure_distance(base, cache, territory, *, reader=None) -> Distance:
    """Measure a territory that `encode` has encoded.

    reader    what gives `read(pictures).features` (n, F); None takes the one that ships
    """
    reader = reader or load_reader()
    sets = {"territory": (cache.validation.take(FIRST_SCORED), territory.validation.take(FIRST_SCORED)),
            "ordinary": (cache.ordinary, territory.ordinary)}
    losses, errors, features = {}, {}, {}
    for name, (encoded, folder) in sets.items():
        losses[name] = by_picture(base_losses(base, encoded))
        pictures = folder.take(2 * PICTURES).pixels(base.resolution)
        first = pictures[:PICTURES]
        redrawn = base.decode(base.encode_pictures(first)[0])
        errors[name] = ((redrawn.astype(np.float64) - first) ** 2).mean((1, 2, 3))
        features[name] = reader.read(pictures).features
    known, others = features["ordinary"][::2], features["ordinary"][1::2]      # every other one: kinds come in turn
    words = dict.fromkeys(word for caption in territory.train.captions for word in re.findall(r"\w+", caption.lower()))
    return Distance(base=base.name, territory=territory.name, loss=interval_of(losses["territory"]),
                    ordinary=interval_of(losses["ordinary"]), ratio=ratio(losses["territory"], losses["ordinary"]),
                    harder=float(np.mean(losses["territory"] > np.quantile(losses["ordinary"], HARDER_THAN))),
                    redrawn=ratio(errors["territory"], errors["ordinary"]),
                    features=ratio(nearest(features["territory"], known), nearest(others, known)),
                    broken_words=tuple(word for word in words if len(base.tokenizer.tokenize(word)) > 1))


def base_losses(base, encoded) -> np.ndarray:
    """Return the untouched base's losses (n, strata) on fixed noise, always the same."""
    fixed = ValidationSet(encoded, PICTURES, STRATA, timesteps=len(base.noise_scheduler.alphas_cumprod))
    return untouched_losses(base, fixed)[0]


def ratio(values, against) -> Interval:
    """Return the ratio of two means with its interval over pictures, those of the two sets drawn independently."""
    draws = resampled_means(values) / resampled_means(against)[::-1]           # reversed: equal sets share their draws
    return spread(float(np.mean(values) / np.mean(against)), draws, min(len(values), len(against)))


def nearest(features, among) -> np.ndarray:
    """Return each picture's distance to the nearest of some others, (n,)."""
    return np.sqrt(((features[:, None] - among[None]) ** 2).sum(-1)).min(1)
