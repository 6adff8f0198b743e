"""A listing reads and judges each run once, when it ends, and then only what changed: counted, not timed."""

import shutil

import numpy as np
import pytest
import tiny

from labkit.cli import report
from labkit.design.config import RunConfig
from labkit.errors import LabError, LabWarning
from labkit.files import sources
from labkit.judge import diagnose, findings, kept, listing
from labkit.settings import cache_dir
from labkit.store import journal
from labkit.store.events import Step, Stopped, Validation
from labkit.store.runs import RunFolder, Store, record

META = {"base_fingerprint": "base", "data_fingerprint": "data", "measured_fingerprint": "measured"}
CONFIG = RunConfig(max_train_steps=60)


def add(store, number, *, end=0.1, last=60, meta=META, first=0, stopped=True, trained=False):
    """Record a run whose held-out loss falls in proportion to its updates, from 0.2 towards `end` after 60.

    trained: as training records it, which keeps findings.
    """
    run, timesteps = f"{number:016x}", np.arange(16).reshape(16, 1) * 60
    level = np.random.default_rng(number).uniform(0.6, 1.4, (16, 1))

    def events():
        for step in sorted({0, 5, 15, 30, 45, 60}):
            if first <= step <= last:
                losses = level * (0.2 - (0.2 - end) * step / 60) / level.mean()
                for name in ("validation", "probe"):
                    yield Validation(run, step, 4 * step, name, "monitor", losses.astype(np.float32), timesteps)
                yield Step(run, step + 1, 4 * step + 4, 0.1, 1e-3, 0.5, 0.01)
        if stopped:
            yield Stopped(run, last, 4 * last, "finished")

    recorded = record(store, events(), {run: CONFIG.replace(seed=number).resolved(12)}, meta=meta)
    return list(kept.with_cached_findings(store, recorded) if trained else recorded)


def files():
    """Return the files in which findings are kept."""
    return set((cache_dir() / "findings").rglob("*.safetensors"))


@pytest.fixture
def counted(monkeypatch):
    """Count the runs whose journals are read and whose findings are made, until it is cleared."""
    done = {"read": [], "judged": []}
    load, make = RunFolder.load, findings.findings

    def reading(folder):
        done["read"].append(int(folder.run_id, 16))
        return load(folder)

    def judging(run):
        done["judged"].append(int(run.run_id, 16))
        return make(run)

    monkeypatch.setattr(RunFolder, "load", reading)
    monkeypatch.setattr(findings, "findings", judging)
    return done


def listed(store, counted):
    for done in counted.values():
        done.clear()
    entries = listing.entries(store)
    return entries, sorted(counted["read"]), sorted(counted["judged"])


def test_a_listing_after_training_reads_no_journal_and_judges_nothing_anew(counted):
    store = Store()
    for number in range(8):
        add(store, number, end=0.1 + number / 200, trained=True)
    assert sorted(counted["judged"]) == list(range(8))
    entries, *done = listed(store, counted)
    runs = store.load_runs()
    assert done == [[], []] and entries == [report.entry(run, siblings=runs) for run in runs]


def test_each_run_is_read_and_judged_once_and_not_again_while_nothing_changes(counted):
    store, runs = Store(), list(range(12))
    for number in runs:
        add(store, number, end=0.1 + number / 200)
    first, read, judged = listed(store, counted)
    assert (read, judged) == (runs, runs)
    assert listed(store, counted) == (first, [], [])


def test_a_new_run_bears_on_the_verdicts_of_others_without_their_being_read_again(counted):
    store = Store()
    for number in range(6):
        add(store, number, end=0.18 + number / 500)
    before, *_ = listed(store, counted)
    add(store, 6, end=0.05)
    after, *done = listed(store, counted)
    assert done == [[6], [6]]
    assert [entry["label"] for entry in before[:2]] == [diagnose.HEALTHY] * 2
    assert [entry["label"] for entry in after[:2]] == [diagnose.STAGNATING] * 2


def test_a_changed_journal_is_judged_anew(counted):
    store, name = Store(), f"{0:016x}"
    add(store, 0, last=30, stopped=False, trained=True)
    first, *_ = listed(store, counted)
    with pytest.warns(LabWarning, match="begins again"):
        add(store, 0, end=0.19)
    second, *done = listed(store, counted)
    assert done == [[0], [0]] and second != first
    path = store.run(name).events_path
    path.write_bytes(path.read_bytes().replace(b'"time":1', b'"time":2', 1))
    with pytest.warns(LabWarning, match="Line 1 .* is damaged"):
        assert listed(store, counted) == ([], [0], [])


def test_a_copied_store_is_known_again_and_a_folder_with_another_configuration_is_not(counted, tmp_path):
    store = Store()
    add(store, 0)
    entries, *_ = listed(store, counted)
    shutil.copytree(store.root, tmp_path / "copy")
    assert listed(Store(tmp_path / "copy"), counted) == (entries, [], [])
    add(Store(tmp_path / "other"), 1)
    shutil.copy(tmp_path / "other" / f"{1:016x}" / "config.json", tmp_path / "copy" / f"{0:016x}" / "config.json")
    (changed,), *done = listed(Store(tmp_path / "copy"), counted)
    assert done == [[0], [0]] and changed["config"]["seed"] == 1


