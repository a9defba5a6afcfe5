"""How weights are learnt, whatever learns them: one loop, its optimizers and schedules, averages and logs."""

from nasedu.training.logs import Log
from nasedu.training.loop import Step, Trained, TrainingConfig, side_by_side, train

__all__ = ["Log", "Step", "Trained", "TrainingConfig", "side_by_side", "train"]
