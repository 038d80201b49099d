"""Weights from elsewhere: files of other libraries, and what of them becomes a parameter of a network here."""
