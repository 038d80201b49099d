"""Post-processing of volumes that may be larger than memory: operations that are chained, block by block.

`operation` is the contract of an operation; `language` parses a chain of them and lists all. `filters` are local: a
block needs only what lies around it. `sizes`, `holes` and `linking` see the whole volume: each block leaves what it
found, and one table decides. `passes` is the work on each block. Results do not depend on the blocks.
"""
