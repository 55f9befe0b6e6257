//! The room `onnx`.
