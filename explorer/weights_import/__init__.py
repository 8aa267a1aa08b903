"""Other people's weights: `read(file)` says what they are; never loaded in part, never guessed in silence."""

from explorer.weights_import.normalisation_selection import (
    NormalisationScore,
    index_labels,
    reached_by_guessing,
    score_normalisations,
)
from explorer.weights_import.recognition import read
from explorer.weights_import.report import NORMALISATIONS, Normalisation, Reading, Report, WeightsError, printable
