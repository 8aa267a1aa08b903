"""One value, `ArchitectureSpec`, describes every network; `build` makes it and `describe` explains it."""

from explorer.architectures.description import Description as Description
from explorer.architectures.description import LayerDescription as LayerDescription
from explorer.architectures.description import describe as describe
from explorer.architectures.network import Network as Network
from explorer.architectures.network import Recorder as Recorder
from explorer.architectures.network import build as build
from explorer.architectures.spec import ArchitectureSpec as ArchitectureSpec
from explorer.architectures.spec import Stage as Stage
from explorer.architectures.spec import Stem as Stem
