//! The room `kernels`.
