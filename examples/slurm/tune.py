"""An experiment for tune.sbatch: run again, on this node or another, it goes on where it was."""

import json
import os
import tempfile
import time
from pathlib import Path

from perdure import tune

EPOCHS = 40
SECONDS = 1.0  # that an epoch takes; a real one would train a model


def train(config):
    weight, start = 0.0, 1

    checkpoint = tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as directory:
            saved = json.loads(Path(directory, "state.json").read_text())
        weight, start = saved["weight"], saved["epoch"] + 1

    for epoch in range(start, EPOCHS + 1):
        time.sleep(SECONDS)
        weight += config["lr"] * 2 * (3.0 - weight)  # one step of gradient descent towards 3
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "state.json").write_text(json.dumps({"weight": weight, "epoch": epoch}))
            tune.report({"loss": (3.0 - weight) ** 2}, checkpoint=tune.Checkpoint.from_directory(directory))


def main():
    tuner = tune.Tuner(
        train,
        param_space={"lr": tune.loguniform(1e-3, 1e-1)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=8,
            seed=1,
            # A trial takes one CPU. Where Slurm binds no CPUs, the whole node would look free.
            max_concurrent_trials=int(os.environ.get("SLURM_CPUS_PER_TASK", "0")),
        ),
        run_config=tune.RunConfig(
            name="slurm",
            storage_path=str(Path("results").absolute()),  # must be on a file system that every node sees
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            resume="auto",
        ),
    )
    results = tuner.fit()
    ended = sum(result.status == "TERMINATED" for result in results)
    print(f"{ended} of {len(results)} trials have ended; best loss {results.get_best_result().metrics['loss']:.4f}")


if __name__ == "__main__":
    main()
