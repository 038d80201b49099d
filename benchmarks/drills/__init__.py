"""The fault drills: `faults.py` runs them."""
