//! What ordinary people's accounts look like: wages, rent, coffees, groceries. The same seed gives
//! the same life.

use super::entry::{EntryKind, NewEntry};
use super::money;
use super::random::Random;
use chrono::{DateTime, Datelike, Days, NaiveDate, Utc, Weekday};

/// A shop: name, merchant category code (ISO 18245), least and most minor units, words.
struct Shop(&'static str, &'static str, i64, i64, &'static str);

const COFFEE: [Shop; 4] = [
    Shop("Blue Door Coffee Roasters", "5814", 260, 495, "Flat white and something sweet, contactless"),
    Shop("Pret A Manger London Bridge", "5814", 185, 780, "Breakfast counter, contactless"),
    Shop("Corner Bakery Borough", "5462", 210, 640, "Bakery and coffee, contactless"),
    Shop("Station Kiosk Platform 4", "5499", 150, 390, "Kiosk, contactless"),
];
const GROCERIES: [Shop; 4] = [
    Shop("Tesco Superstore 3297", "5411", 1850, 9420, "Groceries, chip and PIN"),
    Shop("Sainsbury's Local Bermondsey", "5411", 620, 3890, "Groceries, contactless"),
    Shop("Waitrose Canary Wharf", "5411", 1190, 7650, "Groceries, chip and PIN"),
    Shop("Lidl GB London SE16", "5411", 940, 5210, "Groceries, contactless"),
];
const TRAVEL: [Shop; 2] = [
    Shop("TfL Travel Charge", "4111", 280, 850, "Travel on the day before, TFL.gov.uk/CP"),
    Shop("Trainline.com", "4112", 1240, 8790, "Tickets bought online"),
];
const EVENINGS: [Shop; 3] = [
    Shop("Dishoom Shoreditch", "5812", 2350, 8640, "Dinner, chip and PIN"),
    Shop("Curzon Cinema Bloomsbury", "7832", 1150, 3400, "Two seats, bought online"),
    Shop("The Anchor Bankside", "5813", 560, 3120, "Bar, contactless"),
];
/// Collected on a day of the month.
const BILLS: [(u32, i64, &str, &str); 5] = [
    (2, -1_250, "Thames Water", "Water and sewerage, account 80114477"),
    (5, -7_845, "Octopus Energy", "Gas and electricity, fixed monthly amount"),
    (9, -15_900, "London Borough of Southwark", "Council tax instalment"),
    (14, -1_099, "Spotify AB", "Premium Individual, monthly"),
    (21, -2_200, "giffgaff", "Mobile plan, next 30 days"),
];

/// The merchant category code of a shop that histories know; a general one otherwise.
pub(super) fn category_code(merchant: &str) -> &'static str {
    let shops = COFFEE.iter().chain(&GROCERIES).chain(&TRAVEL).chain(&EVENINGS);
    let known = shops.into_iter().find(|shop| shop.0 == merchant);
    known.map_or("5999", |shop| shop.1)
}

/// Booked entries from `since` until `until`, in order; the last one lies before `until`.
pub(super) fn history(
    random: &mut Random,
    savings: bool,
    currency: &str,
    since: NaiveDate,
    until: DateTime<Utc>,
) -> Vec<NewEntry> {
    let days = since.iter_days().take_while(|day| *day <= until.date_naive());
    let life = days.flat_map(|day| {
        let mut life = Day { random: &mut *random, currency, day, entries: Vec::new() };
        if day == since {
            life.entry(8, 500_000, EntryKind::Transfer, "Opening deposit", None);
        }
        if savings {
            life.savings()
        } else {
            life.current()
        }
        let mut entries = life.entries;
        entries.sort_by_key(|entry| entry.booked_at);
        entries
    });
    life.filter(|entry| entry.booked_at.is_some_and(|at| at < until)).collect()
}

/// One day of a life.
struct Day<'a> {
    random: &'a mut Random,
    currency: &'a str,
    day: NaiveDate,
    entries: Vec<NewEntry>,
}

