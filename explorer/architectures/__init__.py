"""One value, `ArchitectureSpec`, describes every network; `build` makes it and `describe` explains it."""

from explorer.architectures.description import Description, LayerDescription, describe
from explorer.architectures.graph import GraphSpec, spec_from_dict
from explorer.architectures.interventions import Intervened, Intervention
from explorer.architectures.network import Network, Recorder, build
from explorer.architectures.spec import ArchitectureSpec, Stage, Stem
