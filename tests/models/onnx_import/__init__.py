"""Tests of `models.onnx_import`."""
