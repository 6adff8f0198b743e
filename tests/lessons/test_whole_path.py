"""The way of one territory: the table of reasons, the closing figure, and what the chapter says of it all."""

from types import SimpleNamespace

import numpy as np
import pytest
from figures import assert_words_keep_apart
from grid_runs import runs
from made_runs import made_run
from small_pictures import write_territory

from labkit.design.config import RunConfig
from labkit.design.presets import PRESETS
from labkit.design.proposal import propose
from labkit.experiments.sensitivity import sensitivity
from labkit.experiments.short_test import short_test
from labkit.judge.diagnose import LABELS, diagnose
from labkit.lab import Lab
from labkit.lessons.whole_path import (
    checkpoint_to_keep,
    claims_table,
    in_brief,
    plot_journey,
    reasons_table,
    take_home,
)
from labkit.view.tables import Table


def test_the_six_designs_of_the_opening_are_named_by_what_each_is_known_by():
    names = {name: in_brief(SimpleNamespace(config=RunConfig.from_dict(preset.changes).resolved(12)))
             for name, preset in PRESETS.items()}
    assert len(set(names.values())) == 6 and names["overfitting"] == "3e-3, 4 pictures"
    assert names["healthy"] == "1e-2, falling" and names["overshooting"] == "1e-2, rising to 3e-2"
    assert names["not enough evidence"] == "3e-3, 1 update" and names["stagnating"] == "3e-5"


def test_every_proposal_is_in_the_table_with_its_reason_and_source():
    proposals = propose(24, kinds=2)
    table = reasons_table(proposals)
    assert [row[0] for row in table.rows] == [proposal.field for proposal in proposals]
    assert all(row[2] and row[3] for row in table.rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, sd_folder):
    pictures = write_territory(tmp_path_factory.mktemp("pictures"))
    lab = Lab(str(sd_folder), str(pictures), device="cpu", store=tmp_path_factory.mktemp("store"))
    config = lab.config(rank=2, max_train_steps=4, train_batch_size=2)
    trials = list(short_test(lambda config: lab.train(config, pictures=0), config, start=1e-3))
    run, = lab.train_all([config.replace(learning_rate=0.1, lr_scheduler="linear")], pictures=0, checkpoint_at=(2,))
    return lab, trials, run


def test_the_closing_figure_names_what_was_found_kept_and_drawn(trained):
    lab, trials, run = trained
    assert lab.store.run(run.run_id).checkpoints() == [2, 4]
    found = plot_journey(lab, trials, run, 2, seeds=2)
    captions, side = lab.territory.validation.take(2).captions, lab.base.resolution
    assert "after 2 is kept" in found.summary and all(caption in found.summary for caption in captions)
    assert found.encoded("png") and len(found.axes) == 3
    pictures = found.axes[-1].images[0].get_array()
    assert pictures.shape[:2] == (3 * side + 8, 2 * side + 4)
    assert (pictures[side + 4:2 * side + 4, :side] == lab.generate(captions, run=run, step=2)[0]).all()
    assert_words_keep_apart(found)


def test_the_checkpoint_to_keep_is_one_that_the_store_has(trained):
    lab, _, run = trained
    kept, reason = checkpoint_to_keep(lab, run)
    assert kept in (2, 4) and "is kept" in reason


def test_diffusers_draws_the_same_picture_from_the_exported_checkpoint(trained, tmp_path):
    lab, _, run = trained
    sentence = take_home(lab, run, 2, tmp_path / "mine.safetensors")
    assert "mine.safetensors" in sentence and "the same picture" in sentence
    assert int(sentence.split(" at most")[0].split()[-1]) <= 2


def trial(rate, loss, kind="healthy"):
    history = made_run(kind, learning_rate=rate)
    label = kind if kind in LABELS else diagnose(history).label
    return SimpleNamespace(learning_rate=rate, loss=loss, run=history, verdict=SimpleNamespace(label=label))


def test_each_sentence_of_the_synthesis_is_judged_by_its_numbers():
    trials = [trial(3e-3, 0.18, "stagnating"), trial(1e-2, 0.10), trial(3e-2, np.nan, "blown up")]
    caught = Table(["planted", "what it changes", "found in", "by", "what to do"],
                   [["a", "b", "the file", "rate", "x"], ["a", "b", "not found", "", ""]])
    apart = sensitivity(runs(lambda i, j, k: 0.1 + 0.04 * i + 0.02 * j))
    joint = sensitivity(runs(lambda i, j, k: 0.2 + 0.02 * i + 0.03 * (2 * j - 1) * (2 * k - 1)))

    def verdicts(divided, trials=trials):
        table = claims_table(divided=divided, trials=trials, proposals=propose(24, kinds=2), caught=caught)
        return {row[1].split()[0] + " " + row[1].split()[1]: row for row in table.rows}

    one, other = verdicts(apart), verdicts(joint)
    assert one["Each parameter"][0] == "holds" and other["Each parameter"][0] == "measured otherwise"
    assert one["The values"][0] == "measured otherwise" and "1e-2 where 3e-3" in one["The values"][2]
    assert one["Before the"][0] == "measured otherwise" and "1 of 2" in one["Before the"][2]
    assert one["Too aggressive"][0] == "holds"
    tame = [trial(3e-3, 0.10), trial(1e-2, 0.106), trial(1e-3, 0.102)]  # in the order of the test
    assert verdicts(apart, tame)["Too aggressive"][0] == "holds if"
    assert verdicts(apart, trials[:2])["Too aggressive"][0] == "not decided here"
    assert "optimizer" in one["With these"][2] and one["Laws of"][0] == "an image"


def test_what_was_not_measured_is_not_judged():
    rows = {" ".join(row[1].split()[:2]): row for row in claims_table().rows}
    assert rows["Before the"][0] == rows["The values"][0] == "not decided here"
