"""`arithmetic`: where one number of a pass comes from, and the same number recomputed from what it shows."""

from explorer.experiments.arithmetic.passes import (
    PROBABILITIES,
    TOLERANCE,
    Arithmetic,
    LayerPass,
    arithmetic,
    effective_field,
    layer_pass,
)
from explorer.experiments.arithmetic.step import Step, Term, Window
