"""A store is listed by reading and judging each run once, and only what changed since: counted, not timed."""

import numpy as np
import pytest
from test_runs import keep

from labkit import listing, report
from labkit.config import RunConfig
from labkit.events import Step, Stopped, Validation
from labkit.paths import cache_dir
from labkit.runs import RunFolder, Store

META = {"base_fingerprint": "base", "data_fingerprint": "data", "measured_fingerprint": "measured"}
CONFIG = RunConfig(max_train_steps=60)


def add(store, number, *, end=0.1, last=60, meta=META, first=0, stopped=True):
    """Record a run whose held-out loss falls in proportion to its updates, from 0.2 towards `end` after 60."""
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

    keep(store, events(), CONFIG.replace(seed=number).resolved(12), run, meta=meta)


@pytest.fixture
def counted(monkeypatch):
    """Give what was read and what was judged beside whom, since it was last cleared."""
    done = {"read": [], "judged": []}
    history = RunFolder.history

    def reading(folder):
        done["read"].append(int(folder.run_id, 16))
        return history(folder)

    def judging(run, lesson="", siblings=()):
        done["judged"].append(int(run.run_id, 16))
        assert len(siblings) <= 1
        return report.entry(run, lesson, siblings)

    monkeypatch.setattr(RunFolder, "history", reading)
    monkeypatch.setattr(listing, "entry", judging)
    return done


def listed(store, counted):
    for done in counted.values():
        done.clear()
    found = listing.entries(store)
    return found, sorted(counted["read"]), sorted(counted["judged"])


def test_each_run_is_read_and_judged_once_and_not_again_while_nothing_changes(counted):
    store, runs = Store(), list(range(12))
    for number in runs:
        add(store, number, end=0.1 + number / 200)
    first, read, judged = listed(store, counted)
    assert (read, judged) == (runs, runs)
    assert listed(store, counted) == (first, [], [])


def test_only_what_a_new_run_bears_on_is_read_and_judged_again(counted):
    store = Store()
    for number in range(6):
        add(store, number, end=0.1 + number / 200)
    listed(store, counted)
    add(store, 6, end=0.19)
    assert listed(store, counted)[1:] == ([0, 6], [6])        # beside run 0, the best
    add(store, 7, end=0.05)
    assert listed(store, counted)[1:] == (list(range(8)), list(range(8)))


def test_a_run_that_goes_on_is_read_again_and_a_status_is_always_fresh(counted):
    store = Store()
    add(store, 0)
    add(store, 1, last=30, stopped=False)
    assert [found["status"] for found in listed(store, counted)[0]] == ["finished", "interrupted"]
    with store.run(f"{2:016x}").writer(CONFIG.replace(seed=2).resolved(12), META):
        found, read, _ = listed(store, counted)
        assert found[-1]["status"] == "running" and read == [2]
    assert [found["status"] for found in listed(store, counted)[0]] == ["finished", "interrupted", "interrupted"]


def test_the_best_sibling_alone_gives_the_verdict_that_all_give():
    store = Store()
    for number in range(8):
        add(store, number, end=0.02 + 0.023 * number, last=(60, 45, 30)[number % 3])
    add(store, 8, end=0.001, meta=META | {"data_fingerprint": "other"})
    add(store, 9, end=0.001, first=5)
    add(store, 10, end=float("nan"))
    histories = store.histories()
    assert listing.entries(store) == [report.entry(history, siblings=histories) for history in histories]
    assert len({found["label"] for found in listing.entries(store)}) >= 3


@pytest.mark.parametrize("damage", [b"", b"[]", b"\xff" * 40, None])
def test_a_damaged_memory_of_verdicts_is_not_believed(counted, damage):
    store = Store()
    add(store, 0)
    found, *_ = listed(store, counted)
    (file,) = (cache_dir() / "verdicts").iterdir()
    file.write_bytes(file.read_bytes().replace(b"finished", b"diverged") if damage is None else damage)
    assert listed(store, counted) == (found, [0], [0])


def test_a_store_is_listed_where_nothing_can_be_kept(counted, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "file"))
    add(Store(), 0)
    assert listed(Store(), counted)[1:] == listed(Store(), counted)[1:] == ([0], [0])
