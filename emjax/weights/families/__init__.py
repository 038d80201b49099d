"""Families of published weights: a file each, with the rules that fill a network here."""
