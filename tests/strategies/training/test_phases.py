"""One phase of training: what happens when memory runs out, and how often the validation images are evaluated."""

from dataclasses import replace

import keras
import pytest

import strategies


class NoMemory(keras.callbacks.Callback):
    """Raises an error like a GPU whose memory is full, the first few times."""

    def __init__(self, times):
        super().__init__()
        self.left = times

    def on_train_batch_end(self, batch, logs=None):
        """Counts; Keras calls it."""
        if self.left:
            self.left -= 1
            raise MemoryError("out of memory")


def test_out_of_memory_halves_the_batch_and_keeps_the_step(photos, capfd, small_network):
    """It says so, continues with the same number of steps, and gives up where a batch of one image is too large."""
    plan = strategies.make_plan("retrain_all", class_names=["china", "flower"], num_train=28, **small_network)
    phases = tuple(replace(phase, steps=min(phase.steps, 6)) for phase in plan.phases)
    plan = replace(plan, phases=phases, batch_size=8)
    result = strategies.train(plan, photos, cache=False, callbacks=[NoMemory(2)])
    said = capfd.readouterr().err
    assert "with 4 images per batch and 2 batches per step" in said
    assert "with 2 images per batch and 4 batches per step" in said
    whole = strategies.train(plan, photos, cache=False)
    assert result.history["step"].tolist() == whole.history["step"].tolist()
    with pytest.raises(MemoryError):
        strategies.train(plan, photos, cache=False, callbacks=[NoMemory(9)])
