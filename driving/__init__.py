"""Drives the app from outside, as a process, a page in a browser or a session: for tests, benchmarks and scripts."""
