"""A run is a directory that its own process executes: queued, followed, stopped and resumed through its files.

Importing this package needs no torch, so that ten runs can wait for their turn in ten small processes; `execute`, which
a run's process calls when its turn has come, imports it with `explorer.runs.fitting`.
"""

from explorer.runs.directory import FILE as FILE
from explorer.runs.directory import ID as ID
from explorer.runs.directory import OWNER as OWNER
from explorer.runs.directory import Ending as Ending
from explorer.runs.directory import Request as Request
from explorer.runs.directory import Run as Run
from explorer.runs.directory import data_folder as data_folder
from explorer.runs.directory import downloads_folder as downloads_folder
from explorer.runs.directory import find as find
from explorer.runs.directory import listed as listed
from explorer.runs.directory import pictures_folder as pictures_folder
from explorer.runs.directory import runs_folder as runs_folder
from explorer.runs.directory import stored_data as stored_data
from explorer.runs.execution import execute as execute
from explorer.runs.log import RunLog as RunLog
from explorer.runs.queue import MAX_WAITING as MAX_WAITING
from explorer.runs.queue import Status as Status
from explorer.runs.queue import any_alive as any_alive
from explorer.runs.queue import delete as delete
from explorer.runs.queue import hold as hold
from explorer.runs.queue import keep_data as keep_data
from explorer.runs.queue import newest as newest
from explorer.runs.queue import resume as resume
from explorer.runs.queue import status as status
from explorer.runs.queue import stop as stop
from explorer.runs.queue import submit as submit
from explorer.runs.queue import sweep_stored_data as sweep_stored_data
from explorer.runs.queue import wait_for_turn as wait_for_turn
from explorer.runs.result import GradientRatio as GradientRatio
from explorer.runs.result import gradient_ratio as gradient_ratio
from explorer.runs.result import summary as summary
from explorer.runs.verdict import class_accuracies as class_accuracies
from explorer.runs.verdict import is_unbalanced as is_unbalanced
from explorer.runs.verdict import recomputed as recomputed
from explorer.runs.verdict import verdict as verdict
