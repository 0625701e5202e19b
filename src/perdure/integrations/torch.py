"""Plain PyTorch: all that a training needs to go on as if nothing had happened, in a checkpoint.

    loader = ResumableLoader(dataset, batch_size=32, shuffle=True, seed=1)
    state = TrainingState(model=model, optimizer=optimizer, scheduler=scheduler, loader=loader)
    state.resume()
    while loader.epoch < epochs:
        for x, y in loader:
            ...
        state.report({"loss": loss})

On the CPU, a training that was killed anywhere and resumed gives the same bits as one that was not.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader

from perdure.checkpoint import Checkpoint
from perdure.errors import CheckpointError
from perdure.integrations.reports import read_progress, report_with_files, write_progress
from perdure.trainable.session import get_checkpoint

RANDOMNESS_FILE = "random.pt"


class HasState(Protocol):
    """Models, optimizers, schedulers, gradient scalers, `ResumableLoader`, objects of yours."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state: tensors and plain data."""
        ...

    def load_state_dict(self, state_dict: Any, /) -> object:
        """Take a state back."""
        ...


class TrainingState:
    """Saves and loads everything a training depends on: its parts, and the state of the random number generators.

    The generators are those of `random`, NumPy (the global one), torch, and every CUDA device. A checkpoint holds a
    file `<name>.pt` for each part, with its state dict, which `torch.load` reads without perdure.

    Args:
        **parts: What has a state, by name: `model=...`, `optimizer=...`, `scheduler=...`, `loader=...`.
    """

    def __init__(self, **parts: HasState) -> None:
        self._parts = parts

    def report(self, metrics: Mapping[str, Any], **progress: Any) -> None:
        """Report a row with a checkpoint. `progress` is JSON data that `resume` gives back.

        Raises:
            OutsideTrialError: this process runs no trial.
        """
        report_with_files(metrics, lambda path: self.save(path, **progress))

    def resume(self) -> dict[str, Any]:
        """Load the trial's latest checkpoint, and return its `progress`; an empty dict if there is nothing to load."""
        checkpoint = get_checkpoint()
        return {} if checkpoint is None else self.load(checkpoint)

    def save(self, directory: str | os.PathLike[str], **progress: Any) -> None:
        """Write everything into a directory that exists."""
        path = os.fspath(directory)
        for name, part in self._parts.items():
            torch.save(part.state_dict(), os.path.join(path, f"{name}.pt"))
        torch.save(_randomness(), os.path.join(path, RANDOMNESS_FILE))
        write_progress(path, progress)

    def load(self, checkpoint: Checkpoint | str | os.PathLike[str]) -> dict[str, Any]:
        """Load everything from a checkpoint or a directory, and return the `progress` stored with it.

        Tensors go to the device where a part has its own. Nothing is unpickled but tensors and plain data.

        Raises:
            CheckpointError: the checkpoint lacks one of the parts; nothing was loaded.
        """
        path = checkpoint.path if isinstance(checkpoint, Checkpoint) else os.fspath(checkpoint)
        missing = [name for name in self._parts if not os.path.isfile(os.path.join(path, f"{name}.pt"))]
        if missing:
            raise CheckpointError(
                f"The checkpoint {path} has no {', '.join(f'{name}.pt' for name in missing)}: it was saved without. "
                "Nothing was loaded; name the parts as they were named when it was saved."
            )
        for name, part in self._parts.items():
            part.load_state_dict(_read(path, f"{name}.pt"))
        progress = read_progress(path)
        _set_randomness(_read(path, RANDOMNESS_FILE))  # last: loading may draw
        return progress


def _read(path: str, name: str) -> Any:
    return torch.load(os.path.join(path, name), map_location="cpu", weights_only=True)


def _randomness() -> dict[str, Any]:
    """Return the state of every global random number generator, as tensors and plain data."""
    version, words, gauss = random.getstate()
    state: dict[str, Any] = {
        "python": {"version": version, "words": list(words), "gauss": gauss},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        name, keys, position, has_gauss, cached = numpy.random.get_state(legacy=True)
        state["numpy"] = {
            "name": name,
            "keys": [int(key) for key in keys],
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        }
    return state


def _set_randomness(state: Mapping[str, Any]) -> None:
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"]), python["gauss"]))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        for device, words in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(words, device)
    if "numpy" in state:
        import numpy as np

        known = state["numpy"]
        keys = np.array(known["keys"], dtype=np.uint32)
        np.random.set_state((known["name"], keys, known["position"], known["has_gauss"], known["cached"]))  # noqa: NPY002


class ResumableLoader:
    """A DataLoader that knows where it is, and goes on from there after a restore.

    The order of an epoch follows from `seed` and the epoch's number alone. Iterating yields the rest of the present
    epoch; `epoch` counts the epochs that are over. Batches that were consumed are skipped without being loaded.

    With `num_workers=0` random transformations draw from the process's generators, which `TrainingState` keeps. Worker
    processes have generators of their own, seeded by epoch: in an epoch that is resumed half way, what transformations
    draw there differs from what they would have drawn.

    Args:
        dataset: A map-style dataset: it has a length and items by index.
        batch_size: Samples in a batch.
        shuffle: A new order each epoch.
        seed: Of the orders.
        drop_last: Leave out a last batch that is smaller.
        **options: For `torch.utils.data.DataLoader` (`num_workers`, `collate_fn`, ...).
    """

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        **options: Any,
    ) -> None:
        self.epoch = 0
        """Epochs that are over."""
        self.batch = 0
        """Batches of the present epoch that were given out."""
        self._dataset = dataset
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed
        self._drop_last = drop_last
        self._options = options

    def __len__(self) -> int:
        """Batches of an epoch."""
        whole, rest = divmod(len(self._dataset), self._batch_size)
        return whole if self._drop_last or not rest else whole + 1

    def __iter__(self) -> Iterator[Any]:
        # A generator of our own: making an iterator draws a number, which would shift the process's generator.
        generator = torch.Generator().manual_seed(self._seed + self.epoch)
        batches = self._batches(generator)[self.batch :]
        for batch in DataLoader(self._dataset, batch_sampler=batches, generator=generator, **self._options):
            self.batch += 1
            yield batch
        self.epoch += 1
        self.batch = 0

    def _batches(self, generator: torch.Generator) -> list[list[int]]:
        count = len(self._dataset)
        order = torch.randperm(count, generator=generator).tolist() if self._shuffle else list(range(count))
        return [order[start : start + self._batch_size] for start in range(0, count, self._batch_size)][: len(self)]

    def state_dict(self) -> dict[str, Any]:
        """Return the position."""
        return {"epoch": self.epoch, "batch": self.batch, "seed": self._seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position, in the order it belongs to. The next iteration begins there."""
        self.epoch, self.batch, self._seed = state["epoch"], state["batch"], state["seed"]
