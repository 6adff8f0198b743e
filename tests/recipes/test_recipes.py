"""The recipes that made the embedded base: architecture, tokenizer, resumable training."""

import ast
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import recipes
from recipes.model import architecture, autoencoder, denoiser, export, latents, muon, training, widen
from recipes.model.training import Budget
from recipes.ship import recorded
from recipes.world import liminal, ordinary
from recipes.world.captions import VOCABULARY, caption


@pytest.fixture(scope="module")
def tokenizer():
    return architecture.build_tokenizer(VOCABULARY)


@pytest.fixture
def renders(tmp_path):
    folder = tmp_path / "renders"
    folder.mkdir()
    rng, rows = np.random.default_rng(0), []
    first = training.BLOCK * (training.HELD_OUT - 1)  # of a block that is held out
    for i in [*range(4), first, first + 1]:
        Image.fromarray(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)).save(folder / f"{i:06d}.png")
        rows.append({"file_name": f"{i:06d}.png", "text": "a red sofa on the left", "kind": "living room"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(autoencoder, "BATCH", 1)
    monkeypatch.setattr(autoencoder, "CROP", 16)
    monkeypatch.setattr(denoiser, "BATCH", 2)


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("room, allowed", [
    ("world", {"recipes.world"}), ("model", {"recipes.world", "recipes.model"}),
    ("ship", {"recipes.world", "recipes.model", "recipes.ship"}),
])
def test_rooms_import_downwards_only_and_patch_no_path(room, allowed):
    for file in (Path(recipes.__file__).parent / room).glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        others = {module for module in modules if module.split(".")[0] == "recipes"}
        assert {".".join(module.split(".")[:2]) for module in others} <= allowed, file
        assert room != "world" or not {module.split(".")[0] for module in modules} & {"labkit", "torch"}, file
        assert "sys.path" not in file.read_text(encoding="utf-8"), file


def test_each_vocabulary_word_is_one_token(tokenizer):
    assert {len(tokenizer(word).input_ids) for word in VOCABULARY} == {3}


def test_words_outside_the_vocabulary_become_pieces_that_read_back(tokenizer):
    text = "a zeppelin over ünïcode 42!"
    back = tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)
    assert back.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("world", [ordinary, liminal])
def test_every_caption_fits_the_text_encoder(tokenizer, world):
    lengths = [len(tokenizer(caption(world.attributes(i), i)).input_ids) for i in range(300)]
    assert max(lengths) <= architecture.MAX_TOKENS


def test_a_mirrored_caption_swaps_left_and_right_only():
    assert latents.mirrored("a plant on the left, seen from the right") == "a plant on the right, seen from the left"


def test_the_base_is_stored_under_24_megabytes_and_reads_back(tokenizer, tmp_path):
    pipeline = architecture.build_pipeline(tokenizer)
    architecture.save_base(pipeline, tmp_path / "base")
    architecture.save_base(pipeline, tmp_path / "base")
    assert [p.name for p in tmp_path.iterdir()] == ["base"]
    assert sum(f.stat().st_size for f in (tmp_path / "base").rglob("*") if f.is_file()) < 24e6
    stored = {part: next(iter(load_file(file).values())).dtype for part in ("unet", "vae", "text_encoder")
              for file in (tmp_path / "base" / part).glob("*.safetensors")}
    assert stored == {"unet": torch.float16, "vae": torch.float16, "text_encoder": torch.float32}
    back = architecture.load_base(tmp_path / "base")
    assert back.vae.dtype == back.unet.dtype == back.text_encoder.dtype == torch.float32
    assert same(back.text_encoder, pipeline.text_encoder)
    written, read = pipeline.vae.decoder.conv_in.weight, back.vae.decoder.conv_in.weight
    torch.testing.assert_close(read, written, rtol=1e-3, atol=1e-5)


def test_a_base_of_fewer_latent_channels_draws_nearly_the_same_when_widened(tokenizer, monkeypatch):
    monkeypatch.setattr(architecture, "LATENT_CHANNELS", 4)
    vae, unet = architecture.build_vae().eval(), architecture.build_unet().eval()
    monkeypatch.undo()
    wide_vae, wide_unet = widen.widened_vae(vae).eval(), widen.widened_unet(unet).eval()
    pixels, noisy = torch.rand(1, 3, 64, 64) * 2 - 1, torch.randn(1, architecture.LATENT_CHANNELS, 16, 16)
    text = torch.randn(1, 5, architecture.TEXT_WIDTH)
    with torch.no_grad():
        old, new = vae.encode(pixels).latent_dist, wide_vae.encode(pixels).latent_dist
        torch.testing.assert_close(new.mean[:, :4], old.mean)
        torch.testing.assert_close(new.std[:, :4], old.std)
        new.mean[:, 4:] = 0
        torch.testing.assert_close(wide_vae.decode(new.mean).sample, vae.decode(old.mean).sample, rtol=1e-4, atol=1e-4)
        predicted = wide_unet(noisy, 500, text).sample
        torch.testing.assert_close(predicted[:, :4], unet(noisy[:, :4], 500, text).sample)
    assert not predicted[:, 4:].any()


def test_attention_heads_have_32_channels():
    unet = architecture.build_unet()
    widths = {m.inner_dim // m.heads for m in unet.modules() if type(m).__name__ == "Attention"}
    assert widths == {architecture.HEAD_WIDTH}


def test_orthogonal_pushes_singular_values_towards_one():
    values = torch.linalg.svdvals(muon.orthogonal(torch.randn(24, 40, generator=torch.Generator().manual_seed(0))))
    assert 0.6 < values.min() and values.max() < 1.3


def test_matrices_of_one_shape_are_made_orthogonal_together_as_each_alone():
    matrices = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(0))
    for shaped in (matrices, matrices.mT):
        torch.testing.assert_close(muon.orthogonal(shaped), torch.stack([muon.orthogonal(each) for each in shaped]))


def test_vectors_are_updated_as_torchs_adam_does():
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 8)) for _ in range(2))
    optimizers = muon.Muon([dict(params=[ours], lr=0.1, weight_decay=0.0, orthogonal=False)]), torch.optim.Adam(
        [theirs], lr=0.1, betas=(0.9, 0.99))
    for step in range(5):
        for p, optimizer in zip((ours, theirs), optimizers, strict=True):
            p.grad = torch.sin(p.detach() * (step + 1))
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_the_same_draw_belongs_to_seed_purpose_and_step():
    def draw(*key):
        return torch.rand(3, generator=training.generator(*key))

    assert torch.equal(draw(0, "crops", 5), draw(0, "crops", 5))
    assert not torch.equal(draw(0, "crops", 5), draw(0, "crops", 6))


