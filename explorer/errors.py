"""The text that a user reads of an error: a sentence written for users, or the id of an entry in the log."""

import logging
import uuid
from dis import opmap
from pathlib import Path

LOG = "the app's terminal or log"
ADVICE = "reload the page, or choose again"
_RAISE = opmap["RAISE_VARARGS"]
_log = logging.getLogger(__name__)


class PathError(ValueError):
    """A sentence about a path on this machine. Its text names the path, for a terminal or log; pages leave it out."""

    def __init__(self, sentence: str, path: Path, instead: str = "") -> None:
        """`{path}` in `sentence` stands for the path; a page has `instead` there, or names the log that has it."""
        super().__init__(sentence.replace("{path}", f"`{path}`"))
        self._sentence, self._instead = sentence, instead

    def without_path(self, log: str = LOG) -> str:
        """The sentence for a page; `log` is where the user finds the path."""
        return self._sentence.replace("{path}", self._instead or f"the folder that {log} names")


def is_user_error(error: Exception) -> bool:
    """Whether a `raise` statement of this package made this ValueError: the texts of numpy, torch and Python are not
    written for users."""
    traceback = error.__traceback__
    if not isinstance(error, ValueError) or traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    ours = str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == __name__.partition(".")[0]
    return ours and traceback.tb_frame.f_code.co_code[traceback.tb_lasti] == _RAISE


def log_incident(error: Exception) -> str:
    """Logs the error, and returns the id of the entry."""
    incident_id = uuid.uuid4().hex[:8]
    _log.error("incident %s", incident_id, exc_info=error)
    return incident_id


def unexpected_message(error: Exception, advice: str = ADVICE) -> str:
    """Logs an unforeseen error, and returns the sentence for the user, with the id of the entry."""
    return f"Something went wrong that should not have (incident {log_incident(error)}); {advice}."


def user_message(error: Exception, advice: str = ADVICE, log: str = LOG) -> str:
    """The sentence for a page. Logs the parts that a page leaves out: paths, and all of an unforeseen error."""
    if not is_user_error(error):
        return unexpected_message(error, advice)
    if not isinstance(error, PathError):
        return str(error)
    _log.warning("%s", error)
    return error.without_path(log)
