//! What a fault makes of an answer.
//!
//! Must not know: what is in the answer.

use super::Shared;
use super::doors;
use super::fault::Fault;
use super::service::error;
use crate::wire::{Cutter, Pieces};
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use flate2::{Compress, Compression, Crc, FlushCompress};
use std::io;

const MIB: usize = 1024 * 1024;
/// Oversized answers leave in pieces of this size.
const PIECE_BYTES: usize = 64 * 1024;

/// An answer before it is sent.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    pub(super) fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn send(self, body: Body) -> Response {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        // Fails only for a header that cannot be sent, such as an echoed one with a control byte.
        response.body(body).unwrap_or_else(|_| {
            let mut plain = Response::new(Body::empty());
            *plain.status_mut() = StatusCode::BAD_REQUEST;
            plain
        })
    }
}

/// The answer given instead of looking at the request.
pub(super) fn before(fault: &Fault, shared: &Shared, cutter: &Cutter) -> Option<Answer> {
    match fault {
        Fault::Status { status, retry_after } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            let bare = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED);
            let mut answer = if bare {
                Answer::new(status, Vec::new())
            } else {
                error(shared, status, "UK.OBIE.UnexpectedError", "The bank cannot answer now")
            };
            if let Some(retry_after) = retry_after {
                answer.header(header::RETRY_AFTER.as_str(), &retry_after.header(shared.clock.now()));
            }
            Some(answer)
        }
        Fault::Redirect { to } => {
            let mut answer = Answer::new(StatusCode::FOUND, Vec::new());
            answer.header(header::LOCATION.as_str(), to);
            Some(answer)
        }
        Fault::Maintenance => Some(doors::maintenance()),
        Fault::Reset => {
            cutter.cut();
            Some(Answer::new(StatusCode::OK, Vec::new()))
        }
        _ => None,
    }
}

/// The answer as it leaves.
pub(super) fn after(fault: Option<&Fault>, mut answer: Answer, cutter: &Cutter) -> Response {
    let half = answer.body.len() / 2;
    let body = match fault {
        Some(Fault::LostAnswer) => {
            cutter.cut();
            Body::empty()
        }
        Some(Fault::TruncatedJson) => {
            answer.body.truncate(half);
            Body::from(std::mem::take(&mut answer.body))
        }
        Some(Fault::CutShort) => {
            answer.header(header::CONTENT_LENGTH.as_str(), &answer.body.len().max(2).to_string());
            answer.body.truncate(half);
            Pieces::once([std::mem::take(&mut answer.body)])
        }
        Some(Fault::InvalidUtf8) => {
            if let Some(byte) = answer.body.get_mut(half) {
                *byte = 0xff;
            }
            Body::from(std::mem::take(&mut answer.body))
        }
        Some(Fault::GzipBomb { bytes }) => {
            answer.header(header::CONTENT_ENCODING.as_str(), "gzip");
            // Fails only if the compressor's own rules are broken.
            Pieces::once([gzip_bomb(&answer.body, bytes.div_ceil(MIB)).unwrap_or_default()])
        }
        Some(Fault::Oversized { bytes }) => {
            let pieces = bytes.saturating_sub(answer.body.len()).div_ceil(PIECE_BYTES);
            let spaces = std::iter::repeat_n(vec![b' '; PIECE_BYTES], pieces);
            Pieces::once(std::iter::once(std::mem::take(&mut answer.body)).chain(spaces))
        }
        _ => Body::from(std::mem::take(&mut answer.body)),
    };
    answer.send(body)
}

/// A valid gzip file (RFC 1952) of the text and so many MiB of spaces. The spaces are compressed
/// once and repeated: each piece ends with a full flush, so it reads the same wherever it stands.
fn gzip_bomb(text: &[u8], mib: usize) -> io::Result<Vec<u8>> {
    let spaces = vec![b' '; MIB];
    let flat = deflated(&spaces)?;
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    file.extend(deflated(text)?);
    let mut crc = Crc::new();
    crc.update(text);
    for _ in 0..mib {
        file.extend(&flat);
        crc.update(&spaces);
    }
    file.extend([3, 0]); // an empty last block
    let length = u32::try_from((text.len() + mib * MIB) & 0xffff_ffff).unwrap_or(0);
    file.extend(crc.sum().to_le_bytes());
    file.extend(length.to_le_bytes());
    Ok(file)
}

fn deflated(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut flat = Vec::with_capacity(bytes.len() + 1024);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(bytes, &mut flat, FlushCompress::Full).map_err(io::Error::other)?;
    Ok(flat)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_gzip_bomb_is_a_valid_gzip_file_a_hundred_times_smaller_than_what_is_in_it() {
        let bomb = gzip_bomb(b"{\"Data\":1}", 3).unwrap();
        let mut inside = String::new();
        flate2::read::GzDecoder::new(bomb.as_slice()).read_to_string(&mut inside).unwrap();
        assert_eq!(inside.len(), 10 + 3 * MIB);
        assert_eq!(inside.trim_end(), "{\"Data\":1}");
        assert!(bomb.len() * 100 < inside.len(), "{}", bomb.len());
    }
}
