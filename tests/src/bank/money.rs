//! Decimal text and minor units.

/// How many decimals a currency has (ISO 4217; those that a demo needs).
pub(super) fn decimals(currency: &str) -> u32 {
    match currency {
        "JPY" | "KRW" | "ISK" | "CLP" | "VND" => 0,
        "KWD" | "BHD" | "OMR" | "TND" | "JOD" => 3,
        _ => 2,
    }
}

/// `-12.34` in GBP is -1234. `None` unless it is an optional sign, digits, and optionally a point
/// and at most as many digits as the currency has decimals.
pub(super) fn parse(text: &str, currency: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let wanted = usize::try_from(decimals(currency)).ok()?;
    let part_fits = part.len() <= wanted || digits.find('.').is_none();
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(part) || !part_fits {
        return None;
    }
    let part = if wanted == 0 { String::new() } else { format!("{part:0<wanted$}") };
    let minor: i64 = format!("{whole}{part}").parse().ok()?;
    Some(if negative { -minor } else { minor })
}

/// -1234 in GBP is `-12.34`.
pub(super) fn text(minor: i64, currency: &str) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{}", unsigned_text(minor, currency))
}

/// The same without the sign, as UK Open Banking writes amounts beside a `CreditDebitIndicator`.
pub(super) fn unsigned_text(minor: i64, currency: &str) -> String {
    let decimals = decimals(currency);
    let unit = 10u64.pow(decimals);
    let amount = minor.unsigned_abs();
    if decimals == 0 {
        return amount.to_string();
    }
    let width = usize::try_from(decimals).unwrap_or(0);
    format!("{}.{:0width$}", amount / unit, amount % unit)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn amounts_survive_the_way_to_text_and_back() {
        for (minor, currency, written) in [
            (-320, "GBP", "-3.20"),
            (5, "GBP", "0.05"),
            (-5, "EUR", "-0.05"),
            (1_234_567, "GBP", "12345.67"),
            (1200, "JPY", "1200"),
            (-1200, "KWD", "-1.200"),
        ] {
            assert_eq!(text(minor, currency), written);
            assert_eq!(parse(written, currency), Some(minor));
        }
        assert_eq!(parse("3.2", "GBP"), Some(320));
        assert_eq!(parse("3", "GBP"), Some(300));
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for bad in ["", "-", "1e3", "12.345", "1.", ".5", "+1", "1,00", "--1", "99999999999999999999"] {
            assert_eq!(parse(bad, "GBP"), None, "{bad}");
        }
        assert_eq!(parse("1.5", "JPY"), None);
    }
}
