"""The embedded generator of synthetic tissue, `synthetic://neurites`."""
