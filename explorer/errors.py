"""What a person is told of an error: the sentence that was written for them, or an id that stands in the log."""

import logging
import uuid
from dis import opmap
from pathlib import Path

LOG = "the app's terminal or log"
ADVICE = "reload the page, or choose again"
_RAISE = opmap["RAISE_VARARGS"]
_log = logging.getLogger(__name__)


class PathError(ValueError):
    """A sentence about a place on this machine. Its text names the place, for whoever runs the program; a page that
    others read does without."""

    def __init__(self, sentence: str, place: Path | None = None, instead: str = "") -> None:
        """`{place}` in `sentence` stands for it, where it has one; `instead` is what a page says there, else who names
        it."""
        super().__init__(sentence.replace("{place}", f"`{place}`"))
        self._sentence, self._instead = sentence, instead

    def without_path(self, log: str = LOG) -> str:
        """The same, with the place left to `log`."""
        return self._sentence.replace("{place}", self._instead or f"the folder that {log} names")


def is_user_error(error: Exception) -> bool:
    """Whether it is a ValueError that a `raise` of this package made: numpy, torch and Python have some too, with texts
    that were written for nobody who looks at a page."""
    place = error.__traceback__
    if not isinstance(error, ValueError) or place is None:
        return False
    while place.tb_next is not None:
        place = place.tb_next
    ours = str(place.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == __name__.partition(".")[0]
    return ours and place.tb_frame.f_code.co_code[place.tb_lasti] == _RAISE


def log_incident(error: Exception) -> str:
    """The id under which the log has that error now."""
    number = uuid.uuid4().hex[:8]
    _log.error("incident %s", number, exc_info=error)
    return number


def unexpected_message(error: Exception, advice: str = ADVICE) -> str:
    """All that a person is told of an error that nobody foresaw. The log has it, under that id."""
    return f"Something went wrong that should not have (incident {log_incident(error)}); {advice}."


def user_message(error: Exception, advice: str = ADVICE, log: str = LOG) -> str:
    """What a page may say of it. `log` gets what the page leaves out, a place, and all of an unexpected error."""
    if not is_user_error(error):
        return unexpected_message(error, advice)
    said = error.without_path(log) if isinstance(error, PathError) else str(error)
    if said != str(error):
        _log.warning("%s", error)
    return said
