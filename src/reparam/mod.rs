//! The room `reparam`.
