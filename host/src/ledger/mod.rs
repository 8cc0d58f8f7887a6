//! What changed? Pure: no I/O, no clock, no async.
