import pytest
import torch

from labkit.engine.seeding import generator, seed63

SEEDS, STEPS = 100, 5000


def test_no_two_draws_of_a_hundred_seeds_by_five_thousand_steps_share_a_key():
    keys = {seed63(seed, "noise", step) for seed in range(SEEDS) for step in range(STEPS)}
    assert len(keys) == SEEDS * STEPS and all(0 <= key < 2**63 for key in keys)


def test_draws_whose_keys_agree_in_the_bits_torch_keeps_still_differ():
    """torch uses the lower 32 bits of a CPU seed: find two keys that share them, and look at the noise."""
    first_with, pair = {}, None
    for step in range(10**6):
        low = seed63(0, "noise", step) & 0xFFFFFFFF
        if low in first_with:
            pair = first_with[low], step
            break
        first_with[low] = step
    seeded = [torch.rand(4, generator=torch.Generator().manual_seed(seed63(0, "noise", step))) for step in pair]
    assert torch.equal(*seeded)
    assert not torch.equal(*(torch.rand(4, generator=generator(0, "noise", step)) for step in pair))


@pytest.mark.parametrize("one, other", [
    ((0, "a", 1), (0, "a", 2)),
    ((0, "a", 1), (1, "a", 1)),
    ((0, "a"), (0, "b")),
    ((1, "a", 12), (1, "a", 1, 2)),
    ((11, "a"), (1, "1a")),
])
def test_names_that_differ_give_draws_that_differ(one, other):
    assert not torch.equal(torch.randn(8, generator=generator(*one)), torch.randn(8, generator=generator(*other)))


def test_a_draw_depends_on_its_name_alone():
    wanted = torch.randn(100, generator=generator(3, "noise", 7))
    torch.manual_seed(99)
    generator(3, "noise", 6)
    assert torch.equal(wanted, torch.randn(100, generator=generator(3, "noise", 7)))


def test_a_draw_is_pinned_so_that_it_is_the_same_in_every_process_and_version():
    state = generator(1, "order", 2).get_state().view(torch.int64)
    assert seed63(1, "order", 2) == generator(1, "order", 2).initial_seed() == 5421002746682807185
    assert state[3:5].tolist() == [597808712, 3589297350] and state[3:627].sum() == 1321897473541


def test_the_filled_state_draws_normal_and_uniform_numbers():
    normal, uniform = torch.randn(10**6, generator=generator(0, "n")), torch.rand(10**6, generator=generator(0, "u"))
    assert abs(normal.mean()) < 0.005 and abs(normal.var() - 1) < 0.01 and abs((normal**4).mean() - 3) < 0.05
    assert abs(uniform.mean() - 0.5) < 0.002 and abs(uniform.var() * 12 - 1) < 0.01
    counts = torch.histc(uniform, 100, 0, 1)
    assert ((counts - 10**4) ** 2 / 10**4).sum() < 200  # chi square with 99 degrees of freedom


def test_neighbouring_draws_are_not_correlated():
    draws = torch.stack([torch.randn(10**4, generator=generator(0, "noise", step)) for step in range(20)])
    off = torch.corrcoef(draws) - torch.eye(20)
    assert off.abs().max() < 0.05


def test_a_fraction_is_no_index():
    with pytest.raises(TypeError):
        seed63(0, "noise", 1.0)
