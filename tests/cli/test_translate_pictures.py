"""Passes become updates by the pictures and repeats that the settings and folders themselves tell."""

import json

import pytest
from PIL import Image

from labkit.cli import parser
from labkit.design.config import load_design

TRAIN = 'network_module = "networks.lora"\nmax_train_epochs = 10\ntrain_batch_size = 4\n'


def labkit(*arguments):
    return parser.run(parser.parse(["translate", *map(str, arguments), "--json"]))


def pictures(folder, count):
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    (folder / "0.txt").write_text("a caption")
    return folder


@pytest.fixture
def kohya(tmp_path):
    """Give a folder as kohya's trainer has it: 12 pictures ten times and 5 pictures three times."""
    pictures(tmp_path / "data" / "img" / "10_sks room", 12)
    pictures(tmp_path / "data" / "img" / "3_place", 5)
    return tmp_path


def translated(capsys, *arguments):
    assert labkit(*arguments) == 0, capsys.readouterr()
    account = json.loads(capsys.readouterr().out)
    return account["settings"], {note["name"]: note["text"] for note in account["notes"]["length"]}


def written(place, name, text):
    (place / name).write_text(text)
    return place / name


def test_kohyas_folders_say_the_repeats_and_the_arithmetic_is_shown(kohya, capsys):
    train = written(kohya, "t.toml", TRAIN + 'train_data_dir = "data/img"\n')
    settings, told = translated(capsys, train)
    assert settings["max_train_steps"] == 340 and "num_train_epochs" not in settings
    assert told["max_train_epochs"] == (
        "5 x 3 (3_place) + 12 x 10 (10_sks room) = 135 pictures shown in a pass; 135 / 4 = 34 batches, the last one "
        "smaller; 10 x 34 = 340 updates")


@pytest.mark.parametrize("place", ["data", "data/img"])
def test_a_folder_can_be_given_where_the_settings_name_none_that_is_here(kohya, capsys, place):
    train = written(kohya, "t.toml", TRAIN + 'gradient_accumulation_steps = 2\ntrain_data_dir = "/gone"\n')
    _, told = translated(capsys, train)
    assert "the folders are not here: give --pictures FOLDER" in told["max_train_epochs"]
    settings, told = translated(capsys, train, "--pictures", kohya / place)
    assert settings["max_train_steps"] == 170
    assert told["max_train_epochs"].endswith("34 batches, the last one smaller, 2 to an update: 17 updates; "
                                             "10 x 17 = 170 updates")


def test_one_folder_whose_repeats_fit_stays_a_number_of_passes(tmp_path, capsys):
    pictures(tmp_path / "10_sks room", 12)
    settings, told = translated(capsys, written(tmp_path, "t.toml", TRAIN), "--pictures", tmp_path)
    assert settings["num_train_epochs"] == 100 and "10 x 30 = 300 updates" in told["max_train_epochs"]
    (tmp_path / "d.yaml").write_text("num_train_epochs: 100\nbase: folder\ntarget_modules: attention\n")
    settings, told = translated(capsys, tmp_path / "d.yaml", "--to", "kohya", "--pictures", tmp_path / "10_sks room")
    assert settings["max_train_epochs"] == 10                 # the same folder there: its name repeats the pictures


def test_subsets_of_kohyas_data_set_have_repeats_of_their_own(tmp_path, capsys):
    pictures(tmp_path / "a", 6)
    pictures(tmp_path / "b", 4)
    pictures(tmp_path / "class", 50)
    written(tmp_path, "set.toml", "[[datasets]]\nbatch_size = 4\n" + "".join(
        f'[[datasets.subsets]]\nimage_dir = "{name}"\nnum_repeats = {repeats}\n{more}'
        for name, repeats, more in (("a", 5, ""), ("b", 2, ""), ("class", 1, "is_reg = true\n"))))
    train = written(tmp_path, "t.toml", TRAIN.replace("train_batch_size = 4\n", "") + 'dataset_config = "set.toml"\n')
    settings, told = translated(capsys, train)
    assert "6 x 5 (a) + 4 x 2 (b) = 38 pictures shown" in told["max_train_epochs"]
    assert settings["max_train_steps"] == 100 and settings["data"] == "a" and settings["prior_loss_weight"] == 1


@pytest.mark.parametrize("settings, words", [
    ({}, "20 of 100 pictures are held out; 80 pictures in a pass; 80 / 1 = 80 batches; 10 x 80 = 800 updates"),
    ({"dataset_repeats": 3}, "20 of 100 pictures are held out; 80 x 3 = 240 pictures shown in a pass; 240 / 1 = 240 "
                             "batches; 10 x 240 = 2,400 updates"),
])
def test_pictures_that_kohya_holds_out_make_no_updates(tmp_path, capsys, settings, words):
    train = TRAIN.replace("train_batch_size = 4\n", "validation_split = 0.2\n") + "".join(
        f"{name} = {value}\n" for name, value in settings.items())
    read, told = translated(capsys, written(tmp_path, "t.toml", train), "--pictures", "100")
    assert told["max_train_epochs"] == words
    assert read["num_train_epochs"] == 8 * settings.get("dataset_repeats", 1)         # passes over all pictures


