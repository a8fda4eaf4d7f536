"""Evaluation: COCO, masks, keypoints, sentences and the embedded model."""
