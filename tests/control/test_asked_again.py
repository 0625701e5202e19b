"""A checkpoint that a callback asked for is saved again when its row is, after its first one turned out damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perdure import tune
from perdure.history import read_experiment


class Counts(tune.Trainable):
    """Counts to 6; its first attempt fails at 5, with the newest checkpoint damaged."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count = 0

    def step(self) -> dict[str, Any]:
        marker = Path(self.config["marker"])
        if self.count == 4 and not marker.exists():
            marker.touch()
            newest = sorted(marker.parent.glob("exp/*/checkpoint_*"))[-1]
            for path in newest.glob("*.pkl"):
                path.write_bytes(bytes(path.stat().st_size))
            raise RuntimeError("broke")
        self.count += 1
        return {"count": self.count, "done": self.count == 6}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"count": self.count}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.count = checkpoint["count"]


class AsksAt2And4(tune.Callback):
    """Is shown each row once."""

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result["count"] in (2, 4):
            result["should_checkpoint"] = True


def test_a_row_reported_again_saves_again(tmp_path: Path) -> None:
    tune.Tuner(
        Counts,
        param_space={"marker": str(tmp_path / "marker")},
        run_config=tune.RunConfig(
            name="exp",
            storage_path=str(tmp_path),
            verbose=0,
            callbacks=[AsksAt2And4()],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    trial = next(iter(read_experiment(tmp_path / "exp").trials.values()))
    assert [row.metrics["count"] for row in trial.rows()] == [1, 2, 3, 4, 5, 6]
    assert {info.number: info.iteration for info in trial.checkpoints.values()} == {0: 2, 2: 4}
    assert [row.iteration for row in trial.rows() if row.save] == [2, 4]
