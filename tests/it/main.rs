//! The integration tests: one binary, a room each.
mod bank_misbehaves;
mod hostile;
mod isolation;
mod linked;
mod operations;
mod story;
mod sync;
mod walls;
