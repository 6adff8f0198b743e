"""Do generated pictures copy training pictures?

Nearest neighbours decide, with fresh pictures of the same places as the null: two pictures of one kind of place are
always alike, so only what comes nearer to the training pictures than fresh pictures do has been copied. N generated,
n training, M fresh pictures, F features.
"""

from dataclasses import dataclass

import numpy as np

from labkit.engine.seeding import seed63
from labkit.errors import LabError
from labkit.judge.stats import DRAWS, LEVEL, Interval, interval_of, resampled_means, spread, wilson
from labkit.view.pictures import show_mosaic
from labkit.view.style import STYLE, VERDICTS, LabFigure

CLOSE = 0.05                                                  # nearer than this share of the fresh pictures: a copy
FEWEST_FRESH = 40                                             # two of them within CLOSE
GAP = 1 / 3                                                   # of nearest over second nearest: Bonnaire et al. 2025


@dataclass(frozen=True, eq=False)
class Memorization:
    """Hold how near generated and fresh pictures come to training pictures, and what that says."""

    nearest: np.ndarray                                       # (N,) number of the nearest training picture
    distance: np.ndarray                                      # (N,) to it
    percentile: np.ndarray                                    # (N,) share of fresh pictures as near, itself counted
    fresh_nearest: np.ndarray                                 # (M,)
    fresh_distance: np.ndarray                                # (M,)
    copied: np.ndarray                                        # (N,) bool: percentile at most CLOSE
    excess: Interval                                          # share of copies beyond the CLOSE that chance gives
    nearer: Interval                                          # P(generated nearer than fresh); 0.5: nothing is copied
    alone: Interval                                           # share nearer than GAP of the second nearest's distance
    fresh_alone: float                                        # that share of the fresh pictures

    @property
    def sentence(self) -> str:
        """Say who copies beyond the null."""
        excess = self.excess
        verdict = "more than chance" if excess.low > 0 else "no more than chance may give"
        return (f"{self.copied.sum()} of {len(self.copied)} generated pictures lie nearer to a training picture than "
                f"{1 - CLOSE:.0%} of fresh pictures do: {excess.mean:+.0%} beyond the {CLOSE:.0%} of chance "
                f"(95 % interval {excess.low:+.0%} to {excess.high:+.0%}), {verdict}.")


def features_of(pictures, eye) -> np.ndarray:
    """Return features (N, F) of uint8 pictures (N, H, W, 3), by a Reader or any function from pictures to features."""
    features = eye.read(pictures).features if hasattr(eye, "read") else eye(pictures)
    return np.asarray(features, dtype=np.float64).reshape(len(pictures), -1)


def thumbnails(pictures, side: int = 16) -> np.ndarray:
    """Return downscaled pictures (N, side x side x 3) in 0..1: features of layout and light; a Reader's tell kinds."""
    pictures = np.asarray(pictures)
    side = min(side, pictures.shape[1])
    block = pictures.shape[1] // side
    cut = pictures[:, : block * side, : block * side].astype(np.float64) / 255
    return cut.reshape(len(cut), side, block, side, block, 3).mean(axis=(2, 4)).reshape(len(cut), -1)


def layout_and_colour(pictures) -> np.ndarray:
    """Return the light of thumbnails, all at one mean and contrast, with the mean colour: (N, features).

    An eye for what a drawn picture was made after: paler or darker, it stays near.
    """
    small = thumbnails(pictures).reshape(len(pictures), -1, 3)
    light = small.mean(axis=2) - small.mean(axis=(1, 2))[:, None]
    light /= np.maximum(np.linalg.norm(light, axis=1, keepdims=True), 1e-9)
    return np.concatenate([light, 8 * small.mean(axis=1)], axis=1)    # both then tell pictures apart about as well


def distances(one, other) -> np.ndarray:
    """Return Euclidean distances (N, M) between features (N, F) and (M, F)."""
    squared = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    return np.sqrt(np.maximum(squared, 0))


def memorization(generated, training, fresh, eye) -> Memorization:
    """Compare generated pictures with training pictures, fresh pictures of the same kinds of places being the null.

    generated, training, fresh: uint8 (count, H, W, 3). `fresh` were never trained on and show the same kinds of places
    in the same shares as `generated`, else it is the kinds that are compared.
    eye: a Reader, or a function from pictures to features (count, ...).
    Intervals count the chance of what was generated and of what is fresh. LabError: too few pictures.
    """
    if len(training) < 2 or not len(generated):
        raise LabError(f"{len(generated)} generated and {len(training)} training pictures: give at least one and two.")
    if len(fresh) < FEWEST_FRESH:
        raise LabError(f"fresh: {len(fresh)} pictures cannot tell what chance gives; "
                       f"give at least {FEWEST_FRESH}, of the same kinds of places.")
    known = features_of(training, eye)
    to_known, fresh_to_known = (distances(features_of(pictures, eye), known) for pictures in (generated, fresh))
    distance, fresh_distance = to_known.min(axis=1), fresh_to_known.min(axis=1)
    percentile, alone = _percentile(distance, fresh_distance), _alone(to_known)
    return Memorization(nearest=to_known.argmin(axis=1), distance=distance, percentile=percentile,
                        fresh_nearest=fresh_to_known.argmin(axis=1), fresh_distance=fresh_distance,
                        copied=percentile <= CLOSE, excess=_excess(distance, fresh_distance),
                        nearer=_nearer(distance, fresh_distance),
                        alone=Interval(alone, *wilson(alone, len(to_known))), fresh_alone=_alone(fresh_to_known))


