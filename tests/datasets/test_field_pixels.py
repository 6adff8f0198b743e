"""Pixels as people bring them, each case made after the public bug report it names."""

import io
import struct

import numpy as np
import pytest
from picture_folders import drawn, with_texts
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from labkit.datasets.folders import load_folder, load_picture, territory
from labkit.datasets.pixels import look, upright_size
from labkit.errors import LabError
from labkit.files.content import sha256

pytestmark = pytest.mark.usefixtures("ordinary_alone")


# Primaries of a wide space, as XYZ at D50.
RED_HEAVY = ((0.61, 0.31, 0.02), (0.205, 0.626, 0.061), (0.149, 0.063, 0.745))


def notes(folder):
    """Return what is told of a folder that is taken."""
    return " | ".join(territory(folder).notes)


def profile(primaries, gamma=2.2):
    """Make a colour profile of three primaries: ICC.1:2001, a matrix profile of version 2."""

    def fixed(*values):
        return b"".join(round(value * 65536).to_bytes(4, "big", signed=True) for value in values)

    def words(text):
        return b"desc\0\0\0\0" + (len(text) + 1).to_bytes(4, "big") + text + b"\0" * (1 + 4 + 4 + 2 + 1 + 67)

    curve = b"curv\0\0\0\0\0\0\0\1" + round(gamma * 256).to_bytes(2, "big") + b"\0\0"
    white = fixed(0.9642, 1, 0.8249)
    tags = {b"desc": words(b"wide"), b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": b"XYZ \0\0\0\0" + white}
    for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True):
        tags[name] = b"XYZ \0\0\0\0" + fixed(*values)
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body = len(tags).to_bytes(4, "big"), b""
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name + (132 + 12 * len(tags) + len(body)).to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data
    head = b"lcms\x02\x10\0\0mntrRGB XYZ " + b"\x07\xe0\0\1\0\1" + b"\0" * 6 + b"acsp" + b"\0" * 28
    head += white + b"\0" * 48
    return (4 + len(head) + len(table) + len(body)).to_bytes(4, "big") + head + table + body


