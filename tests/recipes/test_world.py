"""The world: what an index shows, how it is captioned, and what ships of it. Needs no renderer."""

import io
import random
import sys
import types
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recipes.ship import territories
from recipes.world import captions, liminal, ordinary, picture, render, restyle, shapes
from recipes.world.draws import KINDS, RANGES, draws, kind_of

DATA = Path(__file__).parents[2] / "data"
WORLDS = {"ordinary": ordinary, "liminal": liminal, "near": restyle}
MANY = [(world, index) for world in WORLDS for start, _ in RANGES.values() for index in range(start, start + 100)]


def test_attributes_and_captions_are_the_same_on_every_call_and_in_every_order():
    first = [render.record(world, index) for world, index in MANY]
    random.seed(0)
    shuffled = list(range(len(MANY)))
    random.shuffle(shuffled)
    for i in shuffled:
        assert render.record(*MANY[i]) == first[i]


def test_a_known_index_keeps_its_caption():
    assert captions.caption(ordinary.attributes(0), 0) == FIRST_ORDINARY
    assert captions.caption(liminal.attributes(100_000), 100_000) == FIRST_LIMINAL


FIRST_ORDINARY = ("pink sofas and an orange rug in a cozy living room with green brick walls, orange "
                  "curtains, in the evening")
FIRST_LIMINAL = ("an endless hotel corridor, nobody in sight, with green doors, yellow walls and a brown "
                 "checkered carpet, under warm lights")


def test_draws_depend_on_purpose_kind_and_index():
    seen = {draws(purpose, kind, index).random() for purpose in ("attributes", "geometry", "caption")
            for kind in (*KINDS["ordinary"], *KINDS["liminal"]) for index in range(200)}
    assert len(seen) == 3 * 2 * len(KINDS["ordinary"]) * 200


@pytest.mark.parametrize("world", WORLDS)
def test_a_caption_names_the_kind_and_the_main_attributes(world):
    for index in range(2_000):
        a = WORLDS[world].attributes(index)
        text = captions.caption(a, index)
        assert a["kind"] in text
        named = ["main_color"] + ["second_color"] * (a["second_object"] != "none")
        for field in named + ["wall_color"] * (world == "ordinary"):
            assert a[field] in captions.words(text), f"{field} {a[field]} is missing in: {text}"
        if world == "ordinary":
            assert f"{a['main_color']} {a['main_object']}" in text


@pytest.mark.parametrize("world", WORLDS)
def test_a_caption_names_no_colour_that_the_attributes_lack(world):
    for index in range(2_000):
        a = WORLDS[world].attributes(index)
        floors = set(captions.words(a["floor"])) | ({"grey"} if a["kind"] == "garage" else set())
        named = set(captions.words(captions.caption(a, index))) & set(captions.COLOUR_NAMES)
        assert named <= set(a.values()) | floors


def test_every_word_of_every_caption_is_in_the_vocabulary():
    vocabulary = set(captions.VOCABULARY)
    for world in WORLDS:
        for index in range(5_000):
            text = captions.caption(WORLDS[world].attributes(index), index)
            assert set(captions.words(text)) <= vocabulary, text
    assert captions.VOCABULARY == sorted(vocabulary)


def test_captions_fit_the_tokenizer():
    longest = max(len(captions.words(text)) + text.count(",") for world, index in MANY
                  for text in [render.record(world, index)["text"]])
    assert longest <= 75                   # 77 tokens less start and end


def test_no_two_purposes_share_an_index():
    ranges = sorted(RANGES.values())
    assert all(first < past for first, past in ranges)
    assert all(past <= first for (_, past), (first, _) in pairwise(ranges))


@pytest.mark.parametrize("world", WORLDS)
def test_every_prefix_holds_all_kinds_equally(world):
    for count in (8, 96, 256):
        kinds = [kind_of(world, index) for index in range(count)]
        assert {kinds.count(kind) for kind in KINDS[world]} == {count // len(KINDS[world])}


def test_an_unknown_world_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="'lunar' is unknown; use one of ordinary, liminal"):
        kind_of("lunar", 0)


def test_every_colour_that_a_scene_can_ask_for_exists():
    assert set(captions.COLOUR_NAMES) == set(shapes.PALETTE)
    assert set(ordinary.WALL_COLOURS) <= set(shapes.WALLS)
    assert {wall for place in liminal.PLACES.values() for wall in place[4]} <= set(shapes.WALLS)


@pytest.mark.parametrize("world", WORLDS)
def test_every_scene_is_finite_and_alike_on_every_call(world):
    for index in range(10):
        first, again = WORLDS[world].build(index), WORLDS[world].build(index)
        assert (first.eye, first.target, first.fov) == (again.eye, again.target, again.fov)
        for surface in shapes.SURFACES:
            for mine, other in zip(first.mesh(surface), again.mesh(surface), strict=True):
                assert (mine == other).all()
            points, normals, faces, colours = first.mesh(surface)
            assert len(points) == len(normals) == len(colours) and faces.max() < len(points)
            assert abs((normals ** 2).sum(1) - 1).max() < 1e-3 or surface == "water"
            assert (colours >= 0).all() and (surface == "light" or colours.max() <= 1.3)


