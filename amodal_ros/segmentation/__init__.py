"""Only a camera: an instance segmentation model of `transformers`, and label maps with ids that last."""
