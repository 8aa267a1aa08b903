"""Build & train: the form of a network and of its training, its data, and how a run stands."""
