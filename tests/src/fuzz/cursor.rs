//! Cursors as callers bring them: whole, of another list, cut, forged, or no cursors at all.

use super::bytes::Bytes;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use host::api::cursor::{ChangesCursor, Cursor, TransactionsCursor};
use host::model::{AccountId, ConnectionId, ConsentId, DeliveryId, SyncId};

/// Reads what the bytes say by every list's decoder. Panics where one of them breaks a promise.
pub fn cursor(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let how = bytes.byte();
    let rest = data.get(1..).unwrap_or_default();
    let text = match how % 4 {
        // As it was typed.
        0 => String::from_utf8_lossy(rest).into_owned(),
        // Whatever bytes, written as ours are.
        1 => URL_SAFE_NO_PAD.encode(rest),
        // Our version, and a list.
        _ => URL_SAFE_NO_PAD.encode([&[1, LISTS[usize::from(how / 4) % LISTS.len()]], rest].concat()),
    };
    let readers = [
        read::<ConnectionId>,
        read::<ConsentId>,
        read::<AccountId>,
        read::<SyncId>,
        read::<DeliveryId>,
        read::<TransactionsCursor>,
        read::<ChangesCursor>,
    ];
    let lists = readers.iter().filter(|read| read(&text)).count();
    assert!(lists <= 1, "{text} is a cursor of {lists} lists");
    if lists == 1 {
        // Cut by a character, or one more: nobody's.
        for other in [text.split_at(text.len() - 1).0.to_owned(), format!("{text}A"), format!("{text}=")] {
            assert!(readers.iter().all(|read| !read(&other)), "{text} is a cursor, and so is {other}");
        }
    }
}

const LISTS: [u8; 7] = [
    ConnectionId::LIST,
    ConsentId::LIST,
    AccountId::LIST,
    SyncId::LIST,
    DeliveryId::LIST,
    TransactionsCursor::LIST,
    ChangesCursor::LIST,
];

/// Is it a cursor of this list? Then it is written just so; else the caller is told what is wrong.
fn read<C: Cursor>(text: &str) -> bool {
    match C::decode(text) {
        Ok(cursor) => {
            assert_eq!(cursor.encode(), text, "a cursor is written in one way");
            true
        }
        Err(problem) => {
            assert_eq!(problem.code().name(), "bad-cursor");
            false
        }
    }
}
