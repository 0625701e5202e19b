"""What is searched: sampling functions, the domains behind them, and how a configuration is made from them."""

from __future__ import annotations

from perdure.search_space.domains import Categorical, Domain, Float, Function, Integer
from perdure.search_space.functions import (
    choice,
    grid_search,
    lograndint,
    loguniform,
    qlograndint,
    qloguniform,
    qrandint,
    qrandn,
    quniform,
    randint,
    randn,
    sample_from,
    uniform,
)
from perdure.search_space.samplers import Grid, LogUniform, Normal, Quantized, Sampler, Uniform
from perdure.search_space.space import Space, Variant, plain_copy, unresolved

__all__ = [
    "Categorical",
    "Domain",
    "Float",
    "Function",
    "Grid",
    "Integer",
    "LogUniform",
    "Normal",
    "Quantized",
    "Sampler",
    "Space",
    "Uniform",
    "Variant",
    "choice",
    "grid_search",
    "lograndint",
    "loguniform",
    "plain_copy",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "sample_from",
    "uniform",
    "unresolved",
]
