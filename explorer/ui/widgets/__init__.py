"""Widgets that several pages use: bound fields, and the buttons that download and start a long task."""