def in_srgb(picture, icc):
    """Convert as Pillow's ImageCms does."""
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(picture, source, target, outputMode="RGB"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_is_converted_to_srgb(tmp_path, mode):
    """sd-scripts PR #2393, kohya_ss #1574."""
    wide = profile(RED_HEAVY)
    drawn(0).convert(mode).save(tmp_path / "a.png", icc_profile=wide)
    read = load_picture(tmp_path / "a.png", 48)
    assert np.array_equal(read, in_srgb(drawn(0).convert(mode).convert("RGB"), wide))
    assert np.abs(read.astype(int) - np.asarray(drawn(0))).mean() > 5


def test_colours_that_are_srgb_already_stay_as_they_are_to_the_last_bit(tmp_path):
    drawn(0).save(tmp_path / "a.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert np.array_equal(load_picture(tmp_path / "a.png", 48), np.asarray(drawn(0)))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_as_its_metadata_say(tmp_path, orientation, suffix):
    lying = drawn(0).crop((0, 0, 40, 20))
    exif = lying.getexif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    lying.save(path, exif=exif)
    with Image.open(path) as picture:
        picture.load()
        upright = ImageOps.exif_transpose(picture)
    size = upright.size[::-1]
    assert upright_size(path) == size == ((40, 20) if orientation > 4 else (20, 40))
    assert np.array_equal(load_picture(path, size), np.asarray(upright))


@pytest.mark.parametrize("exif", [
    b"Exif\0\0II*\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x03\1\x12\0\3\0\0", b"Exif\0\0nothing"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_metadata_that_are_damaged_say_nothing_of_the_pixels(tmp_path, exif):
    """Pillow #8605, #8965: photographs of phones that every viewer shows."""
    drawn(0).save(tmp_path / "a.jpg", quality=95, exif=exif)
    drawn(0).save(tmp_path / "b.jpg", quality=95)
    assert np.array_equal(load_picture(tmp_path / "a.jpg", 48), load_picture(tmp_path / "b.jpg", 48))
    assert upright_size(tmp_path / "a.jpg") == drawn(0).size[::-1]


@pytest.mark.parametrize("name, mode, options, tolerance", [
    ("a.png", "1", {}, 0), ("a.jpg", "L", {"quality": 95}, 3), ("a.tif", "CMYK", {}, 0), ("a.jpg", "YCbCr", {}, 6),
    ("a.JPEG", "RGB", {"progressive": True, "quality": 95}, 4), ("a.webp", "RGBA", {"lossless": True}, 0),
    ("a.jpg", "RGB", {"format": "WEBP", "lossless": True}, 0)])
def test_pixels_of_every_kind_are_those_that_one_sees(tmp_path, name, mode, options, tolerance):
    picture = drawn(0).convert(mode)
    picture.save(tmp_path / name, **options)
    apart = np.abs(load_picture(tmp_path / name, 48).astype(int) - np.asarray(picture.convert("RGB")))
    assert apart.mean() <= tolerance


@pytest.mark.parametrize("name, options", [("a.webp", {"lossless": True}), ("a.png", {})])
def test_of_an_animation_the_first_frame_is_used(tmp_path, name, options):
    drawn(0).save(tmp_path / name, save_all=True, append_images=[drawn(1), drawn(2)], duration=100, **options)
    assert np.array_equal(load_picture(tmp_path / name, 48), np.asarray(drawn(0)))


def tiff_of_16_bits(pixels):
    """Write a TIFF of 16 bits a colour, which Pillow reads and does not write: Adobe, TIFF 6.0, section 2."""
    data = (pixels.astype("<u2") * 257).tobytes()
    height, width, _ = pixels.shape
    short, long = 3, 4                                        # types of an entry: 16 and 32 bits
    entries = [(256, long, 1, width), (257, long, 1, height), (258, short, 3, 122), (259, short, 1, 1),
               (262, short, 1, 2), (273, long, 1, 128), (277, short, 1, 3), (278, long, 1, height),
               (279, long, 1, len(data))]
    body = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    body += b"".join(struct.pack("<HHII", *entry) for entry in entries) + b"\0" * 4
    return body + struct.pack("<3H", 16, 16, 16) + data


def test_sixteen_bits_a_colour_keep_their_colours_and_numbers_without_a_white_are_named(tmp_path):
    """traiNNer-redux #298."""
    (tmp_path / "a.tif").write_bytes(tiff_of_16_bits(np.asarray(drawn(0))))
    assert np.array_equal(load_picture(tmp_path / "a.tif", 48), np.asarray(drawn(0)))
    Image.fromarray(np.asarray(drawn(0).convert("L")).astype(np.float32) / 255).save(tmp_path / "b.tif")
    with pytest.raises(LabError, match="b.tif holds floating-point values without a known white"):
        load_picture(tmp_path / "b.tif", 48)


def test_half_transparent_pixels_lie_half_on_white(tmp_path):
    picture = drawn(0).convert("RGBA")
    picture.putalpha(128)
    picture.save(tmp_path / "a.png")
    expected = 255 + (np.asarray(drawn(0)).astype(float) - 255) * 128 / 255
    assert np.abs(load_picture(tmp_path / "a.png", 48) - expected).max() <= 1


def test_a_picture_in_lab_colours_has_its_colours(tmp_path):
    lab = ImageCms.profileToProfile(drawn(0), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"),
                                    outputMode="LAB")
    lab.save(tmp_path / "a.tif")
    apart = np.abs(load_picture(tmp_path / "a.tif", 48).astype(int) - np.asarray(drawn(0)))
    assert apart.mean() < 8
    assert look(tmp_path / "a.tif").sha256 != sha256(tmp_path / "a.tif")           # since earlier it was read as white


def test_a_picture_whose_colours_are_read_anew_is_another_picture(tmp_path):
    """What was trained on the wrong colours, and what was encoded of them, must not be found again."""
    folder = with_texts(tmp_path / "own", 9)
    drawn(0).save(folder / "00.png", icc_profile=profile(RED_HEAVY))
    loaded = load_folder(folder)
    hashed = [sha256(path) for path in loaded.paths]
    assert loaded.hashes[0] != hashed[0] and list(loaded.hashes[1:]) == hashed[1:]


def test_a_profile_that_cannot_be_used_is_told(tmp_path):
    folder = with_texts(tmp_path / "own", 9)
    drawn(0).save(folder / "00.png", icc_profile=b"no profile at all")
    assert "1 picture with a colour profile that cannot be used, 00.png for one: taken as sRGB" in notes(folder)


def test_a_large_text_in_a_png_is_no_reason_to_refuse_it(tmp_path):
    """LlamaFactory #6300, Pillow #8363: whole workflows are written there."""
    info = PngInfo()
    info.add_text("workflow", "x" * 3_000_000, zip=True)
    folder = with_texts(tmp_path / "own", 9)
    drawn(0).save(folder / "00.png", pnginfo=info)
    assert np.array_equal(load_picture(folder / "00.png", 48), np.asarray(drawn(0))) and len(load_folder(folder)) == 9
    (folder / "00.png").write_bytes((folder / "00.png").read_bytes()[:-2000])
    with pytest.raises(LabError, match="00.png is truncated"):
        load_folder(folder)


def test_what_the_middle_square_takes_away_is_told(tmp_path):
    """kohya_ss #1586, diffusers #1112, #3794: what the caption names lies at the edge."""
    folder = with_texts(tmp_path / "own", 12)
    drawn(0, 96).crop((0, 0, 32, 96)).save(folder / "00.png")
    drawn(1, 96).crop((0, 0, 90, 96)).save(folder / "01.png")
    note = ("1 of 12 pictures lose more than 10% outside their middle square, which alone is used; "
            "00.png (32 x 96) loses 67%")
    assert note in notes(folder)
