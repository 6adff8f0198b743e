"""The shelf: which runs are on it, what it marks, what it pins."""

from made_runs import made_race, made_run
from panels import START

from labkit.lessons.panel import LabPanel
from labkit.lessons.shelf import RunShelf
from labkit.store.events import Stopped, Validation
from labkit.store.runs import Store, record


def test_the_shelf_reads_the_store_and_marks_what_differs(tmp_path):
    store, runs = Store(tmp_path), made_race(pictures=False)
    shelf = RunShelf(store)
    assert "No runs yet" in shelf.table()
    for run in runs[:3]:
        shelf.add(run)
    table = shelf.table()
    assert table.count("<tr") == 4 and "≠ 1e-2" in table and "≠ 3e-5" not in table and "overshooting" in table


def test_the_shelf_shows_runs_of_its_own_base_and_territory_only(tmp_path, lab):
    panel = LabPanel(lab=lab, design=START, pictures=0)
    run = panel.run()
    assert [run.run_id for run in RunShelf(lab.store).runs] == [run.run_id]
    assert RunShelf(lab.store, data="elsewhere").runs == []


def test_pinning_twice_takes_the_pin_off():
    shelf, run = RunShelf(), made_run(pictures=False)
    shelf.add(run)
    shelf.pin(run)
    assert shelf.pinned is run
    shelf.pin(run)
    assert shelf.pinned is None


def test_a_loss_beyond_the_finite_does_not_break_the_shelf():
    shelf = RunShelf()
    shelf.add(made_run("blown up"))
    assert "not finite" in shelf.table()


def test_a_run_recorded_elsewhere_appears_on_the_shelf(tmp_path):
    run = made_run(pictures=False)
    losses, timesteps = run.validations["validation"].losses[0], run.timesteps["validation"]
    events = [Validation(run.run_id, 0, 0, "validation", "monitor", losses, timesteps),
              Stopped(run.run_id, 5, 20, "finished")]
    list(record(Store(tmp_path), events, {run.run_id: run.config}))
    assert [run.run_id for run in RunShelf(Store(tmp_path)).runs] == [run.run_id]
