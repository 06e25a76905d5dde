"""The servable: ONNX, in int8 where the variant says so."""