def _alone(distances_to_training) -> float:
    """Return the share of pictures whose nearest training picture is nearer than GAP of the second nearest."""
    nearest, second, *_ = np.sort(distances_to_training, axis=1).T
    return float(np.mean(nearest < GAP * second))


def _percentile(distance, fresh_distance) -> np.ndarray:
    """Return the rank of each distance among the fresh ones, as a share: by chance it is evenly spread over 0 to 1."""
    return (1 + (fresh_distance <= distance[:, None]).sum(axis=1)) / (1 + len(fresh_distance))


def _excess(distance, fresh_distance) -> Interval:
    """Return the share of distances within the CLOSE quantile of fresh ones, less CLOSE.

    The quantile is drawn again from fresh pictures, the share from Jeffreys' posterior, so that none of N is not taken
    for none at all.
    """
    rng = np.random.default_rng(seed63(0, "copies", len(distance), len(fresh_distance)) % 2**32)
    order = np.argsort(fresh_distance)
    reached = np.cumsum(resampled_means(np.eye(len(order)))[:, order], axis=1)            # (DRAWS, M)
    within = fresh_distance[order][(reached > CLOSE).argmax(axis=1)]
    count = (distance < within[:, None]).sum(axis=1)
    draws = rng.beta(count + 0.5, len(distance) - count + 0.5, DRAWS) - CLOSE
    share = np.mean(_percentile(distance, fresh_distance) <= CLOSE)
    tail = (1 - LEVEL) / 2
    return Interval(float(share - CLOSE), *(float(end) for end in np.quantile(draws, [tail, 1 - tail])))


def _nearer(distance, fresh_distance) -> Interval:
    """Return P(distance < fresh distance), ties halved, resampled over both."""
    wins = (distance[:, None] < fresh_distance) + 0.5 * (distance[:, None] == fresh_distance)    # (N, M)
    over_generated = resampled_means(wins)                                                       # (DRAWS, M)
    # Read backwards, so that the draws over fresh pictures are independent of those over generated ones.
    weights = resampled_means(np.eye(len(fresh_distance)))[::-1]
    return spread(float(wins.mean()), (over_generated * weights).sum(axis=1), min(wins.shape))


def diversity(pictures, prompts, eye) -> Interval:
    """Return the mean distance between pictures of equal prompt, averaged over prompts, and its interval over those.

    prompts   one for each picture; a prompt with a single picture says nothing and is left out
    LabError: prompts are not as many as pictures, or none has two.
    """
    if len(prompts) != len(pictures):
        raise LabError(f"prompts: {len(prompts)} for {len(pictures)} pictures; give one for each picture.")
    features, means = features_of(pictures, eye), []
    for prompt in dict.fromkeys(prompts):
        alike = features[[i for i, other in enumerate(prompts) if other == prompt]]
        if len(alike) > 1:
            means.append(distances(alike, alike)[np.triu_indices(len(alike), 1)].mean())
    if not means:
        raise LabError("prompts: each has one picture only; "
                       "draw at least two pictures of a prompt with different seeds.")
    return interval_of(means)


def plot_nearest(result: Memorization, generated, training, fresh, *, count: int = 7, width=STYLE["width"]):
    """Draw the generated pictures nearest to training pictures over those, and the same of fresh pictures below.

    The lower pair shows how alike two pictures are by chance. Returns the Figure.
    """
    groups = [("generated", generated, result.distance, result.nearest),
              ("fresh", fresh, result.fresh_distance, result.fresh_nearest)]
    count = min(count, *(len(pictures) for _, pictures, *_ in groups))
    names, head, between = 1.35, 0.3, 0.62                      # inches for words: at left, above, between the pairs
    side = min((width - names - 0.15) / count, 1.2)             # the words above the last column are wider than it
    figure = LabFigure(width, head + between + 4 * side + 0.08, photographic=True, summary=result.sentence)
    top = figure.get_figheight() - head
    for name, pictures, distance, nearest in groups:
        order = np.argsort(distance, kind="stable")[:count]
        ax = figure.place_axes(names, top - 2 * side, side * count, 2 * side)
        xs, ys = show_mosaic(ax, [[pictures[i] for i in order], [training[nearest[i]] for i in order]])
        for x, i in zip(xs, order, strict=True):
            copied = name == "generated" and result.copied[i]
            words = f"{'✖ copied, ' if copied else ''}{distance[i]:#.2g}"
            color, weight = (VERDICTS["diverged"][1], "bold") if copied else (STYLE["text"], "normal")
            ax.annotate(words, (x, 0), (0, 4), textcoords="offset points", ha="center", va="bottom",
                        fontsize=STYLE["small"], color=color, fontweight=weight)
        beside = {"textcoords": "offset points", "ha": "right", "annotation_clip": False}
        for y, words, weight in zip(ys, (name, "nearest in\ntraining"), ("bold", "normal"), strict=True):
            ax.annotate(words, (0, y), (-8, 0), va="center", fontsize=STYLE["label"], fontweight=weight,
                        color=STYLE["text"], **beside)
        ax.annotate("distance", (0, 0), (-8, 4), va="bottom", fontsize=STYLE["small"], color=STYLE["faint"], **beside)
        top -= 2 * side + between
    return figure
