"""Widgets that several pages use: bound fields, pickers, and the button that starts a long task."""
