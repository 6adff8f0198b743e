"""What notebooks call: one lab, its races, tables and protocol, on a base of a few thousand weights."""

import dataclasses
import os
import signal
import warnings
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from picture_folders import saved

from labkit.design.config import RunConfig
from labkit.engine.sweep import grid
from labkit.errors import LabError, LabWarning
from labkit.experiments.short_test import LADDER, first_rungs, short_test, trial_table
from labkit.lab import Lab
from labkit.store.events import Step, Stopped, Validation
from labkit.store.history import RunBuilder
from labkit.view import tables
from labkit.view.live import live

SHORT = {"max_train_steps": 6, "pictures": 0, "train_batch_size": 2}


@pytest.fixture
def lab():
    return tiny.lab(data=tiny.territory(prompts=("a pool",)))


def test_a_race_gives_the_runs_in_the_order_of_its_values(lab):
    rates = [1e-2, 1e-4, 1e-3]
    runs = lab.race("learning_rate", rates, **SHORT)
    assert [run.config.learning_rate for run in runs] == rates
    assert [run.status for run in runs] == ["finished"] * 3
    assert all(run.origin == "live" for run in runs)


def test_none_is_a_value_of_a_race_where_the_field_has_it(lab):
    runs = lab.race("snr_gamma", [None, 5.0], RunConfig(snr_gamma=5.0), **SHORT)
    assert [run.config.snr_gamma for run in runs] == [None, 5.0] and runs[0].run_id != runs[1].run_id


@pytest.mark.parametrize(("asked", "kept"), [("bf16", "bf16"), ("no", None), ("no,bf16", None)])
def test_runs_in_one_lower_precision_keep_the_frozen_base_in_it(monkeypatch, asked, kept):
    from labkit import lab as lab_module
    from labkit.cli import runs as verbs
    opened = {}

    def remember(*arguments, **options):
        opened.update(options)
        raise LabError("enough")

    monkeypatch.setattr(lab_module, "Lab", remember)
    configs = [RunConfig(mixed_precision=precision) for precision in asked.split(",")]
    with pytest.raises(LabError, match="enough"):
        verbs.train_all(configs, SimpleNamespace(rows=4, store=None, dtype=None, gradient_checkpointing=True))
    assert opened["dtype"] == kept
    assert (opened["max_rows"], opened["gradient_checkpointing"]) == (4, True)


def test_a_run_that_was_trained_is_found_and_not_trained_again(lab):
    lab.train(learning_rate=1e-3, **SHORT)
    runs = lab.race("learning_rate", [1e-3, 1e-2], **SHORT)
    assert [run.origin for run in runs] == ["store", "live"]
    assert "not trained again" in runs[0].provenance


def test_one_update_is_measured_and_not_kept(lab):
    with pytest.raises(LabError, match="nothing to train"):
        lab.one_update([])
    runs = lab.one_update([1e-4, 1e-1])
    assert [run.validations["validation"].steps.tolist() for run in runs] == [[0, 1], [0, 1]]
    starts, ends = zip(*(run.validations["validation"].means for run in runs), strict=True)
    assert starts[0] == starts[1] and ends[0] != ends[1]
    assert lab.store.runs() == []


def test_the_table_of_a_race_names_what_differs(lab):
    runs = lab.race("lr_scheduler", ["constant", "linear"], **SHORT)
    text = repr(tables.table(runs, "lr_scheduler"))
    assert "constant" in text and "linear" in text and "sum of the rate" in text
    assert "<td" in tables.table(runs)._repr_html_()


