//! The ledger on trial: random adversarial histories of a bank account, and judges that know the truth.
//!
//! Pure: no I/O, no clock; the same seed gives the same history. Read the modules in this order:
//! `words` (classes and scenarios), `books` (the bank's truth), `shown` (how a bank shows it),
//! `history` and `acts` (what happens), `store` and [`driver`] (a sync around the [`ledger`]), `oracle`
//! (are the contents right?) on `sorts`, `trust` and `evidence`, `identity` (is each row still
//! itself?), `judge` (was a guess needed?), [`report`] (the numbers).
//!
//! The judges share no code with the service, only its plain model types; `ledger` alone calls it.

mod acts;
mod books;
mod contents;
pub mod driver;
mod evidence;
mod history;
mod identity;
mod judge;
pub mod ledger;
mod oracle;
pub mod report;
mod shown;
mod sorts;
mod store;
#[cfg(test)]
mod tests;
mod trust;
mod words;
