"""An ONNX file as it stands: reading it safely, finding its ends, running it."""
