//! Graphs that must stay as they are.
