"""A run is a directory that its own process executes: queued, followed, stopped and resumed through its files.

Importing this package needs no torch, so that ten runs can wait for their turn in ten small processes; `execute`, which
a run's process calls when its turn has come, imports it with `explorer.runs.fitting`.
"""

from explorer.runs.directory import (
    FILE,
    ID,
    OWNER,
    Ending,
    Request,
    Run,
    data_folder,
    downloads_folder,
    find,
    listed,
    pictures_folder,
    runs_folder,
    stored_data,
)
from explorer.runs.execution import execute
from explorer.runs.log import RunLog
from explorer.runs.queue import (
    MAX_WAITING,
    Status,
    any_alive,
    delete,
    hold,
    keep_data,
    newest,
    resume,
    status,
    stop,
    submit,
    sweep_stored_data,
    wait_for_turn,
)
from explorer.runs.result import GradientRatio, gradient_ratio, summary
from explorer.runs.verdict import class_accuracies, is_unbalanced, recomputed, verdict
