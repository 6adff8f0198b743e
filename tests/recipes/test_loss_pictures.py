"""What is measured of each checkpoint of many short runs, and the table that ships."""

from types import SimpleNamespace

import numpy as np
import pytest

from labkit.design.config import RunConfig
from labkit.engine.base_files import find_base
from labkit.engine.sweep import grid, groups
from labkit.errors import LabError
from labkit.experiments import loss_and_pictures
from labkit.store.events import Sample, Step, Stopped, Validation
from labkit.store.history import RunBuilder
from recipes.ship import loss_pictures as measured
from recipes.ship import tables

STEPS = [15, 30, 45, 60]


def pictures(shades):
    """Draw a picture of one shade for each number."""
    return np.stack([np.full((16, 16, 3), shade, np.uint8) for shade in shades])


def renders(train, held):
    """Hold drawings against such shades, by a reader whose one feature is the shade and who accepts the dark ones."""
    reader = SimpleNamespace(accepted=lambda drawn, asked: drawn.mean((1, 2, 3)) < 100,
                             read=lambda drawn: SimpleNamespace(features=drawn.mean((1, 2, 3))[:, None]))
    train, held = pictures(train), pictures(held)
    return measured.Renders(reader, (), measured.thumbnails(train), measured.thumbnails(held),
                            reader.read(held).features)


def run(last=60, reason="finished"):
    """Build a run of 60 updates whose loss falls by a thousandth an update, or one that broke after some of them."""
    config = RunConfig(max_train_steps=60, train_batch_size=2, n_train=2).resolved(2)
    builder = RunBuilder("0" * 16, config)
    for step in (0, *(at for at in STEPS if at <= last)):
        for name in ("validation", "probe"):
            builder.add(Validation("", step, 0, name, "monitor", np.full((2, 1), 0.2 - step / 1000), np.zeros((2, 1))))
        if step:
            builder.add(Sample("", step, 0, pictures([step] * 8), ("",) * 8, tuple(range(8)), 3.0))
    for step in range(1, last + 1):
        builder.add(Step("", step, 0, step / 100, 1e-3, 1.0, 1.0))
    builder.add(Stopped("", last, 0, reason))
    return builder.build()


def test_there_are_at_least_sixty_runs_eight_to_a_pass():
    passes = [groups([config.resolved(24) for config in grid(**part)], measured.MAX_ROWS) for part in measured.GRIDS]
    assert all([len(group) for group in each] == [8] for each in passes)
    assert 8 * len(passes) * len(measured.TERRITORIES) >= 60


def test_a_run_is_measured_after_each_quarter():
    assert measured.steps_of(60) == STEPS and measured.steps_of(150)[-1] == 150


def test_each_checkpoint_has_its_losses_and_what_its_pictures_say():
    rows = measured.rows(run(), "healthy", renders([10, 200], [30, 60]))
    assert [row["step"] for row in rows] == STEPS
    assert [row["held_out"] for row in rows] == pytest.approx([0.185, 0.17, 0.155, 0.14])
    assert [row["training"] for row in rows] == pytest.approx([0.08, 0.23, 0.38, 0.53])   # of a quarter each
    assert [row["distance"] for row in rows] == [15, 0, 15, 0]
    assert rows[0]["accepted"] == "1" * 8


def test_what_a_run_that_broke_does_not_have_is_left_open():
    first, second, *gone = measured.rows(run(last=40, reason="diverged"), "diverged", renders([10, 200], [30, 60]))
    assert first["training"] and second["accepted"]
    for row in gone:
        assert {row[name] for name in ("held_out", "training", "accepted", "distance", "copying")} == {None}


def test_a_copy_lies_nearer_than_renders_do_and_a_render_as_near():
    among = renders([10, 200], [30, 60])
    assert among.measures(pictures([10, 200]), 2)["copying"] == 1
    assert among.measures(pictures([30, 60]), 2)["copying"] == 0.5
    assert among.measures(pictures([200]), 1)["copying"] == 0             # that picture was not trained on
    assert among.measures(pictures([90, 110]), 2)["accepted"] == "10"


def test_a_table_is_read_as_it_was_written(tmp_path, monkeypatch):
    among = renders([10, 200], [30, 60])
    rows = [{"run": name, "data": "near"} | row
            for name, last in (("a", 60), ("b", 40)) for row in measured.rows(run(last), "healthy", among)]
    table = {"base": "b", "prompts": 8, "untouched": {"near": {"held_out": 0.2}},
             "columns": list(rows[0]), "rows": [list(row.values()) for row in rows]}
    measured.write(table, tmp_path / "studies" / "table.json")
    found = loss_and_pictures.study(tmp_path / "studies" / "table.json")
    assert found.steps.tolist() == [STEPS, STEPS] and found.shares[0].tolist() == [1, 1, 1, 1]
    assert np.isinf(found.values["held_out"][1, 2:]).all() and not found.accepted[1, 2:].any()
    monkeypatch.setattr(tables, "STUDY", tmp_path / "studies" / "table.json")
    assert found.base == "b"
    with pytest.raises(LabError, match="recipes.ship.loss_pictures"):     # of one run alone checkpoints differ
        tables.loss_pictures()
    monkeypatch.setattr(tables, "STUDY", tmp_path / "none.json")
    assert tables.loss_pictures() == "Not measured yet.\n"


def test_the_table_that_ships_is_of_this_base():
    found = loss_and_pictures.study()
    assert found.base == find_base().fingerprint(), "in data/, run recipes.ship.loss_pictures"
