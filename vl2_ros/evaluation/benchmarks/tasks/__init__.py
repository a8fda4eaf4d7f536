"""Tasks: what an evaluation asks about each record, and the scores of the answers."""
