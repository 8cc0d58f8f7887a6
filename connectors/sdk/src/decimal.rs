//! Amounts as decimal text. Never floats: the host makes minor units of the text.

/// Digits, and optionally a point and digits: `12`, `12.34`. No sign, no exponent.
pub fn is_unsigned(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

/// Is there a minus sign? (`-0.00` has one.)
pub fn is_negative(text: &str) -> bool {
    text.starts_with('-')
}

/// Without its minus sign.
pub fn absolute(text: &str) -> &str {
    text.strip_prefix('-').unwrap_or(text)
}

/// An unsigned amount with the sign that stands elsewhere, such as in `CreditDebitIndicator`; none
/// if the text is not an unsigned amount. Minus zero is zero, whatever stands elsewhere.
pub fn with_sign(unsigned: &str, negative: bool) -> Option<String> {
    let zero = |digits: &&str| digits.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let unsigned = unsigned.strip_prefix('-').filter(zero).unwrap_or(unsigned);
    if !is_unsigned(unsigned) {
        return None;
    }
    let mut text = String::with_capacity(unsigned.len() + 1);
    if negative {
        text.push('-');
    }
    text.push_str(unsigned);
    Some(text)
}

/// An amount that has its own sign, as it stands; none if it is not a decimal number. See [`with_sign`].
pub fn signed(text: &str) -> Option<String> {
    with_sign(absolute(text), is_negative(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_unsigned_amounts_get_a_sign() {
        for (text, expected) in [
            ("12.34", Some("-12.34")),
            ("0.00", Some("-0.00")),
            ("7", Some("-7")),
            ("-7", None),
            ("+7", None),
            ("1e3", None),
            ("1,000", None),
            (".5", None),
            ("5.", None),
            ("1.2.3", None),
            ("", None),
            ("-", None),
            ("-0.00", Some("-0.00")),
            ("-0.01", None),
            ("--0", None),
            ("٣", None),
            ("NaN", None),
        ] {
            assert_eq!(with_sign(text, true).as_deref(), expected, "{text}");
        }
        assert_eq!(with_sign("12.34", false).as_deref(), Some("12.34"));
    }

    #[test]
    fn an_amount_may_have_its_own_sign() {
        assert_eq!(signed("-12.34").as_deref(), Some("-12.34"));
        assert_eq!(signed("12.34").as_deref(), Some("12.34"));
        assert_eq!((signed("+1"), signed("--1"), signed("1e3")), (None, None, None));
    }

    #[test]
    fn a_sign_is_seen_and_taken_off() {
        assert!(is_negative("-1.00"));
        assert!(!is_negative("1.00"));
        assert_eq!(absolute("-1.00"), "1.00");
        assert_eq!(absolute("1.00"), "1.00");
    }
}
