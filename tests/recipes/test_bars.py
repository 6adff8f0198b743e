"""The bars that lessons and designs are held to: today's lessons are read, and the table says what was measured."""

import ast
import builtins
import json
from types import SimpleNamespace

import pytest

from labkit import settings
from labkit.design.config import RunConfig
from labkit.design.presets import PRESETS
from labkit.lab import Lab
from labkit.lessons import notebooks
from recipes.ship import bars, lesson_runs
from recipes.ship.bars_table import bars as tables
from recipes.ship.bars_table import held_to, lesson_rows, preset_rows, read_lines, write_lines
from recipes.ship.lesson_runs import LESSONS, executed
from recipes.ship.measure import MEASURED


@pytest.fixture
def only_planned(monkeypatch):
    """Have labs give configurations of full runs in the place of runs, so that nothing is trained."""
    monkeypatch.setattr(settings, "fast", False)
    monkeypatch.setattr(Lab, "train_all", lambda lab, designs, **_: [lab.config(design) for design in designs])


def share(value):
    return [value, max(0.0, value - 0.1), min(1.0, value + 0.1)]


def line(verdict, territory, *, is_best=False, asked=1, ordinary=None, untouched=0.0, of="00, pools"):
    accepted = {"territory": {"untouched": share(untouched), "after": share(territory)}}
    if ordinary is not None:
        accepted["ordinary"] = {"untouched": share(0.8), "after": share(ordinary)}
    return {"of": of, "run": f"{verdict}{territory}", "base": "b", "design": "1e-2 linear", "verdict": verdict,
            "is_best": is_best, "asked": asked, "accepted": accepted}


def seeds(preset, *labels):
    return [{"of": "presets", "base": "b", "run": f"{preset}{seed}", "preset": preset, "seed": seed, "verdict": label}
            for seed, label in enumerate(labels)]


def test_lesson_00_is_measured_at_the_parameters_of_its_notebook(only_planned):
    asked = notebooks.parameters(notebooks.choose(["00"])[0])
    first = executed(LESSONS["00, pools"])["first"]
    assert (first.learning_rate, first.max_train_steps) == (asked["learning_rate"], asked["max_train_steps"])
    assert (first.seed, first.data, first.lr_scheduler) == (asked["seed"], lesson_runs.POOLS, "linear")


def test_lesson_01_is_measured_at_the_rates_and_the_lengths_of_its_races(only_planned):
    style = executed(LESSONS["01, storybook style"])
    assert [run.learning_rate for run in style["race"]] == style["rates"]
    assert {(run.data, run.max_train_steps) for run in style["race"]} == {("near", style["start"].max_train_steps)}
    assert {run.data for run in executed(LESSONS["01, pools and mazes"])["new_places"]} == {"liminal/kind=pool,maze"}


