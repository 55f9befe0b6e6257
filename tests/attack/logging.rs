//! A log that nobody reads, and floods of refused requests.
