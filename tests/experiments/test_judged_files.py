"""Adapter files judged: losses are those that training recorded; of a run that overfits an earlier file is kept."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from labkit.datasets.folders import load_picture, territory
from labkit.engine.base_files import find_base
from labkit.errors import LabError
from labkit.experiments.chosen_file import ChosenFile
from labkit.experiments.judged_files import Training, judge_files, opened, read_files
from labkit.experiments.memorization import layout_and_colour
from labkit.lab import Lab
from labkit.store.adapter_files import save_adapter

UPDATES = (5, 45)
MEASURED = {"images": 8, "sets": ("validation", "probe"), "scored": 0, "num_inference_steps": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a folder of two training pictures and one of eight that are held out."""
    root, liminal = tmp_path_factory.mktemp("pictures"), territory("liminal")
    for part, pictures, count in (("train", liminal.train, 2), ("held", liminal.validation, 8)):
        (root / part).mkdir()
        for path, caption in list(zip(pictures.paths, pictures.captions, strict=True))[:count]:
            shutil.copy(path, root / part)
            (root / part / f"{path.stem}.txt").write_text(caption)
    return root


@pytest.fixture(scope="module")
def lab(folder, tmp_path_factory):
    """Open a lab on them."""
    return Lab(data=opened(str(folder / "train"), str(folder / "held")), store=tmp_path_factory.mktemp("store"),
               monitor=MEASURED)


@pytest.fixture(scope="module")
def trained(lab):
    """Train two pictures until held-out ones are lost; measured at each checkpoint."""
    config = lab.config({"learning_rate": 6e-3, "rank": 16, "max_train_steps": UPDATES[-1], "train_batch_size": 2,
                         "target_modules": "linear", "data": lab.data_name})
    [run] = lab.train_all([config], monitor=lab.monitor(validate_at=UPDATES, sample_at=()), checkpoint_at=UPDATES)
    return run


@pytest.fixture(scope="module")
def files(lab, trained, tmp_path_factory):
    """Write the adapter of each checkpoint."""
    folder, kept = tmp_path_factory.mktemp("files"), lab.store.named(trained.run_id)
    for step in UPDATES:
        save_adapter(folder / f"place-{step:06d}.safetensors", kept.checkpoint(step).adapter, trained.config)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def judged(lab, files):
    """Judge them at two strengths."""
    return judge_files(lab, read_files(files, find_base()), [1.0, 0.5])


def test_a_judged_file_has_the_loss_that_its_run_recorded_at_that_checkpoint(trained, judged):
    recorded = trained.validations
    for one in judged[:len(UPDATES)]:
        at = list(recorded["validation"].steps).index(int(one.path.stem.split("-")[1]))
        for name in ("validation", "probe"):
            assert np.allclose(one.run.validations[name].losses[1], recorded[name].losses[at], rtol=1e-5)
            assert np.array_equal(one.run.validations[name].losses[0], recorded[name].losses[0])
    assert {one.way for one in judged} == {"one pass"}


def test_of_a_run_that_overfits_an_earlier_file_is_kept_and_the_last_one_is_told_of(judged):
    chosen = ChosenFile(judged)
    early, late = judged[:2]
    assert chosen.kept in (early, *judged[2:]) and chosen.choice.above[late.run.run_id].low > 0
    alone = ChosenFile([early, late])                         # at the strength it was trained for
    assert alone.kept is early and "Keep place-000005: on 8 held-out pictures" in alone.sentence
    assert "place-000045 lies +" in alone.sentence and "it overfits." in alone.sentence
    table = alone.table()
    assert [row[0] for row in table.rows] == ["untouched base", "place-000005", "place-000045"]
    assert table.rows[1][4] == "lowest" and "accepted" not in table.heads


def test_half_the_strength_is_another_candidate_with_a_picture_of_its_own(judged):
    full, half = judged[1], judged[3]
    assert (full.path, full.strength, half.strength) == (half.path, 1.0, 0.5)
    assert not np.array_equal(full.run.samples[1].images, half.run.samples[1].images)
    assert np.array_equal(full.run.samples[0].images, half.run.samples[0].images)      # the untouched base's
    assert full.run.samples[1].prompts[2:] and all(near.picture.suffix == ".webp" for near in full.nearest)


def test_what_machines_read_is_strict_json_with_a_path_to_keep(judged):
    account = json.loads(json.dumps(ChosenFile(judged).to_dict(), allow_nan=False))
    assert account["keep"]["path"] in [entry["path"] for entry in account["files"]]
    first = account["files"][0]
    assert first["loss"] != first["loss_as_in_training"] and len(first["above_lowest"]) == 3
    assert len(first["drawn"]) == 4 and first["drawn"][0]["nearest"].endswith(".webp")


