"""`labkit diagnose` on other trainers' logs: text, JSON, exit codes, figures, and what is refused."""

import json
import random

import log_study
import pytest
from command_line import labkit
from event_bytes import event_file, rows_of
from PIL import Image

from labkit.cli import foreign_log
from labkit.cli.diagnose import runs_at
from labkit.errors import LabError
from labkit.judge.foreign import judge_log
from labkit.store.foreign_logs import read_logs

ROWS = [{"step": step, "loss": 0.1 - step / 1000, "val_loss": 0.1 - step / 1000} for step in range(20)]
FILES = {
    "log.csv": "\n".join(["step,loss,val_loss", *(",".join(map(str, row.values())) for row in ROWS)]),
    "log.jsonl": "\n".join(map(json.dumps, ROWS)), "trainer_state.json": json.dumps({"log_history": ROWS}),
}
PIECES = (b"NaN", b"inf", b"1e999", b"1e308", b"-", b",,,", b"\n", b'"', b"{", b"\0", b"\xff")

@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """Return the event file of a healthy run."""
    place = tmp_path_factory.mktemp("logs") / "run" / "events.out.tfevents.1.host"
    return event_file(place, rows_of(log_study.made_log("healthy", 7_000_000)))


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Return the event file of a run that broke."""
    place = tmp_path_factory.mktemp("logs") / "run" / "events.out.tfevents.1.host"
    return event_file(place, rows_of(log_study.made_log("training loss alone, broken", 7_000_000)))


def test_a_log_is_judged_in_a_few_lines_that_name_what_was_read(capsys, healthy):
    code, out, _ = labkit(capsys, "diagnose", healthy)
    assert code == 0 and f"{healthy}: healthy" in out and "test/val" in out and len(out.splitlines()) < 12
    assert "noise" in out


def test_inspect_tells_a_log_and_a_folder_of_event_files_from_what_else_there_is(capsys, healthy):
    for place in (healthy, healthy.parent):
        code, out, _ = labkit(capsys, "inspect", place, "--json")
        log, *_, verdict = json.loads(out)
        assert code == 0 and log["name"] == "log" and verdict["name"] == "verdict"
        assert "TensorBoard event file" in log["found"] and "validation loss (" in log["found"]


def test_json_has_the_documented_names(capsys, healthy):
    code, out, _ = labkit(capsys, "diagnose", healthy, "--json")
    (told,) = json.loads(out)
    assert code == 0 and told["label"] == "healthy" and told["kind"] == "log"
    assert list(told) == ["path", "kind", "run", "form", "trainer", "tags", "points", "label", "confidence",
                          "since_step", "evidence", "advice", "sentence", "cautions", "notes"]


def test_a_run_that_broke_gives_exit_code_1(capsys, broken):
    code, out, _ = labkit(capsys, "diagnose", broken)
    assert code == 1 and "diverged" in out


def test_a_folder_of_logs_takes_a_line_each(capsys, tmp_path, healthy):
    for name in "abcd":
        target = tmp_path / name / healthy.name
        target.parent.mkdir()
        target.write_bytes(healthy.read_bytes())
    (tmp_path / "prices.csv").write_text("step,price\n1,2\n")
    code, out, err = labkit(capsys, "diagnose", tmp_path)
    assert code == 0 and len(out.splitlines()) == 5 and "left out" in err and "prices.csv" in err
    code, _, err = labkit(capsys, "diagnose", tmp_path, "--plot", tmp_path / "all.png")
    assert code == 2 and "one log" in err


def test_a_figure_is_drawn_where_it_is_asked_for(capsys, tmp_path, healthy, broken):
    for log in (healthy, broken):
        labkit(capsys, "diagnose", log, "--plot", tmp_path / "log.png")
        with Image.open(tmp_path / "log.png") as picture:
            assert picture.format == "PNG" and picture.width > 800
    code, _, err = labkit(capsys, "diagnose", healthy, "--plot", tmp_path / "log.pdf")
    assert code == 2 and ".png" in err


def test_options_of_logs_are_refused_for_runs_and_bad_paths_in_one_sentence(capsys, tmp_path, healthy):
    for arguments, words in (
        ([healthy, "--val-tag", "nothing"], "nothing"), ([tmp_path], "No log with a loss"),
        (["--val-tag", "val_loss"], "other trainers' logs"), ([healthy, "0123"], "one after the other"),
    ):
        code, _, err = labkit(capsys, "diagnose", *arguments, "--store", tmp_path)
        assert code == 2 and words in err and "Traceback" not in err


@pytest.mark.parametrize("name", [*FILES, "events.out.tfevents.1"])
def test_damaged_logs_are_judged_or_refused_in_a_sentence(tmp_path, healthy, name):
    whole = FILES[name].encode() if name in FILES else healthy.read_bytes()[:4000]
    draw = random.Random(name)
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 5)):
            at = draw.randrange(len(data))
            data[at : at + draw.choice([0, 0, 1, 30])] = draw.choice(PIECES)
        (tmp_path / name).write_bytes(data)
        try:
            for log in read_logs(tmp_path / name)[0]:
                json.dumps(judge_log(log).to_dict(), allow_nan=False)
        except LabError:
            continue


def test_a_store_is_given_by_its_folder(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file in ("config.json", "events.jsonl"):
            (tmp_path / name / file).write_text("")
    assert foreign_log.is_store(tmp_path) and not foreign_log.is_foreign(tmp_path)
    assert [folder.run_id for folder in runs_at(tmp_path, None)] == ["one", "two"]