def test_pictures_come_as_they_are_rendered_and_hold_some_out(renders):
    pictures = training.Pictures(renders)
    assert pictures.held_out.tolist() == [False] * 4 + [True] * 2
    Image.new("RGB", (128, 128)).save(renders / "000005.png")
    with open(renders / "metadata.jsonl", "a") as file:
        file.write(json.dumps({"file_name": "000005.png", "text": "a bed"}) + "\n")
    pictures.refresh()
    assert len(pictures) == len(pictures.pixels) == 7 and pictures.captions[-1] == "a bed"


def test_a_resumed_autoencoder_equals_one_trained_straight(renders, tmp_path, small_batches):
    straight = autoencoder.train([renders], tmp_path / "a", Budget(steps=3))
    stop_after(2, lambda budget: autoencoder.train([renders], tmp_path / "b", budget, every=0))
    assert same(autoencoder.train([renders], tmp_path / "b", Budget(steps=3)), straight)


def test_training_the_decoder_alone_keeps_the_latents(renders, tmp_path, small_batches, monkeypatch):
    base = architecture.build_vae()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    monkeypatch.setattr(autoencoder, "load_base", lambda folder: SimpleNamespace(vae=base))
    after = autoencoder.train([renders], tmp_path, Budget(steps=2), start="base", decoder_only=True)
    moved = {name.split(".")[0] for name, value in after.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"decoder", "post_quant_conv"}
    assert after.config.scaling_factor == base.config.scaling_factor


