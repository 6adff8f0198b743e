"""Long runs on few and many pictures: averaged over seeds, drawn side by side, their pictures judged."""

from types import SimpleNamespace

import numpy as np
import pytest
from figures import assert_bands_are_whole, assert_words_keep_apart
from volume_runs import turned

from labkit.datasets.folders import PictureFolder
from labkit.engine.cache import Encoded
from labkit.errors import LabError
from labkit.experiments import overfitting
from labkit.judge.stats import by_picture
from labkit.settings import data_dir
from labkit.view.evidence import Note, evidence, or_note

KINDS = ("pool", "maze", "stairs", "corridor")
LONG = [turned(n, at, seed=seed) for n, at in ((12, 100), (24, 400)) for seed in (0, 1)] + [turned(96, None)]


def drawn(count, seed):
    coarse = np.random.default_rng(seed).integers(40, 215, (count, 4, 4, 3))
    return coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)


SHIPPED = data_dir() / "territories" / "made" / "train"  # the reader is asked of such folders alone


def folder(count, kinds=KINDS, path=SHIPPED, **every):
    attributes = tuple(({"kind": kinds[i % len(kinds)]} if kinds else {}) | every for i in range(count))
    captions = tuple(f"picture {i}" for i in range(count))
    return PictureFolder(path, captions, captions, attributes, captions)


@pytest.fixture
def lab():
    """Give a lab whose base decodes what it is given, on a territory of four kinds."""
    train, validation = drawn(12, 0), drawn(64, 1)
    cache = SimpleNamespace(train=encoded(train), validation=encoded(validation))
    territory = SimpleNamespace(train=folder(12), validation=folder(64))
    base = SimpleNamespace(decode=lambda latents: latents, fingerprint="made")
    return SimpleNamespace(base=base, cache=cache, territory=territory, data_name="liminal")


def encoded(pictures):
    return Encoded(pictures, pictures, {}, tuple(f"picture {i}" for i in range(len(pictures))), ())


def reader(accepts=1.0):
    def accepted(pictures, wanted):
        assert len(wanted) == len(pictures)
        asked.append(wanted)
        return np.arange(len(pictures)) < accepts * len(pictures)

    asked = []
    return SimpleNamespace(accepted=accepted, asked=asked)


def run_with_pictures(lab, copied_from=400):
    """Return a run that draws its training pictures from an update on."""
    prompts, _ = overfitting.asked(lab.territory)
    own = np.array([int(prompt.split()[1]) for prompt in prompts])
    fresh = drawn(len(prompts), 5)
    steps, copied = (50, 100, 200, 400, 800, 1500), lab.cache.train.mean[own]
    pictures = {step: (copied if step >= copied_from else fresh, prompts) for step in steps}
    return turned(12, 100, pictures=pictures)


def test_seeds_are_averaged_picture_by_picture_and_ordered_by_the_number_of_pictures():
    runs = overfitting.over_seeds(LONG[::-1])
    assert [run.config.n_train for run in runs] == [12, 24, 96]
    expected = np.mean([by_picture(run.validations["validation"].losses[-1]) for run in LONG[:2]], axis=0)
    np.testing.assert_allclose(by_picture(runs[0].validations["validation"].losses[-1]), expected, rtol=1e-6)


def test_the_turns_are_told_in_updates_and_in_epochs_and_a_run_that_has_not_turned_says_so():
    rows = {row[0]: row for row in overfitting.turns(LONG).rows}
    assert rows["12"][1].startswith("100 (") and rows["12"][2] == "33.3" and rows["24"][2] == "66.7"
    assert rows["96"][1].startswith("not reached") and rows["96"][2] == "more than 62.5" and rows["96"][4] == ""


@pytest.mark.parametrize("runs", [LONG[:1] + LONG[-1:], LONG, LONG + [turned(48, 800)]])
def test_the_panels_share_a_scale_and_their_words_keep_apart(runs):
    figure = overfitting.plot_gaps(runs)
    assert_words_keep_apart(figure)
    assert_bands_are_whole(figure)
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert "12 pictures: held-out loss lowest at update 100" in figure.summary
    assert "96 pictures: held-out loss still at its lowest" in figure.summary


def test_prompts_are_captions_of_the_first_training_pictures_several_seeds_of_each(lab):
    prompts, seeds = overfitting.asked(lab.territory, 3, 2)
    assert prompts == tuple(f"picture {i}" for i in (0, 0, 1, 1, 2, 2)) and seeds == tuple(range(6))


def test_fresh_pictures_are_of_the_kinds_asked_for_in_the_same_shares(lab):
    prompts = [f"picture {i}" for i in (0, 4, 1, 1)]  # two captions of the first kind, one of the second
    kinds = [lab.territory.validation.attributes[i]["kind"] for i in overfitting.fresh_like(lab.territory, prompts)]
    assert kinds.count("pool") == 2 * kinds.count("maze") == 16 and set(kinds) == {"pool", "maze"}