def test_faces_of_closed_shapes_look_outward():
    for part in (shapes.box((1, 2, 3), (1, 2, 3)), shapes.rounded((0, 0, 0), (1, 2, 3), 0.1),
                 shapes.ellipsoid((0, 1, 0), (1, 2, 1)), shapes.column((0, 0, 0), 1, 2),
                 shapes.beam((0, 0, 0), (1, 1, 0), 0.1)):
        points, normals, faces = part
        a, b, c = (points[faces[:, k]] for k in range(3))
        across = np.cross(b - a, c - a)
        assert ((across * normals[faces].mean(1)).sum(1) >= -1e-6).all()


def test_a_half_written_picture_is_noticed(tmp_path):
    for suffix, how in (("png", {"format": "PNG"}), ("webp", {"format": "WEBP", "quality": 85})):
        buffer = io.BytesIO()
        Image.effect_noise((64, 64), 60).convert("RGB").save(buffer, **how)
        whole, torn = tmp_path / f"whole.{suffix}", tmp_path / f"torn.{suffix}"
        whole.write_bytes(buffer.getvalue())
        torn.write_bytes(buffer.getvalue()[:len(buffer.getvalue()) // 2])
        assert render.is_whole(whole, 64)
        assert not render.is_whole(whole, 128)
        assert not render.is_whole(torn, 64)
    assert not render.is_whole(tmp_path / "absent.png", 64)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("old")

    def fail(aside):
        aside.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        render.write_aside(path, fail)
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"] and path.read_text() == "old"


def test_rendering_goes_on_where_it_stopped_and_makes_torn_pictures_again(tmp_path, monkeypatch):
    pool = FakePool()
    monkeypatch.setattr(render.multiprocessing, "get_context", lambda method: pool)
    render.render("ordinary", range(6), 8, tmp_path)
    assert pool.made == [0, 1, 2, 3, 4, 5]
    (tmp_path / "000004.png").write_bytes((tmp_path / "000004.png").read_bytes()[:30])
    (tmp_path / "000002.png").unlink()
    (tmp_path / ".000005.png.99.part").write_bytes(b"left by a killed process")
    pool.made.clear()
    render.render("ordinary", range(8), 8, tmp_path)
    assert pool.made == [2, 4, 6, 7]
    assert not list(tmp_path.glob("*.part"))
    assert render.load_metadata(tmp_path) == [render.record("ordinary", i) for i in range(8)]


def test_a_folder_keeps_other_indices_and_refuses_another_world(tmp_path, monkeypatch):
    monkeypatch.setattr(render.multiprocessing, "get_context", lambda method: FakePool())
    render.render("ordinary", range(3), 8, tmp_path)
    render.render("ordinary", range(2, 5), 8, tmp_path)
    assert render.load_metadata(tmp_path) == [render.record("ordinary", i) for i in range(5)]
    with pytest.raises(ValueError, match="another world than 'liminal'"):
        render.render("liminal", range(3), 8, tmp_path)


class FakePool:
    """A pool of no processes that makes grey pictures."""

    def __init__(self):
        self.made = []

    def Pool(self, processes):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def imap_unordered(self, make, jobs):
        for _, index, size, _, _, path in jobs:
            Image.new("RGB", (size, size), "grey").save(path)
            self.made.append(index)
            yield index


def test_a_torn_metadata_line_is_named(tmp_path):
    (tmp_path / "metadata.jsonl").write_text('{"index": 1}\n{"ind')
    with pytest.raises(ValueError, match="line 2"):
        render.load_metadata(tmp_path)
    with pytest.raises(FileNotFoundError, match="render the folder"):
        render.load_metadata(tmp_path / "absent")


@pytest.mark.parametrize("missing", ("mitsuba", "pyoidn"))
def test_a_missing_renderer_or_denoiser_is_named_with_its_package(missing, monkeypatch):
    for name in ("mitsuba", "drjit", "pyoidn"):
        monkeypatch.setitem(sys.modules, name, None if name == missing else types.ModuleType(name))
    with pytest.raises(RuntimeError, match=f"pip install {missing}"):
        picture.load()


def test_a_missing_llvm_is_named_with_its_package(monkeypatch):
    monkeypatch.delenv("DRJIT_LIBLLVM_PATH", raising=False)
    monkeypatch.setattr(picture, "LLVM_FOLDERS", ())
    monkeypatch.setattr(picture.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(RuntimeError, match="libllvm19"):
        picture.find_llvm()


def test_the_newest_llvm_is_taken_unless_one_is_named(tmp_path, monkeypatch):
    for name in ("libLLVM-9.so", "libLLVM.so.19.1", "libLLVM-15.so.1"):
        (tmp_path / name).touch()
    monkeypatch.setattr(picture, "LLVM_FOLDERS", (str(tmp_path),))
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", "")
    picture.find_llvm()
    assert picture.os.environ["DRJIT_LIBLLVM_PATH"] == str(tmp_path / "libLLVM.so.19.1")
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", "mine.so")
    picture.find_llvm()
    assert picture.os.environ["DRJIT_LIBLLVM_PATH"] == "mine.so"


@pytest.mark.parametrize("world, purpose, count, quality", territories.SETS)
def test_shipped_territories_say_what_the_code_says(world, purpose, count, quality):
    folder = DATA / "territories" / world / purpose
    indices = territories.indices(purpose, count)
    assert render.load_metadata(folder) == [render.record(world, i, "webp") for i in indices]
    for path in (folder / render.file_name(i, "webp") for i in indices):
        with Image.open(path) as image:
            assert image.size == (territories.SIZE, territories.SIZE) and image.format == "WEBP"


def test_shipped_territories_stay_small():
    assert sum(p.stat().st_size for p in (DATA / "territories").rglob("*") if p.is_file()) < 14 * 2 ** 20
