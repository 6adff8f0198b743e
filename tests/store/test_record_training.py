"""The store and the trainer together: what is recorded is what was trained, stopped, resumed or forked."""

import numpy as np
import pytest
import tiny

from labkit.design.config import RunConfig, run_id
from labkit.engine.sweep import plan, sweep
from labkit.engine.train import Monitor, train
from labkit.errors import LabError
from labkit.judge.diagnose import diagnose
from labkit.store.events import Step
from labkit.store.runs import Store, record

CONFIG = RunConfig(max_train_steps=6, train_batch_size=2)
MONITOR = Monitor(images=8)


@pytest.fixture(scope="module")
def world():
    return tiny.base(), tiny.cache()


def keep(store, world, configs, **options):
    """Train configurations into a store; return the events."""
    base, cache = world
    configs = [config.resolved(len(cache.train)) for config in configs]
    named = {run_id(config, base.fingerprint, cache.fingerprint): config for config in configs}
    resume = options.get("resume")
    events = train(base, cache, configs, monitor=MONITOR, **options)
    return list(record(store, events, named, resume_at=resume[0].global_step if resume else None))


def name(world, config):
    return run_id(config.resolved(len(world[1].train)), world[0].fingerprint, world[1].fingerprint)


def same(one, other):
    """Assert that two runs hold the same numbers, bit for bit."""
    for column in ("global_step", "loss", "learning_rate", "grad_norm", "update_norm"):
        np.testing.assert_array_equal(one.steps[column], other.steps[column])
    for curve in one.validations:
        np.testing.assert_array_equal(one.validations[curve].steps, other.validations[curve].steps)
        np.testing.assert_array_equal(one.validations[curve].losses, other.validations[curve].losses)


def test_a_group_is_recorded_each_run_in_its_folder_and_found_again(world, tmp_path):
    configs = [CONFIG.replace(learning_rate=rate) for rate in (1e-4, 1e-2)]
    store = Store(tmp_path)
    keep(store, world, configs)
    for config in configs:
        run = store.find(config.resolved(len(world[1].train)), world[0].fingerprint, world[1].fingerprint)
        assert run.status == "finished" and len(run.steps["loss"]) == 6
        assert diagnose(run, store.load_runs()).label


def test_a_stopped_run_resumed_from_the_store_equals_one_trained_in_one_go(world, tmp_path):
    straight, broken = Store(tmp_path / "straight"), Store(tmp_path / "broken")
    keep(straight, world, [CONFIG])
    answers = iter([False, False, True])
    keep(broken, world, [CONFIG], stop=lambda: next(answers))
    run = broken.run(name(world, CONFIG))
    assert run.status == "stopped" and run.checkpoints() == [3]
    keep(broken, world, [CONFIG], resume=[run.checkpoint()])
    same(run.load(), straight.run(run.run_id).load())


def test_a_fork_leaves_its_parent_where_their_rates_part_and_equals_its_replay_from_the_beginning(world, tmp_path):
    store, other = Store(tmp_path / "store"), Store(tmp_path / "other")
    keep(store, world, [CONFIG], checkpoint_at=(2, 4))
    parent = store.run(name(world, CONFIG))
    forked = CONFIG.replace(lr_edits=((3, 1e-4),), parent=parent.run_id)
    child = name(world, forked)
    events = sweep(*world, plan(*world, [forked]), store, monitor=MONITOR)
    trained = [event.global_step for event in events if isinstance(event, Step)]
    assert trained == [3, 4, 5, 6]  # from the parent's last checkpoint before its rate changed
    keep(other, world, [forked.replace(parent=None)])
    same(store.run(child).load(), other.run(child).load())
    assert store.run(child).load().steps["learning_rate"].tolist() == [1e-3] * 3 + [1e-4] * 3


def test_a_fork_that_differs_in_more_than_its_rates_is_refused(world, tmp_path):
    store = Store(tmp_path)
    keep(store, world, [CONFIG], checkpoint_at=(2,))
    other = CONFIG.replace(rank=4, parent=name(world, CONFIG))
    with pytest.raises(LabError, match="differs from this run in more than lr_edits"):
        list(sweep(*world, plan(*world, [other]), store, monitor=MONITOR))
