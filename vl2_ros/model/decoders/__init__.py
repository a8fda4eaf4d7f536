"""What the detection and the pose decoder share: scene, queries, transformer, targets, losses."""