def test_without_kinds_any_held_out_picture_is_fresh():
    territory = SimpleNamespace(train=folder(50, kinds=()), validation=folder(50, kinds=()))
    assert overfitting.fresh_like(territory, ["picture 1"]) == list(range(50))


def test_copies_are_found_from_the_update_on_at_which_they_begin(lab):
    one = overfitting.judge(lab, run_with_pictures(lab), reader=reader(0.5))
    assert one.times["copying"].step == 400 and one.times["validation"].step == 100
    assert one.accepted.values.mean() == 0.5 and one.copied.values[-1].all()
    rows = overfitting.along([one]).rows
    assert [row[0] for row in rows] == ["50", "100", "200", "400", "800", "1,500"] and rows[-1][3].startswith("+95%")
    assert rows[-1][4].startswith("0.00") and not rows[0][4].startswith("0.00")
    assert_words_keep_apart(overfitting.plot_times([one]))


def test_a_folder_of_a_persons_own_gives_no_score(lab, tmp_path):
    lab.territory.train = folder(12, path=tmp_path / "train")
    one = overfitting.judge(lab, run_with_pictures(lab), reader=reader())
    assert one.accepted is None and set(one.times) == {"validation", "copying"}
    assert overfitting.along([one]).rows[0][2] == "not read"


def test_the_reader_is_asked_for_the_kind_of_places_and_for_the_style_of_drawings(lab):
    of_places, of_drawings = reader(), reader()
    overfitting.judge(lab, run_with_pictures(lab), reader=of_places)
    assert of_places.asked[0][:4] == [{"kind": "pool"}, {"kind": "pool"}, {"kind": "maze"}, {"kind": "maze"}]
    lab.territory.train = folder(12, style="storybook")
    overfitting.judge(lab, run_with_pictures(lab), reader=of_drawings)
    assert set(map(str, of_drawings.asked[0])) == {"{'style': 'storybook'}"}


def test_runs_that_were_recorded_on_another_territory_are_judged_there(lab, tmp_path):
    lab.territory.train = folder(12, path=tmp_path / "train")
    other = SimpleNamespace(**vars(lab) | {"data_name": "near"})
    other.territory = other.cache = None  # nothing of the lesson's own territory is asked
    other.with_data = {"liminal": lab}.get
    [one] = overfitting.judged_runs([run_with_pictures(lab)], other)
    assert len(one.training) == 12 and one.copied.values[-1].all()


def test_predictions_are_compared_with_the_race():
    words = overfitting.predictions([LONG[0], LONG[2], LONG[4]], 96, 100)
    assert words.startswith("Lowest at the end: the run on 96 pictures. You said 96: yes.")
    assert "On 12 pictures the held-out loss was lowest at update 100 (" in words
    assert words.endswith("You said 100: yes.")
    assert "You said" not in overfitting.predictions([LONG[0], LONG[4]])
    assert overfitting.predictions([LONG[0], LONG[4]], 12, 1500).count("yes") == 0


def test_each_run_has_a_row_of_what_it_draws_beside_the_nearest_of_its_own_pictures(lab):
    lab.territory.prompts = ("an indoor pool", "a yellow maze of rooms without an end", "a corridor")
    lab.monitor = lambda: SimpleNamespace(num_inference_steps=2)
    lab.generate = lambda prompts, run, num_inference_steps: lab.cache.train.mean[[9, 1, 3]]
    figure = overfitting.plot_pairs(lab, [turned(4, 100), turned(12, 400)])
    assert_words_keep_apart(figure)
    [image] = [image for ax in figure.axes for image in ax.images]
    few, many = (image.get_array()[row:row + 16] for row in (0, len(image.get_array()) - 16))
    assert (many[:, 20:36] == drawn(12, 0)[9]).all()             # of twelve, the tenth was copied
    assert (few[:, 20:36] != drawn(12, 0)[9]).any()              # which the run on four has never seen


def test_runs_without_pictures_or_of_another_base_are_refused_in_a_sentence(lab):
    with pytest.raises(LabError, match="no picture was kept"):
        overfitting.judge(lab, turned(12, 100))
    run = turned(12, 100)
    run.meta["base_fingerprint"] = "another"
    with pytest.raises(LabError, match="recorded on another base"):
        overfitting.judged_runs([run], lab)


def test_a_set_that_does_not_ship_gives_one_sentence_with_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    note = evidence("long_runs", overfitting.plot_gaps)
    assert isinstance(note, Note) and "python -m recipes.ship.recorded long_runs" in repr(note)
    assert "role='note'" in note._repr_html_()
    assert or_note(overfitting.plot_times, note) is note and capsys.readouterr().out == ""


def test_what_a_function_refuses_becomes_a_note():
    assert "no picture was kept" in repr(or_note(overfitting.judge, None, turned(12, 100)))
