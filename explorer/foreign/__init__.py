"""Other people's weights: `read(file)` says what they are; never loaded in part, never guessed in silence."""

from explorer.foreign.recognition import read as read
from explorer.foreign.recognition import readings_of as readings_of
from explorer.foreign.report import NORMALISATIONS as NORMALISATIONS
from explorer.foreign.report import ForeignError as ForeignError
from explorer.foreign.report import Normalisation as Normalisation
from explorer.foreign.report import Reading as Reading
from explorer.foreign.report import Report as Report
from explorer.foreign.report import plain as plain
from explorer.foreign.trial import Trial as Trial
from explorer.foreign.trial import numbered as numbered
from explorer.foreign.trial import reached_by_guessing as reached_by_guessing
from explorer.foreign.trial import self_test as self_test
