"""What of the input a network's answer comes from: maps, and how they are shared out between sections.

Pure functions. A `score` maps inputs `[b, z, y, x, 1]` to a number of each, `[b]`, that depends on that input alone;
it is a closed function of a network, its parameters, a channel and a region (`emjax.attribution.score`). Nothing is
compiled
here: wrap the score, or the whole call, by `jax.jit`.
"""
