"""Layers that multiply and add, as lists of floats."""

from __future__ import annotations

import random


class Linear:
    def __init__(self, inputs: int, outputs: int) -> None:
        self.weight = [[random.gauss(0, 1) for _ in range(inputs)] for _ in range(outputs)]

    def __call__(self, values: list[float]) -> list[float]:
        return [sum(w * v for w, v in zip(row, values, strict=True)) for row in self.weight]


class ReLU:
    weight: list[list[float]] = []

    def __call__(self, values: list[float]) -> list[float]:
        return [max(0.0, value) for value in values]


class Sequential:
    def __init__(self, *layers: Linear | ReLU) -> None:
        self.layers = layers

    def __call__(self, values: list[float]) -> list[float]:
        for layer in self.layers:
            values = layer(values)
        return values

    def state_dict(self) -> dict[str, list[list[float]]]:
        return {f"{number}.weight": layer.weight for number, layer in enumerate(self.layers)}

    def load_state_dict(self, state: dict[str, list[list[float]]]) -> None:
        for number, layer in enumerate(self.layers):
            layer.weight = state[f"{number}.weight"]
