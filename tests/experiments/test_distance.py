"""The distance of a territory from a base: one of the base's own kind is near, another is not."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from small_pictures import write_territory

from labkit.datasets.folders import territory
from labkit.engine.cache import encode
from labkit.experiments.distance import measure_distance, ratio
from labkit.judge.stats import Interval


def mean_colours(pictures):
    return SimpleNamespace(features=pictures.reshape(len(pictures), -1, 3).mean(1))


MEAN_COLOURS = SimpleNamespace(read=mean_colours)


@pytest.fixture(scope="module")
def own(tmp_path_factory, sd_base):
    folder = write_territory(tmp_path_factory.mktemp("pictures"))
    return territory(str(folder))


@pytest.fixture(scope="module")
def found(own, sd_base):
    return measure_distance(sd_base, encode(sd_base, own), own, reader=MEAN_COLOURS)


def test_pictures_like_the_ordinary_ones_are_near_and_within_reach(found):
    assert found.ratio.low < 1 < found.ratio.high
    assert found.redrawn.mean == pytest.approx(1, abs=0.3)
    assert not found.is_out_of_reach and "a larger base" in found.sentence


def test_the_same_pictures_are_at_distance_one(own, sd_base):
    same = replace(own, validation=own.ordinary)
    found = measure_distance(sd_base, encode(sd_base, same), same, reader=MEAN_COLOURS)
    assert found.ratio.mean == 1 and found.redrawn.mean == 1 and found.is_near


def test_words_that_the_tokenizer_breaks_are_named(found):
    assert "yellow" in found.broken_words and "yellow" in found.sentence and "a" not in found.broken_words


def test_a_territory_that_the_autoencoder_loses_needs_a_real_base(found):
    far = replace(found, redrawn=Interval(3.0, 2.4, 3.6), harder=0.9)
    assert far.is_out_of_reach and not far.is_near
    assert all(words in far.sentence for words in ("Only a base that knows such pictures", far.base, "far"))


def test_the_interval_of_a_ratio_holds_the_true_one_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        interval = ratio(rng.normal(2, 0.4, 24), rng.normal(1, 0.2, 24))
        held += interval.low < 2 < interval.high
    assert 178 <= held <= 199
