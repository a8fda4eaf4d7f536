"""What an evaluation asks about each record, and the scores of the answers: one file for each form."""
