"""What people call runs: names, beginnings of ids, and what removing a run would be missed by."""

import pytest
from told_runs import CONFIG, ID, keep, some_events

from labkit.errors import LabError
from labkit.store.names import give_name, name_of, short_ids
from labkit.store.removal import delete, missed_by
from labkit.store.runs import Store

OTHER = ID[:7] + ("0" if ID[7] != "0" else "1") + "0" * 8     # begins like ID for seven digits


@pytest.fixture
def store():
    store = Store()
    for run, seed in ((ID, 0), (OTHER, 1)):
        keep(store, some_events(run=run), CONFIG.replace(seed=seed), run)
    return store


def test_a_named_run_is_meant_by_its_name_and_stays_the_same_run_byte_for_byte(store):
    folder = store.run(ID)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    give_name(folder, "bright rooms", store.runs())
    assert store.named("bright rooms").run_id == ID == store.named(ID).run_id
    assert name_of(folder.path) == "bright rooms"
    assert {path: path.read_bytes() for path in before} == before
    give_name(folder, "", store.runs())
    with pytest.raises(LabError, match="There is no run bright rooms"):
        store.named("bright rooms")


def test_a_name_goes_where_its_folder_goes(store, tmp_path):
    give_name(store.run(ID), "kept", store.runs())
    store.run(ID).path.rename(tmp_path / ID)
    assert name_of(tmp_path / ID) == "kept"


@pytest.mark.parametrize("name", ["a/b", "-x", " x", "x\n", "\x1b[2J", "n" * 41, "..\\x"])
def test_a_name_that_a_terminal_a_path_or_the_command_line_would_misread_is_refused(store, name):
    with pytest.raises(LabError, match="cannot be given"):
        give_name(store.run(ID), name, store.runs())
    assert not (store.run(ID).path / "name.txt").exists()


def test_a_name_that_already_means_another_run_is_refused(store):
    give_name(store.run(ID), "first", store.runs())
    for name in ("first", OTHER[:9]):
        other = store.run(OTHER) if name == "first" else store.run(ID)
        with pytest.raises(LabError, match="already means the run"):
            give_name(other, name, store.runs())
    give_name(store.run(ID), "first", store.runs())           # its own name again is no clash


def test_a_name_file_that_somebody_spoiled_is_no_name(store):
    (store.run(ID).path / "name.txt").write_bytes(b"\xff\xfe")
    assert name_of(store.run(ID).path) == ""
    (store.run(ID).path / "name.txt").write_bytes(b"a\x1b[2J")
    assert name_of(store.run(ID).path) == ""
    (store.run(ID).path / "name.txt").unlink()
    (store.run(ID).path / "name.txt").mkdir()
    assert name_of(store.run(ID).path) == "" and store.named(ID).run_id == ID


def test_short_ids_are_long_enough_to_be_told_apart_and_each_means_its_run(store):
    short = short_ids([ID, OTHER])
    assert short == {ID: ID[:8], OTHER: OTHER[:8]}
    assert all(store.named(beginning).run_id == run for run, beginning in short.items())
    assert short_ids([ID]) == {ID: ID[:6]}
    with pytest.raises(LabError, match="the beginning of 2 run ids"):
        store.named(ID[:7])


def test_a_deleted_run_is_gone_and_others_stay(store):
    assert delete(store.run(ID)) > 1000
    assert [folder.run_id for folder in store.runs()] == [OTHER] and not store.run(ID).path.exists()


def test_a_run_that_is_being_written_is_not_deleted(store):
    from labkit.store.journal import Journal

    journal = Journal(store.run(ID).events_path)
    try:
        with pytest.raises(LabError, match="is being written"):
            delete(store.run(ID))
    finally:
        journal.close()
    assert store.run(ID).load().status == "finished"


def test_what_depends_on_a_run_is_told(store):
    fork, member = "f" * 16, "e" * 16
    keep(store, some_events(run=fork), CONFIG.replace(parent=ID, lr_edits=((3, 1e-5),)), fork)
    keep(store, some_events(run=member, reason="stopped", last=3), CONFIG, member, meta={"group": [ID, member]})
    told = missed_by(store, [ID])
    assert len(told) == 2 and f"{fork} was forked from {ID}" in " ".join(told)
    assert f"{member} is stopped" in " ".join(told)
    assert missed_by(store, [OTHER]) == [] and missed_by(store, [ID, fork, member]) == []
