"""Instances from predictions, on the host, without JAX.

- `prediction`: channels with names and offsets, in memory; `channels`: the same on disk. `boundary`: boundary maps and
  affinities, each made of the other.
- `method`: what a method is; `methods/`: one file each, with its `settings`; `decode`: the table of methods, and how
  one is applied to a prediction in memory.
- Fragments: `fragments` makes them, by `basins` (seeds) and `flooding`.
- Their graph: `edge_statistics` is what is known of pairs, `evidence` which of it a method asks for, `graph_files` the
  same on disk; `agglomeration` merges it; `clusters` and `sizes` turn it into objects.
- Volumes larger than memory: `cells` (where fragments are made), `passes` (what is done with each block), `stitching`
  (objects that lie in several cells).
"""
