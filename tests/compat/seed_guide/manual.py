import random

from ray import train, tune


# to be implemented by user.
def detect_instance_preemption():
    choice = random.randint(1, 100)
    # simulating a 1% chance of preemption.
    return choice <= 1


class MyTrainableClass(tune.Trainable):
    def setup(self, config):
        random.seed(40)
        self.calls = 0

    def step(self):
        # training code
        self.calls += 1
        result = {"mean_accuracy": 0.5, "preempted": detect_instance_preemption()}
        if result["preempted"]:
            result.update(should_checkpoint=True)
        return result

    def save_checkpoint(self, checkpoint_dir):
        return {"calls": self.calls}

    def load_checkpoint(self, checkpoint):
        self.calls = checkpoint["calls"]


tuner = tune.Tuner(
    MyTrainableClass,
    run_config=train.RunConfig(
        stop={"training_iteration": 300},
        checkpoint_config=train.CheckpointConfig(checkpoint_at_end=False),
    ),
)
tuner.fit()
