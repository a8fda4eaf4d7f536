"""The training loop: steps, averaging, logs, checkpoints and the state that an interrupted run resumes."""
