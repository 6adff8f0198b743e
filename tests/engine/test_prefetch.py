"""What is made ahead is what would have been made in turn, and no thread outlives its use."""

import threading
from contextlib import closing

import pytest
import tiny
import torch

from labkit.design.config import RunConfig
from labkit.engine.batches import Batches
from labkit.engine.prefetch import prefetched


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("labkit-prefetch")]


@pytest.mark.parametrize("ahead", [0, 1, 3, 50])
def test_everything_comes_in_order_whatever_is_made_ahead(ahead):
    assert list(prefetched(lambda i: i * i, range(20), ahead)) == [i * i for i in range(20)]
    assert not ours()


def test_the_next_items_are_made_while_one_is_used_and_no_more_than_asked():
    made, reached = [], threading.Semaphore(0)

    def make(i):
        made.append(i)
        reached.release()
        return i

    with closing(prefetched(make, range(9), 2)) as items:
        assert next(items) == 0
        for _ in range(3):
            assert reached.acquire(timeout=120)
        assert made == [0, 1, 2] and len(ours()) == 1
    assert not ours()


def test_an_error_is_raised_in_its_place():
    items = prefetched(lambda i: 1 // (3 - i), range(9), 2)
    assert [next(items) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(items)
    assert not ours()


def test_batches_drawn_in_a_thread_are_bit_for_bit_those_drawn_in_turn():
    cache = tiny.cache()
    config = RunConfig(caption_dropout=0.3, prior_loss_weight=1, gradient_accumulation_steps=2, train_batch_size=3)
    configs = [config.replace(seed=seed).resolved(12) for seed in (0, 1)]
    batches = Batches(cache.train, cache.null_cond, configs, torch.device("cpu"), prior=cache.prior())
    for update, ahead in enumerate(prefetched(batches.draw, range(6), 2)):
        for one, other in zip(batches.send(ahead), batches(update), strict=True):
            for name in ("latents", "noise", "timesteps"):
                assert torch.equal(getattr(one, name), getattr(other, name))
            assert torch.equal(one.cond["encoder_hidden_states"], other.cond["encoder_hidden_states"])
