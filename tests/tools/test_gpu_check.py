"""The check of a GPU survives parts that break and hang, writes what it has, and finds what is not equal."""

import itertools
import json
import zipfile
from dataclasses import replace

import gpu_check
import gpu_equality
import gpu_speed
import gpu_table
import pytest
import tiny
import torch

from labkit.store.events import Step

CPU = torch.device("cpu")
PART = {"works": "    yield {'what': 'one', 'ok': True, 'difference': 0.25}\n",
        "unequal": "    yield {'what': 'two', 'ok': False}\n",
        "breaks": "    yield {'what': 'three', 'ok': True}\n    raise SystemExit(3)\n",
        "hangs": "    import time\n    yield {'what': 'four', 'ok': True}\n    time.sleep(600)\n"}


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Give a folder from which parts of a kind each can be imported."""
    for name, body in PART.items():
        source = f"def rows(device, rehearse):\n    assert device.type and not rehearse\n{body}"
        (tmp_path / f"gpu_{name}.py").write_text(source)
    monkeypatch.setattr(gpu_check, "PARTS", dict.fromkeys(PART, 300) | {"hangs": 3})
    return [str(tmp_path)]


def test_a_part_that_breaks_or_hangs_costs_the_others_nothing(parts, tmp_path):
    told = []
    assert gpu_check.check(tmp_path, ["breaks", "hangs", "works"], parts, tell=told.append) == 1
    results = json.loads((tmp_path / "results.json").read_text())
    ends = [results[part]["end"].split(",")[0] for part in ("breaks", "hangs", "works")]
    assert ends == ["broke with exit code 3", "out of time", "done"]
    assert [row["what"] for part in ("breaks", "works") for row in results[part]["rows"][1:]] == ["three", "one"]
    assert {"torch", "diffusers", "rehearsed"} < set(results["works"]["rows"][0])
    table = (tmp_path / "table.md").read_text()
    assert "| one | yes | 0.25 |" in table and "Out of time after" in table
    assert any("one, difference 0.25" in line for line in told)


@pytest.mark.parametrize("part, code", [("works", 0), ("unequal", 1)])
def test_the_exit_code_says_whether_all_is_equal(parts, tmp_path, part, code):
    assert gpu_check.check(tmp_path, [part], parts, tell=lambda text: None) == code


def test_running_out_of_time_is_a_fault_of_equality_and_none_of_speed():
    late = {"end": "out of time", "rows": [{"what": "", "ok": True}]}
    assert gpu_check._is_good("speed", late) and not gpu_check._is_good("equality", late)


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    assert gpu_check.main(["--out", str(tmp_path), "--wheels", str(tmp_path)]) == 2
    (tmp_path / "x.whl").write_text("no zip")
    assert gpu_check.main(["--out", str(tmp_path), "--wheels", str(tmp_path)]) == 2
    with pytest.raises(SystemExit, match="2"):
        gpu_check.main(["sped"])
    said = capsys.readouterr().err
    assert "holds no wheels" in said and "not a zip" in said
    assert "there is no part 'sped'; there are equality, races, speed" in said


def test_a_wheel_is_unpacked_for_the_parts(tmp_path):
    with zipfile.ZipFile(tmp_path / "carried-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried/__init__.py", "")
    (tmp_path / "there").mkdir()
    (folder,) = gpu_check._unpacked(tmp_path, tmp_path / "there")
    assert (tmp_path / "there" / "carried" / "__init__.py").exists() and folder == tmp_path / "there"


def test_rows_of_unlike_figures_share_a_table():
    rows = [
        {"what": "machine", "ok": True, "rehearsed": False, "memory_gib": 79.25},
        {"what": "a|b", "ok": True, "peak_gib": 1.5},
        {"what": "c", "ok": False, "error": "x"}]
    table = gpu_table.table({"speed": {"end": "done", "seconds": 1.0, "rows": rows}})
    assert "machine, memory GiB 79.2." in table and "| what | ok | peak GiB | error |" in table
    assert "| a/b | yes | 1.5 |  |" in table and "| c | no |  | x |" in table and "rehearsal" not in table


@pytest.fixture(scope="module")
def equality():
    return gpu_equality._Tests(tiny.base(), tiny.cache(), 3)


@pytest.mark.parametrize("name", ["draws", "loss", "alone", "twice", "resumed", "checkpointed"])
def test_what_is_equal_is_found_equal(equality, name):
    row = getattr(equality, name)()
    assert row["ok"] and row["difference"] <= row["tolerance"]


@pytest.mark.parametrize("changes", gpu_equality.REFERENCE.values(), ids=gpu_equality.REFERENCE)
def test_one_run_is_found_equal_to_peft(equality, changes):
    assert equality.reference(changes)["ok"]


def test_a_loss_that_is_not_equal_is_found(equality, monkeypatch):
    right = gpu_equality.per_sample_loss
    monkeypatch.setattr(gpu_equality, "per_sample_loss", lambda *inputs: right(*inputs) * 1.001)
    assert not equality.loss()["ok"]


@pytest.mark.parametrize("name", ["alone", "twice", "resumed", "checkpointed"])
def test_passes_that_are_not_equal_are_found(equality, monkeypatch, name):
    right, faults = gpu_equality.train, itertools.count()

    def wrong(*inputs, **options):
        fault = 1e-3 * next(faults)                           # another one in every pass
        for event in right(*inputs, **options):
            yield replace(event, loss=event.loss + fault) if isinstance(event, Step) else event

    monkeypatch.setattr(gpu_equality, "train", wrong)
    assert not getattr(equality, name)()["ok"]


def test_every_cell_of_the_speed_part_is_measured_here(monkeypatch):
    monkeypatch.setattr(gpu_speed, "BATCHES", (1,))
    monkeypatch.setattr(gpu_speed, "RUNS", (2,))
    shallow = {
        "block_out_channels": (32,),
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",)}
    monkeypatch.setitem(gpu_speed.SIZES[True], "unet", gpu_speed.SIZES[True]["unet"] | shallow)
    rows = list(gpu_speed.rows(CPU, True))
    assert [(row["what"], row.get("checkpointing")) for row in rows] == [
        ("matrix product", None),
        ("diffusers' script", False),
        ("the same, inputs cached", False),
        ("ours, in one pass", False),
        ("ours, in one pass", True),
        ("ours, in one pass, all kinds of layers", False)]
    assert all(row["ok"] and "error" not in row for row in rows)
    for row in rows[1:]:
        assert row["ms_per_run_step"] > 0 and 0 < row["share_of_rate"] < 1 and row["operations"] > 1000
    for row in rows[3:]:
        assert {"times_script", "times_cached"} < set(row)
    assert rows[4]["operations"] > rows[3]["operations"] and rows[4]["predicted_gib"] < rows[3]["predicted_gib"]
