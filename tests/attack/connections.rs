//! Connections that are held, half closed, not read, or not HTTP by the letter.
