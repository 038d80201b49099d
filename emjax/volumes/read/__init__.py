"""The readers: one opener for each format."""
