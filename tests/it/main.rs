//! The integration tests: one binary, a room each.

mod hostile;
mod walls;
