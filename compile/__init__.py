"""Checkpoint to ONNX, TensorRT and a verified engine package."""
