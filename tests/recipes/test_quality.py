"""The distance that data/recipes/ship/quality.py measures, and how it keeps what it measured."""

import json

import numpy as np
import pytest

from recipes.ship import quality, tables


def draws(seed, count, width=4):
    return np.random.default_rng(seed).standard_normal((count, width))


def test_the_distance_of_a_set_to_itself_is_zero():
    features = draws(0, 50)
    assert quality.frechet(features, features) == pytest.approx(0, abs=1e-9)


def test_the_distance_of_two_gaussians_is_its_closed_form():
    first = draws(0, 500)
    first = (first - first.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(first, rowvar=False))).T  # exact moments
    wider = np.array([1.0, 2.0, 3.0, 0.5])
    assert quality.frechet(first, first * wider + 2.0) == pytest.approx(4 * 2.0**2 + np.square(wider - 1).sum())


def test_the_distance_agrees_with_the_matrix_root_where_covariances_do_not_commute():
    first, second = (draws(seed, 200) @ draws(seed + 9, 4) for seed in (1, 2))
    covariances = [np.cov(features, rowvar=False) for features in (first, second)]
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real).sum()  # those of the product itself
    expected = np.square(first.mean(0) - second.mean(0)).sum() + sum(map(np.trace, covariances)) - 2 * roots
    assert quality.frechet(first, second) == pytest.approx(expected)
    assert quality.frechet(second, first) == pytest.approx(expected)


def test_fewer_pictures_than_features_still_have_a_distance():
    assert np.isfinite(quality.frechet(draws(0, 3, 8), draws(1, 3, 8)))


def test_the_spread_shrinks_with_the_number_of_pictures():
    real = draws(0, 2000)
    assert quality.spread(draws(1, 2000) + 1, real) < quality.spread(draws(1, 100) + 1, real)


def test_a_base_measured_again_takes_the_place_of_its_line(tmp_path, monkeypatch):
    share, path = [0.5, 0.4, 0.6], tmp_path / "quality.jsonl"
    line = {"held_out": 0.1, "kind": share, "wall_color": share, "main_color": share, "second_color": share,
            "distance": 3.0, "spread": 0.1, "floor": 0.2}
    for base, pictures, loss in (("b", 48000, 0.09), ("a", 0, 0.2), ("a", 0, 0.1)):
        quality.keep(line | {"base": base, "pictures": pictures, "held_out": loss}, path)
    kept = [json.loads(text) for text in path.read_text().splitlines()]
    assert [(one["base"], one["held_out"]) for one in kept] == [("a", 0.1), ("b", 0.09)]
    monkeypatch.setattr(tables, "LOGS", tmp_path)
    rows = tables.quality().splitlines()[2:]
    assert len(rows) == 2 and rows[1].startswith("| 48,000 | 0.0900 | 50 % (40 to 60)")