def made(rate, end, *, start=0.2, seed=0, steps=(0, 10, 30, 100)):
    """Make a run of 32 pictures that goes from start to end; a step's own loss says nothing."""
    config = RunConfig(learning_rate=rate, max_train_steps=steps[-1], seed=seed).resolved(48)
    name = f"{round(rate * 1e9) + seed:016x}"
    builder, rng = RunBuilder(name, config), np.random.default_rng(0)
    level = rng.uniform(0.8, 1.2, (32, 1))
    for step in range(1, steps[-1] + 1):
        builder.add(Step(name, step, 4 * step, float(rng.uniform(0.1, 0.3)), rate, 1.0, 0.01))
    for i, step in enumerate(steps):
        mean = start + (end - start) * (i / (len(steps) - 1)) ** 0.5
        for set_name in ("validation", "probe"):
            losses = level / level.mean() * mean + 0.001 * rng.normal(size=(32, 1)) * (step > 0)
            timesteps = np.zeros((32, 1), int)
            builder.add(Validation(name, step, 4 * step, set_name, "monitor", losses.astype(np.float32), timesteps))
    builder.add(Stopped(name, steps[-1], 4 * steps[-1], "finished"))
    return builder.build()


@pytest.mark.parametrize("start", [1e-5, 1e-4, 1e-2])
def test_the_short_test_climbs_or_descends_to_the_best_rung(start):
    ends = {1e-5: 0.199, 3e-5: 0.195, 1e-4: 0.180, 3e-4: 0.150, 1e-3: 0.120, 3e-3: 0.110, 1e-2: 0.14, 3e-2: 0.9,
            1e-1: 1.0, 3e-1: 1.0}

    def train(config):
        return made(config.learning_rate, ends[config.learning_rate])

    trials = list(short_test(train, RunConfig(max_train_steps=100), start=start))
    best = min(trials, key=lambda trial: trial.loss)
    assert best.learning_rate == 3e-3
    assert "3e-3" in trials[-1].decision or "0.003" in trials[-1].decision
    assert len(trials) <= 7
    assert "decision" in repr(trial_table(trials))


def test_the_short_test_says_so_where_no_rate_is_stable():
    def train(config):
        return made(config.learning_rate, 1.0)

    trials = list(short_test(train, RunConfig(max_train_steps=100), start=1e-4))
    assert {trial.verdict.label for trial in trials} == {"diverged"}
    assert "no rate" in trials[-1].decision
    assert [trial.learning_rate for trial in trials] == [rate for rate in reversed(LADDER) if rate <= 1e-4]


def test_the_rungs_trained_side_by_side_are_those_that_a_test_from_a_good_start_asks_for():
    assert [f"{rate:g}" for rate in first_rungs(3e-3)] == ["0.001", "0.003", "0.01"]
    assert first_rungs(LADDER[0]) == list(LADDER[:2]) and first_rungs(LADDER[-1]) == list(LADDER[-2:])
    asked = []
    def has_its_valley_at_the_start(config):
        asked.append(config.learning_rate)
        return made(config.learning_rate, {1e-3: 0.15, 3e-3: 0.12}.get(config.learning_rate, 0.17))
    short = list(short_test(has_its_valley_at_the_start, RunConfig(max_train_steps=100), start=3e-3))
    assert sorted(asked) == first_rungs(3e-3) and short[-1].decision.endswith("stop, 3e-3 it is")


def test_predictions_are_compared_and_none_is_not_wrong():
    runs = [made(1e-4, 0.18), made(1e-3, 0.12)]
    assert "yes" in tables.predictions(runs, at_the_end=1e-3)
    assert "You said" not in tables.predictions(runs)


def test_stability_counts_verdicts_over_seeds():
    runs = [made(rate, end, seed=seed) for rate, end in ((1e-5, 0.1999), (1e-3, 0.12)) for seed in range(3)]
    text = repr(tables.stability(runs))
    assert "3 × healthy" in text and "3 × stagnating" in text
    broke = dataclasses.replace(runs[-1], status="diverged")
    assert "not finite" in repr(tables.stability([*runs[:-1], broke]))
    assert "not finite" in repr(tables.table([broke]))


