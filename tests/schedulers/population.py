"""A population on paper: what a scheduler may ask, without an experiment behind it."""

from perdure.core.events import CheckpointInfo
from perdure.trial_view import TrialView


class Population:
    """The controller of hand-made trials."""

    def __init__(self, scheduler, *configs, prefix="t", **properties):
        self.scheduler = scheduler
        self.expects_more = False
        self.capacity = {"CPU": 8.0}
        self.checkpoints = {}
        self.trials = []
        scheduler.set_search_properties(None, None, **properties)
        for number, config in enumerate(configs):
            trial = TrialView(
                trial_id=f"{prefix}{number}",
                trial_name=f"{prefix}{number}",
                number=number,
                config=scheduler.prepare_config(number, config),
                resources={"CPU": 1.0},
                status="RUNNING",
            )
            self.trials.append(trial)
            scheduler.on_trial_add(self, trial)

    def report(self, number, iteration, score, *, save=True, **others):
        """A trial reports; return the scheduler's answer."""
        if save:
            self.save(number, iteration)
        row = {
            "training_iteration": iteration,
            "score": score,
            "checkpoint_dir_name": f"checkpoint_{iteration:06d}" if save else None,
            **others,
        }
        answer = self.scheduler.on_trial_result(self, self.trials[number], row)
        self.trials[number].last_result = row
        if getattr(answer, "decision", answer) == "PAUSE":
            self.trials[number].status = "PAUSED"
        return answer

    def save(self, number, iteration):
        """A trial saves a checkpoint, numbered by its iteration."""
        self.checkpoints[self.trials[number].trial_id] = CheckpointInfo(
            number=iteration, directory=f"checkpoint_{iteration:06d}", attempt=1, iteration=iteration
        )

    def end(self, number):
        """A trial comes to its end."""
        self.trials[number].status = "TERMINATED"
        self.scheduler.on_trial_complete(self, self.trials[number], self.trials[number].last_result)

    # --- what a scheduler asks

    def get_trials(self):
        return self.trials

    def get_live_trials(self):
        return {trial for trial in self.trials if not trial.is_finished()}

    def get_active_trials(self):
        return {trial for trial in self.get_live_trials() if trial.status != "PAUSED"}

    def get_paused_trials(self):
        return iter([trial for trial in self.trials if trial.status == "PAUSED"])

    def get_trial(self, trial_id):
        return next(trial for trial in self.trials if trial.trial_id == trial_id)

    def count(self, status):
        return sum(trial.status == status for trial in self.trials)

    def checkpoint_of(self, trial_id):
        return self.checkpoints.get(trial_id)
