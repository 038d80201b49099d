"""Whole volumes, block by block: stoppable, restartable, in bounded memory."""
