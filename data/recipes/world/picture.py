"""From a scene to a finished picture: path tracing, denoising, exposure, tone map."""

import ctypes.util
import os
import re
from pathlib import Path

import numpy as np

from recipes.world.shapes import SURFACES

# The denoiser reads its thread count once, when it is loaded; one process works on one core.
os.environ.setdefault("OIDN_NUM_THREADS", "1")

LLVM_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64")
ROUGHNESS = {"gloss": 0.35, "water": 0.06, "metal": 0.25}


def find_llvm():
    """Point Dr.Jit to the newest LLVM library at hand unless the environment names one."""
    if os.environ.get("DRJIT_LIBLLVM_PATH"):
        return
    found = [path for folder in map(Path, LLVM_FOLDERS) for path in folder.glob("libLLVM*.so*")]
    if found:
        newest = max(found, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])
        os.environ["DRJIT_LIBLLVM_PATH"] = str(newest)
    elif ctypes.util.find_library("LLVM") is None:
        raise RuntimeError("No LLVM library was found, which Mitsuba needs to compile its kernels: install Debian's "
                           "libllvm19 (or any libLLVM from 10 on), or set DRJIT_LIBLLVM_PATH to the library's file")


def load():
    """Mitsuba on one thread, and the denoiser; a missing one is named with its package."""
    try:
        import drjit
        import mitsuba
    except ImportError as error:
        raise RuntimeError(f"Rendering needs Mitsuba 3 ({error}): pip install mitsuba") from error
    try:
        import pyoidn
    except (ImportError, OSError) as error:
        raise RuntimeError(f"Rendering needs Open Image Denoise ({error}): pip install pyoidn") from error
    if mitsuba.variant() is None:
        find_llvm()
        mitsuba.set_variant("llvm_ad_rgb")
        drjit.set_thread_count(1)
    return mitsuba, pyoidn


def shape(mitsuba, surface, mesh):
    """One Mitsuba mesh with a colour or radiance per vertex."""
    points, normals, faces, colours = mesh
    colour = {"type": "mesh_attribute", "name": "vertex_color"}
    if surface == "light":
        bsdf = {"type": "diffuse", "reflectance": {"type": "rgb", "value": 0.0}}
    elif surface in ROUGHNESS:
        bsdf = {"type": "twosided", "side": {"type": "principled", "base_color": colour,
                                             "roughness": ROUGHNESS[surface], "specular": 0.5,
                                             "metallic": 0.8 if surface == "metal" else 0.0}}
    else:
        bsdf = {"type": "twosided", "side": {"type": "diffuse", "reflectance": colour}}
    properties = mitsuba.Properties()
    properties["bsdf"] = mitsuba.load_dict(bsdf)
    if surface == "light":
        properties["emitter"] = mitsuba.load_dict({"type": "area", "radiance": colour})
    made = mitsuba.Mesh(surface, vertex_count=len(points), face_count=len(faces),
                        has_vertex_normals=True, props=properties)
    made.add_attribute("vertex_color", 3, colours.ravel())
    fields = mitsuba.traverse(made)
    fields["vertex_positions"], fields["vertex_normals"] = points.ravel(), normals.ravel()
    fields["faces"] = faces.ravel()
    fields.update()
    return made


def trace(scene, size, samples, seed):
    """Linear radiance, albedo and normals of a scene, each (size, size, 3) float32, and depth (size, size, 1)."""
    mitsuba, _ = load()
    # A wider filter than the box would correlate neighbouring pixels' noise and defeat the denoiser.
    film = {"type": "hdrfilm", "width": size, "height": size, "pixel_format": "rgb", "rfilter": {"type": "box"}}
    camera = mitsuba.ScalarTransform4f().look_at(origin=list(scene.eye), target=list(scene.target), up=list(scene.up))
    described = {
        "type": "scene",
        "sensor": {"type": "perspective", "fov": scene.fov, "to_world": camera, "near_clip": 0.05,
                   "film": film, "sampler": {"type": "independent", "sample_count": samples}},
        "ambient": {"type": "constant", "radiance": {"type": "rgb", "value": [float(c) for c in scene.ambient]}},
    }
    for surface in SURFACES:
        described[surface] = shape(mitsuba, surface, scene.mesh(surface))
    world = mitsuba.load_dict(described)
    # Two passes: one integrator that gives all three takes twice as long (measured).
    path = mitsuba.load_dict({"type": "path", "max_depth": 6, "rr_depth": 3})
    guides = mitsuba.load_dict({"type": "aov", "aovs": "albedo:albedo,normal:sh_normal,depth:depth"})
    radiance = np.array(mitsuba.render(world, integrator=path, spp=samples, seed=seed))
    channels = np.array(mitsuba.render(world, integrator=guides, spp=max(samples // 2, 4), seed=seed + 1))
    return [np.ascontiguousarray(np.nan_to_num(c), dtype=np.float32)
            for c in (radiance[..., :3], channels[..., :3], channels[..., 3:6], channels[..., 6:7])]


def veiled(radiance, depth, fog, veil):
    """Radiance seen through a haze as bright as the brighter parts of the picture."""
    clear = np.exp(-fog * depth)
    return radiance * clear + np.percentile(radiance.mean(-1), 85) * np.asarray(veil, dtype=np.float32) * (1 - clear)


def outlined(radiance, normals, depth, ink):
    """Radiance darkened by a share of ink where surfaces bend or end, as a pen would draw them."""
    size = len(depth)
    width = max(1, size // 128)            # a line is as broad a part of the picture at every size
    line = np.zeros((size, size), dtype=np.float32)
    for axis in (0, 1):
        here = np.arange(size)
        ahead, behind = (np.clip(here + by, 0, size - 1) for by in (width, -width))
        line += np.abs(np.take(normals, ahead, axis) - normals).sum(-1)
        bend = np.take(depth, ahead, axis) + np.take(depth, behind, axis) - 2 * depth
        line += 8 * np.abs(bend[..., 0]) / np.maximum(depth[..., 0], 0.1)
    return radiance * (1 - ink * np.clip(line - 0.2, 0, 1))[..., None]


def developed(radiance, brightness):
    """Display picture (H, W, 3) uint8 whose 85th percentile of luminance has the given brightness."""
    luminance = radiance @ np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
    level = float(np.percentile(luminance, 85))
    x = np.maximum(radiance, 0) * (brightness ** 2.2 / max(level, 1e-6))
    # Straight below the knee so that named colours keep their saturation, a soft shoulder above it.
    knee = 0.6
    x = np.where(x < knee, x, knee + (1 - knee) * (1 - np.exp(-(x - knee) / (1 - knee))))
    srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(np.maximum(x, 1e-9), 1 / 2.4) - 0.055)
    return (np.clip(srgb, 0, 1) * 255 + 0.5).astype(np.uint8)


def picture(scene, size, samples=32, seed=0):
    """A finished picture (size, size, 3) uint8."""
    _, pyoidn = load()
    radiance, albedo, normals, depth = trace(scene, size, samples, seed)
    radiance = pyoidn.denoise(radiance, np.clip(albedo, 0, 1), normals, hdr=True)
    radiance = veiled(radiance, depth, scene.fog, scene.veil)
    if scene.ink:
        radiance = outlined(radiance, normals, depth, scene.ink)
    return developed(radiance, scene.brightness)
