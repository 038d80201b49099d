"""From volumes to trees: what is neurite in a stack, its middle lines, and how these become one tree."""
