"""The geometry of gradients at initialisation: do neighbouring pictures agree on a direction, and which way does a
gradient come back through residual blocks?"""

from explorer.experiments.gradient_geometry.blocks import BlockSizes
from explorer.experiments.gradient_geometry.measurement import (
    QUESTIONS,
    GeometryQuestion,
    GeometryStep,
    cost,
    has_an_answer,
    key,
    load,
    measure,
    store,
)
from explorer.experiments.gradient_geometry.paths import PathSizes
from explorer.experiments.gradient_geometry.shattering import (
    LAGS,
    PICTURES,
    Shattering,
    autocorrelation,
    brown_noise,
    reference,
    white_noise,
)
from explorer.experiments.gradient_geometry.widths import FACTORS, widened
