"""Questions over many networks, answered by measuring."""
