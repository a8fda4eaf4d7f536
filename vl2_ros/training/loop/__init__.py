"""The training loop: steps, averages, logs, checkpoints, and the state that a run resumes from."""
