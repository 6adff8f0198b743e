"""What runs draw, as examples for the reader's branch for the style: never what is measured."""

from types import SimpleNamespace

import numpy as np
import pytest

from labkit.engine.attribute_reader import STYLE
from labkit.lab import Lab
from recipes.model.training import Pictures
from recipes.ship import style_drawings
from recipes.ship.style_race import DESIGN, race


@pytest.fixture
def lab(monkeypatch):
    """A lab whose drawings are of one shade for each run, and which remembers what it was asked to draw."""
    asked = []

    def generate(captions, seeds, run, **options):
        asked.append((captions, list(seeds), run))
        return np.full((len(captions), 128, 128, 3), 10 * len(asked), np.uint8)

    monkeypatch.setattr(style_drawings, "train", lambda lab, rate, seed: (rate, seed))
    return SimpleNamespace(territory=Lab(data="near").territory, generate=generate, asked=asked,
                           base=SimpleNamespace(fingerprint="of a base"))


def test_each_answer_gets_a_folder_of_drawings_and_nothing_is_drawn_twice(lab, tmp_path):
    style_drawings.draw_all(lab, tmp_path / "drawn")
    style_drawings.draw_all(lab, tmp_path / "drawn")
    assert len(lab.asked) == 2 + len(style_drawings.RUNS)
    found = {folder.name: Pictures(folder) for folder in (tmp_path / "drawn").glob("[!.]*")}
    runs = [answer for _, _, answer in style_drawings.RUNS]
    assert {name: len(pictures) for name, pictures in found.items()} == {
        name: style_drawings.DRAWN * (runs.count(name) + 2 * (name == style_drawings.PLAIN))
        for name in {style_drawings.PLAIN, *runs}}
    assert all(row[STYLE] == name for name, pictures in found.items() for row in pictures.attributes)


def test_drawings_of_another_base_are_refused(lab, tmp_path):
    style_drawings.draw_all(lab, tmp_path / "drawn")
    lab.base.fingerprint = "of another"
    for _ in ("of another", "of none that is known"):
        with pytest.raises(SystemExit, match="drawings of another base"):
            style_drawings.draw_all(lab, tmp_path / "drawn")
        (tmp_path / "drawn/.base.txt").unlink(missing_ok=True)


def test_no_caption_seed_or_run_is_one_that_is_measured(lab, tmp_path):
    style_drawings.draw_all(lab, tmp_path / "drawn")
    captions, seeds = ([x for asked in lab.asked for x in asked[i]] for i in (0, 1))
    assert not {*captions} & {*lab.territory.validation.captions, *lab.territory.ordinary.captions}
    assert len({*seeds}) == len(seeds) and min(seeds) >= len(lab.territory.validation.captions)
    measured = race(SimpleNamespace(config=Lab(data="near").config, train_all=lambda designs, **_: designs))
    assert not {run.seed for run in measured} & {seed for _, seed, _ in style_drawings.RUNS}
    assert "seed" not in DESIGN