impl Day<'_> {
    /// Hundredths of the currency's unit become its minor units: yen have no pence.
    fn entry(&mut self, hour: u32, hundredths: i64, kind: EntryKind, text: &str, merchant: Option<&str>) {
        let minute = u32::try_from(self.random.between(0, 59)).unwrap_or(0);
        let second = u32::try_from(self.random.between(0, 59)).unwrap_or(0);
        let at = self.day.and_hms_opt(hour, minute, second).unwrap_or_default().and_utc();
        let minor = match money::decimals(self.currency) {
            0 => hundredths / 100,
            3 => hundredths * 10,
            _ => hundredths,
        };
        let (amount, text) = (money::text(minor, self.currency), text.to_owned());
        let (merchant, valued_at) = (merchant.map(str::to_owned), at.checked_add_days(Days::new(1)));
        let valued_at = if kind == EntryKind::Card { valued_at } else { None };
        self.entries.push(NewEntry { amount, text, merchant, kind, booked_at: Some(at), valued_at });
    }

    fn chance(&mut self, percent: i64) -> bool {
        self.random.between(1, 100) <= percent
    }

    fn shop(&mut self, hour: u32, shops: &[Shop]) {
        if let Some(Shop(name, _, least, most, words)) = self.random.pick(shops) {
            let hundredths = -self.random.between(*least, *most);
            let card = self.random.between(1000, 9999);
            let text = format!(
                "CARD PAYMENT TO {} ON {} WITH CARD *{card} - {words}",
                name.to_uppercase(),
                self.day
            );
            self.entry(hour, hundredths, EntryKind::Card, &text, Some(name));
        }
    }

    /// Wages come on the 25th, or the Friday before a weekend.
    fn is_payday(&self) -> bool {
        match self.day.weekday() {
            Weekday::Sat | Weekday::Sun => false,
            Weekday::Fri => (23..=25).contains(&self.day.day()),
            _ => self.day.day() == 25,
        }
    }

    fn current(&mut self) {
        let weekend = matches!(self.day.weekday(), Weekday::Sat | Weekday::Sun);
        let date = self.day.day();
        if self.is_payday() {
            let text =
                format!("SALARY {} HARBOUR ENGINEERING LTD PAYROLL REF HE-40117", self.day.format("%B %Y"));
            self.entry(4, 312_745, EntryKind::Salary, &text, Some("Harbour Engineering Ltd"));
        }
        if date == 1 {
            let text = format!("STANDING ORDER RENT {} FLAT 7 TANNER STREET", self.day.format("%B %Y"));
            self.entry(5, -142_500, EntryKind::Transfer, &text, Some("Tanner Street Lettings"));
        }
        if date == 26 {
            self.entry(
                5,
                -25_000,
                EntryKind::Transfer,
                "STANDING ORDER TO SAVINGS",
                Some("Own savings account"),
            );
        }
        for (_, hundredths, name, words) in BILLS.iter().filter(|bill| bill.0 == date) {
            let text = format!("DIRECT DEBIT {} - {words}", name.to_uppercase());
            self.entry(6, *hundredths, EntryKind::DirectDebit, &text, Some(name));
        }
        if !weekend && self.chance(75) {
            self.shop(8, &COFFEE);
        }
        if !weekend && self.chance(60) {
            self.shop(9, &TRAVEL);
        }
        if self.chance(if weekend { 55 } else { 30 }) {
            self.shop(17, &GROCERIES);
        }
        if self.chance(if weekend { 50 } else { 12 }) {
            self.shop(20, &EVENINGS);
        }
    }

    fn savings(&mut self) {
        if self.day.day() == 26 {
            self.entry(
                5,
                25_000,
                EntryKind::Transfer,
                "STANDING ORDER FROM CURRENT ACCOUNT",
                Some("Own current account"),
            );
        }
        if self.day.day() == 1 {
            let hundredths = self.random.between(310, 1_480);
            let text = format!("GROSS INTEREST FOR THE MONTH TO {}", self.day);
            self.entry(1, hundredths, EntryKind::Interest, &text, None);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ordinary_life() {
        let since = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        let until = NaiveDate::from_ymd_opt(2026, 4, 1).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc();
        let life = |seed| history(&mut Random::new(seed), false, "GBP", since, until);
        assert_eq!(life(7), life(7));
        assert_ne!(life(7), life(8));
        let life = life(7);
        let count = |kind| life.iter().filter(|entry| entry.kind == kind).count();
        assert_eq!(count(EntryKind::Salary), 3);
        assert_eq!(count(EntryKind::DirectDebit), 15);
        assert!(count(EntryKind::Card) > 90, "{}", life.len());
        assert!(life.is_sorted_by_key(|entry| entry.booked_at));
        assert!(life.iter().all(|entry| entry.text.len() <= 500 && entry.booked_at.unwrap() < until));
    }
}
