"""The base and the reader that ship: loaded by plain diffusers, told truly in data/README.md."""

import json
import logging
import shutil
import warnings

import numpy as np
import pytest
import torch

from labkit.datasets.folders import load_folder, load_picture
from labkit.engine.attribute_reader import NO_PLACE, _log_odds, asked_of, load_reader
from labkit.engine.base import load_base
from labkit.engine.base_files import find_base
from labkit.errors import LabError
from labkit.settings import data_dir
from recipes.ship import tables
from recipes.ship.bars_table import read_lines


@pytest.fixture(scope="module")
def reader():
    return load_reader()


@pytest.fixture(scope="module")
def renders(reader):
    folder = load_folder(data_dir() / "territories" / "liminal" / "validation").take(40)
    return np.stack([load_picture(p, reader.resolution) for p in folder.paths]), [a["kind"] for a in folder.attributes]


@pytest.fixture
def library_messages():
    """What diffusers and transformers warn of."""
    class Kept(logging.Handler):
        def __init__(self):
            super().__init__(logging.WARNING)
            self.texts = []

        def emit(self, record):
            self.texts.append(record.getMessage())

    kept, loggers = Kept(), [logging.getLogger(name) for name in ("diffusers", "transformers")]
    for logger in loggers:
        logger.addHandler(kept)
    yield kept.texts
    for logger in loggers:
        logger.removeHandler(kept)


def test_plain_diffusers_loads_and_draws_without_a_warning(library_messages):
    from diffusers import StableDiffusionPipeline
    # The import itself may warn of the environment.
    pipeline = StableDiffusionPipeline.from_pretrained(data_dir() / "base")
    library_messages.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline = StableDiffusionPipeline.from_pretrained(data_dir() / "base")
        pipeline.set_progress_bar_config(disable=True)
        picture = pipeline("a bedroom with a blue bed", num_inference_steps=2).images[0]
    assert picture.size == (128, 128)
    assert {m.dtype for m in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {torch.float32}
    assert library_messages == []


def test_the_base_takes_at_most_24_megabytes():
    assert sum(f.stat().st_size for f in (data_dir() / "base").rglob("*") if f.is_file()) <= 24e6


def test_the_reader_knows_nearly_every_render(reader, renders):
    pictures, kinds = renders
    assert reader.accepted(pictures, kinds).mean() > 0.8


def test_decoded_noise_shows_no_place(reader):
    base = load_base(device="cpu")
    noise = torch.randn(24, base.vae.config.latent_channels, 16, 16, generator=torch.Generator().manual_seed(0))
    said = reader.read(base.decode(noise)).kinds
    assert np.mean([kind == NO_PLACE for kind in said]) >= 0.9


def test_flat_colour_and_raw_noise_show_no_place(reader):
    draw = np.random.default_rng(0)
    flat = np.broadcast_to(draw.integers(256, size=(12, 1, 1, 3), dtype=np.uint8), (12, 128, 128, 3))
    noise = draw.integers(256, size=(12, 128, 128, 3), dtype=np.uint8)
    assert np.mean([kind == NO_PLACE for kind in reader.read(np.concatenate([flat, noise])).kinds]) >= 0.9


def test_the_tables_of_the_model_card_are_those_that_were_measured_on_this_base():
    measured = json.loads((tables.LOGS / "measured.json").read_text())
    assert measured["base"] == find_base().fingerprint(), "in data/, run recipes.ship.measure"
    page = tables.README.read_text(encoding="utf-8")
    assert tables.filled(page, measured) == page, "in data/, run recipes.ship.measure --tables"


def test_all_that_was_measured_and_is_shown_beside_it_is_of_this_base():
    logs = [json.loads((tables.LOGS / name).read_text()) for name in ("measured.json", "style.json")]
    logs += [json.loads(tables.STUDY.read_text()), *read_lines()]
    assert {log["base"] for log in logs} == {find_base().fingerprint()}
    if (curve := tables.LOGS / "quality.jsonl").exists():
        assert json.loads(curve.read_text().splitlines()[-1])["base"] == find_base().fingerprint()


# Of the liminal it was taught nothing, and is asked nothing of it; more than this would tell of a broken branch.
@pytest.mark.parametrize("world, least, most", [("near", 0.85, 1.0), ("ordinary", 0.0, 0.03), ("liminal", 0.0, 0.35)])
def test_drawings_are_accepted_as_drawings_and_plain_pictures_are_not(reader, world, least, most):
    folder = load_folder(data_dir() / "territories" / world / "validation").take(40)
    pictures = np.stack([load_picture(path, reader.resolution) for path in folder.paths])
    assert least <= reader.accepted(pictures, [{"style": "storybook"}] * 40).mean() <= most


def test_a_picture_is_never_accepted_for_two_kinds(reader, renders):
    pictures, _ = renders
    assert np.stack([reader.accepted(pictures, kind) for kind in reader.kinds]).sum(0).max() == 1


def test_reading_does_not_depend_on_company(reader, renders):
    pictures, _ = renders
    alone, together = reader.read(pictures[3:4]), reader.read(pictures[:8])
    assert alone.kinds == together.kinds[3:4] and np.allclose(alone.scores, together.scores[3:4], atol=1e-4)


def test_large_pictures_are_scaled(reader, renders):
    large = renders[0][:4].repeat(4, 1).repeat(4, 2)
    assert reader.read(large).kinds == reader.read(renders[0][:4]).kinds


def test_an_unknown_kind_or_a_missing_reader_is_named(reader, tmp_path):
    with pytest.raises(LabError, match="'castle'.*bedroom"):
        reader.accepted(np.zeros((1, 128, 128, 3), np.uint8), "castle")
    with pytest.raises(LabError, match="config.json is missing"):
        load_reader(tmp_path)


def test_what_cannot_be_asked_is_named(reader):
    black = np.zeros((2, 128, 128, 3), np.uint8)
    with pytest.raises(LabError, match="no threshold for 'light'.*kind"):
        reader.accepted(black, [{"kind": "pool"}, {"light": "night"}])
    with pytest.raises(LabError, match="knows no 'no place'"):
        reader.accepted(black, NO_PLACE)
    with pytest.raises(LabError, match="1 kinds for 2 pictures"):
        reader.accepted(black, ["pool"])


def test_a_kind_asked_by_name_is_the_attribute_asked(reader, renders):
    pictures, kinds = renders
    others = [*kinds[1:], kinds[0]]
    for asked in (kinds, others):
        assert reader.accepted(pictures, asked).tolist() == reader.accepted(
            pictures, [{"kind": kind} for kind in asked]).tolist()


def test_the_kind_is_asked_of_places_the_style_of_drawings_and_nothing_of_a_persons_own_folder(tmp_path):
    asked = {name: asked_of(load_folder(data_dir() / "territories" / name / "validation").take(2))
             for name in ("liminal", "ordinary", "near")}
    assert asked == {"liminal": [{"kind": "corridor"}, {"kind": "maze"}],
                     "ordinary": [{"kind": "living room"}, {"kind": "bedroom"}], "near": [{"style": "storybook"}] * 2}
    shutil.copytree(data_dir() / "territories" / "liminal" / "validation", tmp_path / "mine")
    assert asked_of(load_folder(tmp_path / "mine")) is None


def test_the_score_of_an_answer_is_its_log_odds_against_all_others():
    logits = torch.tensor([[2.0, 1.0, -1.0], [0.0, 0.0, 5.0]])
    p = logits.softmax(1)
    assert torch.allclose(_log_odds(logits), torch.log(p / (1 - p)), atol=1e-5)
