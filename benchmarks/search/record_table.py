"""Records learning curves of real training: scikit-learn's neural network on its digits, epoch by epoch.

    python benchmarks/search/record_table.py

writes `digits_table.json`: for each learning rate, width and batch size of a grid, the accuracy on held-out images
after each of 27 epochs. Searching a recorded table is searching real curves, at no cost, the same on every machine.
Takes some minutes; needs scikit-learn.
"""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

TABLE = Path(__file__).with_name("digits_table.json")
EPOCHS = 27
LEARNING_RATES = [10 ** (-5 + 0.5 * step) for step in range(9)]
WIDTHS = [8, 16, 32, 64, 128]
BATCHES = [16, 64, 256]


def main() -> None:
    warnings.simplefilter("ignore")
    images, labels = load_digits(return_X_y=True)
    train_x, valid_x, train_y, valid_y = train_test_split(images / 16, labels, test_size=0.5, random_state=0)
    curves = []
    for rate, width, batch in itertools.product(LEARNING_RATES, WIDTHS, BATCHES):
        model = MLPClassifier((width,), learning_rate_init=rate, batch_size=batch, random_state=0)
        curve = []
        for _ in range(EPOCHS):
            model.partial_fit(train_x, train_y, classes=range(10))
            curve.append(round(model.score(valid_x, valid_y), 4))
        curves.append(curve)
    text = {"learning_rates": LEARNING_RATES, "widths": WIDTHS, "batches": BATCHES, "accuracy": curves}
    TABLE.write_text(json.dumps(text, separators=(",", ":")).replace("],[", "],\n[") + "\n")


if __name__ == "__main__":
    main()
