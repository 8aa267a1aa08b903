"""A run is a directory that its own process executes: queued, followed, stopped and resumed through its files.

This package imports no torch, so that ten runs can wait in ten small processes; `execute`, which a run's process calls
when its turn has come, imports it with `explorer.runs.fitting`.
"""

from explorer.installation import data_folder
from explorer.runs.directory import (
    FILE,
    ID,
    OWNER,
    Request,
    Run,
    downloads_folder,
    find,
    list_runs,
    pictures_folder,
    runs_folder,
    stored_data,
)
from explorer.runs.execution import execute, execute_beside
from explorer.runs.log import RunLog
from explorer.runs.queue import (
    MAX_WAITING,
    QueueFull,
    Status,
    any_alive,
    delete,
    is_alive,
    prepare,
    resume,
    status,
    stop,
    store_dataset,
    submit,
    sweep_stored_data,
    take_lock,
    wait_for_turn,
)
from explorer.runs.results import (
    GradientRatio,
    class_accuracies,
    describe_results,
    finding,
    gradient_ratio,
    is_unbalanced,
    recomputed,
    summary,
)
