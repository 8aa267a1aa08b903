"""Speed, measured side by side in one process: `python -m benchmarks` prints the table that README shows."""
