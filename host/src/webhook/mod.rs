//! Webhooks: sign, send, retry.

pub mod payload;
