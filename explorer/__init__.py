"""CNN & ResNet Explorer: see how a plain CNN and its ResNet twin look at a picture."""

__version__ = "0.1.0"
