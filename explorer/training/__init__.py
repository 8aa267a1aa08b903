"""`fit(network, dataset, config)` yields `Progress`; what a training is told and what it leaves are values."""

from explorer.training.batches import augment as augment
from explorer.training.batches import normalise as normalise
from explorer.training.batchnorm import recompute_batchnorm as recompute_batchnorm
from explorer.training.config import TrainingConfig as TrainingConfig
from explorer.training.config import learning_rate_at as learning_rate_at
from explorer.training.device import choose_device as choose_device
from explorer.training.device import choose_precision as choose_precision
from explorer.training.device import device_name as device_name
from explorer.training.device import use_threads as use_threads
from explorer.training.evaluation import ClassResults as ClassResults
from explorer.training.evaluation import evaluate as evaluate
from explorer.training.evaluation import evaluate_classes as evaluate_classes
from explorer.training.loop import fit as fit
from explorer.training.loop import fit_together as fit_together
from explorer.training.loop import is_gradient_step as is_gradient_step
from explorer.training.record import EpochResult as EpochResult
from explorer.training.record import Evaluation as Evaluation
from explorer.training.record import GradientSizes as GradientSizes
from explorer.training.record import Progress as Progress
from explorer.training.record import Standing as Standing
from explorer.training.record import TrainingRecord as TrainingRecord
from explorer.training.speed import training_memory as training_memory
from explorer.training.speed import training_speed as training_speed
from explorer.training.state import TrainingState as TrainingState
from explorer.training.state import restore as restore
from explorer.training.state import save as save
