"""The verbs for recorded runs: listed, judged, named, deleted and shown on a page, without a model."""

import json
import sys

import pytest
from command_line import labkit
from made_runs import made_run
from told_runs import CONFIG, ID, keep, some_events

from labkit.cli.listing import WIDTH
from labkit.store.events import Sample, Step, Stopped, Validation
from labkit.store.journal import Journal
from labkit.store.runs import Store

STOPPED, SMALL = "b" * 16, "c" * 16


def events_of(run, name):
    """Give the events of a made run under another id."""
    for step, loss in zip(run.steps["global_step"].tolist(), run.steps["loss"].tolist(), strict=True):
        yield Step(name, step, 4 * step, loss, 1e-3, 0.5, 0.01)
    for kind, curve in run.validations.items():
        for step, losses in zip(curve.steps.tolist(), curve.losses, strict=True):
            yield Validation(name, step, 4 * step, kind, "monitor", losses, run.timesteps[kind])
    for samples in run.samples:
        yield Sample(name, samples.global_step, 0, samples.images, samples.prompts, samples.seeds, 5.0)
    yield Stopped(name, 200, 800, "finished")


@pytest.fixture(scope="module")
def made():
    return made_run("healthy", learning_rate=1e-3)


@pytest.fixture
def store(made):
    """Give a store of a long healthy run, one that was stopped and one of another rank."""
    store = Store()
    keep(store, events_of(made, ID), made.config, ID)
    keep(store, some_events(run=STOPPED, reason="stopped", last=3), CONFIG.replace(learning_rate=1e-2), STOPPED)
    keep(store, some_events(run=SMALL), CONFIG.replace(rank=2), SMALL)
    return store


def test_runs_are_listed_newest_first_with_what_differs_and_what_can_go_on(store, capsys):
    code, out, err = labkit(capsys, "runs")
    lines = out.split("\n")
    assert code == 0 and err == ""
    assert lines[0].split()[:2] == ["run", "trained"]
    assert all(head in lines[0] for head in ("pictures", "rank", "rate", "updates", "loss", "status"))
    assert [line.split()[0] for line in lines[1:4]] == [SMALL[:6], STOPPED[:6], ID[:6]]
    assert "stopped 3/4" in lines[2] and "● healthy" in lines[3] and "0.0998" in lines[3]
    assert f"`labkit resume {STOPPED[:6]}`" in out and max(map(len, lines[:4])) <= WIDTH


@pytest.mark.parametrize("arguments, found", [
    (["rank=2"], [SMALL]), (["learning_rate=1e-2"], [STOPPED]), (["verdict=healthy"], [ID]),
    (["--status", "resumable"], [STOPPED]), (["--status", "finished"], [ID, SMALL]), (["--last", "1"], [SMALL]),
    (["rank=8", "--last", "1"], [STOPPED]), (["rank=64"], []), (["data=liminal"], [ID, STOPPED, SMALL])])
def test_a_list_is_narrowed_by_settings_verdict_status_and_age(store, capsys, arguments, found):
    code, out, _ = labkit(capsys, "runs", *arguments, "--json")
    assert code == 0 and [run["id"] for run in json.loads(out)] == found


@pytest.mark.parametrize("arguments, words", [
    (["rnk=8"], "did you mean rank"), (["rank=x"], "rank = 'x'"), (["rank"], "key=value"),
    (["verdict=helthy"], "Did you mean healthy?"), (["--last", "0"], "no whole number"),
    (["--status", "done"], "done")])
def test_a_mistyped_filter_is_answered(store, capsys, arguments, words):
    code, out, err = labkit(capsys, "runs", *arguments)
    assert code == 2 and words in err and out == ""


def test_a_list_too_wide_for_a_screen_names_what_it_leaves_out(capsys):
    knobs = [{"optimizer": "sgd"}, {"lr_scheduler": "cosine"}, {"lr_warmup_steps": 1}, {"train_batch_size": 2},
             {"gradient_accumulation_steps": 2}, {"caption_dropout": 0.1}, {"snr_gamma": 5.0}, {"rank": 4},
             {"weight_decay": 0.1}, {"target_modules": "linear"}]
    for number, changes in enumerate(knobs, 1):
        keep(Store(), some_events(run=f"{number:016x}"), CONFIG.replace(**changes), f"{number:016x}")
    _, out, _ = labkit(capsys, "runs")
    lines = out.split("\n")
    assert all(len(line) <= WIDTH for line in lines[:11]) and "They also differ in " in out


def test_the_verdict_on_one_run_fits_a_screen_and_all_of_it_is_there_when_asked_for(store, capsys):
    _, short, _ = labkit(capsys, "diagnose", ID[:6])
    assert len(short.rstrip().split("\n")) <= 24 and "loss on fixed noise" in short and "confidence" in short
    _, whole, _ = labkit(capsys, "diagnose", ID[:6], "--verbose")
    assert "second_half_gain_per_rate" in whole and "second_half_gain_per_rate" not in short
    _, several, _ = labkit(capsys, "diagnose")
    assert several.count("\n") < 24 and all(run in several for run in (ID, STOPPED, SMALL))


