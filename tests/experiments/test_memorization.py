"""Who copies: only what comes nearer to the training pictures than fresh pictures do."""

from types import SimpleNamespace

import numpy as np
import pytest
from figures import assert_words_keep_apart

from labkit.errors import LabError
from labkit.experiments.memorization import (
    distances,
    diversity,
    features_of,
    layout_and_colour,
    memorization,
    plot_nearest,
    thumbnails,
)


def drawn(count, seed):
    """Draw pictures of smooth blobs that are all of one kind."""
    coarse = np.random.default_rng(seed).integers(40, 215, (count, 4, 4, 3))
    return coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)


TRAINING, FRESH, GENERATED = drawn(24, 0), drawn(64, 1), drawn(32, 2)


def copying(share, seed=3):
    """Return generated pictures of which a share are training pictures under noise."""
    pictures, count = GENERATED.copy(), round(share * len(GENERATED))
    noise = np.random.default_rng(seed).integers(-12, 13, pictures[:count].shape)
    pictures[:count] = np.clip(TRAINING[:count].astype(int) + noise, 0, 255)
    return pictures


def test_pictures_that_were_copied_are_found_with_their_originals():
    found = memorization(copying(0.25), TRAINING, FRESH, thumbnails)
    assert found.nearest[:8].tolist() == list(range(8)) and found.copied[:8].all()
    assert found.copied[8:].mean() < 0.15
    assert found.excess.low > 0 and found.alone.low > 0 and found.fresh_alone == 0
    assert found.sentence.startswith(f"{found.copied.sum()} of 32") and "more than chance" in found.sentence


def test_fresh_pictures_do_not_count_as_copies_though_they_are_alike():
    excess, nearer = [], []
    for seed in range(20):
        found = memorization(drawn(32, 100 + seed), TRAINING, drawn(64, 200 + seed), thumbnails)
        excess.append(found.excess.low > 0)
        nearer.append(found.nearer.low <= 0.5 <= found.nearer.high)
    assert np.mean(excess) <= 0.15 and np.mean(nearer) >= 0.8


def test_an_interval_of_no_copy_at_all_still_has_a_width():
    found = memorization(255 - TRAINING[:8] // 4, TRAINING, FRESH, thumbnails)
    assert not found.copied.any() and found.excess.mean == pytest.approx(-0.05) and found.excess.high > 0.05


def test_the_whole_set_copied_is_as_near_as_can_be():
    found = memorization(TRAINING, TRAINING, FRESH, thumbnails)
    assert found.copied.all() and found.nearer.mean == 1 and found.alone.mean == 1
    np.testing.assert_allclose(found.distance, 0, atol=1e-6)


def test_an_eye_is_a_reader_or_any_function_of_pictures():
    reader = SimpleNamespace(read=lambda pictures: SimpleNamespace(features=thumbnails(pictures, 4)))
    by_function = features_of(FRESH, lambda pictures: thumbnails(pictures, 4))
    np.testing.assert_array_equal(features_of(FRESH, reader), by_function)
    np.testing.assert_allclose(thumbnails(FRESH, 4), FRESH[:, ::8, ::8].reshape(64, -1) / 255)


def test_distances_are_euclidean():
    one, other = np.random.default_rng(0).normal(size=(5, 7)), np.random.default_rng(1).normal(size=(3, 7))
    np.testing.assert_allclose(distances(one, other), np.linalg.norm(one[:, None] - other, axis=2))


def test_diversity_is_measured_at_equal_prompt_only():
    def eye(pictures):
        return pictures.reshape(len(pictures), -1)[:, :1].astype(float)

    pictures = np.array([0, 2, 100, 104, 50], np.uint8).reshape(5, 1, 1, 1)
    assert diversity(pictures, ["a", "a", "b", "b", "c"], eye).mean == 3
    assert diversity(TRAINING[[0, 0, 1, 1]], list("aabb"), thumbnails).mean == pytest.approx(0, abs=1e-6)
    with pytest.raises(LabError, match="one picture only"):
        diversity(pictures, list("abcde"), eye)
    with pytest.raises(LabError, match="prompts: 2 for 5"):
        diversity(pictures, ["a", "b"], eye)


def test_too_few_pictures_are_refused():
    with pytest.raises(LabError, match="fresh: 10"):
        memorization(GENERATED, TRAINING, FRESH[:10], thumbnails)
    with pytest.raises(LabError, match="1 training"):
        memorization(GENERATED, TRAINING[:1], FRESH, thumbnails)


def test_copies_are_marked_above_their_originals_and_fresh_pictures_stand_below():
    generated = copying(0.1)
    found = memorization(generated, TRAINING, FRESH, thumbnails)
    figure = plot_nearest(found, generated, TRAINING, FRESH)
    assert_words_keep_apart(figure)
    words = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert sum("copied" in word for word in words) == min(7, found.copied.sum())
    assert {"generated", "fresh"} <= set(words)


def test_a_pale_copy_is_nearest_to_its_original_by_layout_and_colour_though_not_by_its_thumbnail():
    pale = (TRAINING * 0.4 + 0.6 * 150).astype(np.uint8)
    by_layout = distances(layout_and_colour(pale), layout_and_colour(TRAINING)).argmin(axis=1)
    assert (by_layout == np.arange(len(TRAINING))).all()
    even = np.full((1, 32, 32, 3), 90, np.uint8)
    assert np.isfinite(layout_and_colour(even)).all()
    greyer = np.concatenate([TRAINING[:1], TRAINING.mean(axis=0, keepdims=True).astype(np.uint8)])
    assert distances(thumbnails(pale[:1]), thumbnails(greyer)).argmin() == 1
    assert distances(layout_and_colour(pale[:1]), layout_and_colour(greyer)).argmin() == 0
