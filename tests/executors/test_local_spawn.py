from perdure.executors.base import Executor
from perdure.executors.local import LocalExecutor
from perdure.testing.executor import ExecutorTests


class TestSpawn(ExecutorTests):
    def make(self) -> Executor:
        return LocalExecutor(cpus=4, start_method="spawn")