@pytest.mark.parametrize("name", LESSONS)
def test_the_cells_of_a_lesson_need_nothing_that_others_give_and_give_its_lab_and_runs(name):
    lesson = LESSONS[name]
    text = notebooks.choose([lesson.notebook])[0].read_text(encoding="utf-8")
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(text)["cells"]}
    known = set(dir(builtins))
    for cell in lesson.cells:
        tree = ast.parse(cells[cell])
        own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        own |= {(alias.asname or alias.name).split(".")[0] for node in ast.walk(tree)
                if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
        known |= own
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert used <= known, (cell, used - known)
    assert {lesson.lab, *lesson.runs.split(", ")} <= known


def test_a_changed_number_in_a_lesson_changes_what_is_measured(only_planned, monkeypatch, tmp_path):
    notebook = json.loads(notebooks.choose(["00"])[0].read_text(encoding="utf-8"))
    parameters = next(cell for cell in notebook["cells"] if cell["id"] == "00-03")
    parameters["source"] = "".join(parameters["source"]) + "\nlearning_rate = 0.005"
    other = tmp_path / "00_start.ipynb"
    other.write_text(json.dumps(notebook), encoding="utf-8")
    monkeypatch.setattr(lesson_runs.notebooks, "choose", lambda names: [other])
    assert executed(LESSONS["00, pools"])["first"].learning_rate == 0.005


@pytest.mark.parametrize("value, bar, at_least, keeps", [
    (0.8, 0.8, True, "met"), (0.79, 0.8, True, "not met"), (0.1, 0.1, False, "met"), (0.11, 0.1, False, "not met")])
def test_a_bar_is_met_at_its_own_value(value, bar, at_least, keeps):
    assert held_to(value, bar, at_least).endswith(f": {keeps}")


def test_one_kind_is_held_to_more_than_several():
    one, several = (lesson_rows("a", [line("healthy", 0.7, is_best=True, asked=asked)])[1][4] for asked in (1, 2))
    assert (one, several) == ("at least 80 %: not met", "at least 60 %: met")


def test_each_verdict_has_its_own_bar_and_a_second_healthy_run_none():
    lines = [line("healthy", 0.9, is_best=True), line("healthy", 0.5), line("stagnating", 0.25),
             line("overshooting", 0.25), line("not enough evidence", 0.5)]
    assert [row[4] for row in lesson_rows("a", lines)] == [
        "at most 10 %: met", "at least 80 %: met", "", "at most 20 %: not met", "at most 30 %: met", ""]


def test_ordinary_prompts_are_held_to_half_of_what_they_were():
    rows = [lesson_rows("a", [line("healthy", 0.9, is_best=True, ordinary=kept)])[1] for kept in (0.4, 0.38)]
    assert [row[6] for row in rows] == ["at least 50 %: met", "at least 50 %: not met"]
    assert rows[0][5] == "40 % (30 to 50) of 80 %"


def test_a_design_needs_nine_of_ten_seeds_and_fewer_seeds_decide_nothing():
    lines = [*seeds("healthy", *["healthy"] * 9, "overshooting"), *seeds("stagnating", *["stagnating"] * 9),
             *seeds("diverged", *["diverged"] * 8, "healthy", "healthy")]
    rows = {row[0]: row[1:] for row in preset_rows(lines)}
    assert list(rows) == list(PRESETS)
    assert rows["healthy"] == ["9 of 10, 1 overshooting", "at least 9 of 10: met"]
    assert rows["diverged"] == ["8 of 10, 2 healthy", "at least 9 of 10: not met"]
    assert rows["stagnating"] == ["9 of 9", "at least 9 of 10: not measured yet"]
    assert rows["overfitting"] == ["", "at least 9 of 10: not measured yet"]


def test_what_was_not_measured_is_told_to_be_so(tmp_path):
    text = tables(tmp_path / "none.jsonl")
    assert text.count("not measured yet") == len(LESSONS) + len(PRESETS)


def test_what_was_measured_is_of_the_base_that_ships():
    base = json.loads(MEASURED.read_text())["base"]
    assert all(each["base"] == base for each in read_lines()), "in data/, run recipes.ship.bars"


def test_lines_replace_those_of_their_part_and_another_base_starts_anew(tmp_path):
    log = tmp_path / "bars.jsonl"
    write_lines("presets", seeds("healthy", "healthy"), log)
    write_lines("00, pools", [line("healthy", 0.5)], log)
    write_lines("00, pools", [line("healthy", 0.9)], log)
    assert [each["of"] for each in read_lines(log)] == ["00, pools", "presets"]
    assert read_lines(log)[0]["accepted"]["territory"]["after"][0] == 0.9
    write_lines("presets", [one | {"base": "other"} for one in seeds("healthy", "healthy")], log)
    assert [each["base"] for each in read_lines(log)] == ["other"]


def test_of_two_healthy_runs_the_lower_one_is_held_up():
    def made(label, end):
        return SimpleNamespace(label=label, validations={"validation": SimpleNamespace(means=[0.2, end])})
    runs = [made("healthy", 0.13), made("healthy", 0.12), made("overshooting", 0.11)]
    assert bars.best(runs, runs) is runs[1]
    assert bars.best(runs[2:], runs[2:]) is None


def test_a_lesson_without_a_healthy_run_does_not_meet_its_bar():
    assert lesson_rows("a", [line("overshooting", 0.2)])[-1][1:5] == ["no run is healthy", "", "", "not met"]


def test_what_was_measured_of_a_lesson_stays_until_all_of_it_is_measured_again(tmp_path, monkeypatch):
    log = tmp_path / "bars.jsonl"
    runs = [SimpleNamespace(run_id=name, config=RunConfig(max_train_steps=4).resolved(8)) for name in "ab"]
    lab = SimpleNamespace(base=SimpleNamespace(fingerprint="b"), scored_prompts=[])
    kept = [line("healthy", 0.9) | {"run": name} for name in "bc"]
    write_lines("00, pools", kept, log)
    monkeypatch.setattr(bars, "trained", lambda _: (lab, runs))
    monkeypatch.setattr(bars, "diagnose", lambda *_: SimpleNamespace(label="overshooting"))
    monkeypatch.setattr(bars, "best", lambda *_: None)
    monkeypatch.setattr(bars, "read_lines", lambda: read_lines(log))
    monkeypatch.setattr(bars, "write_lines", lambda part, lines: write_lines(part, lines, log))

    def drawn(*_):
        assert [each["run"] for each in read_lines(log)] == ["b", "c"]
        raise KeyboardInterrupt

    monkeypatch.setattr(bars, "drawn", drawn)
    with pytest.raises(KeyboardInterrupt):
        bars.measure_lesson("00, pools")
    monkeypatch.setattr(bars, "drawn", lambda *_: line("healthy", 0.5)["accepted"])
    bars.measure_lesson("00, pools")
    assert [each["run"] for each in read_lines(log)] == ["a", "b"]