def test_the_way_through_diffusers_agrees_with_the_one_pass(lab, files, judged, monkeypatch):
    monkeypatch.setattr("labkit.experiments.judged_files.named_as_in_first_code", lambda adapter: True)
    counts = []
    [alone] = judge_files(lab, read_files(files[:1], find_base()), count=lambda *at: counts.append(at))
    assert alone.way == "diffusers"
    n = len(counts)                                           # as many measurements as of the untouched base before
    assert n and counts == [(done, 2 * n) for done in range(n + 1, 2 * n + 1)]
    for name in ("validation", "probe"):
        assert np.allclose(alone.run.validations[name].losses, judged[0].run.validations[name].losses, rtol=1e-4)
    drawn, before = (one.run.samples[1].images.astype(int) for one in (alone, judged[0]))
    assert abs(drawn - before).mean() < 0.5


# -- bad input, before a base is loaded


def changed(path, tmp_path, change, name="changed.safetensors"):
    """Write a copy of an adapter file with changed tensors."""
    tensors = dict(load_file(path))
    change(tensors)
    save_file(tensors, tmp_path / name)
    return tmp_path / name


def first(tensors, ending):
    return next(key for key in tensors if key.endswith(ending))


CHANGES = {
    "is of another kind: 1 layer of LoHa, and only LoRA is judged":
        lambda t: t.update({"lora_unet_x.hada_w1_a": np.ones((4, 2), np.float32)}),
    "is of another kind: 1 layer of DoRA":
        lambda t: t.update({first(t, "lora_A.weight").replace("lora_A.weight", "dora_scale"): np.ones(4, np.float32)}),
    r"changes the text encoder too \(1 layer\)":
        lambda t: t.update({f"text_encoder.q_proj.lora_{x}.weight": np.ones((4, 4), np.float32) for x in "AB"}),
    "an adapter of a transformer":
        lambda t: t.update({f"transformer.q.lora_{x}.weight": np.ones((4, 4), np.float32) for x in "AB"}),
    "the two matrices of unet.* do not fit together": lambda t: t.pop(first(t, "lora_B.weight")),
    "holds numbers that are not finite": lambda t: t[first(t, "lora_B.weight")].fill(np.inf),
    "has keys of no known kind, strange for one": lambda t: t.update({"strange": np.ones(2, np.float32)}),
    "adapts unet.other.to_q, which the base embedded does not have":
        lambda t: t.update({f"unet.other.to_q.lora_{x}.weight": np.ones((4, 4), np.float32) for x in "AB"}),
}


@pytest.mark.parametrize("says", CHANGES)
def test_a_file_that_cannot_be_judged_is_refused_with_the_reason(files, tmp_path, says):
    with pytest.raises(LabError, match=says):
        read_files([changed(files[0], tmp_path, CHANGES[says])], find_base())


def test_a_pickle_and_a_file_that_is_not_there_are_refused(files, tmp_path):
    (tmp_path / "a.pt").write_bytes(b"\x80\x04")
    with pytest.raises(LabError, match=r"a\.pt is a pickle"):
        read_files([files[0], tmp_path / "a.pt"], find_base())
    with pytest.raises(LabError, match="is not there: give adapter files"):
        read_files([tmp_path / "*.safetensors"], find_base())


def test_pictures_that_were_trained_on_cannot_be_held_out(folder):
    with pytest.raises(LabError, match="is also among the pictures trained on"):
        opened(str(folder / "train"), str(folder / "train"))


def test_training_pictures_that_were_saved_anew_cannot_be_held_out_either(folder, tmp_path):
    copies = shutil.copytree(folder / "held", tmp_path / "held")
    for path in (folder / "train").glob("*.webp"):
        with Image.open(path) as picture:
            picture.convert("RGB").save(copies / f"{path.stem}.bmp")
        shutil.copy(path.with_suffix(".txt"), copies)
    with pytest.raises(LabError, match=r"\.bmp is also among the pictures trained on \(2 such pictures\)"):
        opened(str(folder / "train"), str(copies))
    for path in copies.glob("*.bmp"):
        with Image.open(path) as picture:
            picture.resize([side // 2 for side in picture.size]).save(path)
    assert any("2 held-out pictures very like training pictures" in note
               for note in opened(str(folder / "train"), str(copies)).notes)


def test_pictures_are_read_in_the_way_that_is_given(tmp_path):
    for part in ("train", "held"):
        (tmp_path / part).mkdir()
        for i in range(2):
            picture = Image.new("RGB", (64, 192), "black")
            picture.paste("red", (0, 0, 64, 96))
            picture.putpixel((i, 0 if part == "held" else 1), (0, 255, 0))
            picture.save(tmp_path / part / f"a red-hall_{i}.png")
    pictures = opened(str(tmp_path / "train"), str(tmp_path / "held"), crop="top", captions="names")
    assert (pictures.crop, pictures.train.crop, pictures.validation.crop) == ("top",) * 3
    assert set(pictures.train.captions + pictures.validation.captions) == {"a red hall"}
    seen = Training(pictures.train, 64).features
    assert np.array_equal(seen[:1], layout_and_colour(load_picture(pictures.train.paths[0], 64, "top")[None]))
    assert not np.array_equal(seen[:1], layout_and_colour(load_picture(pictures.train.paths[0], 64)[None]))


def test_where_none_is_held_out_other_pictures_are_asked_for(folder):
    with pytest.raises(LabError, match="none held out.*give other pictures of the same with --held-out"):
        opened(str(folder / "train"))
