//! Which banks a customer may choose from.

use super::view::Shown;
use crate::app::App;

/// Banks on one page: more is not read but searched.
const BANKS_MAX: usize = 100;
/// Letters of a search that count.
const SEARCH_CHARS_MAX: usize = 64;

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// By name.
    pub banks: Vec<Shown>,
    /// How many, in words.
    pub said: String,
}

/// The banks that can be asked now and fit what was typed.
pub fn find(app: &App, asked: &str) -> Found {
    let available = app.institutions.values().filter(|bank| bank.unavailable().is_none());
    search(available.map(|bank| (Shown::of(&bank.institution), bank.institution.country.as_str())), asked)
}

/// Of these, with the letters of their country.
fn search<'a>(banks: impl Iterator<Item = (Shown, &'a str)>, asked: &str) -> Found {
    let asked: String = asked.trim().chars().take(SEARCH_CHARS_MAX).collect();
    let words = folded(&asked);
    let fits = |(bank, letters): &(Shown, &str)| {
        let name = folded(&format!("{} {}", bank.name, bank.country));
        words.split_whitespace().all(|word| name.contains(word) || folded(letters) == word)
    };
    let mut banks: Vec<Shown> = banks.filter(fits).map(|(bank, _)| bank).collect();
    banks.sort_by_cached_key(|bank| (folded(&bank.name), bank.id.clone()));
    let count = banks.len();
    banks.truncate(BANKS_MAX);
    let counted = if count == 1 { "1 bank".to_owned() } else { format!("{count} banks") };
    let said = match (asked.is_empty(), count > BANKS_MAX) {
        (true, false) => "All banks".to_owned(),
        (true, true) => format!("The first {BANKS_MAX} of {count} banks: search for yours"),
        (false, false) => format!("{counted} for “{asked}”"),
        (false, true) => format!("The first {BANKS_MAX} of {counted} for “{asked}”"),
    };
    Found { banks, said }
}

/// Letters as they are compared: without case and marks.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for letter in text.chars().flat_map(char::to_lowercase) {
        let plain = match letter {
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ă' | 'ą' => "a",
            'ç' | 'ć' | 'č' => "c",
            'ď' | 'đ' | 'ð' => "d",
            'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
            'ğ' | 'ģ' => "g",
            'ì' | 'í' | 'î' | 'ï' | 'ī' | 'į' | 'ı' => "i",
            'ķ' => "k",
            'ľ' | 'ļ' | 'ł' => "l",
            'ñ' | 'ń' | 'ņ' | 'ň' => "n",
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ő' => "o",
            'ŕ' | 'ř' => "r",
            'ś' | 'š' | 'ş' | 'ș' => "s",
            'ť' | 'ţ' | 'ț' => "t",
            'ù' | 'ú' | 'û' | 'ü' | 'ū' | 'ů' | 'ű' | 'ų' => "u",
            'ý' | 'ÿ' => "y",
            'ź' | 'ż' | 'ž' => "z",
            'æ' => "ae",
            'œ' => "oe",
            'ß' => "ss",
            // Marks that stand by themselves.
            '\u{300}'..='\u{36f}' => "",
            other => {
                folded.push(other);
                ""
            }
        };
        folded.push_str(plain);
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(asked: &str) -> (Vec<String>, String) {
        let banks = [
            ("zurich", "Zürcher Bank", "CH"),
            ("agricole", "Crédit Agricole", "FR"),
            ("demo-bank", "Demo Bank", "GB"),
            ("society", "Building Society", "GB"),
        ];
        let shown = banks.map(|(id, name, letters)| {
            let country = super::super::country::name(letters).to_owned();
            (Shown { id: id.to_owned(), name: name.to_owned(), country }, letters)
        });
        let Found { banks, said } = search(shown.into_iter(), asked);
        (banks.into_iter().map(|bank| bank.id).collect(), said)
    }

    #[track_caller]
    fn check(asked: &str, ids: &[&str], said: &str) {
        assert_eq!(found(asked), (ids.iter().map(|id| (*id).to_owned()).collect(), said.to_owned()));
    }

    #[test]
    fn countedare_found_by_name_and_country_without_case_and_marks() {
        check("  ", &["society", "agricole", "demo-bank", "zurich"], "All banks");
        check("BANK", &["demo-bank", "zurich"], "2 banks for “BANK”");
        check("credit", &["agricole"], "1 bank for “credit”");
        check("zürcher", &["zurich"], "1 bank for “zürcher”");
        check("switzerland", &["zurich"], "1 bank for “switzerland”");
        check("gb", &["society", "demo-bank"], "2 banks for “gb”");
        check("demo kingdom", &["demo-bank"], "1 bank for “demo kingdom”");
        check("demo france", &[], "0 banks for “demo france”");
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let many = (0..150).map(|number| {
            let (id, name) = (format!("bank-{number:03}"), format!("Bank {number:03}"));
            (Shown { id, name, country: "Spain".to_owned() }, "ES")
        });
        let found = search(many, "");
        assert_eq!(
            (found.banks.len(), found.said.as_str()),
            (100, "The first 100 of 150 banks: search for yours")
        );
    }
}
