"""How far a territory is from what a base knows, measured before anything is trained.

n pictures of each set, F features of the reader.
"""

import re
from dataclasses import dataclass

import numpy as np

from labkit.datasets.folders import load_picture
from labkit.engine.monitor import FIRST_SCORED
from labkit.engine.validation import ValidationSet, untouched_losses
from labkit.experiments.attribute_reader import load_reader
from labkit.judge.stats import Interval, by_picture, interval_of, resampled_means, spread

PICTURES, STRATA = 32, 8
HARDER_THAN = 0.9                                             # of the ordinary pictures: where half the territory is harder, it is far
UNLIKE = 1.05                                                 # times as far from ordinary pictures as those from each other: far, whatever the loss
LOST = 2.0                                                    # times the ordinary error, 3 dB: the autoencoder does not know such pictures


@dataclass(frozen=True)
class Distance:
    """Hold how an untouched base meets a territory's held-out pictures, beside the ordinary ones it knows."""

    base: str
    territory: str
    loss: Interval                                            # on fixed noise
    ordinary: Interval
    ratio: Interval                                           # loss / ordinary
    harder: float                                             # share of the pictures with a loss above that of nine in ten ordinary ones
    redrawn: Interval                                         # squared error after the autoencoder / that of ordinary pictures
    features: Interval                                        # distance to the nearest ordinary picture / that among ordinary pictures
    broken_words: tuple[str, ...]                             # of the captions, that the tokenizer knows only in pieces

    @property
    def is_near(self) -> bool:
        """Tell whether the base takes noise off such pictures about as well as off what it knows, and the reader finds them alike.

        The loss alone would call places near that share walls and floors with what the base knows and nothing else.
        """
        return self.harder < 0.5 and self.features.low < UNLIKE

    @property
    def why(self) -> str:
        """Name what makes it far, or that neither does."""
        far = [words for words, is_far in (("the loss", self.harder >= 0.5), ("what the reader sees", self.features.low >= UNLIKE)) if is_far]
        return f"far, by {' and by '.join(far)}" + ("" if len(far) == 2 else " alone") if far else "near, by both"

    @property
    def is_out_of_reach(self) -> bool:
        """Tell whether the autoencoder, which no adapter changes, loses these pictures."""
        return self.redrawn.low > LOST

    @property
    def sentence(self) -> str:
        """Say how far it is, and when only a real base can learn it."""
        first = (f"On the base {self.base} the loss on {self.territory} is {_range(self.ratio)} times that on what it knows ({self.loss.mean:.3f} against "
                 f"{self.ordinary.mean:.3f}), and {self.harder:.0%} of the pictures are harder than nine in ten ordinary ones. To the reader "
                 f"a picture lies {_range(self.features)} times as far from the nearest ordinary one as those lie apart. So it is {self.why}.")
        words = f" Its tokenizer knows only in pieces: {', '.join(self.broken_words[:6])}{' …' if len(self.broken_words) > 6 else ''}." if self.broken_words else ""
        seen = f" Its autoencoder gives the pictures back with {_range(self.redrawn)} times the error of ordinary ones"
        if self.is_out_of_reach:
            return first + words + seen + ": an adapter changes the U-Net alone and cannot mend that. Only a base that knows such pictures, such as Stable Diffusion, can learn them."
        return first + words + seen + ", so it can show them; what it blurs there (letters, faces, fine pattern) only a larger base can learn."


def measure_distance(base, cache, territory, *, reader=None) -> Distance:
    """Measure a territory that `encode` has encoded; reader: what gives `read(pictures).features` (n, F), None takes the one that ships."""
    sets = {"territory": (cache.validation.take(FIRST_SCORED), territory.validation.take(FIRST_SCORED)),
            "ordinary": (cache.ordinary, territory.ordinary)}
    losses, errors, features = {}, {}, {}
    for name, (encoded, folder) in sets.items():
        losses[name] = by_picture(base_losses(base, encoded))
        pictures = np.stack([load_picture(path, base.resolution) for path in folder.take(2 * PICTURES).paths])
        some = pictures[:PICTURES]
        again = base.decode(base.encode_pictures(some)[0])
        errors[name] = ((again.astype(np.float64) - some) ** 2).mean((1, 2, 3))
        features[name] = (reader or load_reader()).read(pictures).features
    known, others = features["ordinary"][::2], features["ordinary"][1::2]      # every other one: kinds come in turn
    words = dict.fromkeys(word for caption in territory.train.captions for word in re.findall(r"\w+", caption.lower()))
    return Distance(base.name, territory.name, interval_of(losses["territory"]), interval_of(losses["ordinary"]),
                    ratio(losses["territory"], losses["ordinary"]),
                    float(np.mean(losses["territory"] > np.quantile(losses["ordinary"], HARDER_THAN))),
                    ratio(errors["territory"], errors["ordinary"]),
                    ratio(nearest(features["territory"], known), nearest(others, known)),
                    tuple(word for word in words if len(base.tokenizer.tokenize(word)) > 1))


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


def _range(interval) -> str:
    return f"{interval.mean:.2g} ({interval.low:.2g} to {interval.high:.2g})"
