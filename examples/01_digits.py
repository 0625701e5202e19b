"""Tunes a neural network that reads handwritten digits.

Run it again after it was interrupted, in whatever way, and it goes on where it was: `resume="auto"`.
"""

import pickle
import tempfile
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from perdure import tune

EPOCHS = 40
SAMPLES = 16


def load_data():
    """Images and labels, for training, for choosing (validation) and for the last word (test)."""
    images, labels = load_digits(return_X_y=True)
    rest_x, test_x, rest_y, test_y = train_test_split(images / 16, labels, test_size=0.2, random_state=0)
    train_x, valid_x, train_y, valid_y = train_test_split(rest_x, rest_y, test_size=0.25, random_state=0)
    return {"train": (train_x, train_y), "valid": (valid_x, valid_y), "test": (test_x, test_y)}


def new_model(config):
    return MLPClassifier(
        hidden_layer_sizes=(config["hidden"],),
        learning_rate_init=config["lr"],
        alpha=config["alpha"],
        batch_size=config["batch"],
        random_state=0,
    )


def train_digits(config):
    data = load_data()
    model, start = new_model(config), 1

    checkpoint = tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as directory:
            model, epoch = pickle.loads(Path(directory, "model.pkl").read_bytes())
        start = epoch + 1

    for epoch in range(start, EPOCHS + 1):
        model.partial_fit(*data["train"], classes=range(10))
        metrics = {"accuracy": model.score(*data["valid"]), "loss": model.loss_}
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "model.pkl").write_bytes(pickle.dumps((model, epoch)))
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(directory))


def main():
    tuner = tune.Tuner(
        train_digits,
        param_space={
            "lr": tune.loguniform(1e-4, 1e-1),
            "hidden": tune.choice([32, 64, 128, 256]),
            "alpha": tune.loguniform(1e-6, 1e-2),
            "batch": tune.choice([16, 32, 64]),
        },
        tune_config=tune.TuneConfig(metric="accuracy", mode="max", num_samples=SAMPLES, seed=1),
        run_config=tune.RunConfig(
            name="digits",
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="accuracy"),
            resume="auto",
        ),
    )
    best = tuner.fit().get_best_result()
    print(f"Best validation accuracy {best.metrics['accuracy']:.3f} with {best.config}")
    print(f"Its checkpoint: {best.checkpoint.path}")


if __name__ == "__main__":
    main()