@pytest.mark.parametrize("settings, files, words", [
    ({"training_method": "LORA", "lora_rank": 8, "epochs": 10, "batch_size": 4, "concept_file_name": "c.json"},
     {"c.json": [{"path": "a", "balancing": 2.5, "balancing_strategy": "REPEATS"},
                 {"path": "b", "balancing": 10.0, "balancing_strategy": "SAMPLES"},
                 {"path": "a", "enabled": False}, {"path": "b", "type": "VALIDATION"}]},
     "6 x 2.5 (a) + 4 x 2.5 (b) = 25 pictures shown in a pass; 10 x 25 / 4 = 63 updates"),
    ({"--lora_rank": 8, "--model_family": "sd1x", "--num_train_epochs": 10, "--train_batch_size": 4,
      "--data_backend_config": "b.json"},
     {"b.json": [{"id": "x", "type": "local", "instance_data_dir": "a", "repeats": 1},
                 {"id": "y", "type": "local", "instance_data_dir": "b"},
                 {"id": "t", "dataset_type": "text_embeds", "cache_dir": "z"}]},
     "6 x 2 (a) + 4 x 1 (b) = 16 pictures shown in a pass; 10 x 16 / 4 = 40 updates"),
])
def test_files_of_folders_that_settings_name_are_counted(tmp_path, capsys, settings, files, words):
    pictures(tmp_path / "a", 6)
    pictures(tmp_path / "b", 4)
    for name, content in files.items():
        written(tmp_path, name, json.dumps(content))
    path = written(tmp_path, "s.json", json.dumps(settings))
    assert list(translated(capsys, path)[1].values()) == [words]


def test_a_number_still_counts_with_the_repeats_of_the_settings(tmp_path, capsys):
    written(tmp_path, "set.toml", '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "p"\nnum_repeats = 5\n')
    train = written(tmp_path, "t.toml", TRAIN + 'dataset_config = "set.toml"\n')
    settings, told = translated(capsys, train, "--pictures", "8")
    assert settings["num_train_epochs"] == 50 and told["max_train_epochs"].startswith("8 x 5 = 40 pictures shown")


def test_what_is_written_for_a_person_has_the_arithmetic_too(kohya, capsys):
    train = written(kohya, "t.toml", TRAIN + 'train_data_dir = "data/img"\n')
    out = kohya / "design.yaml"
    assert parser.run(parser.parse(["translate", str(train), "--out", str(out)])) == 0
    printed = capsys.readouterr().out
    assert "How many updates:\n  max_train_epochs: 5 x 3 (3_place)" in printed
    assert load_design(out).max_train_steps == 340


@pytest.mark.parametrize("given, words", [("0", "--pictures 0 is not possible"), ("-3", "above 0"),
                                          ("nowhere", "there is no such folder"), ("EMPTY", "no pictures in it")])
def test_what_is_no_number_and_no_folder_of_pictures_is_answered(kohya, capsys, given, words):
    (kohya / "empty").mkdir()
    train = written(kohya, "t.toml", TRAIN)
    assert labkit(train, "--pictures", str(kohya / "empty") if given == "EMPTY" else given) == 2
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("concept", [{"path": "x", "balancing": "many"}, {"path": "x", "num_repeats": -1},
                                     {"path": "x", "balancing": 1e300, "balancing_strategy": "SAMPLES"},
                                     {"path": "x" * 300}, {"path": "a\0b"}, {"path": ["x"]}, {"path": 7}])
def test_odd_settings_end_in_a_sentence_or_are_not_counted(kohya, capsys, concept):
    settings = {"training_method": "LORA", "lora_rank": 8, "epochs": 3, "concepts": [concept]}
    code = labkit(written(kohya, "o.json", json.dumps(settings)))
    out = json.loads(capsys.readouterr().out)
    words = "is not possible", "is no number", "cannot be the name of a file"
    assert code == 0 and not out["notes"]["length"] or code == 2 and any(word in out["error"] for word in words)


def test_a_command_line_may_be_longer_than_a_name_of_a_file(capsys):
    line = "train_network.py --network_dim=8 --max_train_epochs=10 " + "--output_dir=" + 300 * "x"
    assert translated(capsys, line)[0]["num_train_epochs"] == 10


def test_one_folder_does_not_stand_for_several_with_repeats_of_their_own(kohya, capsys):
    concepts = [{"path": "x", "balancing": 2.0}, {"path": "y", "balancing": 1.0}]
    path = written(kohya, "o.json", json.dumps({"training_method": "LORA", "lora_rank": 8, "concepts": concepts}))
    assert labkit(path, "--pictures", kohya / "data") == 2
    assert "the settings name 2 folders" in capsys.readouterr().out


def test_the_folder_of_a_command_for_dreambooth_is_counted_with_its_repeats(tmp_path, capsys):
    pictures(tmp_path / "dog", 5)
    line = "accelerate launch train_dreambooth_lora_sdxl.py --instance_data_dir=dog --instance_prompt='a dog' " \
           "--num_train_epochs=10 --repeats=3"
    _, told = translated(capsys, written(tmp_path, "run.sh", line))
    assert told["num_train_epochs"] == ("5 x 3 (dog) = 15 pictures shown in a pass; 15 / 4 = 4 batches, the last one "
                                        "smaller; 10 x 4 = 40 updates")