def test_a_run_that_goes_on_is_read_again_and_a_status_is_always_fresh(counted):
    store = Store()
    add(store, 0)
    add(store, 1, last=30, stopped=False)
    assert [entry["status"] for entry in listed(store, counted)[0]] == ["finished", "interrupted"]
    with store.run(f"{2:016x}").writer(CONFIG.replace(seed=2).resolved(12), META):
        entries, read, _ = listed(store, counted)
        assert entries[-1]["status"] == "running" and read == [2]
        assert len(files()) == 2
    assert [entry["status"] for entry in listed(store, counted)[0]] == ["finished", "interrupted", "interrupted"]


def test_the_best_sibling_alone_gives_the_verdict_that_all_give():
    store = Store()
    for number in range(8):
        add(store, number, end=0.02 + 0.023 * number, last=(60, 45, 30)[number % 3])
    add(store, 8, end=0.001, meta=META | {"data_fingerprint": "other"})
    add(store, 9, end=0.001, first=5)
    add(store, 10, end=float("nan"))
    runs = store.load_runs()
    assert listing.entries(store) == [report.entry(run, siblings=runs) for run in runs]
    assert len({entry["label"] for entry in listing.entries(store)}) >= 3


def spoil(file, how):
    data = file.read_bytes()
    flipped = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    file.write_bytes({"empty": b"", "json": b"[]", "noise": b"\xff" * 40, "cut": data[:-1], "a number": flipped,
                      "words": data.replace(b"60", b"61", 1)}[how])


@pytest.mark.parametrize("how", ["empty", "json", "noise", "cut", "a number", "words"])
def test_damaged_findings_are_not_believed(counted, how):
    store = Store()
    add(store, 0)
    entries, *_ = listed(store, counted)
    (file,) = files()
    spoil(file, how)
    assert listed(store, counted) == (entries, [0], [0])
    assert listed(store, counted) == (entries, [], [])


def test_findings_of_another_run_or_made_by_other_code_are_not_believed(counted, monkeypatch):
    store = Store()
    add(store, 0, end=0.19)
    first, *_ = listed(store, counted)
    (one,) = files()
    add(store, 1, end=0.05)
    listed(store, counted)
    (other,) = files() - {one}
    shutil.copy(other, one)
    assert listed(store, counted)[1:] == ([0], [0])
    monkeypatch.setattr(kept, "_code", lambda: "other")
    assert listed(store, counted)[1:] == ([0, 1], [0, 1])


def test_what_other_code_has_kept_is_removed_once_something_is_kept_anew(counted, monkeypatch):
    store = Store()
    for number in range(2):
        add(store, number)
    (cache_dir() / "findings").mkdir(parents=True)
    (cache_dir() / "findings" / "of an older version.safetensors").touch()
    listed(store, counted)
    before = files()
    assert len(before) == 2
    monkeypatch.setattr(kept, "_code", lambda: "other")
    listed(store, counted)
    assert len(files()) == 2 and not files() & before and not any(file.exists() for file in before)
    assert [path.name for path in (cache_dir() / "findings").iterdir()] == ["other"]
    assert listed(store, counted)[1:] == ([], [])


def test_the_code_that_findings_depend_on_is_what_they_import_and_not_the_rest_of_the_kit():
    before = sources.checksum(findings)
    assert before == sources.checksum(findings) != sources.checksum(findings, journal)
    needed, deciding = (
        {name.rpartition(".")[2] for name in sources.sources(*modules)} for modules in ([findings], kept.DECIDING)
    )
    assert {"findings", "course", "stats", "verdict_text"} <= needed < deciding
    assert not {"lab", "panel", "train", "curves"} & deciding


def test_training_goes_on_where_a_run_cannot_be_read_back(counted, monkeypatch):
    def damaged(folder):
        raise LabError("damaged")

    monkeypatch.setattr(RunFolder, "load", damaged)
    assert isinstance(add(Store(), 0, trained=True)[-1], Stopped)


def test_a_store_is_listed_where_nothing_can_be_kept(counted, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "file"))
    add(Store(), 0)
    assert listed(Store(), counted)[1:] == listed(Store(), counted)[1:] == ([0], [0])


def test_whatever_a_lab_trains_is_kept_for_listings(counted, monkeypatch, tmp_path):
    lab = tiny.lab(store=tmp_path / "runs")
    events = [Stopped(f"{0:016x}", 0, 0, "stopped")]
    configs = {f"{0:016x}": CONFIG.resolved(12)}
    monkeypatch.setattr("labkit.lab.sweep", lambda base, cache, plan, store, **options: record(store, events, plan))
    assert list(lab.sweep(configs)) == events
    assert listed(lab.store, counted)[1:] == ([], [])
