"""A training with PyTorch that dies where it is told to. A module of its own: it imports torch, which is an extra."""

from __future__ import annotations

import os
import random
import signal

import numpy as np
import torch

from perdure import tune
from perdure.integrations.torch import ResumableLoader, TrainingState

EPOCHS = 3


class Noisy(torch.utils.data.Dataset):
    """Draws from all three generators when a sample is loaded."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        noise = random.random() + float(np.random.rand()) + float(torch.rand(()))  # noqa: NPY002
        x = torch.full((4,), index / 20) + 0.01 * noise
        return x, x.sum()


def train(config):
    torch.set_num_threads(1)
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002 - the global generator is what is tested
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    loader = ResumableLoader(Noisy(), batch_size=3, shuffle=True, seed=7)
    state = TrainingState(model=model, optimizer=optimizer, scheduler=scheduler, loader=loader)
    resumed = tune.get_checkpoint() is not None
    steps = state.resume().get("steps", 0)
    while loader.epoch < EPOCHS:
        for x, y in loader:
            optimizer.zero_grad()
            loss = (model(x).squeeze(-1) - y).pow(2).mean()
            loss.backward()
            optimizer.step()
            steps += 1
            if steps % 5 == 0:  # of 7 batches an epoch: at another place in each
                state.report({"loss": loss.item(), "steps": steps}, steps=steps)
            if steps == config["dies_at"] and not resumed:
                os.kill(os.getpid(), signal.SIGKILL)
        scheduler.step()
    state.report({"loss": loss.item(), "steps": steps}, steps=steps)
