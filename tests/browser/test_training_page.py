"""The page that trains, in a real browser: its run is the engine's, it pauses and stops, and says what fails."""

import functools
import io
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import static_site
import torch
from PIL import Image
from playwright.sync_api import expect

from labkit import settings
from labkit.cli.tools import load
from labkit.datasets.folders import territory
from labkit.design.config import RunConfig
from labkit.engine import batches
from labkit.engine.base import load_base
from labkit.engine.cache import encode
from labkit.engine.monitor import Monitor
from labkit.engine.optim import StackedAdamW, clip_per_run
from labkit.engine.seeding import generator
from labkit.engine.train import train
from labkit.store.adapter_files import load_adapter
from labkit.store.events import Checkpoint, Sample, Validation
from labkit.store.recorded import recorded

UPDATES, LONGER, RATE, SLOW_MS = 3, 40, 4e-3, 240_000        # a machine that trains meanwhile is slow


class Quiet(SimpleHTTPRequestHandler):
    """Serve files and say nothing of it."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the page for runs of a few updates."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "training-page-cache"))
        body, beside = load("training_page").built(lengths=(UPDATES, LONGER))
    titles = {"index": "Start", "train": "Train in this page"}
    written = {"train.html": static_site.page_of("train", body, titles).encode(), **beside}
    assert set(written) == static_site.TRAINING
    parts = {name: (settings.REPO / "tools/training" / name).read_bytes() for name in ("draws.js", "optimizer.js")}
    for name, data in (written | parts).items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def address(site):
    """Serve the page; give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/train.html"
        server.shutdown()


@pytest.fixture(scope="module")
def page(chromium, address):
    """Open the page once for all tests that train."""
    page = chromium.new_page()
    page.set_default_timeout(SLOW_MS)
    page.goto(address)
    yield page
    page.close()


