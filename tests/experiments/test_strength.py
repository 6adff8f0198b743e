"""Trained adapters at strengths of their own, 0 the base and 1 the run; what alpha mixes."""

from types import SimpleNamespace

import numpy as np
import pytest
import random_lab
import tiny
from figures import assert_bands_are_whole, assert_words_keep_apart

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.experiments.rank import sizes, sizes_table
from labkit.experiments.spectrum import spectra_of
from labkit.experiments.strength import (
    acting,
    change_by_rank,
    measure_scores,
    measure_strengths,
    mixing,
    plot_change_by_rank,
    plot_mixing,
    plot_strengths,
    scaling_table,
)

SHORT = {"max_train_steps": 8, "train_batch_size": 4, "learning_rate": 3e-2, "pictures": 0}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return tiny.lab(store=tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def runs(lab):
    return [lab.train(rank=rank, **SHORT) for rank in (2, 16)]


def test_strength_zero_is_the_base_and_every_adapter_is_measured_as_if_alone(lab, runs):
    found = measure_scores(lab, [runs[0], runs[1], runs[1]], [0.0, 1.0, 0.5])
    alone = measure_scores(lab, [runs[1]], [1.0])
    for name in ("territory", "ordinary"):
        np.testing.assert_allclose(found.losses[name][0], found.base[name], rtol=1e-5)
        np.testing.assert_allclose(found.losses[name][1], alone.losses[name][0], rtol=1e-4)
        assert not np.allclose(found.losses[name][1], found.losses[name][2], rtol=1e-4)
    assert found.change("territory", 1).mean < 0


def test_the_sentence_over_strengths_names_the_lowest_and_the_figure_can_be_read(lab, runs):
    found = measure_strengths(lab, runs[1], (0.0, 0.5, 1.0, 2.0))
    assert f"lowest at strength {found.strengths[found.lowest]:g}" in found.sentence
    figure = plot_strengths(found).figure
    assert figure.summary == found.sentence
    assert_words_keep_apart(figure)
    assert_bands_are_whole(figure)


def test_a_run_that_is_not_in_the_store_is_named(lab):
    with pytest.raises(LabError, match="The run elsewhere is not in the store"):
        with acting(lab, [SimpleNamespace(run_id="elsewhere")], [1.0]):
            pass


def test_the_formula_is_exact_inside_a_layer_and_not_for_the_model(lab, runs):
    found = mixing(lab, runs[1])
    assert found.layer_error < 1e-4 < max(found.model_error)
    assert len(found.shares) == len(spectra_of(lab, runs[1])) and min(found.shares) > 0
    assert found.model_error[found.strengths.index(1.0)] < 1e-5
    figure = plot_mixing(found).figure
    assert figure.summary == found.sentence
    assert_words_keep_apart(figure)


def test_the_table_of_scalings_tells_alpha_over_rank_and_over_its_root():
    rows = {(row[0], row[1]): row[2:] for row in scaling_table(ranks=(4, 16), alphas=(8, None)).rows}
    assert rows == {("alpha / rank", "alpha = 8"): ["2", "0.5"], ("alpha / rank", "alpha = rank"): ["1", "1"],
                    ("alpha / √rank", "alpha = 8"): ["4", "2"], ("alpha / √rank", "alpha = rank"): ["2", "4"]}


def test_an_update_of_equal_rate_moves_the_output_further_at_a_higher_rank_unless_alpha_is_held():
    lab, config = random_lab.lab(), RunConfig(rank=4, learning_rate=1e-3).resolved(8)
    found = change_by_rank(lab.base, lab.cache, config, ranks=(2, 8, 32), n=8)
    assert found.power["alpha = rank"] > 0.7 > found.power["alpha / √rank"] > 0.3 > found.power["alpha = 8"]
    at_rank_8 = [change[1] for change in found.change.values()]           # where the rules agree
    assert np.ptp(at_rank_8) < 1e-6 * at_rank_8[0]
    figure = plot_change_by_rank(found).figure
    assert_words_keep_apart(figure)
    assert "with alpha = 8" in figure.summary


def test_numbers_trained_grow_with_the_rank_and_degrees_of_freedom_stop_at_the_whole(lab):
    found = sizes(lab, [lab.config(rank=rank) for rank in (1, 2, 64)] + [lab.config(adapter="full")])
    assert found[1].trained == 2 * found[0].trained and found[2].trained > found[3].trained
    assert found[0].freedom < found[1].freedom < found[2].freedom == found[3].freedom == found[3].trained
    assert all(size.seconds > 0 and size.file_bytes > 4 * size.trained for size in found)
    assert lab.store.runs() == [] or all(run.load().config.max_train_steps == 8 for run in lab.store.runs())
    assert "whole" in repr(sizes_table(found))


def test_adapters_that_differ_in_their_layers_are_called_by_them(lab):
    found = sizes(lab, [lab.config(target_modules=name) for name in ("attention", "all")], "target_modules")
    assert [size.name for size in found] == ["attention", "all"] and found[0].trained < found[1].trained


def test_a_lab_on_another_territory_shares_the_base(lab):
    other = lab.with_data("elsewhere")
    assert other.base is lab.base and other.data_name == "elsewhere" and other.store.root == lab.store.root