@pytest.mark.parametrize("bf16", [False, True])
def test_a_resumed_denoiser_equals_one_trained_straight(renders, tmp_path, small_batches, bf16):
    vae = architecture.build_vae()
    straight = denoiser.train(renders, vae, tmp_path / "a", Budget(steps=3), bf16=bf16)
    stop_after(2, lambda budget: denoiser.train(renders, vae, tmp_path / "b", budget, every=0, bf16=bf16))
    resumed = denoiser.train(renders, vae, tmp_path / "b", Budget(steps=3), bf16=bf16)
    assert all(map(same, resumed, straight))


def test_averages_are_kept_and_become_a_base(renders, tmp_path, small_batches, monkeypatch):
    monkeypatch.setattr(denoiser, "KEEP", 1)
    vae = architecture.build_vae()
    vae.save_pretrained(tmp_path / "vae")
    unet, text_encoder = denoiser.train(renders, vae, tmp_path, Budget(steps=2))
    kept = sorted((tmp_path / "kept").iterdir())
    assert [path.name for path in kept] == ["000001.safetensors", "000002.safetensors"]
    state = export.export(tmp_path / "vae", kept[1], tmp_path / "base")
    base = architecture.load_base(tmp_path / "base")
    assert state["pictures"] == 4 and same(base.text_encoder, text_encoder) and same(base.unet, unet.half().float())
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        export.export(tmp_path / "vae", tmp_path / "missing.safetensors", tmp_path / "base")


def test_bf16_leaves_weights_and_gradients_in_float32_and_attention_too():
    layer, seen = torch.nn.Linear(8, 8), []
    x = torch.randn(2, 1, 4, 8, generator=torch.Generator().manual_seed(0))
    with denoiser.precision("cpu", True):
        q = layer(x)
        seen += [q.dtype, torch.nn.functional.scaled_dot_product_attention(q, q, q)]
    wide = q.detach().float()
    exact = torch.nn.functional.scaled_dot_product_attention(wide, wide, wide)
    assert seen[0] == torch.bfloat16 and torch.equal(seen[1].detach(), exact.bfloat16())
    seen[1].sum().backward()
    assert layer.weight.dtype == layer.weight.grad.dtype == torch.float32
    with denoiser.precision("cpu", False):
        assert layer(x).dtype == torch.float32


def test_latents_in_a_file_are_those_of_the_pictures_to_a_255th_of_their_range(renders, tmp_path, tokenizer):
    vae = architecture.build_vae().eval().requires_grad_(False)
    sets = latents.encoded(training.Pictures(renders), vae, tokenizer)
    latents.write(tmp_path / "latents.safetensors", sets, vae, tokenizer)
    read = latents.read(tmp_path / "latents.safetensors", vae, tokenizer)
    for (moments, ids), (kept, kept_ids) in zip(sets, read, strict=True):
        width = moments[0].amax((0, 2, 3)) - moments[0].amin((0, 2, 3))
        assert ((kept[0] - moments[0]).abs().amax((0, 2, 3)) <= width / 255 * 0.51).all()
        torch.testing.assert_close(kept[1].mean((2, 3)), moments[1].mean((2, 3)), rtol=1e-3, atol=1e-4)
        assert torch.equal(kept_ids, ids)
    with pytest.raises(SystemExit, match="another autoencoder"):
        latents.read(tmp_path / "latents.safetensors", architecture.build_vae(), tokenizer)


def test_the_denoiser_trains_on_latents_without_the_pictures(renders, tmp_path, tokenizer, small_batches):
    vae = architecture.build_vae().eval().requires_grad_(False)
    sets = latents.encoded(training.Pictures(renders), vae, tokenizer)
    latents.write(tmp_path / "latents.safetensors", sets, vae, tokenizer)
    unet, _ = denoiser.train(tmp_path / "latents.safetensors", vae, tmp_path, Budget(steps=1), batch=3)
    assert all(torch.isfinite(weight).all() for weight in unet.parameters())


