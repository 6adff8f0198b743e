"""What a person does to runs that train: pause, step, end one, change a rate by hand; all of it kept on the disk."""

import pytest
from panels import begin, done, press, rest, shown, until


@pytest.fixture
def steered(racing):
    """Return a panel whose race rests after a few updates; it is stopped at the end."""
    begin(racing, 400)
    rest(racing)
    yield racing
    press(racing, "stop")
    racing.wait()


def running(panel):
    """Return the runs that go on, by name."""
    return {run["name"]: run["id"] for run in panel._view.state["running"]}


def test_a_pause_keeps_everything_on_the_disk_and_holds_neither_base_nor_turn(steered, lab):
    at = {lab.store.run(name).checkpoint().global_step for name in running(steered).values()}
    assert len(at) == 1 and f"paused after {at.pop()} update" in steered._view.stage
    assert lab.base.lock.acquire(blocking=False)
    lab.base.lock.release()
    other = lab.train(max_train_steps=2, train_batch_size=2, learning_rate=1e-5, pictures=0)
    assert other.status == "finished" and steered._view.state["mode"] == "paused"


def test_a_step_goes_on_to_the_next_measurement(steered):
    measured = [run.validations["validation"].steps[-1] for run in steered._run.results]
    press(steered, "step")
    until(lambda: steered._view.state["mode"] == "training")
    until(lambda: steered._view.state["mode"] == "paused")
    after = [run.validations["validation"].steps for run in steered._run.results]
    assert [steps[-2] for steps in after] == measured
    assert {run.steps["global_step"][-1] - steps[-1]
            for run, steps in zip(steered._run.results, after, strict=True)} == {1}


def test_a_run_that_is_ended_stays_where_it_was_while_the_others_go_on(steered):
    gone = running(steered)["1e-4"]
    press(steered, "stop", run=gone)
    until(lambda: "1e-4" not in running(steered))
    before = done(steered)
    press(steered, "pause")
    until(lambda: done(steered) > before)
    press(steered, "stop")
    steered.wait()
    ends = {run.run_id: run.stopped.global_step for run in steered.results}
    assert ends.pop(gone) < min(ends.values()) and len(set(ends.values())) == 1


def test_a_rate_changed_by_hand_is_a_fork_that_shares_its_parents_beginning(steered, lab):
    parent = running(steered)["1e-3"]
    at = lab.store.run(parent).checkpoint().global_step
    press(steered, "rate", run=parent, text="3e-3")
    until(lambda: len(running(steered)) == 4)
    name = f"1e-3 → 3e-3 after {at}"
    assert next(iter(running(steered))) == name == shown(steered)[-1]
    [told] = [piece for piece in steered._view.race.data.pieces if piece.get("fork")]
    assert told["fork"] == at and told["name"] == name
    press(steered, "pause")
    until(lambda: "the fork first" in steered._view.stage)
    until(lambda: done(steered) > at + 1)
    press(steered, "stop")
    steered.wait()
    fork = lab.store.run(told["run"]).load()
    assert (fork.config.parent, fork.config.lr_edits) == (parent, ((at, 3e-3),))
    first = lab.store.run(parent).load()
    assert fork.steps["loss"][:at].tolist() == first.steps["loss"][:at].tolist()
    assert (fork.steps["learning_rate"] == [1e-3] * at + [3e-3] * (len(fork.steps["loss"]) - at)).all()


def test_only_a_run_that_goes_on_can_be_given_another_rate(steered):
    gone = running(steered)["1e-4"]
    press(steered, "stop", run=gone)
    until(lambda: "1e-4" not in running(steered))
    press(steered, "rate", run=gone, text="3e-3")
    until(lambda: steered._view.state["error"])
    assert "only one that goes on" in steered._view.state["error"]["words"]
    assert steered._view.state["mode"] == "paused" and len(shown(steered)) == 3


def test_a_race_that_rests_ends_when_each_of_its_runs_is_ended_at_once(racing):
    begin(racing, 400)
    rest(racing)
    ids = list(running(racing).values())
    racing._run._dropped += ids[1:]                           # as quick as pressing can be
    press(racing, "stop", run=ids[0])
    assert racing.wait() is not None and racing._run.error is None
    assert {run.status for run in racing.results} == {"stopped"}


def test_a_panel_that_rests_can_be_stopped(racing):
    begin(racing, 400)
    rest(racing)
    press(racing, "stop")
    assert racing.wait().status == "stopped" and racing._view.state["mode"] == "idle"
    assert racing._view.stage == "3 stopped"
