//! Random programs against a naive evaluation of each map.
