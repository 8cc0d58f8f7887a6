//! The bank's truth: entries with their true identity, and what happens to them.
//!
//! Must not know: how any of it is shown, or to whom.

use crate::random::Random;
use chrono::{Days, NaiveDate};
use host::model::TransactionStatus;

/// One thing that happened to the customer's money, whatever it is called today.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its true identity.
    pub who: usize,
    /// What the bank's ids are made of; a bank that reuses ids gives it twice.
    pub id_no: i64,
    /// Pending or booked.
    pub status: TransactionStatus,
    /// Its date, counted from the first day of the history.
    pub day: i64,
    /// Positive when money arrives.
    pub minor: i64,
    /// The narration.
    pub text: String,
    /// No longer in the books.
    pub gone: bool,
    /// Its id when it was pending, if booking gave it another.
    pub was: Option<i64>,
}

/// The books of one account.
#[derive(Debug, Clone)]
pub struct Books {
    /// All that ever stood in them.
    pub entries: Vec<Entry>,
    /// What stood on the account before the first day.
    pub base: i64,
    /// The bank's day.
    pub today: i64,
    /// What happened since it was last asked, for people.
    pub happened: Vec<String>,
    next_id: i64,
}

const PAYEES: [&str; 7] =
    ["Corner Coffee", "Luigi", "Fuel 12", "Book Shop", "Acme Payroll", "Rent Office", "Bus"];
/// Few, so that unequal rows often weigh the same.
const AMOUNTS: [i64; 8] = [-250, -250, -400, -1_000, -4_000, -90, 250, 5_000];

/// The calendar day so many days after the first.
pub fn date(day: i64) -> NaiveDate {
    let days = Days::new(u64::try_from(day).unwrap_or(0));
    NaiveDate::from_ymd_opt(2026, 2, 1).and_then(|first| first.checked_add_days(days)).unwrap_or_default()
}

impl Books {
    /// Empty ones.
    pub fn new(base: i64, today: i64) -> Self {
        Self { entries: Vec::new(), base, today, happened: Vec::new(), next_id: 0 }
    }

    /// A new entry; its place among all of them.
    pub fn add(&mut self, status: TransactionStatus, day: i64, minor: i64, text: &str) -> usize {
        let who = self.entries.len();
        self.next_id += 1;
        let entry =
            Entry { who, id_no: self.next_id, status, day, minor, text: text.into(), gone: false, was: None };
        self.tell(format!("new {}", entry.words()));
        self.entries.push(entry);
        who
    }

    /// A new entry of any contents.
    pub fn add_any(&mut self, random: &mut Random, status: TransactionStatus, day: i64) -> usize {
        let minor = random.pick(&AMOUNTS).unwrap_or(-1);
        let text = random.pick(&PAYEES).unwrap_or("");
        self.add(status, day, minor, text)
    }

    /// One more that is equal in all that the bank says of it.
    pub fn add_twin(&mut self, of: usize) {
        if let Some(Entry { status, day, minor, text, .. }) = self.entries.get(of).cloned() {
            self.add(status, day, minor, &text);
        }
    }

    /// The entries of a status that stand in the books.
    pub fn standing(&self, status: TransactionStatus) -> Vec<usize> {
        let standing = self.entries.iter().filter(|entry| !entry.gone && entry.status == status);
        standing.map(|entry| entry.who).collect()
    }

    /// Taken back, expired, declined.
    pub fn remove(&mut self, who: usize) {
        self.change(who, "gone", |entry| entry.gone = true);
    }

    /// Booked, on a day that has come; under the same label, a longer one, or a louder one.
    pub fn settle(&mut self, random: &mut Random, who: usize, minor: i64, keeps_id: bool) {
        let Some(announced) = self.entries.get(who).map(|entry| entry.day) else { return };
        let late = random.between(0, 3.max(self.today - announced)).min(14);
        let day = (announced + late).min(self.today.max(announced));
        let label = random.between(0, 2);
        if !keeps_id {
            self.next_id += 1;
        }
        let id_no = self.next_id;
        self.change(who, "booked", |entry| {
            entry.status = TransactionStatus::Booked;
            (entry.day, entry.minor) = (day, minor);
            match label {
                0 => {}
                1 => entry.text = entry.text.to_uppercase(),
                _ => entry.text.push_str(" LONDON GB"),
            }
            if !keeps_id {
                entry.was = Some(entry.id_no);
                entry.id_no = id_no;
            }
        });
    }

    /// Another text, date or amount.
    pub fn amend(&mut self, random: &mut Random, who: usize) {
        let (what, by) = (random.between(0, 9), random.between(1, 3));
        self.change(who, "amended", |entry| match what {
            0..4 => entry.text.push_str(" REF 7"),
            4..7 => entry.minor -= by * 10,
            7..9 => entry.day = (entry.day - 1).max(2),
            _ => (entry.minor, entry.day) = (entry.minor - 10, (entry.day - by).max(2)),
        });
    }

    /// Any change of one entry, and a word for it.
    pub fn change(&mut self, who: usize, word: &str, how: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(who) {
            let before = entry.words();
            how(entry);
            let line = format!("{word} {before} → {}", entry.words());
            self.tell(line);
        }
    }

    /// A new id for an entry that has one.
    pub fn reissue(&mut self, who: usize) {
        self.next_id += 1;
        let id_no = self.next_id;
        if let Some(entry) = self.entries.get_mut(who) {
            entry.id_no = id_no;
        }
    }

    /// A line for people.
    pub fn tell(&mut self, line: String) {
        self.happened.push(line);
    }

    /// What the bank's own books come to at the end of a day: rows dated later do not count yet.
    pub fn balance(&self, until: i64) -> i64 {
        let counted =
            |entry: &&Entry| !entry.gone && entry.status == TransactionStatus::Booked && entry.day <= until;
        self.base + self.entries.iter().filter(counted).map(|entry| entry.minor).sum::<i64>()
    }

    /// All that stands, by day, then in the order it came.
    pub fn listed(&self) -> Vec<&Entry> {
        let mut listed: Vec<&Entry> = self.entries.iter().filter(|entry| !entry.gone).collect();
        listed.sort_by_key(|entry| (entry.day, entry.who));
        listed
    }
}

impl Entry {
    /// For people.
    pub fn words(&self) -> String {
        let status = if self.status == TransactionStatus::Booked { "B" } else { "p" };
        format!("#{} {status} {} {} {:?}", self.who, date(self.day).format("%m-%d"), self.minor, self.text)
    }
}
