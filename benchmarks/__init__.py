"""Speed, measured side by side in one process: `python -m benchmarks` prints the table of docs/bench.md."""

import explorer  # noqa: F401  # before torch, whose threads are to wait as in the app
