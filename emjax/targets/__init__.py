"""Targets: what a network learns, made from labels in JAX inside the compiled step; one file for each target.

`language` parses the user's text and lists the targets; `target` is the contract of a target, `options` reads its
options, `metrics` scores it. `labels`, `offsets`, `edge_distance` and `widen` are shared by several targets.
"""
