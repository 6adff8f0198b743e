"""How recorded sets are made: trained once, thinned, pictures small, read back as recorded."""

import json
import zipfile

import numpy as np
import pytest
import tiny

from labkit import lab as lab_module
from labkit.design.config import RunConfig
from labkit.engine.sweep import grid
from labkit.errors import LabError
from labkit.experiments import batch_size as batch_sizes
from labkit.experiments import overfitting
from labkit.store import recorded as shipped
from labkit.store import runs
from labkit.store.events import Sample, Step, Stopped
from labkit.view.pictures import sample_pictures
from recipes.ship import recorded as recipe

GRIDS = [
    {"train_batch_size": 2, "learning_rate": [1e-2, 3e-2], "max_train_steps": 60},
    {"train_batch_size": [2, 4], "learning_rate": 1e-2, "max_train_steps": 60},
]


def tiny_lab(*, data, **options):
    return tiny.lab(data=tiny.territory(name=data), **options)


def test_a_set_of_several_grids_is_trained_once_thinned_and_read_back(monkeypatch, tmp_path):
    monkeypatch.setattr(lab_module, "Lab", tiny_lab)
    monkeypatch.setitem(recipe.SETS, "small", recipe.RecordedSet(tuple(GRIDS)))
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    recipe.make("small", tmp_path / "work", tmp_path / "data" / "runs")
    runs_of_set = shipped.recorded("small")
    assert len(runs_of_set) == 3                                     # one design is in both grids
    for run in runs_of_set:
        assert run.origin == "recorded" and run.status == "finished"
        assert run.meta["made_by"].endswith("recipes.ship.recorded small")
        assert run.steps["global_step"][-1] == 60 and len(run.steps["global_step"]) <= recipe.KEPT_STEPS
        assert run.validations["validation"].steps[-1] == 60
    assert len(batch_sizes.best_rates(runs_of_set).rows) == 2
    assert [row[0] for row in overfitting.turns(runs_of_set).rows] == ["12"] * 3


def test_pictures_ship_as_webp_and_are_found_from_the_thinned_record(tmp_path):
    source, target = (runs.Store(tmp_path / name).run("a" * 16) for name in ("source", "target"))
    config = RunConfig(max_train_steps=4).resolved(12)
    at, picture = (source.run_id, 1, 4), np.full((1, 16, 16, 3), 90, np.uint8)
    with source.writer(config) as writer:
        writer.write(Step(*at, 0.1, 1e-3, 1.0, 0.1))
        writer.write(Sample(*at, picture, ("a pool",), (0,), 5.0))
        writer.write(Stopped(*at, "finished"))
    target.path.mkdir(parents=True)
    (target.path / "config.json").write_bytes((source.path / "config.json").read_bytes())
    target.events_path.write_bytes(source.events_path.read_bytes())
    recipe.keep_pictures(source.path, target.path)
    recipe.thin(target.events_path)
    assert [path.suffix for path in (target.path / "samples").iterdir()] == [".webp"]
    assert abs(sample_pictures(target.load())[1].astype(int) - 90).max() <= 2


def test_a_loss_that_is_not_a_number_is_kept_however_thin_the_record(tmp_path):
    lines = [{"event": "Step", "time": 1.0, "global_step": step, "samples_seen": step,
              "loss": "NaN" if step == 37 else 0.1} for step in range(1, 101)]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, lines)))
    recipe.thin(tmp_path / "events.jsonl")
    steps = [json.loads(line)["global_step"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert 37 in steps and steps[-1] == 100 and len(steps) <= recipe.KEPT_STEPS + 1


@pytest.mark.parametrize("name", recipe.SETS)
def test_every_set_is_possible_on_the_pictures_that_ship(name):
    for part in recipe.SETS[name].grids:
        for config in grid(**part):
            config.resolved(96)


def test_the_two_sets_of_batches_show_as_many_pictures_and_make_as_many_updates():
    def volumes(name):
        return [config.resolved(96) for part in recipe.SETS[name].grids for config in grid(**part)]

    assert len({config.max_train_steps * config.train_batch_size for config in volumes("batch_equal_epochs")}) == 1
    assert len({config.max_train_steps for config in volumes("batch_equal_updates")}) == 1


def test_a_set_is_of_one_territory():
    assert all(len({part.get("data", "liminal") for part in recorded.grids}) == 1 for recorded in recipe.SETS.values())


@pytest.mark.parametrize("name, data, message", [
    ("run/config.json", bytes(60_000_000), "would unpack to 1 files of 60 MB, more than any set"),
    ("../x", b"{}", "names a file '../x'"), ("/x", b"{}", "names a file '/x'"),
    ("a\x1b[31m", b"{}", r"names a file 'a.x1b"),
    ("a/" * 2000 + "b", b"{}", "names a file"), ("a" * 300, b"{}", "names a file"),
])
def test_a_set_that_is_none_is_refused_before_anything_is_unpacked(tmp_path, monkeypatch, name, data, message):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "runs").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "data" / "runs" / "some.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, data)
    with pytest.raises(LabError, match=message):
        shipped.recorded("some")
    assert not list((tmp_path / "cache").rglob("*"))


@pytest.mark.parametrize("at, byte", [(8, 0x01), (8, 99), (6, 0x01), (30, 0xFF)])
def test_a_set_that_is_encrypted_or_packed_otherwise_is_damaged(tmp_path, monkeypatch, at, byte):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "config.json").write_text("{}")
    file = tmp_path / "data" / "runs" / "some.zip"
    shipped.pack(tmp_path / "set", file)
    data = bytearray(file.read_bytes())
    directory = data.index(b"PK\1\2")
    data[at] = byte
    data[directory + at + 2] = byte                           # it repeats what stands before each file, two bytes on
    file.write_bytes(data)
    with pytest.raises(LabError, match="some.zip is damaged"):
        shipped.recorded("some")


def test_a_set_is_unpacked_again_where_its_copy_is_broken_and_named_where_it_is_broken_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    (tmp_path / "set" / "run").mkdir(parents=True)
    (tmp_path / "set" / "run" / "config.json").write_text("{}")
    file = tmp_path / "data" / "runs" / "some.zip"
    shipped.pack(tmp_path / "set", file)
    before = file.read_bytes()
    shipped.pack(tmp_path / "set", file)
    assert file.read_bytes() == before
    kept = shipped.unpacked(file) / "run" / "config.json"
    kept.unlink()
    assert shipped.unpacked(file) == kept.parents[1] and kept.read_text() == "{}"
    assert [folder.name for folder in kept.parents[2].iterdir()] == [kept.parents[1].name]  # nothing is left aside
    kept.write_text("[]")                                     # of the same size, but not as packed
    assert shipped.unpacked(file) == kept.parents[1] and kept.read_text() == "{}"
    file.write_bytes(before[:-9])
    with pytest.raises(LabError, match="some.zip is damaged"):
        shipped.recorded("some")
