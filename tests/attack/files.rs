//! Model folders that point elsewhere, and files that never end.
