"""Logs of other trainers: each form, each trainer's tags, and what is odd about logs, told and never a traceback."""

import json
import math
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from event_bytes import event_file

from labkit.errors import LabError
from labkit.store.foreign_logs import read_logs
from labkit.store.log_series import series
from labkit.store.log_tags import fitting, trainer_of

STEPS = list(range(10, 130, 10))
LOSSES = [0.06 - 0.0001 * step for step in STEPS]


def only(path, **options):
    """Return the one log of a file."""
    (log,), _ = read_logs(path, **options)
    return log


def csv(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(("trainer", "tags", "validation", "train", "rate"), [
    ("kohya sd-scripts", ["loss/average", "loss/current", "lr/textencoder", "lr/unet", "loss/validation/step_average",
                          "loss/validation/step_divergence"],
     "loss/validation/step_average", "loss/current", "lr/unet"),
    ("kohya sd-scripts", ["loss/average", "loss/epoch_average", "lr/group0", "loss/validation/epoch_average"],
     "loss/validation/epoch_average", "loss/average", "lr/group0"),
    ("OneTrainer", ["smooth_loss/train_step", "loss/train_step", "lr/unet", "loss/validation_step/dog",
                    "loss/validation_step/total_average"],
     "loss/validation_step/total_average", "loss/train_step", "lr/unet"),
    ("OneTrainer", ["loss/train_step", "loss/validation_step/dog"],
     "loss/validation_step/dog", "loss/train_step", None),
    ("ai-toolkit", ["learning_rate", "loss/loss", "val/loss"], "val/loss", "loss/loss", "learning_rate"),
    ("SimpleTuner", ["train_loss", "loss/val/pooled", "learning_rate", "optimization_loss"],
     "loss/val/pooled", "train_loss", "learning_rate"),
    ("diffusers scripts", ["train_loss", "loss", "lr"], None, "train_loss", "lr"),
    ("transformers Trainer", ["train/loss", "eval/loss", "train/learning_rate", "train/grad_norm"],
     "eval/loss", "train/loss", "train/learning_rate"),
    ("EveryDream2trainer", ["loss/log_step", "loss/val", "loss/train-stabilized"], "loss/val", "loss/log_step", None),
    ("", ["train_loss", "learning_rate"], None, "train_loss", "learning_rate"),
    ("", ["loss"], None, "loss", None), ("", ["loss", "lr"], None, "loss", "lr"),
    ("", ["run a - train_loss", "run a - val_loss", "run a - val_loss__MIN"], "run a - val_loss", "run a - train_loss",
     None),
])
def test_tags_of_each_trainer_are_known(trainer, tags, validation, train, rate):
    found = {role: next(iter(fitting(role, tags)), None) for role in ("validation", "train", "rate")}
    assert found == {"validation": validation, "train": train, "rate": rate}
    assert trainer_of(tags) == trainer


def test_an_event_file_and_a_folder_of_them_are_read(tmp_path):
    tags = "loss/current", "loss/validation/step_average"
    rows = [(tag, step, loss) for step, loss in zip(STEPS, LOSSES, strict=True) for tag in tags]
    event_file(tmp_path / "run" / "events.out.tfevents.1.host", rows[:12])
    event_file(tmp_path / "run" / "events.out.tfevents.2.host", rows[8:])     # resumed: two steps come twice
    logs, _ = read_logs(tmp_path)
    (log,) = logs
    assert log.path == tmp_path / "run" and log.trainer == "kohya sd-scripts"
    assert log.validation.steps.tolist() == STEPS and np.allclose(log.validation.values, LOSSES)
    assert any("resumed run" in note for note in log.notes)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_with_any_delimiter_is_read(tmp_path, delimiter):
    text = "\n".join([delimiter.join(["step", "train_loss", "val_loss", "lr"]),
                      *(delimiter.join([str(step), str(loss), str(loss), "1e-4"])
                        for step, loss in zip(STEPS, LOSSES, strict=True))])
    log = only(csv(tmp_path / "log.csv", text))
    assert (log.train.tag, log.validation.tag, log.rate.tag) == ("train_loss", "val_loss", "lr")
    assert np.allclose(log.validation.values, LOSSES)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_text_is_read_in_the_encoding_that_it_is_marked_with(tmp_path, encoding):
    table = "step\tloss\n" + "\n".join(f"{step}\t{loss}" for step, loss in zip(STEPS, LOSSES, strict=True))
    lines = "\n".join(json.dumps({"step": step, "loss": loss}) for step, loss in zip(STEPS, LOSSES, strict=True))
    for name, text in (("log.csv", table), ("log.jsonl", lines)):
        (tmp_path / name).write_bytes(("\ufeff" * (encoding == "utf-16-be") + text).encode(encoding))
        log = only(tmp_path / name)
        assert log.train.steps.tolist() == STEPS and np.allclose(log.train.values, LOSSES) and not log.notes


def test_steps_with_commas_between_thousands_are_whole_numbers(tmp_path):
    steps = [500, 1000, 12_500, 1_234_567]
    log = only(csv(tmp_path / "log.csv", "step,loss\n" + "\n".join(f'"{step:,}",0.5' for step in steps)))
    assert log.train.steps.tolist() == steps and not log.notes
    log = only(csv(tmp_path / "epochs.csv", "epoch;loss\n0,125;0,5\n1,250;0,4\n"))
    assert log.train.steps.tolist() == [0.125, 1.25] and log.train.values.tolist() == [0.5, 0.4]


def test_json_lines_with_nested_objects_and_bad_lines_are_read(tmp_path):
    lines = [json.dumps({"step": step, "loss": {"train": loss, "val": loss}}) for step, loss in zip(STEPS, LOSSES,
                                                                                                   strict=True)]
    log = only(csv(tmp_path / "metrics.jsonl", "\n".join([*lines, "{half", "[]"])))
    assert log.validation.tag == "loss/val" and len(log.validation) == len(STEPS)
    assert any("2 lines" in note for note in log.notes)


def test_steps_count_in_a_log_whose_first_row_has_an_epoch_alone(tmp_path):
    rows = [{"epoch": 0, "val_loss": 0.07}, *({"epoch": step // 40, "step": step, "loss": loss}
                                              for step, loss in zip(STEPS, LOSSES, strict=True))]
    log = only(csv(tmp_path / "log.jsonl", "\n".join(map(json.dumps, rows))))
    assert log.train.steps.tolist() == STEPS and log.validation.steps.tolist() == [0] and not log.notes


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_row_with_an_epoch_and_no_step_stands_at_the_step_before_it(tmp_path, form):
    rows = []
    for step, loss in zip(STEPS, LOSSES, strict=True):
        rows.append({"step": step, "epoch": "", "loss": loss, "val_loss": ""})
        if step % 40 == 0:
            rows.append({"step": "", "epoch": step // 40, "loss": "", "val_loss": loss})
    lines = [json.dumps({name: value for name, value in row.items() if value != ""}) for row in rows]
    table = ["step,epoch,loss,val_loss", *(",".join(map(str, row.values())) for row in rows)]
    log = only(csv(tmp_path / f"log.{form}", "\n".join(lines if form == "jsonl" else table)))
    assert log.train.steps.tolist() == STEPS and log.validation.steps.tolist() == [40, 80, 120]
    assert log.notes == (f"3 rows of log.{form} with an epoch and no step: put at the step before.",)


def test_the_state_of_a_trainer_is_read_from_its_last_checkpoint(tmp_path):
    for count in (4, 12):
        place = tmp_path / f"checkpoint-{count * 10}"
        place.mkdir()
        history = [{"step": step, "loss": loss, "eval_loss": loss, "learning_rate": 1e-4}
                   for step, loss in zip(STEPS[:count], LOSSES, strict=False)]
        (place / "trainer_state.json").write_text(json.dumps({"log_history": [*history, {"train_runtime": 3, "step": 9,
                                                                                         "train_loss": 1.0}]}))
    (log,), _ = read_logs(tmp_path)
    assert log.trainer == "transformers Trainer" and log.train.tag == "loss" and len(log.validation) == 12


def test_the_state_beside_the_checkpoints_counts_where_it_goes_further(tmp_path):
    for folder, count in (("", 12), ("checkpoint-4", 4), ("checkpoint-90", 9)):
        (tmp_path / folder).mkdir(exist_ok=True)
        history = [{"step": step, "loss": loss} for step, loss in zip(STEPS[:count], LOSSES, strict=False)]
        (tmp_path / folder / "trainer_state.json").write_text(json.dumps({
            "global_step": count, "log_history": history}))
    assert [len(log.train) for log in read_logs(tmp_path)[0]] == [12]
    (tmp_path / "checkpoint-90" / "trainer_state.json").write_text("{cut")
    assert [len(log.train) for log in read_logs(tmp_path)[0]] == [12]


def test_a_run_without_a_loss_leaves_the_others_of_its_database_readable_and_is_told(tmp_path):
    with closing(sqlite3.connect(tmp_path / "project.db")) as base, base:
        base.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, "
                     "run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL)")
    with pytest.raises(LabError, match="project.db holds no run yet"):
        read_logs(tmp_path / "project.db")
    with closing(sqlite3.connect(tmp_path / "project.db")) as base, base:
        for run, tag in (("a", "lr"), ("b", "train/loss")):
            base.executemany("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES ('', ?, ?, ?)",
                             [(run, step, json.dumps({tag: loss})) for step, loss in zip(STEPS, LOSSES, strict=True)])
    (log,), _ = read_logs(tmp_path / "project.db")
    assert log.run == "b" and any("left out" in note and "it has lr" in note for note in log.notes)


def test_sqlite_files_of_trackio_and_ai_toolkit_are_read(tmp_path):
    with closing(sqlite3.connect(tmp_path / "project.db")) as base, base:
        base.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, "
                     "run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL)")
        for run in ("a", "b"):
            base.executemany("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES ('', ?, ?, ?)",
                             [(run, step, json.dumps({"train/loss": loss, "note": "x"}))
                              for step, loss in zip(STEPS, LOSSES, strict=True)])
    with closing(sqlite3.connect(tmp_path / "loss_log.db")) as base, base:
        base.execute("CREATE TABLE metrics (step INTEGER NOT NULL, key TEXT NOT NULL, value_real REAL, "
                     "value_text TEXT, PRIMARY KEY (step, key))")
        base.executemany("INSERT INTO metrics VALUES (?, 'val/loss', ?, NULL)", zip(STEPS, LOSSES, strict=True))
    logs, _ = read_logs(tmp_path / "project.db")
    assert [(log.run, log.form, len(log.train)) for log in logs] == [("a", "Trackio", 12), ("b", "Trackio", 12)]
    log = only(tmp_path / "loss_log.db")
    assert log.trainer == "ai-toolkit" and np.allclose(log.validation.values, LOSSES)


def test_two_runs_of_one_name_in_trackios_newer_files_are_two_runs(tmp_path):
    with closing(sqlite3.connect(tmp_path / "project.db")) as base, base:
        base.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, "
                     "timestamp TEXT NOT NULL, run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL)")
        for run, times in (("ffff0000aaaa", 1), ("0000ffffaaaa", 2)):
            base.executemany("INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) "
                             "VALUES (?, '', 'a', ?, ?)",
                             [(run, step, json.dumps({"train/loss": times * loss}).encode())
                              for step, loss in zip(STEPS, LOSSES, strict=True)])
    logs, _ = read_logs(tmp_path / "project.db")
    assert [(log.run, len(log.train)) for log in logs] == [("a (ffff0000)", 12), ("a (0000ffff)", 12)]
    assert np.allclose(logs[1].train.values, 2 * logs[0].train.values)


def test_tags_can_be_named_and_several_that_fit_are_told(tmp_path):
    table = csv(tmp_path / "log.csv", "step,val_loss,loss/val,odd\n" + "\n".join(f"{step},1,2,3" for step in STEPS))
    log = only(table)
    assert log.validation.tag == "val_loss" and any("--val-tag" in note and "loss/val" in note for note in log.notes)
    chosen = only(table, train_tag="odd", val_tag="loss/val")
    assert (chosen.train.tag, chosen.validation.tag) == ("odd", "loss/val")
    with pytest.raises(LabError, match="no tag 'nothing'.*val_loss"):
        only(table, val_tag="nothing")


def test_a_download_of_tensorboard_is_named_by_its_file(tmp_path):
    table = csv(tmp_path / "run-x-tag-loss_validation_step_average.csv",
                "Wall time,Step,Value\n1.5,10,0.5\n1.6,20,0.4\n")
    assert only(table).validation.values.tolist() == [0.5, 0.4]


@pytest.mark.parametrize(("name", "content", "words"), [
    ("log.csv", "", "no loss"), ("log.csv", "a,b\n1,2\n", "no loss"), ("log.csv", "step,loss\n", "no loss"),
    ("log.jsonl", "\x00\x01\n", "no loss"), ("log.json", "{", "cannot be read as JSON"), ("log.json", "{}", "no log"),
    ("log.db", "not a database, but long enough to be one" * 40, "cannot be read as an SQLite file"),
    ("log.txt", "loss 1", "no log that is known"), ("events.out.tfevents.1", "", "no loss"),
    ("events.out.tfevents.1", "garbage of more than twelve bytes", "no loss"),
])
def test_what_is_no_log_is_refused_in_a_sentence(tmp_path, name, content, words):
    with pytest.raises(LabError, match=words):
        read_logs(csv(tmp_path / name, content))


def test_a_folder_without_logs_is_refused_and_files_without_losses_are_told(tmp_path):
    with pytest.raises(LabError, match="No log with a loss"):
        read_logs(tmp_path)
    csv(tmp_path / "prices.csv", "step,price\n1,2\n")
    csv(tmp_path / "log.csv", "step,loss\n1,2\n")
    logs, left_out = read_logs(tmp_path)
    assert len(logs) == 1 and len(left_out) == 1 and "prices.csv" in left_out[0]


def test_cells_that_are_no_numbers_and_rows_without_a_step_are_left_out(tmp_path):
    log = only(csv(tmp_path / "log.csv", "step,loss\n1,0.5\n2,\n3,NaN\n,0.3\n4,many\n5,inf\n6,1e308\n"))
    assert log.train.steps.tolist() == [1, 3, 5, 6]
    assert math.isnan(log.train.values[1]) and np.isinf(log.train.values[2:]).all()
    assert any("without a step" in note for note in log.notes)
    counted = only(csv(tmp_path / "bare.csv", "loss\n0.5\n0.4\n"))
    assert counted.train.steps.tolist() == [0, 1] and any("rows were counted" in note for note in counted.notes)


def test_steps_out_of_order_are_sorted_and_those_that_come_twice_averaged():
    mixed = series("loss", [5, 1, 4, 2, 3, 3, 9, 8, 7, 6], [5, 1, 4, 2, 2, 4, 9, 8, 7, 6])
    assert mixed.steps.tolist() == list(range(1, 10)) and mixed.values.tolist() == list(range(1, 10))
    assert any("not in order" in note for note in mixed.notes) and any("averaged" in note for note in mixed.notes)


def test_a_gap_is_told_and_an_even_or_logarithmic_row_of_steps_is_none():
    def notes(steps):
        return series("loss", steps, [1.0] * len(steps)).notes

    assert "between steps 50 and 900" in notes([10, 20, 30, 40, 50, 900, 910, 920, 930])[0]
    assert not notes([1, 2, 4, 8, 16, 32, 64, 128, 256]) and not notes([1, 500, 1000, 1500, 2000])
