"""A training with PyTorch Lightning that fails once."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from perdure import tune
from perdure.integrations.lightning import resume_path
from perdure.tune.integration.pytorch_lightning import TuneReportCheckpointCallback


class Module(pl.LightningModule):
    def __init__(self, *, fails):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(2, 1)
        self.fails = fails

    def loss(self, batch):
        x, y = batch
        return torch.nn.functional.mse_loss(self.layer(x), y)

    def training_step(self, batch, index):
        if self.fails and self.current_epoch == 2 and index == 1:
            raise RuntimeError("fails in the third epoch")
        return self.loss(batch)

    def validation_step(self, batch, index):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)


def make_trainer(callback, epochs=4):
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
    )


def make_data():
    x = torch.linspace(-1, 1, 16).reshape(8, 2)
    return DataLoader(TensorDataset(x, x.sum(dim=1, keepdim=True)), batch_size=4)


def train(config):
    callback = TuneReportCheckpointCallback({"loss": "val_loss"}, on=config["on"])
    module = Module(fails=config["fails"] and tune.get_checkpoint() is None)
    make_trainer(callback).fit(module, make_data(), make_data(), ckpt_path=resume_path())
