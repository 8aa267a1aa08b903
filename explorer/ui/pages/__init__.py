"""A file for each page: it reads the state of its address and draws."""
