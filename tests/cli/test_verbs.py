"""The command line: exit codes, pure JSON on stdout, typing errors answered.

A run is trained, resumed, judged and exported.
"""

import json
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import labkit
from safetensors.numpy import load_file
from small_pictures import write_territory

from labkit.cli import parser as cli
from labkit.design.config import RunConfig
from labkit.design.target_modules import LINEAR
from labkit.errors import LabError
from labkit.store.runs import RunFolder, Store


@pytest.fixture(autouse=True)
def short_measurements(monkeypatch):
    """Measure and draw as in the fast form: what is tested here is not that."""
    monkeypatch.setattr("labkit.settings.fast", True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Give a small folder of captioned pictures."""
    return write_territory(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def trained(capsys, sd_folder, pictures):
    """Train a run of four updates from the command line; give the outcome as data."""
    code, out, err = labkit(capsys, "train", "--base", sd_folder, "--data", pictures, "--set", "max_train_steps=4",
                            "--set", "train_batch_size=2", "--set", "alpha=4", "--set", "target_modules=linear",
                            "--json")
    assert code == 0, err
    return json.loads(out)[0]


def test_training_records_judges_and_leaves_an_adapter_and_stdout_holds_json_alone(trained):
    history = Store().run(trained["id"]).load()
    assert history.status == "finished" and len(history.steps["loss"]) == 4 and history.samples
    assert trained["label"] in ("not enough evidence", "stagnating", "healthy") and trained["config"]["scaling"] == 0.5
    assert trained["adapter"].endswith("adapter.safetensors")


def test_a_run_that_is_there_is_found_with_its_time_and_not_trained_again(trained, capsys, sd_folder, pictures):
    before = Store().run(trained["id"]).events_path.read_bytes()
    code, out, _ = labkit(capsys, "train", "--base", sd_folder, "--data", pictures, "--set", "max_train_steps=4",
                          "--set", "train_batch_size=2", "--set", "alpha=4",
                          "--set", "target_modules=" + ",".join(LINEAR))  # the set's layers, one by one
    assert code == 0 and "not trained again" in out
    assert Store().run(trained["id"]).events_path.read_bytes() == before


def test_the_lists_for_machines_have_the_promised_names(trained, capsys):
    _, out, _ = labkit(capsys, "runs", "--json")
    [listed] = json.loads(out)
    assert set(listed) >= {"id", "status", "label", "config"}
    assert set(listed) >= {"name", "trained_s", "loss", "updates_done", "can_resume"}
    _, out, _ = labkit(capsys, "diagnose", trained["path"], "--json")
    [verdict] = json.loads(out)
    assert set(verdict) >= {"path", "label", "since_step", "confidence", "evidence"}
    assert verdict["path"] == trained["path"]
    assert "evaluations" in out or "loss" in out


def test_an_exported_adapter_loads_in_diffusers_with_its_scaling(trained, capsys, tmp_path, sd_folder):
    from diffusers import StableDiffusionPipeline

    code, out, _ = labkit(capsys, "export", trained["id"][:6], "--format", "diffusers",
                          "--to", tmp_path / "place.safetensors")
    assert code == 0 and "scaling 0.5" in out
    pipeline = StableDiffusionPipeline.from_pretrained(sd_folder, safety_checker=None)
    pipeline.load_lora_weights(str(tmp_path / "place.safetensors"))
    layers = [module for module in pipeline.unet.modules() if hasattr(module, "scaling") and module.scaling]
    assert layers and all(list(layer.scaling.values()) == [0.5] for layer in layers)


def test_an_earlier_checkpoint_is_exported_by_its_step(trained, capsys, tmp_path):
    kept = RunFolder(Path(trained["path"])).checkpoints()
    assert len(kept) > 1
    steps = (kept[0], kept[-1])
    files = [tmp_path / f"{step}.safetensors" for step in steps]
    for step, file in zip(steps, files, strict=True):
        assert labkit(capsys, "export", trained["path"], "--step", step, "--to", file)[0] == 0
    assert labkit(capsys, "export", trained["path"], "--to", tmp_path / "last.safetensors")[0] == 0
    early, late, last = map(load_file, (*files, tmp_path / "last.safetensors"))
    assert all(np.array_equal(late[name], last[name]) for name in last)
    assert not all(np.array_equal(early[name], last[name]) for name in last)
    code, _, err = labkit(capsys, "export", trained["path"], "--step", 77, "--to", files[0])
    assert code == 2 and "no checkpoint at step 77" in err


def test_an_adapter_of_a_diverged_run_is_exported_with_a_warning_and_exit_code_1(
        capsys, sd_folder, pictures, tmp_path):
    code, out, err = labkit(capsys, "train", "--base", sd_folder, "--data", pictures, "--set", "max_train_steps=4",
                            "--set", "train_batch_size=2", "--set", "optimizer=sgd", "--set", "max_grad_norm=0",
                            "--set", "learning_rate=1000", "--json")
    assert code == 0 and json.loads(out)[0]["label"] == "diverged", err
    code, out, err = labkit(capsys, "export", json.loads(out)[0]["id"], "--to", tmp_path / "a.safetensors", "--json")
    assert code == 1 and "diverged" in err and "lower learning_rate" in json.loads(out)["warning"]


def test_a_checkpoint_from_before_a_run_diverged_is_exported_without_a_warning():
    from made_runs import made_run

    from labkit.cli.export import broken

    run = made_run("diverged", pictures=False)
    assert "--step" in broken(run) and broken(run, 200) and broken(run, 2) is None
    assert broken(made_run("healthy", pictures=False)) is None


def test_a_file_that_is_there_is_not_written_over_unless_it_holds_the_same(trained, capsys, tmp_path):
    target = tmp_path / "place.safetensors"
    for _ in range(2):
        assert labkit(capsys, "export", trained["id"], "--to", target)[0] == 0
    target.write_bytes(b"somebody's")
    code, _, err = labkit(capsys, "export", trained["id"], "--to", target)
    assert code == 2 and "is there already and holds something else" in err and target.read_bytes() == b"somebody's"
    code, _, err = labkit(capsys, "export", trained["id"], "--step", 1, "--to", target)
    assert code == 2 and target.read_bytes() == b"somebody's"


def test_a_stopped_run_says_how_to_go_on_and_goes_on(capsys, sd_folder, pictures, monkeypatch):
    from contextlib import nullcontext

    from labkit import interrupts
    from labkit.cli import runs

    class AfterThreeUpdates(interrupts.Stop):
        updates = 0

        def __call__(self):
            self.updates += 1
            self.number = signal.SIGTERM if self.updates > 3 else None
            return self.updates > 3

    words = ("--base", sd_folder, "--data", pictures, "--set", "max_train_steps=6", "--set", "train_batch_size=2")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "stop_on_interrupt", lambda say: nullcontext(AfterThreeUpdates()))
        code, out, _ = labkit(capsys, "train", *words)
    [folder] = Store().runs()
    assert code == 128 + signal.SIGTERM and f"labkit resume {folder.run_id}" in out and folder.status == "stopped"
    assert labkit(capsys, "resume", folder.run_id)[0] == 0
    assert folder.status == "finished" and list(folder.load().steps["global_step"]) == [1, 2, 3, 4, 5, 6]
    code, _, err = labkit(capsys, "resume", folder.run_id)
    assert code == 2 and "is finished" in err


def test_a_sweep_trains_every_combination(capsys, sd_folder, pictures):
    code, out, err = labkit(capsys, "sweep", "--base", sd_folder, "--data", pictures,
                            "--set", "learning_rate=1e-3,1e-2", "--set", "seed=0,1", "--set", "max_train_steps=2",
                            "--set", "train_batch_size=2", "--rows", "4", "--json")
    assert code == 0, err
    assert {len(run.load().meta["group"]) for run in Store().runs()} == {2}
    found = [(run["config"]["learning_rate"], run["config"]["seed"]) for run in json.loads(out)]
    assert found == [(1e-3, 0), (1e-3, 1), (1e-2, 0), (1e-2, 1)]
    [folder] = (Store().root / "sweeps").iterdir()
    assert {path.name for path in folder.iterdir()} == {"table.txt", "curves.png", "pictures.png"}
    assert len([line for line in (folder / "table.txt").read_text().split("\n") if "1e-" in line[:40]]) >= 4


def test_a_run_that_ends_in_an_error_gives_exit_code_1(capsys, sd_folder, pictures, monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("the machine broke\x1b[2J")

    monkeypatch.setattr("labkit.engine.train.per_sample_loss", failing)
    code, _, err = labkit(capsys, "train", "--base", sd_folder, "--data", pictures, "--set", "max_train_steps=2",
                          "--set", "train_batch_size=2")
    assert code == 1 and "the machine broke\\x1b[2J" in err and "\x1b[2J" not in err
    assert Store().runs()[0].status == "error"


@pytest.mark.parametrize("arguments, words", [
    (["train", "--set", "learning_rat=1"], "did you mean learning_rate"),
    (["train", "--set", "learning_rate=fast"], "learning_rate = 'fast'"),
    (["train", "--set", "rank=0"], "rank = '0'"),
    (["train", "--set", "target_modules=al"], "target_modules = 'al' is neither a set nor a layer's name: "
                                              "did you mean all?"),
    *[(["train", "--set", f"{name}={'9' * 5000}"], f"{name} = '999") for name in ("rank", "learning_rate", "seed")],
    (["train", "--set", "rank"], "key=value"),
    (["sweep"], "sweep has nothing to vary: give values to try with --set"),
    (["sweep", "--data", "liminal", "--rows", "4"], "sweep has nothing to vary"),
    (["sweep", "--set", "rank=4,8", "--rows", "0"], "--rows 0: give a whole number from 1 up"),
    (["train", "--set", "rank=4", "--set", "rank=8"], "given twice"),
    (["train", "--data", "no/such/folder"], "no/such/folder"),
    (["train", "--data", ""], "data"),
    (["train", "--set", "resolution=4096"], "resolution: 4096 is more than 4 times the"),
    (["train", "--config", "no_such.yaml"], "no_such.yaml"),
    (["train", "--set", "lr_warmup_steps=300"], "lr_warmup_steps = 300 is more than the run's max_train_steps = 200"),
    (["export", "abc", "--to", "x.safetensors"], "There is no run abc"),
    (["diagnose", "abc"], "labkit runs"),
    (["resume", "abc"], "There is no run abc")])
def test_bad_input_ends_with_2_one_sentence_and_no_traceback(capsys, arguments, words):
    code, out, err = labkit(capsys, *arguments)
    assert code == 2 and words in err and out == "" and "Traceback" not in err and len(err) < 600


def test_a_base_that_is_not_there_ends_with_2(capsys, pictures):
    code, _, err = labkit(capsys, "train", "--base", "no/such/base.safetensors", "--data", pictures,
                          "--set", "train_batch_size=2")
    assert code == 2 and "no/such/base.safetensors" in err


@pytest.mark.parametrize("arguments, words", [
    (["tarin"], "Did you mean train?"),
    (["train", "--bse", "x"], "Did you mean --base?"),
    (["train", "--se", "a=1"], "--set"),
    (["bench", "--store", "x"], "bench does not know '--store'"),
    (["export", "abc"], "--to"),
    (["export", "abc", "--to", "x", "--format", "ckpt"], "diffusers")])
def test_typing_errors_end_with_2_and_a_suggestion(capsys, arguments, words):
    code, _, err = labkit(capsys, *arguments)
    assert code == 2 and words in err


def test_an_error_for_machines_is_json_too(capsys):
    code, out, _ = labkit(capsys, "diagnose", "abc", "--json")
    assert code == 2 and "There is no run abc" in json.loads(out)["error"]


def test_a_store_that_cannot_be_written_is_named_before_a_model_loads(capsys, pictures, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = labkit(capsys, "train", "--base", "no/such/base", "--data", pictures,
                          "--store", tmp_path / "file" / "runs", "--set", "train_batch_size=2")
    assert code == 2 and str(tmp_path / "file") in err and "--store" in err


def test_an_empty_store_lists_nothing_and_is_no_error(capsys):
    assert labkit(capsys, "runs", "--json")[:2] == (0, "[]\n")
    code, out, _ = labkit(capsys, "runs")
    assert code == 0 and "no runs" in out


def test_a_full_disk_is_bad_input_with_a_remedy(capsys, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device", "/runs/x")

    monkeypatch.setattr("labkit.cli.listing.runs", full)
    code, _, err = labkit(capsys, "runs")
    assert code == 2 and "Free some space" in err


@pytest.mark.parametrize("arguments, place", [
    (["chapter"], "--out DIR"),
    (["student", "all", "--to", "x"], "--to FOLDER"),
    (["runs"], "--store DIR")])
def test_a_place_that_may_not_be_written_is_answered_with_what_sets_it(capsys, monkeypatch, arguments, place):
    def closed(_):
        raise OSError(30, "Read-only file system", "/checkout/x")

    module, function = cli.VERBS[arguments[0]][0].split(":")
    monkeypatch.setattr(f"labkit.{module}.{function}", closed)
    code, _, err = labkit(capsys, *arguments)
    assert code == 2 and f"or choose a place you may write to ({place}), and repeat" in err


def test_every_verb_has_its_help_and_its_function():
    needed = {"export": ["x", "--to", "y"], "merge": ["x", "--to", "y"], "resume": ["x"], "inspect": ["x"],
              "judge": ["x", "--base", "y", "--data", "z"],
              "student": ["all", "--to", "y"], "collect": ["x"], "translate": ["x"], "name": ["x", "y"],
              "delete": ["x"], "generate": ["x", "--prompt", "y", "--to", "z.png"]}
    for verb in cli.VERBS:
        assert callable(cli.function(verb)), verb
        assert cli.parser().parse_args([verb, *needed.get(verb, [])]).verb == verb


def test_every_field_can_be_set_from_the_command_line():
    text = {name: value for name, value in RunConfig().to_dict().items()
            if isinstance(value, int | float) and not isinstance(value, bool)}
    assert RunConfig.from_dict(cli.pairs([f"{name}={value}" for name, value in text.items()])) == RunConfig()
    with pytest.raises(LabError):
        cli.pairs(["=1"])


def test_a_dense_change_is_not_exported_as_an_adapter(capsys, sd_folder, pictures, tmp_path):
    code, out, err = labkit(capsys, "train", "--base", sd_folder, "--data", pictures, "--set", "max_train_steps=1",
                            "--set", "train_batch_size=2", "--set", "adapter=full", "--json")
    assert code == 0, err
    code, _, err = labkit(capsys, "export", json.loads(out)[0]["id"], "--to", tmp_path / "a.safetensors")
    assert code == 2 and "dense change" in err and not (tmp_path / "a.safetensors").exists()


def test_a_folder_beside_the_caller_is_kept_by_its_full_path(pictures, monkeypatch):
    monkeypatch.chdir(pictures.parent)
    from labkit.cli.runs import fields

    options = cli.parse(["train", "--data", pictures.name])
    assert fields(options)["data"] == str(pictures.resolve())


def test_a_filtered_folder_is_found_from_elsewhere_too(tmp_path, monkeypatch):
    from labkit.cli.runs import fields

    (tmp_path / "mine" / "rooms").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    options = cli.parse(["train", "--data", "mine/rooms/kind=pool,maze/light=dim light"])
    assert fields(options) == {"data": str(tmp_path.resolve() / "mine" / "rooms") + "/kind=pool,maze/light=dim light"}
    assert fields(cli.parse(["train", "--data", "liminal/kind=pool"])) == {"data": "liminal/kind=pool"}


def test_names_and_metadata_reach_a_terminal_without_what_it_would_obey(tmp_path, capsys):
    assert cli.run(cli.parse(["train", "--data", "a\x1b]0;title\x07\nlabkit: done größer"])) == 2
    said = capsys.readouterr().err
    assert said.startswith("labkit: ") and said.count("\n") == 1
    assert "\\x1b]0;title\\x07\\nlabkit: done größer" in said
    cli.tell("run \x1b[2J\udcff größer\nnext")
    assert capsys.readouterr().out == "run \\x1b[2J\\udcff größer\nnext\n"


def test_a_terminal_without_the_letters_gets_them_written_out():
    import io

    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    cli.tell("größer", narrow)
    assert narrow.buffer.getvalue() == b"gr\\xf6\\xdfer\n"


def test_a_terminal_gets_lines_broken_between_words_and_a_file_gets_them_whole(monkeypatch):
    import io

    line = ("  Not enough evidence: the held-out loss has not changed beyond what its measurement's noise "
            "would make of it. " + "/a/long/path" * 9)
    monkeypatch.setenv("COLUMNS", "60")
    narrow = cli.fitted(f"run 7: none\n{line}", SimpleNamespace(isatty=lambda: True)).split("\n")
    assert narrow[0] == "run 7: none" and len(narrow) > 3 and all(part.startswith("  ") for part in narrow[1:])
    assert " ".join(" ".join(narrow[1:]).split()) == line.strip() and all(len(part) < 60 for part in narrow[:-1])
    assert cli.fitted(line, io.StringIO()) == line
