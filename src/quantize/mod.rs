//! The room `quantize`.
