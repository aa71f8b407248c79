"""A model is compiled once: towers as ONNX, weights in 8 bits, the fastest arithmetic, and their cache."""
