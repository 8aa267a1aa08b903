"""Weights from other programs: `read(file)` recognises them, completely or not at all, and reports each assumption."""

from explorer.weights_import.normalisation_selection import (
    NormalisationScore,
    index_labels,
    reached_by_guessing,
    score_normalisations,
)
from explorer.weights_import.recognition import read
from explorer.weights_import.report import NORMALISATIONS, Normalisation, Reading, Report, WeightsError, printable
