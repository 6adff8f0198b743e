"""Logs in which losses count epochs and rates count steps: judged as with true steps, or without rates."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from event_bytes import event_file

from labkit.judge.foreign import judge_log
from labkit.judge.verdict_text import HEALTHY, STAGNATING
from labkit.store.foreign_logs import read_logs

LAST = 1500
STEPS = np.arange(1, LAST + 1)
RATES = 1e-4 * np.minimum(1, STEPS / 150) * (1 + np.cos(np.pi * np.clip((STEPS - 150) / (LAST - 150), 0, 1))) / 2
SPENT = np.cumsum(RATES) / RATES.sum()
VALIDATION, TRAIN = "loss/validation/epoch_average", "loss/epoch_average"


def kohya(length, pace, *, by_epoch=True, tag=VALIDATION):
    """Return rows (tag, step, value) as kohya writes them, an epoch being `length` steps and the last one cut off."""
    rows = []
    scatter = np.random.default_rng(1).normal(size=LAST)
    for step in range(1, LAST + 1):
        if step % 5 == 0:
            rows += [("loss/current", step, 0.06), ("lr/unet", step, RATES[step - 1])]
        if step % length == 0 or step == LAST:
            epoch = math.ceil(step / length)
            loss = 0.06 - 0.001 * (1 - math.exp(-SPENT[step - 1] / pace)) + 5e-6 * scatter[epoch]
            rows += [(tag, epoch if by_epoch else step, loss), (TRAIN, epoch if by_epoch else step, 0.06)]
    return rows


def read(path, rows):
    """Return the log of an event file of these rows."""
    (log,), _ = read_logs(event_file(path / "events.out.tfevents.1.host", rows))
    return log


@pytest.mark.parametrize(("length", "pace", "label"), [
    (100, 0.2, HEALTHY), (100, 0.6, STAGNATING), (100, 3.0, STAGNATING), (290, 0.45, None), (145, 0.6, None),
])
def test_kohyas_validation_by_epochs_is_judged_as_at_the_steps_where_it_was_made(tmp_path, length, pace, label):
    log = read(tmp_path / "epochs", kohya(length, pace))
    verdict = judge_log(log)
    true = judge_log(read(tmp_path / "steps", kohya(length, pace, by_epoch=False)))
    assert verdict.to_dict() == true.to_dict() and verdict.label == (label or verdict.label)
    assert verdict.evidence["last_step"] == LAST and not verdict.cautions
    assert any(VALIDATION in note and f"about {length if LAST % length == 0 else LAST / math.ceil(LAST / length):,.3g}"
               in note for note in log.notes)


def test_epochs_in_a_table_that_lost_its_order_are_taken_as_equally_long(tmp_path):
    for name, by_epoch in (("epochs", True), ("steps", False)):
        rows = sorted(kohya(100, 0.6, by_epoch=by_epoch))
        lines = [json.dumps({"tag": tag, "step": step, "value": value}) for tag, step, value in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (epochs,), _ = read_logs(tmp_path / "epochs.jsonl")
    (steps,), _ = read_logs(tmp_path / "steps.jsonl")
    assert epochs.validation.steps.tolist() == steps.validation.steps.tolist() == list(range(100, LAST + 1, 100))
    assert judge_log(epochs).to_dict() == judge_log(steps).to_dict()
    assert len(epochs.notes) == 1 and not steps.notes
    file = tmp_path / "events.out.tfevents.1.host"            # of another program, which wrote one tag after the other
    assert read(file.parent, sorted(kohya(100, 0.6))).validation.steps.tolist() == steps.validation.steps.tolist()


def test_a_training_loss_by_epochs_is_put_on_the_axis_of_the_rates(tmp_path):
    rows = [row for row in kohya(25, 0.3) if row[0] in (TRAIN, "lr/unet")]
    log = read(tmp_path, rows)
    assert log.train.tag == TRAIN and log.train.steps.tolist() == list(range(25, LAST + 1, 25))


def test_no_rate_is_used_where_it_is_not_told_what_a_validation_counts(tmp_path):
    log = read(tmp_path, kohya(100, 0.6, tag="val_loss"))
    verdict = judge_log(log)
    assert log.validation.steps.tolist() == list(range(1, 16))
    assert "val_loss ends at step 15 and the training at step 1,500" in verdict.cautions[0]
    assert "rates were not used" in verdict.cautions[0]
    assert verdict.evidence == judge_log(replace(log, rate=None)).evidence
    assert "rates" not in judge_log(replace(log, rate=None)).cautions[0]


def test_a_log_that_counts_nothing_but_epochs_is_told_to_do_so(tmp_path):
    log = read(tmp_path, [row for row in kohya(100, 0.2) if row[0] in (VALIDATION, TRAIN)])
    assert log.validation.steps.tolist() == list(range(1, 16)) and not log.notes
    assert "may be an epoch" in judge_log(log).cautions[0]
