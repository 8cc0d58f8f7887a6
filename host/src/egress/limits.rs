//! How much may leave and come back. The numbers of the contract's table, and the host's own.

use std::time::Duration;

/// Bytes of one request before values are filled in: the contract's table.
pub const REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one joined text (body, derived value) after filling in: encodings grow a request at
/// most about six times, and derived values that use each other must not grow without end.
pub const FILLED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of a URL after filling in: what common servers accept.
pub const URL_BYTES_MAX: usize = 8 * 1024;
/// Headers of one request: far more than any bank's interface asks for.
pub const REQUEST_HEADERS_MAX: usize = 64;
/// Bytes of all header values of one request after filling in: what common servers accept.
pub const REQUEST_HEADER_BYTES_MAX: usize = 64 * 1024;
/// Derived values of one request: the contract's table.
pub const DERIVED_MAX: usize = 16;
/// Captures of one request: the contract's table.
pub const CAPTURES_MAX: usize = 16;
/// Random bytes of one derived value: the contract's text.
pub const RANDOM_BYTES_MAX: u8 = 64;
/// Bytes of one captured value: the longest tokens and cookies are about 8 KiB.
pub const CAPTURE_BYTES_MAX: usize = 16 * 1024;
/// Milliseconds that one request may wait: the contract's text.
pub const AFTER_MS_MAX: u32 = 60_000;
/// Bytes of one reply after decompression: the contract's table.
pub const REPLY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of all headers of one reply, names and values.
pub const REPLY_HEADER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a webhook answer that are read, so that the connection can be used again.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Secrets of at least so many bytes are searched for; shorter ones would hit by chance, and go to
/// `login` routes only.
pub const SECRET_BYTES_MIN: usize = 16;
/// Time for one exchange with a bank, unless the operator says otherwise: slow banks take 20 s.
pub const BANK_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for one exchange with a webhook receiver: the shortest of the 15 to 30 s of Standard Webhooks.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// Time to connect, TLS included: nothing was sent yet, so that giving up early allows another try.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses before a request is sent once more.
pub const RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// The limits that a test lifts to show that they matter. [`Limits::default`] is the contract's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// See [`REQUEST_BYTES_MAX`].
    pub request_bytes: usize,
    /// See [`FILLED_BYTES_MAX`].
    pub filled_bytes: usize,
    /// See [`REPLY_BYTES_MAX`].
    pub reply_bytes: usize,
    /// See [`REPLY_HEADER_BYTES_MAX`].
    pub reply_header_bytes: usize,
    /// See [`SECRET_BYTES_MIN`]; for the search in replies only.
    pub secret_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: REQUEST_BYTES_MAX,
            filled_bytes: FILLED_BYTES_MAX,
            reply_bytes: REPLY_BYTES_MAX,
            reply_header_bytes: REPLY_HEADER_BYTES_MAX,
            secret_bytes: SECRET_BYTES_MIN,
        }
    }
}
