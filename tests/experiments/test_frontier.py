"""Strengths drawn in one pass equal each alone; the choice lies on the frontier and within what may be lost."""

import io

import numpy as np
import pytest
from figures import assert_words_keep_apart
from made_frontier import made
from matplotlib.text import Text
from PIL import Image
from small_pictures import write_territory

from labkit.datasets.folders import load_picture
from labkit.experiments.frontier import STRENGTHS, by_reader, measure_frontier, plot_frontier
from labkit.lab import Lab


@pytest.mark.parametrize("target, kept, chosen", [
    ((0, 0.5, 0.9, 0.95, 0.2), (1, 1, 0.95, 0.6, 0.1), 2),     # the best that does not cost too much
    ((0, 0.5, 0.9, 0.9, 0.2), (1, 1, 0.95, 0.95, 0.1), 2),     # the weaker of equals
    ((0, 0.9, 0.8, 0.7, 0.2), (1, 1, 0.95, 0.9, 0.1), 1),      # stronger and worse in both
    ((0, 0.5, 0.9, 0.9, 0.9), (1, 0.8, 0.7, 0.6, 0.1), 0),     # nothing gained that can be afforded
    ((0, 0, 0, 0, 0), (1, 1, 1, 0.5, 0.1), 0),
])
def test_the_choice_is_the_best_affordable_point_of_the_frontier(target, kept, chosen):
    found = made(target, kept)
    assert found.chosen == chosen and found.on_frontier[chosen]
    assert f"{found.strengths[chosen]:g}" in found.sentence and found.base in found.sentence


def test_few_pictures_promise_nothing_about_what_is_lost_and_many_do():
    few, many = (made((0, 0.5, 0.9, 0.95, 0.2), (1, 1, 1, 0.6, 0.1), n=n) for n in (16, 400))
    assert few.chosen == many.chosen == 2
    assert "cannot rule out that it loses more than 10%" in few.sentence and few.lost.high > 0.1
    assert "it loses at most 10% (loss 0%" in many.sentence and many.lost.high < 0.1
    assert "one trained run" in few.sentence and few.level == pytest.approx(0.9875)


def test_what_may_be_lost_moves_the_choice():
    target, kept = (0, 0.5, 0.9, 0.95, 0.2), (1, 1, 0.95, 0.6, 0.1)
    assert [made(target, kept, affordable).chosen for affordable in (0, 0.1, 0.5)] == [1, 2, 3]


def test_a_point_that_another_beats_in_both_is_off_the_frontier():
    found = made((0, 0.5, 0.9, 0.4, 0.2), (1, 0.9, 0.8, 0.7, 0.9))
    assert found.on_frontier.tolist() == [True, True, True, False, False]


def scattered(seed):
    """Return scores that rise and scores that fall, by a little or by much."""
    draw = np.random.default_rng(seed)
    return np.sort(draw.uniform(0, 1, 5).round(2)), 1 - np.sort(draw.uniform(0, draw.choice([0.1, 1]), 5).round(2))


CROWDED = (0, 0.5, 0.5, 0.5, 0.51), (1, 0.88, 0.88, 0.88, 0.78)


@pytest.mark.parametrize("target, kept", [CROWDED, *map(scattered, range(6))])
def test_strengths_are_named_apart_from_each_other_and_from_the_points_wherever_they_lie(target, kept):
    figure = plot_frontier(made(target, kept, strengths=STRENGTHS, n=100))
    assert_words_keep_apart(figure)
    ax = figure.axes[0]
    points = ax.transData.transform(np.column_stack([100 * np.array(kept), 100 * np.array(target)]))
    names = [text for text in ax.texts if text.get_text()]
    assert sum(len(text.get_text().split(", ")) for text in names) == len(STRENGTHS)
    assert not any(Text.get_window_extent(text).contains(*point) for text in names for point in points)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, sd_folder):
    pictures = write_territory(tmp_path_factory.mktemp("pictures"))
    lab = Lab(str(sd_folder), str(pictures), device="cpu", store=tmp_path_factory.mktemp("store"))
    return lab, lab.train(rank=2, learning_rate=0.1, max_train_steps=2, train_batch_size=2, pictures=0)


