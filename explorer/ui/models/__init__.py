"""Models: the table of all networks, and the upload of other people's weights."""