def test_a_run_that_goes_on_comes_back_whole(lab):
    config = RunConfig(max_train_steps=6, train_batch_size=2)
    seen = []
    events = lab.sweep(lab.plan([config]), monitor=lab.monitor(pictures=0), checkpoint_at=(3,),
                       stop=lambda: len(seen) > 8)
    for event in events:
        seen.append(event)
    assert lab.store.runs()[0].status == "stopped"
    whole = lab.train_all([config], pictures=0)[0]
    assert whole.steps["global_step"].tolist() == [1, 2, 3, 4, 5, 6] and whole.validations["validation"].steps[0] == 0


def test_an_interrupted_cell_keeps_what_it_trained_says_so_in_one_sentence_and_goes_on(lab, monkeypatch):
    config = lab.config(max_train_steps=6, train_batch_size=2)

    def interrupted(events, builders, **_):
        for event in live(events, builders):
            yield event
            if isinstance(event, Step) and event.global_step == 3:
                os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("labkit.lab.live", interrupted)
        with pytest.raises(KeyboardInterrupt) as end:
            lab.train_all([config], pictures=0)
    sentence = "Stopped, and what was trained is kept: run this cell again and it goes on from there."
    assert end.value._render_traceback_() == [sentence]
    assert lab.store.runs()[0].status == "stopped" and lab.store.runs()[0].checkpoints()[-1] in (3, 4)
    assert lab.train_all([config], pictures=0)[0].steps["global_step"].tolist() == [1, 2, 3, 4, 5, 6]


def test_one_unfinished_run_of_a_pass_goes_on_and_its_complete_neighbour_comes_back_whole(lab):
    plan = lab.plan(grid(learning_rate=[1e-3, 1e-2], max_train_steps=6, train_batch_size=2))
    (first, second), configs = plan, list(plan.values())
    with closing(lab.sweep(plan, monitor=lab.monitor(pictures=0), checkpoint_at=(3,))) as events:
        for event in events:
            if isinstance(event, Stopped) and event.run_id == first:
                break                                         # as a kill between the ends of two runs
    assert [lab.store.run(name).status for name in (first, second)] == ["finished", "interrupted"]
    runs = lab.train_all(configs, pictures=0)
    measured = [run.validations["validation"].steps.tolist() for run in runs]
    assert [(steps[0], steps[-1]) for steps in measured] == [(0, 6), (0, 6)]
    assert [run.status for run in lab.train_all(configs[1:], pictures=0)] == ["finished"]


def test_a_parent_that_is_not_there_is_named(lab):
    with pytest.raises(LabError, match="parent: there is no run 0123456789abcdef"):
        lab.train(parent="0123456789abcdef", **SHORT)


def test_another_schedule_drops_the_last_rate_of_the_one_before(lab):
    decided = lab.config(lr_scheduler="linear", lr_end=1e-5, max_train_steps=6, train_batch_size=2)
    assert decided.replace(lr_scheduler="constant").lr_end is None
    assert lab.train(decided, lr_scheduler="cosine", pictures=0).config.lr_end == 0


@pytest.mark.parametrize("knobs", [{"resolution": 128}, {"data": "elsewhere"}, {"base": "other"}])
def test_a_lab_refuses_a_design_of_another_base_or_territory(lab, knobs):
    with pytest.raises(LabError, match=f"{next(iter(knobs))} = .* was asked of a lab that was opened with"):
        lab.config(**knobs)


def test_a_run_just_trained_has_the_found_ones_as_siblings(lab):
    slow = lab.train(learning_rate=1e-5, **SHORT | {"max_train_steps": 12})
    fast = lab.train(learning_rate=1e-2, **SHORT | {"max_train_steps": 12})
    assert fast.origin == "live" and slow.meta["base_fingerprint"] == fast.meta["base_fingerprint"] == "tiny"
    found = lab.train(learning_rate=1e-5, **SHORT | {"max_train_steps": 12})
    assert found.origin == "store" and found.meta["measured_fingerprint"] == fast.meta["measured_fingerprint"]


