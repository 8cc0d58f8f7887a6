//! How bytes are written: the contract's alphabets. Pure.

use super::EgressError;
use crate::model::{Encoding, hex};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Writes bytes in an alphabet. JSON and XML need UTF-8.
pub(super) fn encode(alphabet: Encoding, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, EgressError> {
    let text = || {
        std::str::from_utf8(bytes).map_err(|_| {
            EgressError::Refused(
                "a derived value in JSON or XML text is not UTF-8; encode it, e.g. as base64, first"
                    .to_owned(),
            )
        })
    };
    Ok(Zeroizing::new(match alphabet {
        Encoding::Raw => bytes.to_vec(),
        Encoding::Base64 => STANDARD.encode(bytes).into_bytes(),
        Encoding::Base64Url => URL_SAFE_NO_PAD.encode(bytes).into_bytes(),
        Encoding::Hex => hex(bytes).into_bytes(),
        Encoding::Percent => percent(bytes).into_bytes(),
        Encoding::JsonText => json(text()?).into_bytes(),
        Encoding::XmlText => xml(text()?).into_bytes(),
        Encoding::FintsText => fints(bytes),
    }))
}

/// RFC 3986: all but unreserved characters are escaped.
pub(super) fn percent(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// Undoes percent encoding; none if a `%` is not followed by two hexadecimal digits.
pub(super) fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (bytes.next()?, bytes.next()?);
            let digit = |byte: u8| char::from(byte).to_digit(16);
            out.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// The inside of a JSON string.
pub(super) fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// XML character data, also safe in attributes.
pub(super) fn xml(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, letter| {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            _ => out.push(letter),
        }
        out
    })
}

/// FinTS 3.0, formals, H.1.3: the syntax characters after a `?`.
fn fints(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if b"?+:'@".contains(byte) {
            out.push(b'?');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[track_caller]
    fn check(alphabet: Encoding, plain: &[u8], wanted: &str) {
        assert_eq!(String::from_utf8_lossy(&encode(alphabet, plain).unwrap()), wanted);
    }

    #[test]
    fn each_alphabet_writes_as_its_standard_says() {
        check(Encoding::Raw, b"a b", "a b");
        check(Encoding::Base64, b"foob", "Zm9vYg=="); // RFC 4648 section 10
        check(Encoding::Base64, &[0xfb, 0xff], "+/8=");
        check(Encoding::Base64Url, &[0xfb, 0xff], "-_8");
        check(Encoding::Hex, b"foobar", "666f6f626172");
        check(Encoding::Percent, "a-._~/ %é".as_bytes(), "a-._~%2F%20%25%C3%A9");
        check(Encoding::JsonText, "a\"b\\c\nd\u{1}é".as_bytes(), "a\\\"b\\\\c\\nd\\u0001é");
        check(Encoding::XmlText, b"<a b=\"c\">'&", "&lt;a b=&quot;c&quot;&gt;&apos;&amp;");
        check(Encoding::FintsText, b"a?b+c:d'e@f", "a??b?+c?:d?'e?@f");
    }

    #[test]
    fn text_alphabets_refuse_what_is_not_utf8() {
        assert!(encode(Encoding::JsonText, &[0xff]).is_err());
        assert!(encode(Encoding::XmlText, &[0xff]).is_err());
        assert!(encode(Encoding::FintsText, &[0xff]).is_ok());
    }

    #[test]
    fn percent_decoding_undoes_encoding_and_refuses_half_escapes() {
        assert_eq!(percent_decoded(&percent("ä/b%".as_bytes())).unwrap(), "ä/b%".as_bytes());
        for bad in ["%", "%2", "a%zz", "%+1"] {
            assert_eq!(percent_decoded(bad), None, "{bad}");
        }
    }
}
