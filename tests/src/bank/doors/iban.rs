//! Account numbers as the doors write them (ISO 13616).

/// Letters where a real bank has its own.
const BANK: &str = "DEMO";

/// The IBAN of a UK account with this sort code and account number (14 digits).
pub(super) fn iban(number: &str) -> String {
    with_check_digits(BANK, number)
}

/// In groups of four, as people read it.
pub(super) fn grouped(iban: &str, gap: &str) -> String {
    let letters: Vec<char> = iban.chars().collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join(gap)
}

fn with_check_digits(bank: &str, number: &str) -> String {
    let rest = format!("{bank}{number}GB00").chars().fold(0u32, |rest, letter| {
        let value = letter.to_digit(36).unwrap_or(0);
        (rest * if value > 9 { 100 } else { 10 } + value) % 97
    });
    format!("GB{:02}{bank}{number}", 98 - rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_those_of_the_standard() {
        assert_eq!(with_check_digits("NWBK", "60161331926819"), "GB29NWBK60161331926819");
        assert_eq!(grouped("GB29NWBK60161331926819", " "), "GB29 NWBK 6016 1331 9268 19");
        assert_eq!(iban("40051560000001").len(), 22);
    }
}
