"""Other people's weights: `read(file)` says what they are; never loaded in part, never guessed in silence."""

from explorer.foreign.recognition import read
from explorer.foreign.report import NORMALISATIONS, ForeignError, Normalisation, Reading, Report, plain
from explorer.foreign.trial import Trial, numbered, reached_by_guessing, self_test