@pytest.fixture(scope="module")
def engine_events(tmp_path_factory):
    """Train the same run by the engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "training-page-cache"))
        base = load_base(device="cpu")
        cache = encode(base, territory("near"))
    run = recorded("race")[0]
    config = run.config.replace(learning_rate=RATE, max_train_steps=UPDATES)
    samples = run.samples[0]
    monitor = Monitor(sets=("validation",), validate_at=(), prompts=samples.prompts, sample_seeds=samples.seeds,
                      sample_at=(UPDATES,), guidance_scale=samples.guidance_scale)
    return list(train(base, cache, [config], monitor=monitor))


def part(page, name):
    return page.locator(f"[data-part={name}]")


def test_nothing_heavy_is_fetched_before_train_is_pressed(chromium, address):
    page = chromium.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page.goto(address, wait_until="networkidle")
    assert "train.html" in asked and not set(asked) & (static_site.TRAINING - {"train.html"})
    expect(part(page, "status")).to_contain_text("The first Train fetches")
    page.close()


def test_draws_are_the_engines_for_every_purpose(page):
    told = page.evaluate("""async () => {
        const { Generator, shown } = await import("./draws.js"), source = new Generator(0, "timesteps", 2);
        return {
            normal: Array.from(new Generator(3, "noise", 7).normal(2048)),
            uniform: Array.from(new Generator(1, "A", "down.0").uniform(700, -0.3, 0.3)),
            timesteps: Array.from({ length: 50 }, source.below.bind(source, 1000)),
            shown: Array.from({ length: 60 }, (_, update) => shown(5, 97, 4, update)),
        };
    }""")
    normal = torch.randn(2048, generator=generator(3, "noise", 7))
    torch.testing.assert_close(torch.tensor(told["normal"]), normal, rtol=1e-6, atol=1e-6)
    uniform = torch.empty(700).uniform_(-0.3, 0.3, generator=generator(1, "A", "down.0"))
    torch.testing.assert_close(torch.tensor(told["uniform"]), uniform, rtol=0, atol=1e-7)
    assert told["timesteps"] == torch.randint(1000, (50,), generator=generator(0, "timesteps", 2)).tolist()
    assert told["shown"] == [batches.pictures(5, 97, 4 * update, 4) for update in range(60)]


def test_the_optimizer_is_the_engines_with_clipping_and_decay(page):
    config = RunConfig(weight_decay=0.3, max_grad_norm=1.0, max_train_steps=20).resolved(8)
    source = torch.Generator().manual_seed(0)
    theta, grads = torch.randn(1, 300, generator=source), torch.randn(20, 1, 300, generator=source) / 17
    options = {"beta1": config.adam_beta1, "beta2": config.adam_beta2, "epsilon": config.adam_epsilon,
               "decay": config.weight_decay, "maxNorm": config.max_grad_norm}
    told = page.evaluate("""async ({ theta, grads, options }) => {
        const { AdamW } = await import("./optimizer.js");
        const adapter = Float32Array.from(theta), optimizer = new AdamW(theta.length, options);
        const norms = grads.map((grad, i) => optimizer.step(adapter, Float32Array.from(grad), 0.01 / (i + 1)));
        norms.push(optimizer.step(adapter, new Float32Array(theta.length).fill(NaN), 0.01));
        return { adapter: Array.from(adapter), norms };
    }""", {"theta": theta[0].tolist(), "grads": grads[:, 0].tolist(), "options": options})
    optimizer, norms = StackedAdamW(theta, [config]), []
    for i, grad in enumerate(grads):
        norms.append(clip_per_run(grad, torch.tensor([config.max_grad_norm])).item())
        optimizer.step(grad, torch.tensor([[0.01 / (i + 1)]]), torch.tensor([True]))
    assert min(norms) < 1 < max(norms)                        # some are clipped
    assert told["norms"][:-1] == pytest.approx(norms, rel=1e-5) and np.isnan(told["norms"][-1])
    torch.testing.assert_close(torch.tensor(told["adapter"]), theta[0], rtol=1e-5, atol=1e-6)


def test_a_run_is_the_engines_in_its_adapter_its_losses_and_its_pictures(page, engine_events, tmp_path):
    part(page, "updates").select_option(str(UPDATES))
    part(page, "rate").fill(f"{RATE:g}")
    part(page, "rate").press("Enter")                         # by keyboard alone
    expect(part(page, "status")).to_contain_text("Finished", timeout=SLOW_MS)
    with page.expect_download() as download:
        part(page, "save").click()
    download.value.save_as(tmp_path / "adapter.safetensors")
    found, settings = load_adapter(tmp_path / "adapter.safetensors")
    [expected] = [event.adapter for event in engine_events if isinstance(event, Checkpoint)]
    assert settings["rank"] == 8 and set(found) == set(expected)
    for end in ("lora_A.weight", "lora_B.weight"):            # B was zero, so that all of it was learnt
        names = [name for name in expected if name.endswith(end)]
        apart = sum(np.square(found[name] - expected[name]).sum() for name in names)
        assert apart < 1e-8 * sum(np.square(expected[name]).sum() for name in names)
    losses = {event.global_step: event.losses.mean() for event in engine_events if isinstance(event, Validation)}
    key = page.get_by_role("button", name="yours 4e-3")
    expect(key).to_have_accessible_name(f"learning_rate yours 4e-3, 3 updates, loss {losses[UPDATES]:.3f} after 3")
    assert f"from {losses[0]:.3f} to {losses[UPDATES]:.3f}" in part(page, "status").inner_text()
    [drawn] = [event.images for event in engine_events if isinstance(event, Sample)]
    shown = page.locator(".row", has=key).locator(".now img")
    assert shown.count() == len(drawn) == 2
    for i, picture in enumerate(drawn):
        data = bytes(shown.nth(i).evaluate("async image => Array.from(new Uint8Array(await (await fetch(image.src))"
                                           ".arrayBuffer()))"))
        apart = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float) - picture
        assert np.abs(apart).mean() < 4                       # of 255, which is what WebP loses


def test_a_run_waits_when_paused_goes_on_and_is_stopped(page):
    part(page, "updates").select_option(str(LONGER))
    part(page, "seed").fill("1")
    part(page, "train").click()
    expect(part(page, "count")).to_contain_text("s an update", timeout=SLOW_MS)     # nothing is fetched again
    part(page, "pause").click()
    expect(part(page, "status")).to_contain_text("Paused after", timeout=SLOW_MS)
    done = re.search(r"\d+", part(page, "status").inner_text())[0]
    expect(part(page, "count")).to_contain_text(f"update {done} of {LONGER}")
    expect(part(page, "pause")).to_have_text("Go on")
    expect(part(page, "train")).to_be_disabled()
    expect(part(page, "pause")).to_be_focused()
    before = part(page, "count").inner_text()
    page.wait_for_timeout(5000)
    assert part(page, "count").inner_text() == before
    part(page, "pause").click()
    expect(part(page, "count")).not_to_have_text(before, timeout=SLOW_MS)
    part(page, "stop").click()
    expect(part(page, "status")).to_contain_text("Stopped after", timeout=SLOW_MS)
    expect(part(page, "train")).to_be_enabled()
    expect(page.get_by_role("button", name="yours 4e-3, 40 updates, seed 1")).to_have_count(1)


def test_a_run_far_above_the_others_leaves_the_axis_as_it_was(page):
    losses = page.locator(".curves .axes text[text-anchor=end]")
    before = losses.all_text_contents()
    part(page, "updates").select_option(str(UPDATES))
    part(page, "rate").fill("0.1")
    part(page, "rate").press("Enter")
    expect(part(page, "status")).to_contain_text("Finished", timeout=SLOW_MS)
    expect(page.locator(".curves .labels")).to_contain_text(re.compile(r"yours 1e-1.*↑"))
    assert losses.all_text_contents() == before


@pytest.mark.parametrize("name, answer, sentence", [
    ("train-update.gz", {"status": 404}, "train-update.gz is missing beside this page"),
    ("train-weights.gz", {"cut": 100_000}, "train-weights.gz is cut or damaged"),
    ("train-runtime.js", {"status": 404}, "train-runtime.js is missing beside this page"),
])
def test_a_file_that_is_missing_or_cut_is_named(chromium, address, site, name, answer, sentence):
    page = chromium.new_page()
    cut = answer.pop("cut", None)
    answer = {"body": (site / name).read_bytes()[:cut]} if cut else answer
    page.route(f"**/{name}", lambda route: route.fulfill(**answer))
    page.goto(address)
    part(page, "train").click()
    expect(part(page, "status")).to_contain_text(sentence, timeout=SLOW_MS)
    expect(part(page, "train")).to_be_enabled()
    page.close()


def test_too_little_memory_is_said_so(chromium, address):
    page = chromium.new_page()
    fails = "throw new RangeError('Array buffer allocation failed')"
    broken = f"export const env = {{ wasm: {{}} }}; export const InferenceSession = {{ create() {{ {fails}; }} }};"
    page.route("**/train-runtime.js", lambda route: route.fulfill(body=broken, content_type="text/javascript"))
    page.goto(address)
    part(page, "train").click()
    expect(part(page, "status")).to_contain_text("too little memory", timeout=SLOW_MS)
    expect(part(page, "train")).to_be_enabled()
    page.close()


@pytest.mark.parametrize("lack, sentence", [
    ("WebAssembly.validate = () => false", "no WebAssembly with SIMD"),
    ("delete window.DecompressionStream", "too old"),
])
def test_a_browser_that_cannot_is_told_before_anything_is_fetched(chromium, address, lack, sentence):
    page = chromium.new_page()
    page.add_init_script(lack)
    page.goto(address)
    expect(part(page, "status")).to_contain_text(sentence)
    expect(part(page, "train")).to_be_disabled()
    page.close()


def test_a_page_from_a_disk_says_what_to_run(chromium, site):
    page = chromium.new_page()
    page.goto((site / "train.html").as_uri())
    expect(part(page, "status")).to_contain_text("python3 -m http.server")
    expect(part(page, "train")).to_be_disabled()
    page.close()


def test_a_rate_out_of_bounds_is_refused_where_it_was_written(chromium, address):
    page = chromium.new_page()
    page.goto(address)
    for wrong in ("7", "fast", ""):
        part(page, "rate").fill(wrong)
        part(page, "train").click()
        assert "from 1e-5 to 3e-1" in part(page, "rate").evaluate("field => field.validationMessage")
    expect(part(page, "train")).to_be_enabled()
    part(page, "slider").focus()
    page.keyboard.press("Home")
    assert part(page, "rate").input_value() == "1e-5"
    page.close()


@pytest.mark.parametrize("paper", ["light", "dark"])
@pytest.mark.parametrize("width", [600, 1000, 1400])
def test_nothing_is_wider_than_the_page(chromium, address, width, paper):
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=paper)
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    theme = page.locator(".lab-race").get_attribute("data-theme")
    assert theme == paper
    page.close()