def test_strengths_drawn_together_equal_each_alone_and_zero_is_the_base(trained):
    lab, run = trained
    prompts, few = ["a pool", "a bedroom"], {"num_inference_steps": 2}
    together = lab.generate(prompts, run=run, strength=[0.0, 0.5, 2.0], **few).astype(int)
    assert together.shape == (3, 2, 128, 128, 3)
    assert np.abs(together[0] - lab.generate(prompts, **few)).max() <= 1
    short_id = run.run_id[:8]                                # as `labkit runs` shows it
    assert np.abs(together[1] - lab.generate(prompts, run=short_id, strength=0.5, **few)).max() <= 1
    assert np.abs(together[2] - together[0]).max() > 5


def test_a_frontier_is_measured_with_any_score_at_the_same_seeds(trained):
    lab, run = trained
    asked_for = []

    def brightness(pictures, asked):
        asked_for.append(asked.captions)
        return pictures.mean((1, 2, 3)) / 255

    found = measure_frontier(lab, run, strengths=(1.0, 2.0), pictures=2, score=brightness, num_inference_steps=2)
    assert found.strengths == (0.0, 1.0, 2.0) and found.target.shape == found.kept.shape == (3, 2)
    assert asked_for == [lab.territory.validation.captions[:2]] * 3 + [lab.territory.ordinary.captions[:2]] * 3
    base = lab.generate(found.prompts[0], [0], num_inference_steps=2)
    assert np.abs(found.pictures[0, 0].astype(int) - base[0]).max() <= 1


def test_places_that_the_reader_does_not_know_are_scored_by_their_nearest_real_picture(trained):
    lab, _ = trained
    score, name = by_reader(lab)
    assert "nearer to real pictures" in name
    sets = lab.territory.validation, lab.territory.ordinary
    territory, ordinary = (np.stack([load_picture(path, 128) for path in folder.paths]) for folder in sets)
    assert score(territory, sets[0]).all() and score(ordinary, sets[1]).all()
    assert not score(ordinary, sets[0]).any()


def test_places_that_the_reader_knows_are_scored_by_its_acceptance():
    lab = Lab()
    score, name = by_reader(lab)
    folder = lab.territory.validation.take(10)
    pictures = np.stack([load_picture(path, 128) for path in folder.paths])
    assert "accepted" in name and score(pictures, folder).mean() >= 0.8
    assert not score(pictures, lab.territory.ordinary.take(10)).any()


def test_pictures_in_a_style_are_scored_by_the_style():
    lab = Lab(data="near")
    score, name = by_reader(lab)
    assert name == "accepted by the reader as the style asked for"
    for folder in (lab.territory.validation.take(8), lab.territory.ordinary.take(8)):
        real = np.stack([load_picture(path, 128) for path in folder.paths])
        assert score(real, folder).mean() >= 0.75
    plain = np.stack([load_picture(path, 128) for path in lab.territory.ordinary.take(8).paths])
    assert not score(plain, lab.territory.validation.take(8)).any()


def test_the_figure_is_drawn_and_says_the_choice():
    found = made((0, 0.4, 0.75, 0.95, 0.1), (1, 1, 0.95, 0.95, 0.1), strengths=STRENGTHS)
    figure = plot_frontier(found)
    assert figure.summary == found.sentence
    words = {text.get_text() for ax in figure.axes for text in ax.texts}
    words |= {ax.get_title(loc="left") for ax in figure.axes}
    assert {"1 chosen", "Chosen: 1", "territory", "ordinary"} <= words
    assert Image.open(io.BytesIO(figure.encoded("png"))).size[0] > 900
