"""validate_save_restore."""

from __future__ import annotations

import pytest

from perdure import tune
from perdure.errors import TrainableError
from perdure.tune.utils import validate_save_restore


class Counting(tune.Trainable):
    made: tuple[Counting, ...] = ()

    def setup(self, config: dict) -> None:
        self.count = config.get("start", 0)
        self.ended = False
        type(self).made += (self,)

    def step(self) -> dict:
        self.count += 1
        return {"count": self.count}

    def save_checkpoint(self, checkpoint_dir: str) -> dict:
        return {"count": self.count}

    def load_checkpoint(self, checkpoint: dict) -> None:
        self.count = checkpoint["count"]

    def cleanup(self) -> None:
        self.ended = True


class Forgetful(Counting):
    def load_checkpoint(self, checkpoint: dict) -> None:
        raise KeyError("weights")


class Restarting(Counting):
    def restore(self, checkpoint_path: object) -> None:
        """Take nothing over."""


def test_a_class_that_goes_on() -> None:
    Counting.made = ()
    assert validate_save_restore(Counting, {"start": 10}, num_gpus=1)
    assert [trainable.count for trainable in Counting.made] == [13, 14]
    assert all(trainable.ended for trainable in Counting.made)


def test_what_a_class_raises_comes_out() -> None:
    Forgetful.made = ()
    with pytest.raises(KeyError, match="weights"):
        validate_save_restore(Forgetful)
    assert all(trainable.ended for trainable in Forgetful.made)


def test_a_class_that_starts_again_is_found_out() -> None:
    with pytest.raises(TrainableError, match="restored Restarting is at iteration 0, not 3"):
        validate_save_restore(Restarting)


def test_a_function_is_refused() -> None:
    with pytest.raises(TrainableError, match="takes a class derived from Trainable"):
        validate_save_restore(lambda config: None)  # type: ignore[arg-type]
