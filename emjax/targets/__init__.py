"""What a network learns from labels, made in JAX inside the compiled step: one file a target.

`language` parses what a user writes and lists the targets; `target` says what a target is, `options` how its options
are read, `metrics` how it is scored. `labels`, `offsets`, `edge_distance` and `widen` are what several are made of.
"""
