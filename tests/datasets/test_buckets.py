"""Pictures keep nearly their own shape: the buckets are kohya's, and what they do to a folder is told."""

import numpy as np
import pytest
from picture_folders import drawn, with_texts
from PIL import Image

from labkit.datasets.buckets import bucket_of, bucket_sizes, lost, notes, sizes_of, table
from labkit.datasets.folders import load_folder, load_picture, territory
from labkit.errors import LabError
from labkit.experiments.folder_inspection import inspect_folder


def kohya_sizes(resolution, least, most, step):
    """Follow sd-scripts' `make_bucket_resolutions`: walk the widths, floor the height to the step, take both ways."""
    side = int((resolution * resolution) ** 0.5 // step) * step
    found, width = {(side, side)}, least
    while width <= most:
        height = min(most, resolution * resolution // width // step * step)
        if height >= least:
            found.update([(width, height), (height, width)])
        width += step
    return sorted(found)


def kohya_choice(width, height, sizes):
    """Follow its `select_bucket` with upscaling: a size that is there already, else the least difference of ratios."""
    if (width, height) in sizes:
        return width, height
    ratios = np.array([w / h for w, h in sizes])
    return sizes[int(np.abs(ratios - width / height).argmin())]


@pytest.mark.parametrize("resolution, step, least, most", [
    (512, 64, 256, 1024), (1024, 64, 512, 2048), (1024, 32, 512, 2048), (128, 32, 64, 256), (768, 64, 384, 1536)])
def test_sizes_and_choice_are_those_of_kohyas_trainer(resolution, step, least, most):
    sizes = bucket_sizes(resolution, step)
    assert list(sizes) == kohya_sizes(resolution, least, most, step)
    shapes = np.random.default_rng(0).integers(40, 4000, (300, 2)).tolist() + [list(size) for size in sizes]
    assert [bucket_of(w, h, sizes) for w, h in shapes] == [kohya_choice(w, h, list(sizes)) for w, h in shapes]


def test_sizes_fit_the_base_and_hold_no_more_pixels_than_the_square():
    for resolution, step in [(512, 64), (576, 64), (1024, 32), (128, 32)]:
        for width, height in bucket_sizes(resolution, step):
            assert width % step == height % step == 0 and width * height <= resolution**2
            assert resolution / 2 <= min(width, height) and max(width, height) <= 2 * resolution


def test_a_resolution_that_leaves_the_square_alone_is_refused():
    with pytest.raises(LabError, match="no size but the square at resolution = 64.* resolution of 128 or more"):
        bucket_sizes(64, 64)


def folder_of(path, *shapes):
    """Write pictures of these (width, height), each with its caption."""
    with_texts(path, len(shapes))
    for i, shape in enumerate(shapes):
        drawn(i, 96).resize(shape).save(path / f"{i:02}.png")
    return path


def test_only_the_direction_that_is_too_long_is_cut_and_at_both_ends(tmp_path):
    stripes = np.zeros((100, 300, 3), np.uint8)
    stripes[:, :60], stripes[:, -60:] = (255, 0, 0), (0, 0, 255)
    Image.fromarray(stripes).save(tmp_path / "a.png")
    pixels = load_picture(tmp_path / "a.png", (96, 160), "buckets")                  # of 300 columns, 167 are left
    assert pixels.shape == (96, 160, 3) and not pixels[4:-4, 4:-4].any()
    whole = load_picture(tmp_path / "a.png", (64, 192), "buckets")
    assert whole[:, :30, 0].min() > 200 and whole[:, -30:, 2].min() > 200
    assert lost(300, 100, (160, 96)) == pytest.approx(1 - 5 / 9) and lost(300, 100, (192, 64)) == 0


def test_buckets_change_what_is_trained_only_of_pictures_that_are_no_squares(tmp_path):
    square = folder_of(tmp_path / "square", *[(48, 48)] * 9)
    assert territory(square, crop="buckets").fingerprint == territory(square).fingerprint
    mixed = folder_of(tmp_path / "mixed", *[(48, 48), (80, 48), (48, 80)] * 3)
    center, buckets = (territory(mixed, crop=crop) for crop in ("center", "buckets"))
    assert center.fingerprint != buckets.fingerprint and center.validation.paths == buckets.validation.paths
    assert set(sizes_of(center.train, 128, 32)) == {(128, 128)}
    assert set(sizes_of(buckets.train, 128, 32)) <= {(128, 128), (160, 96), (96, 160)}
    assert "loses" not in " ".join(buckets.notes) and any("crop can also be" in note for note in center.notes)


def test_a_bucket_of_one_picture_and_an_extreme_shape_are_told(tmp_path):
    pictures = load_folder(folder_of(tmp_path, *[(80, 48)] * 4, (48, 80), (600, 60)), crop="buckets")
    cut, alone = notes(pictures, 128, 32)
    assert cut == ("1 of 6 pictures lose more than 10% even in buckets; 05.png (600 x 60) loses 60% in 256 x 64: crop "
                   "it yourself, or leave it out")
    assert alone.startswith("2 buckets of one picture, 04.png (96 x 160) for one: a batch there is that picture")
    assert table([pictures], 128, 32) == ("160 x 96 (4 pictures, at most 0% cut off), 96 x 160 (1 picture, at most 0% "
                                          "cut off), 256 x 64 (1 picture, at most 60% cut off)")
    assert notes(load_folder(tmp_path), 128, 32) == []


def test_inspect_tells_the_buckets_at_the_bases_own_resolution(tmp_path):
    found = inspect_folder(str(folder_of(tmp_path, *[(80, 48)] * 9, (600, 60))), crop="buckets")
    by_name = {finding.name: finding for finding in found if finding.name in ("pictures", "buckets")}
    texts = [finding.found for finding in found]
    assert "each used in the bucket of its shape" in by_name["pictures"].found
    assert any(text.startswith("at resolution 128, sides in steps of 32: 160 x 96 (9 pictures") for text in texts)
    assert not any("outside" in text for text in texts)


def test_class_pictures_that_are_alone_in_their_bucket_are_told_as_such(tmp_path):
    folder_of(tmp_path / "train", *[(80, 48)] * 9)
    folder_of(tmp_path / "class", (48, 48), (48, 48), (48, 80))
    found = [finding.found for finding in inspect_folder(str(tmp_path), crop="buckets")]
    [told] = [text for text in found if "of one picture" in text]
    assert told.startswith("class pictures: 1 bucket of one picture") and "(96 x 160)" in told
    assert any("; class pictures: 128 x 128 (2 pictures" in text for text in found)
