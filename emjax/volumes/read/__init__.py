"""One opener for each format."""
