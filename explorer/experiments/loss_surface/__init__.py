"""The loss surface of a trained network (Li et al. 2018, arXiv 1712.09913): along one direction of its weights or over
two, with the statistics of BatchNorm as they were in training or recomputed at every point."""

from explorer.experiments.loss_surface.cost import SurfaceCost, cost
from explorer.experiments.loss_surface.curvature import Extremes
from explorer.experiments.loss_surface.measurement import SurfaceStep, measure
from explorer.experiments.loss_surface.path import Path
from explorer.experiments.loss_surface.settings import SurfaceSettings
from explorer.experiments.loss_surface.surface import Surface
