"""Tasks: each joins a network, its views or targets, and its losses."""
