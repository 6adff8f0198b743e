"""The verb that judges adapter files: a table and a sentence, a page, JSON; bad input in one sentence."""

import json
import re

import pytest
import torch
from command_line import labkit
from PIL import Image
from small_pictures import write_territory

from labkit.cli import progress_line
from labkit.cli.judge_page import interval
from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.judge.stats import Interval
from labkit.store.adapter_files import save_adapter


@pytest.fixture(autouse=True)
def short_measurements(monkeypatch):
    """Measure and draw as in the fast form: what is tested here is not that."""
    monkeypatch.setattr("labkit.settings.fast", True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Give a small folder of captioned pictures with its own held-out part."""
    return write_territory(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def files(sd_base, tmp_path_factory):
    """Write two adapters of random numbers, whose names a page must not take for markup."""
    folder = tmp_path_factory.mktemp("files")
    for size in (0.01, 0.5):
        config = RunConfig(rank=2, target_modules="attention").resolved(8)
        stack = LoRAStack(sd_base.unet, [config])
        stack.theta.copy_(size * torch.randn(stack.theta.shape, generator=torch.Generator().manual_seed(1)))
        save_adapter(folder / f"<b>{size}.safetensors", stack.tensors(0), config)
    return sorted(folder.iterdir())


def test_files_are_judged_into_a_table_a_sentence_and_one_page(capsys, monkeypatch, sd_folder, pictures, files,
                                                               tmp_path):
    monkeypatch.setattr(progress_line, "BREATH_S", -1.0)      # so that a log hears of all that a terminal shows
    target = tmp_path / "judge.html"
    code, out, err = labkit(capsys, "judge", "--base", sd_folder, "--data", pictures, "--to", target, *files)
    assert code == 0, err
    assert "measuring 1 to 2 of 2, in one pass" in err
    for what in ("reading the files", "reading the pictures", f"loading the base {sd_folder}", "measuring"):
        assert f"labkit: {what} ...\n" in err
    lines = out.splitlines()
    assert lines[0].startswith("file ") and lines[1].startswith("untouched base") and "<b>0.01" in lines[2]
    assert re.search(r"^Keep ", out, re.M) and f"Pictures and numbers: {target}" in out
    page = target.read_text()
    assert "<b>" not in page and page.count("&lt;b&gt;0.01") > 2 and "http:" not in page and "<script" not in page
    assert page.count("data:image/jpeg;base64,") == 2 * (3 + 2)         # of two captions: drawn, and nearest to it


def test_json_alone_is_on_stdout(capsys, sd_folder, pictures, files, tmp_path):
    code, out, _ = labkit(capsys, "judge", "--base", sd_folder, "--data", pictures, "--to", tmp_path / "j.html",
                          "--held-out", pictures / "ordinary", "--json", files[0])
    account = json.loads(out)
    assert code == 0 and account["held_out"].endswith("ordinary") and account["held_out_pictures"] == 4
    assert [entry["strength"] for entry in account["files"]] == [1.0]
    assert account["keep"] is None and "Keep none" in account["sentence"] and "give more" in account["sentence"]


@pytest.mark.parametrize("options, says", [
    (["--strength", "0.5,x"], "--strength 0.5,x: x is no strength"),
    (["--strength", "0"], "give numbers above 0"),
    (["--to", "page.txt"], "must end in .html"),
    (["--data", "nowhere"], "data: there is no folder nowhere"),
    (["--base", "nothing"], "base: there is no file or folder nothing"),
])
def test_bad_input_is_one_sentence_and_exit_code_2_before_a_model_loads(capsys, monkeypatch, sd_folder, pictures,
                                                                        files, options, says):
    monkeypatch.setattr(progress_line, "BREATH_S", 600.0)     # however slow this machine is
    monkeypatch.setattr("labkit.engine.base.load_models", None)
    usual = {"--base": sd_folder, "--data": pictures} | dict([options])
    code, _, err = labkit(capsys, "judge", *(word for pair in usual.items() for word in pair), *files)
    assert code == 2 and says in err and err.count("\n") == 1


def test_a_folder_without_captions_is_refused_before_a_model_loads(capsys, monkeypatch, sd_folder, pictures, files,
                                                                   tmp_path):
    monkeypatch.setattr("labkit.engine.base.load_models", None)
    for path in (pictures / "train").glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    code, _, err = labkit(capsys, "judge", "--base", sd_folder, "--data", tmp_path, files[0])
    assert code == 2 and "caption" in err


def test_pictures_without_captions_and_of_any_shape_are_judged_by_as_is_said(capsys, sd_folder, pictures, files,
                                                                               tmp_path):
    for part in ("train", "validation"):
        (tmp_path / part).mkdir()
        for path in (pictures / part).glob("*.png"):
            with Image.open(path) as picture:
                picture.resize((64, 128)).save(tmp_path / part / path.name)
    code, out, err = labkit(capsys, "judge", "--base", sd_folder, "--data", tmp_path, "--to", tmp_path / "j.html",
                            "--captions", "text:a yellow room", "--crop", "buckets", files[0])
    assert code == 0 and "untouched base" in out, err


def test_an_interval_is_drawn_within_its_frame_and_none_is_drawn_of_the_lowest():
    assert interval(Interval(0.0, 0.0, 0.0), 1.0) == ""
    drawn = interval(Interval(0.5, -3.0, 4.0), 1.0)
    places = [float(x) for x in re.findall(r'[xc]\d?x?="([\d.]+)"', drawn)]
    assert places and 0 <= min(places) and max(places) <= 180
