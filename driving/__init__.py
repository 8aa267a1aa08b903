"""The app as its users meet it: a process, a page in a browser, a session. For tests, benchmarks and scripts."""
