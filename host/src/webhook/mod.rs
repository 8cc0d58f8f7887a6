//! Webhooks: sign, send, retry.
