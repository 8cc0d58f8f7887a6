//! Cursors: opaque to callers, checked by us. A cursor says which list it belongs to, so that one
//! list's cursor is refused by another.
//!
//! The bytes (version, list, fields) are written as base64url. They are no secret and grant nothing:
//! a forged one shows only what its caller may see anyway.

use super::problem::{Code, Problem};
use crate::model::{AccountId, ConnectionId, ConsentId, DeliveryId, SyncId};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The first byte: raised when the meaning of the others changes.
const VERSION: u8 = 1;
/// Bytes of an id.
const ID: usize = 16;

/// A place in a list.
pub trait Cursor: Sized {
    /// The second byte: which list.
    const LIST: u8;
    /// The fields.
    fn write(&self, into: &mut Vec<u8>);
    /// The fields again; none if they are not ours.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// What the caller gets.
    fn encode(&self) -> String {
        let mut bytes = vec![VERSION, Self::LIST];
        self.write(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }
    /// What the caller brought.
    fn decode(text: &str) -> Result<Self, Problem> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| match bytes.split_first_chunk() {
                Some(([VERSION, list], fields)) if *list == Self::LIST => Self::read(fields),
                _ => None,
            })
            .ok_or_else(bad)
    }
}

/// The cursor is not one of this list.
pub fn bad() -> Problem {
    Problem::new(
        Code::BadCursor,
        "Pass a `next_cursor` of this same list exactly as it was given, or none to start from the beginning.",
    )
}

macro_rules! id_cursors {
    ($($id:ident = $list:literal;)*) => {$(
        impl Cursor for $id {
            const LIST: u8 = $list;
            fn write(&self, into: &mut Vec<u8>) {
                into.extend_from_slice(self.as_bytes());
            }
            fn read(bytes: &[u8]) -> Option<Self> {
                $id::from_bytes(bytes)
            }
        }
    )*};
}

// Lists that continue after an id.
id_cursors! {
    ConnectionId = b'c';
    ConsentId = b'n';
    AccountId = b'a';
    SyncId = b's';
    DeliveryId = b'd';
}

/// A place in an account's transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionsCursor {
    /// Whose.
    pub account: AccountId,
    /// The number of the last one seen.
    pub number: i64,
    /// The last change of what is shown, if it is what was held then.
    pub as_of: Option<i64>,
}

impl Cursor for TransactionsCursor {
    const LIST: u8 = b't';
    fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.account.as_bytes());
        into.extend_from_slice(&self.number.to_be_bytes());
        if let Some(seq) = self.as_of {
            into.extend_from_slice(&seq.to_be_bytes());
        }
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        let (account, rest) = bytes.split_at_checked(ID)?;
        let account = AccountId::from_bytes(account)?;
        match numbers(rest)?.as_slice() {
            [number] => Some(Self { account, number: *number, as_of: None }),
            [number, seq] => Some(Self { account, number: *number, as_of: Some(*seq) }),
            _ => None,
        }
    }
}

/// A place in an account's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangesCursor {
    /// Whose.
    pub account: AccountId,
    /// Of which writing of the history.
    pub epoch: i32,
    /// The last change seen; 0 for none.
    pub seq: i64,
    /// A compact reading that goes on.
    pub compact: Option<Span>,
}

/// What a compact reading covers: whatever happens meanwhile, its pages fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// It began after this change.
    pub after: i64,
    /// It ends with this one.
    pub until: i64,
}

/// Numbers that are not negative, eight bytes each.
fn numbers(bytes: &[u8]) -> Option<Vec<i64>> {
    let (chunks, rest) = bytes.as_chunks();
    let numbers: Vec<i64> = chunks.iter().map(|chunk| i64::from_be_bytes(*chunk)).collect();
    (rest.is_empty() && numbers.iter().all(|number| *number >= 0)).then_some(numbers)
}

impl Cursor for ChangesCursor {
    const LIST: u8 = b'h';
    fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.account.as_bytes());
        into.extend_from_slice(&self.epoch.to_be_bytes());
        into.extend_from_slice(&self.seq.to_be_bytes());
        for number in self.compact.iter().flat_map(|span| [span.after, span.until]) {
            into.extend_from_slice(&number.to_be_bytes());
        }
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        let (account, rest) = bytes.split_at_checked(ID)?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (account, epoch) = (AccountId::from_bytes(account)?, i32::from_be_bytes(*epoch));
        match numbers(rest)?.as_slice() {
            [seq] => Some(Self { account, epoch, seq: *seq, compact: None }),
            [seq, after, until] if after <= seq && seq <= until => {
                Some(Self { account, epoch, seq: *seq, compact: Some(Span { after: *after, until: *until }) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cursor_reads_back_what_it_wrote() {
        let account = AccountId::new();
        for compact in [None, Some(Span { after: 5, until: 1 << 41 })] {
            let changes = ChangesCursor { account, epoch: 3, seq: 1 << 40, compact };
            assert_eq!(ChangesCursor::decode(&changes.encode()).unwrap(), changes);
        }
        for as_of in [None, Some(9)] {
            let transactions = TransactionsCursor { account, number: 7, as_of };
            assert_eq!(TransactionsCursor::decode(&transactions.encode()).unwrap(), transactions);
        }
        assert_eq!(AccountId::decode(&account.encode()).unwrap(), account);
    }

    #[test]
    fn a_cursor_of_another_list_or_version_is_refused() {
        let account = AccountId::new();
        assert!(ConnectionId::decode(&account.encode()).is_err());
        assert!(
            ChangesCursor::decode(&TransactionsCursor { account, number: 1, as_of: None }.encode()).is_err()
        );
        let mut other = URL_SAFE_NO_PAD.decode(account.encode()).unwrap();
        *other.first_mut().unwrap() = VERSION + 1;
        assert!(AccountId::decode(&URL_SAFE_NO_PAD.encode(other)).is_err());
        assert!(
            ChangesCursor::decode(&ChangesCursor { account, epoch: 0, seq: -1, compact: None }.encode())
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_a_cursor_panic(text in ".{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let _ = ChangesCursor::decode(&text);
            let _ = ChangesCursor::decode(&URL_SAFE_NO_PAD.encode(&bytes));
            let _ = TransactionsCursor::decode(&URL_SAFE_NO_PAD.encode(&bytes));
            let _ = SyncId::decode(&URL_SAFE_NO_PAD.encode(&bytes));
        }
    }
}
