//! The room `classify`.
