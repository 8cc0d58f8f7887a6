//! Double entry: money is never made, only moved. Every balance of the bank is a sum of postings.
//!
//! Must not know: entries, customers, HTTP.

use chrono::{DateTime, Utc};

/// A place in the ledger: a customer's account or one of the bank's own counter-accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Book(usize);

/// A transfer that was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransferId(usize);

/// One side of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// Where.
    pub book: Book,
    /// Minor units; positive when money arrives.
    pub minor: i64,
}

/// Postings that together are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// When it was posted, by the bank's clock.
    pub at: DateTime<Utc>,
    /// At least two.
    pub postings: Vec<Posting>,
    /// The transfer that this one takes back.
    pub reverses: Option<TransferId>,
}

/// Why a transfer was not posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Money would have been made or lost.
    #[error("the postings sum to {0}, not to zero")]
    Unbalanced(i128),
    /// The books of one transfer have different currencies.
    #[error("the postings are in different currencies")]
    MixedCurrencies,
    /// The book or transfer does not exist.
    #[error("no such book or transfer")]
    Unknown,
    /// A balance would leave the range of 64 bits.
    #[error("the amount is too large")]
    TooLarge,
}

#[derive(Debug, Clone)]
struct BookPage {
    name: String,
    currency: String,
    /// Of all its postings, in minor units; wide, so that it can't wrap.
    sum: i128,
}

/// All books and all transfers.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    books: Vec<BookPage>,
    transfers: Vec<Transfer>,
}

impl Ledger {
    /// A new book with a balance of zero.
    pub fn open(&mut self, name: impl Into<String>, currency: impl Into<String>) -> Book {
        self.books.push(BookPage { name: name.into(), currency: currency.into(), sum: 0 });
        Book(self.books.len() - 1)
    }

    /// Posts a transfer, or nothing.
    pub fn post(&mut self, at: DateTime<Utc>, postings: Vec<Posting>) -> Result<TransferId, LedgerError> {
        self.record(Transfer { at, postings, reverses: None })
    }

    /// Posts the opposite of a transfer.
    pub fn reverse(&mut self, at: DateTime<Utc>, transfer: TransferId) -> Result<TransferId, LedgerError> {
        let original = self.transfers.get(transfer.0).ok_or(LedgerError::Unknown)?;
        let postings = original.postings.iter().map(|posting| Posting { minor: -posting.minor, ..*posting });
        let reversal = Transfer { at, postings: postings.collect(), reverses: Some(transfer) };
        self.record(reversal)
    }

    fn record(&mut self, transfer: Transfer) -> Result<TransferId, LedgerError> {
        let sum: i128 = transfer.postings.iter().map(|posting| i128::from(posting.minor)).sum();
        if sum != 0 {
            return Err(LedgerError::Unbalanced(sum));
        }
        let mut currencies = Vec::new();
        for posting in &transfer.postings {
            let book = self.books.get(posting.book.0).ok_or(LedgerError::Unknown)?;
            currencies.push(book.currency.as_str());
            i64::try_from(book.sum + i128::from(posting.minor)).map_err(|_| LedgerError::TooLarge)?;
        }
        currencies.dedup();
        if currencies.len() > 1 {
            return Err(LedgerError::MixedCurrencies);
        }
        for posting in &transfer.postings {
            if let Some(book) = self.books.get_mut(posting.book.0) {
                book.sum += i128::from(posting.minor);
            }
        }
        self.transfers.push(transfer);
        Ok(TransferId(self.transfers.len() - 1))
    }

    /// The sum of a book's postings, in minor units.
    pub fn balance(&self, book: Book) -> Result<i64, LedgerError> {
        let page = self.books.get(book.0).ok_or(LedgerError::Unknown)?;
        i64::try_from(page.sum).map_err(|_| LedgerError::TooLarge)
    }

    /// All transfers, oldest first.
    pub fn transfers(&self) -> &[Transfer] {
        &self.transfers
    }

    /// Every book with its name, currency and balance in minor units, added up anew from all
    /// transfers.
    pub fn trial_balance(&self) -> Vec<(String, String, i128)> {
        let mut lines: Vec<_> =
            self.books.iter().map(|book| (book.name.clone(), book.currency.clone(), 0)).collect();
        for posting in self.transfers.iter().flat_map(|transfer| &transfer.postings) {
            if let Some(line) = lines.get_mut(posting.book.0) {
                line.2 += i128::from(posting.minor);
            }
        }
        lines
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn books() -> (Ledger, Book, Book, Book) {
        let mut ledger = Ledger::default();
        let [ada, shops] = ["ada", "shops"].map(|name| ledger.open(name, "GBP"));
        let euros = ledger.open("euros", "EUR");
        (ledger, ada, shops, euros)
    }

    fn moved(minor: i64, from: Book, to: Book) -> Vec<Posting> {
        vec![Posting { book: from, minor: -minor }, Posting { book: to, minor }]
    }

    #[test]
    fn a_transfer_moves_money_and_its_reversal_moves_it_back() {
        let (mut ledger, ada, shops, _) = books();
        let at = DateTime::UNIX_EPOCH;
        let coffee = ledger.post(at, moved(320, ada, shops)).unwrap();
        assert_eq!((ledger.balance(ada), ledger.balance(shops)), (Ok(-320), Ok(320)));
        let back = ledger.reverse(at, coffee).unwrap();
        assert_eq!((ledger.balance(ada), ledger.balance(shops)), (Ok(0), Ok(0)));
        assert_eq!(ledger.transfers().last().unwrap().reverses, Some(coffee));
        assert_ne!(back, coffee);
    }

    #[test]
    fn nothing_is_posted_that_makes_money_or_mixes_currencies() {
        let (mut ledger, ada, shops, euros) = books();
        let at = DateTime::UNIX_EPOCH;
        let uneven = vec![Posting { book: ada, minor: -320 }, Posting { book: shops, minor: 319 }];
        assert_eq!(ledger.post(at, uneven), Err(LedgerError::Unbalanced(-1)));
        assert_eq!(ledger.post(at, moved(1, ada, euros)), Err(LedgerError::MixedCurrencies));
        assert!(ledger.post(at, moved(i64::MAX, ada, shops)).is_ok());
        assert_eq!(ledger.post(at, moved(2, ada, shops)), Err(LedgerError::TooLarge));
        assert_eq!(ledger.transfers().len(), 1);
    }
}