def test_a_name_is_shown_and_every_verb_takes_it(store, capsys, tmp_path):
    code, out, _ = labkit(capsys, "name", ID[:6], "bright rooms")
    assert code == 0 and "bright rooms" in out
    assert "bright rooms" in labkit(capsys, "runs")[1]
    for verb, *options in (["diagnose"], ["report", "--to", tmp_path / "a.html"]):
        code, out, err = labkit(capsys, verb, "bright rooms", *options)
        assert code == 0, err
    for verb, *options in (["resume"], ["export", "--to", tmp_path / "a.safetensors"],
                           ["generate", "--prompt", "x", "--to", tmp_path / "a.png"], ["name", "x" * 41]):
        code, _, err = labkit(capsys, verb, "bright rooms", *options)
        assert code == 2 and "There is no run" not in err     # it is known; what else is wrong with it is said
    assert labkit(capsys, "delete", "bright rooms", "--yes")[0] == 0
    assert [folder.run_id for folder in store.runs()] == [STOPPED, SMALL]


def test_a_folder_that_is_no_runs_is_never_deleted(store, capsys, tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet/config.json").write_text("{}")          # as every model's folder has one
    code, _, err = labkit(capsys, "delete", ID, tmp_path / "unet", "--yes")
    assert code == 2 and "is not the folder of a run" in err and len(store.runs()) == 3
    assert [path.name for path in (tmp_path / "unet").iterdir()] == ["config.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_run_that_is_a_link_goes_with_what_it_links_to(store, capsys):
    elsewhere = store.root.parent / "elsewhere"
    store.run(ID).path.rename(elsewhere)
    store.run(ID).path.symlink_to(elsewhere)
    assert labkit(capsys, "delete", ID, "--yes")[0] == 0
    assert len(store.runs()) == 2 and not elsewhere.exists() and not store.run(ID).path.is_symlink()


def test_nothing_is_deleted_without_a_yes(store, capsys, monkeypatch):
    code, _, err = labkit(capsys, "delete", ID)
    assert code == 2 and "--yes" in err
    for answer, left in (("", 3), ("no\n", 3), ("y\n", 2)):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert labkit(capsys, "delete", ID)[0] == (1 if left == 3 else 0)
        assert len(store.runs()) == left


def test_a_run_that_is_being_written_is_not_deleted(store, capsys):
    journal = Journal(store.run(ID).events_path)
    try:
        code, _, err = labkit(capsys, "delete", STOPPED, ID, "--yes")
    finally:
        journal.close()
    assert code == 2 and "is being written" in err and len(store.runs()) == 3


def test_forks_are_named_before_their_parent_goes(store, capsys):
    fork = "f" * 16
    keep(store, some_events(run=fork), CONFIG.replace(parent=SMALL, lr_edits=((3, 1e-5),)), fork)
    _, _, err = labkit(capsys, "delete", SMALL, "--yes")
    assert f"{fork} was forked from {SMALL}" in err


def test_a_page_of_ones_own_runs_shows_curves_pictures_verdicts_and_table_in_both_lights(store, capsys, tmp_path):
    labkit(capsys, "name", ID, "<b>bright")
    code, out, err = labkit(capsys, "report", "--to", tmp_path / "page.html", "--json")
    assert code == 0, err
    page = (tmp_path / "page.html").read_text()
    assert json.loads(out)["runs"] == [ID, STOPPED, SMALL]
    assert page.count("<tr role=") == 4 and "healthy" in page and "image/png;base64" in page and "image/jpeg" in page
    assert "prefers-color-scheme: dark" in page and "&lt;b&gt;bright" in page and "<b>bright" not in page


@pytest.mark.parametrize("arguments, words", [
    (["report", "--to", "page.pdf"], "must end in .html"), (["report", "abc"], "There is no run abc"),
    (["generate", ID, "--prompt", "x", "--to", "a.jpg"], "must end in .png"),
    (["generate", ID, "--prompt", "x", "--to", "a.png", "--strength", "99"], "--strength 99"),
    (["generate", ID, "--prompt", "x", "--to", "a.png", "--count", "65"], "1 to 64 pictures"),
    (["generate", ID, "--to", "a.png"], "--prompt"),
    (["generate", ID, "--prompt", "x", "--to", "a.png"], "no adapter"),
    (["train", "--trackio", "../x"], "--trackio"), (["train", "--tensorboard", __file__], "it is a file")])
def test_bad_input_is_answered_before_anything_is_loaded(store, capsys, arguments, words):
    code, out, err = labkit(capsys, *arguments)
    assert code == 2 and words in err and out == "" and "Traceback" not in err


def test_an_empty_store_has_no_page(capsys, tmp_path):
    code, _, err = labkit(capsys, "report", "--to", tmp_path / "page.html")
    assert code == 2 and "There are no runs" in err


class Terminal:
    """Stand for a terminal on which somebody answers."""

    def __init__(self, answer):
        self.answer = answer

    def isatty(self):
        return True

    def readline(self):
        return self.answer