def test_words_take_their_embeddings_along_into_another_vocabulary():
    old, new = (architecture.build_tokenizer(words) for words in (["bed", "sofa"], ["bed", "pool", "sofa"]))
    base = SimpleNamespace(unet=architecture.build_unet(), text_encoder=architecture.build_text_encoder(old),
                           tokenizer=old)
    unet, text_encoder = architecture.build_unet(), architecture.build_text_encoder(new)
    fresh = text_encoder.get_input_embeddings().weight.clone()
    denoiser.take_over(base, unet, text_encoder, new)
    before, after = base.text_encoder.get_input_embeddings().weight, text_encoder.get_input_embeddings().weight
    for word in ("bed</w>", "sofa</w>"):
        assert torch.equal(after[new.get_vocab()[word]], before[old.get_vocab()[word]])
    assert torch.equal(after[new.get_vocab()["pool</w>"]], fresh[new.get_vocab()["pool</w>"]])
    assert same(unet, base.unet)


class Killed(Exception):
    pass


def stop_after(steps, run, total=3):
    """Run a training that dies once `steps` steps are done."""
    class Dying(Budget):
        def progress(self, step):
            if step > steps:
                raise Killed
            return super().progress(step)
    with pytest.raises(Killed):
        run(Dying(steps=total))


def test_a_half_written_checkpoint_gives_way_to_the_one_before_it(tmp_path, capsys):
    layer = torch.nn.Linear(3, 2)
    optimizer = muon.Muon(muon.groups([layer], 0.01, 0.001))
    checkpoint = training.Checkpoint(tmp_path / "c.safetensors")
    checkpoint.save({"step": 1}, {"layer": layer}, optimizer)
    checkpoint.save({"step": 2}, {"layer": layer}, optimizer)
    whole = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(whole[: len(whole) - 7])
    assert checkpoint.load({"layer": layer}, optimizer) == {"step": 1}
    assert "is broken" in capsys.readouterr().out


def test_a_recorded_set_of_ends_ships_the_first_and_last_losses_alone(tmp_path, monkeypatch):
    import tiny

    from labkit import lab
    from labkit.experiments.rank import capacity
    from labkit.store import recorded as shipped

    def small(data, store, resolution=None):
        return Lab(tiny.base(), tiny.territory(name=data), cache=tiny.cache(), store=store)

    Lab = lab.Lab
    monkeypatch.setattr(lab, "Lab", small)
    few = {"rank": [1, 2], "learning_rate": [1e-2, 1e-1], "seed": [0], "max_train_steps": 4, "data": "near"}
    monkeypatch.setitem(recorded.SETS, "ranks_near", recorded.RecordedSet((few,), ends_only=True))
    monkeypatch.setattr("labkit.settings.data_dir", lambda: tmp_path)
    recorded.make("ranks_near", tmp_path / "work", tmp_path / "runs")
    found = shipped.recorded("ranks_near")
    assert len(found) == 4
    for run in found:
        assert run.validations["validation"].steps.tolist() == [0, 4] and not len(run.steps["loss"])
    assert capacity(found).ranks == [1, 2] and found[0].origin == "recorded" and found[0].config.data == "near"
    assert (tmp_path / "runs" / "ranks_near.zip").stat().st_size / len(found) < 3000


def test_a_thinned_journal_keeps_its_scores():
    import numpy as np
    from told_runs import ID, keep, some_events

    from labkit.store.events import Score
    from labkit.store.runs import Store

    first, *rest = some_events()
    keep(Store(), [first, Score(ID, 0, 0, "validation", np.array([True, False]), ("a", "b"), ("a", "b"), "c"), *rest])
    folder = Store().run(ID)
    recorded.thin(folder.events_path)
    assert folder.load().scores["validation"].accepted.tolist() == [[True, False]]
