//! Logs: readable or JSON, never a secret, a body or a customer text.
