//! Random linear graphs.
