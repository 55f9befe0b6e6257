//! Unfinished, slow and greedy request bodies, and what of them is left for other clients.
