"""Many trainings as one question: axes and seeds, expanded to ordinary runs, on this machine or on another engine.

This package imports no torch: the process that drives a study only starts runs and waits for them.
"""

from explorer.studies.engine import Engine, EngineError
from explorer.studies.folder import (
    KeptTrial,
    Result,
    StudyFolder,
    StudyProgress,
    TrialProgress,
    create,
    find,
    is_driven,
    list_studies,
    progress,
    studies_folder,
)
from explorer.studies.study import MAX_RUNS, Axis, Cell, Study, Trial, words
