"""What is learnt: each task joins a model, its views or targets, and its losses."""
