from ray import train, tune


class MyTrainableClass(tune.Trainable):
    def setup(self, config):
        self.total = 0

    def step(self):
        self.total += 1
        return {"total": self.total}

    def save_checkpoint(self, checkpoint_dir):
        return {"total": self.total}

    def load_checkpoint(self, checkpoint):
        self.total = checkpoint["total"]


tuner = tune.Tuner(
    MyTrainableClass,
    run_config=train.RunConfig(
        stop={"training_iteration": 12},
        checkpoint_config=train.CheckpointConfig(checkpoint_frequency=10, checkpoint_at_end=True),
    ),
)
tuner.fit()
