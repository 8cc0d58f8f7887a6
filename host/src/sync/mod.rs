//! The story of one sync.