def test_the_protocols_choice_is_what_its_last_line_says_and_not_the_lowest_number_by_chance(lab):
    from types import SimpleNamespace as Space

    from made_runs import made_run

    from labkit.experiments.short_test import chosen
    from labkit.judge.diagnose import diagnose

    def trial(rate, kind, seed=0):
        run = made_run(kind, learning_rate=rate, seed=seed)
        return Space(learning_rate=rate, run=run, verdict=diagnose(run))

    assert chosen([trial(1e-3, "healthy"), trial(3e-3, "healthy", 1)]).learning_rate == 1e-3
    race = [trial(1e-3, "stagnating"), trial(3e-3, "healthy"), trial(1e-2, "overshooting")]
    assert chosen(race).learning_rate == 3e-3
    with pytest.raises(LabError, match="begin it lower"):
        chosen([trial(1e-1, "diverged")])


def test_a_plan_names_each_run_once_and_what_is_planned_is_not_planned_anew(lab, monkeypatch):
    plan = lab.plan([{"rank": 2, "max_train_steps": 6}, RunConfig(rank=2, max_train_steps=6), RunConfig(rank=4)])
    assert [(config.rank, config.alpha, config.n_train) for config in plan.values()] == [(2, 2, 12), (4, 4, 12)]
    assert plan == lab.plan(plan.values())
    monkeypatch.setattr(RunConfig, "resolved", lambda *_: pytest.fail("resolved again"))
    for module in ("sweep", "train"):
        monkeypatch.setattr(f"labkit.engine.{module}.run_id", lambda *_: pytest.fail("named again"))
    events = lab.sweep(dict(list(plan.items())[:1]), monitor=lab.monitor(pictures=0))
    assert {event.run_id for event in events} == set(list(plan)[:1])


def test_a_run_that_is_given_twice_is_trained_once_and_returned_twice(lab):
    first, second = lab.race("learning_rate", [1e-3, 1e-3], **SHORT)
    assert first.run_id == second.run_id and len(lab.store.runs()) == 1


def test_a_lab_on_another_territory_shares_the_base_and_measures_alike():
    lab = tiny.lab(monitor={"images": 8})
    other = lab.with_data(tiny.territory(name="elsewhere", prompts=("a hall",)))
    assert other.base is lab.base and (other.base_name, other.data_name) == ("embedded", "elsewhere")
    assert (other.monitor().images, other.monitor().prompts, other.monitor(images=4).images) == (8, ("a hall",), 4)


def test_a_lab_whose_pictures_are_all_trained_on_records_that_nothing_is_held_out():
    pictures = tiny.territory(prompts=("a pool",))
    pictures.is_held_out = False
    alone, usual = tiny.lab(data=pictures), tiny.lab()
    for lab, expected in ((alone, True), (usual, None)):
        plan = lab.plan([RunConfig(max_train_steps=4)])
        [builder] = lab.begin(plan).values()
        assert builder.meta.get("nothing_held_out") is expected


def test_a_lab_of_three_pictures_says_once_that_a_batch_is_all_of_them():
    few = tiny.lab(data=tiny.territory(3), cache=tiny.cache(3))
    with pytest.warns(LabWarning, match="train_batch_size is 3 where 4 is usual: there are no more") as told:
        plan = few.plan([RunConfig(rank=rank, max_train_steps=2) for rank in (2, 4)])
    assert len(told) == 1 and {config.train_batch_size for config in plan.values()} == {3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        few.config(train_batch_size=3)
        tiny.lab().config()


def test_a_lab_opens_its_pictures_as_the_configuration_reads_them(tmp_path):
    saved(tmp_path / "own", 9)
    lab = Lab.from_config(RunConfig(data=str(tmp_path / "own"), crop="top", captions="names"))
    assert lab.territory.crop == lab.territory.train.crop == "top" and lab.territory.captions == "names"
    assert "00" in lab.territory.train.captions + lab.territory.validation.captions
