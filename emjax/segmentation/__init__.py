"""Instances from predictions, on the host, without JAX.

- `prediction`: channels with names and offsets, in memory; `channels`: the same on disk. `boundary`: converts boundary
  maps to affinities and back.
- `method`: what a method is; `methods/`: one file each, with its `settings`; `decode`: the table of methods, and how
  one is applied to a prediction in memory.
- Fragments: `fragments` makes them, by `basins` (seeds) and `flooding`.
- The region graph: `region_graph` counts the evidence of pairs, `evidence` says which of it a method asks for,
  `graph_files` stores it on disk; `agglomeration` and `multicut` partition it; `clusters` and `sizes` make objects.
- Volumes larger than memory: `cells` (the lattice in which fragments are made), `passes` (the work done with each
  block), `stitching` (joins objects that lie in several cells).
"""
