"""`fit(network, dataset, config)` yields `Progress`; what a training is told and what it leaves are values."""

from explorer.training.batches import augment, network_input, normalise
from explorer.training.batchnorm import recompute_batchnorm
from explorer.training.config import TrainingConfig, learning_rate_at
from explorer.training.device import choose_device, choose_precision, device_name, unused_device, use_threads
from explorer.training.dials import DialChange, TrainingDials, dials_at, initial_dials
from explorer.training.evaluation import evaluate, evaluate_classes
from explorer.training.loop import fit, fit_together, is_gradient_step, planned_steps
from explorer.training.processes import ALONE, Processes, joined
from explorer.training.proposal import Proposal, propose
from explorer.training.record import EpochResult, Evaluation, GradientSizes, Progress, TrainingRecord
from explorer.training.speed import Forecast, Speed, forecast, training_memory, training_speed
from explorer.training.state import TrainingState, restore, save
