//! Parameters of queries, and ids and moments as both databases store them.
//!
//! Must not know: tables.

use crate::model::{
    AccountId, ApiKeyId, AttemptId, AuthorisationId, BusinessId, ConnectionId, ConsentId, DeliveryId,
    EndpointId, EventId, LoginSeries, ProcessId, RegistrationId, SyncId, Timestamp,
};
use sqlx::{Postgres, Sqlite};
use std::borrow::Cow;

/// A parameter. The kinds are few so that both databases store the same thing; a NULL keeps its kind.
#[derive(Clone)]
pub(super) enum Arg<'a> {
    Int(Option<i64>),
    Bool(bool),
    Text(Option<Cow<'a, str>>),
    Bytes(Option<Cow<'a, [u8]>>),
}

/// The parameters of a query, in the order of `$1`, `$2`, …
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::store::arg::Arg::from($value)),*] };
}
pub(super) use args;

macro_rules! arg_from {
    ($($type:ty => $kind:ident($value:ident => $made:expr);)*) => {$(
        impl<'a> From<$type> for Arg<'a> {
            fn from($value: $type) -> Self { Self::$kind($made) }
        }
    )*};
}

arg_from! {
    i64 => Int(value => Some(value));
    Option<i64> => Int(value => value);
    i32 => Int(value => Some(i64::from(value)));
    u32 => Int(value => Some(i64::from(value)));
    Timestamp => Int(value => Some(value.0));
    Option<Timestamp> => Int(value => value.map(|at| at.0));
    bool => Bool(value => value);
    String => Text(value => Some(Cow::Owned(value)));
    Option<String> => Text(value => value.map(Cow::Owned));
    &'a str => Text(value => Some(Cow::Borrowed(value)));
    &'a String => Text(value => Some(Cow::Borrowed(value.as_str())));
    Option<&'a str> => Text(value => value.map(Cow::Borrowed));
    &'a [u8] => Bytes(value => Some(Cow::Borrowed(value)));
    &'a Vec<u8> => Bytes(value => Some(Cow::Borrowed(value.as_slice())));
    &'a [u8; 32] => Bytes(value => Some(Cow::Borrowed(value.as_slice())));
    Vec<u8> => Bytes(value => Some(Cow::Owned(value)));
    Option<Vec<u8>> => Bytes(value => value.map(Cow::Owned));
}

/// Ids are stored as their 16 bytes, moments as microseconds.
macro_rules! stored {
    ($($id:ident),*) => {$(
        impl<'a> From<&'a $id> for Arg<'a> {
            fn from(id: &'a $id) -> Self { Self::Bytes(Some(Cow::Borrowed(id.as_bytes()))) }
        }
        impl<'a> From<$id> for Arg<'a> {
            fn from(id: $id) -> Self { Self::Bytes(Some(Cow::Owned(id.as_bytes().to_vec()))) }
        }
        impl<'a> From<Option<$id>> for Arg<'a> {
            fn from(id: Option<$id>) -> Self { Self::Bytes(id.map(|id| Cow::Owned(id.as_bytes().to_vec()))) }
        }
        stored!(@read $id, Vec<u8>, Sqlite, |bytes| $id::from_bytes(&bytes).ok_or("not an id")?);
        stored!(@read $id, Vec<u8>, Postgres, |bytes| $id::from_bytes(&bytes).ok_or("not an id")?);
    )*};
    (@read $type:ident, $raw:ty, $db:ty, |$value:ident| $made:expr) => {
        impl sqlx::Type<$db> for $type {
            fn type_info() -> <$db as sqlx::Database>::TypeInfo { <$raw as sqlx::Type<$db>>::type_info() }
            fn compatible(kind: &<$db as sqlx::Database>::TypeInfo) -> bool { <$raw as sqlx::Type<$db>>::compatible(kind) }
        }
        impl<'r> sqlx::Decode<'r, $db> for $type {
            fn decode(value: <$db as sqlx::Database>::ValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
                let $value = <$raw as sqlx::Decode<'r, $db>>::decode(value)?;
                Ok($made)
            }
        }
    };
}

stored!(
    BusinessId,
    ApiKeyId,
    RegistrationId,
    AuthorisationId,
    LoginSeries,
    ConnectionId,
    ConsentId,
    AccountId,
    SyncId,
    EventId,
    EndpointId,
    DeliveryId,
    AttemptId,
    ProcessId
);
stored!(@read Timestamp, i64, Sqlite, |micros| Timestamp(micros));
stored!(@read Timestamp, i64, Postgres, |micros| Timestamp(micros));
