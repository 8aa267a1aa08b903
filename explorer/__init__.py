"""CNN & ResNet Explorer: see how a plain CNN and its ResNet twin look at a picture."""

import os

__version__ = "1.0.0"

# Threads of one operation wait for each other asleep, in this process and in those that it starts. By default they
# spin, which takes the cores from whatever else runs. Read by libgomp and libomp when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")
