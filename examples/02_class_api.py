"""A class trainable: one `step()` per iteration, saved every five and at the end, the two best checkpoints kept."""

import json
import math
from pathlib import Path

from perdure import tune


class Descent(tune.Trainable):
    """Looks for the lowest point of a bumpy valley by gradient descent with momentum."""

    def setup(self, config):
        self.at, self.speed = 4.0, 0.0

    def step(self):
        slope = 2 * self.at + 3 * math.cos(3 * self.at)
        self.speed = self.config["momentum"] * self.speed - self.config["lr"] * slope
        self.at += self.speed
        return {"height": self.at**2 + math.sin(3 * self.at), "at": self.at}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "state.json").write_text(json.dumps([self.at, self.speed]))

    def load_checkpoint(self, checkpoint_dir):
        self.at, self.speed = json.loads(Path(checkpoint_dir, "state.json").read_text())


def main():
    tuner = tune.Tuner(
        Descent,
        param_space={"lr": tune.loguniform(1e-3, 1e-1), "momentum": tune.grid_search([0.0, 0.5, 0.9])},
        tune_config=tune.TuneConfig(metric="height", mode="min", num_samples=4, seed=1),
        run_config=tune.RunConfig(
            name="class-api",
            stop={"training_iteration": 40},
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=5,
                checkpoint_at_end=True,
                num_to_keep=2,
                checkpoint_score_attribute="height",
                checkpoint_score_order="min",
            ),
            resume="auto",
        ),
    )
    results = tuner.fit()
    best = results.get_best_result()
    print(f"{len(results)} trials; lowest point {best.metrics['height']:.4f} at {best.metrics['at']:.4f}")
    print(f"found with {best.config}")
    for checkpoint, metrics in best.best_checkpoints:
        print(f"  {Path(checkpoint.path).name}: {metrics['height']:.4f} after {metrics['training_iteration']} steps")


if __name__ == "__main__":
    main()
