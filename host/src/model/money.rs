//! Money: 64-bit minor units of an ISO 4217 currency. Never floats.

use std::fmt;

/// An ISO 4217 currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// From its three letters in upper case.
    pub fn from_code(code: &str) -> Option<Self> {
        iso_currency::Currency::from_code(code).map(Self)
    }
    /// Its three letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }
    /// How many decimals an amount has; currencies without minor units have none.
    pub fn decimals(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        into.write_str(self.code())
    }
}
impl fmt::Display for Currency {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        into.write_str(self.code())
    }
}

/// An amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// In the smallest unit of the currency, e.g. pence.
    pub minor: i64,
    /// Which currency.
    pub currency: Currency,
}

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAmount {
    /// Not three letters that ISO 4217 knows.
    #[error("the currency is not a three-letter ISO 4217 code")]
    Currency,
    /// Something other than an optional `-`, digits, and optionally a point and digits.
    #[error("an amount is an optional \"-\", digits, and optionally \".\" and digits")]
    Text,
    /// `12.345` in a currency with two decimals.
    #[error("the amount has more decimals than its currency")]
    Decimals,
    /// Does not fit 64-bit minor units.
    #[error("the amount is larger than 64-bit minor units can hold")]
    Size,
}

impl Money {
    /// Reads decimal text such as `-12.34`. `-0.00` is zero. Decimals beyond the currency's are
    /// refused even when they are zeros: a bank that sends them means another unit.
    pub fn parse(amount: &str, currency: &str) -> Result<Self, BadAmount> {
        let currency = Currency::from_code(currency).ok_or(BadAmount::Currency)?;
        let (negative, digits) = match amount.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, amount),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(BadAmount::Text),
            None => (digits, ""),
        };
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(BadAmount::Text);
        }
        let decimals = currency.decimals();
        let missing = decimals
            .checked_sub(u32::try_from(fraction.len()).map_err(|_| BadAmount::Decimals)?)
            .ok_or(BadAmount::Decimals)?;
        let mut minor: i64 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            minor = minor
                .checked_mul(10)
                .and_then(|sum| sum.checked_add(i64::from(digit - b'0')))
                .ok_or(BadAmount::Size)?;
        }
        minor =
            10_i64.checked_pow(missing).and_then(|scale| minor.checked_mul(scale)).ok_or(BadAmount::Size)?;
        Ok(Self { minor: if negative { -minor } else { minor }, currency })
    }

    /// The decimal text that [`Money::parse`] reads, with all decimals of the currency.
    pub fn amount(self) -> String {
        let decimals = self.currency.decimals();
        let sign = if self.minor < 0 { "-" } else { "" };
        let minor = self.minor.unsigned_abs();
        if decimals == 0 {
            return format!("{sign}{minor}");
        }
        let scale = 10_u64.pow(decimals);
        let width = decimals as usize;
        format!("{sign}{}.{:0width$}", minor / scale, minor % scale)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(into, "{} {}", self.amount(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(amount: &str, currency: &str, expected: Result<i64, BadAmount>) {
        let got = Money::parse(amount, currency).map(|money| money.minor);
        assert_eq!(got, expected, "{amount} {currency}");
    }

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        check("12.34", "GBP", Ok(1234));
        check("-12.3", "GBP", Ok(-1230));
        check("12", "GBP", Ok(1200));
        check("-0.00", "GBP", Ok(0));
        check("007.50", "GBP", Ok(750));
        check("500", "JPY", Ok(500));
        check("1.234", "KWD", Ok(1234));
        check("92233720368547758.07", "GBP", Ok(i64::MAX));
        check("92233720368547758.08", "GBP", Err(BadAmount::Size));
        check("12.345", "GBP", Err(BadAmount::Decimals));
        check("12.340", "GBP", Err(BadAmount::Decimals));
        check("5.0", "JPY", Err(BadAmount::Decimals));
        for text in ["1e3", "", "-", ".5", "5.", "+5", "1,000", " 5", "--5", "٣", "0x10", "NaN"] {
            check(text, "GBP", Err(BadAmount::Text));
        }
        for code in ["gbp", "GB", "", "ABC", "GBPX"] {
            check("1", code, Err(BadAmount::Currency));
        }
    }

    #[test]
    fn an_amount_reads_back_what_it_wrote() {
        for (minor, code) in [(0, "GBP"), (-5, "GBP"), (123, "JPY"), (-1234, "KWD"), (i64::MAX, "EUR")] {
            let currency = Currency::from_code(code).unwrap();
            let money = Money { minor, currency };
            assert_eq!(Money::parse(&money.amount(), code), Ok(money));
        }
    }
}
