import random

from ray import train, tune


class MyTrainableClass(tune.Trainable):
    def setup(self, config):
        self.total = 0.0

    def step(self):
        self.total += random.random()
        return {"total": self.total}

    def save_checkpoint(self, checkpoint_dir):
        return {"total": self.total}

    def load_checkpoint(self, checkpoint):
        self.total = checkpoint["total"]


tuner = tune.Tuner(
    MyTrainableClass,
    run_config=train.RunConfig(
        stop={"training_iteration": 7},
        checkpoint_config=train.CheckpointConfig(checkpoint_frequency=2, checkpoint_at_end=False),
    ),
)
tuner.fit()
