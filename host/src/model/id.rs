//! Public ids: a UUIDv7 with a prefix that says what it names, so that a support ticket can't mix
//! up an account and a connection.

use std::fmt;
use std::str::FromStr;

/// Crockford base32, lower case: no `i`, `l`, `o`, `u`, so ids survive being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 128 bits in 5-bit letters.
const LETTERS: usize = 26;

/// The text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that starts with \"{prefix}_\" and has {LETTERS} letters after it")]
pub struct BadId {
    /// The prefix the id should have had.
    pub prefix: &'static str,
}

fn encode(bytes: u128, into: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write;
    for place in (0..LETTERS).rev() {
        let letter = (bytes >> (place * 5)) & 31;
        let letter = ALPHABET.get(letter as usize).copied().unwrap_or(b'0');
        into.write_char(char::from(letter))?;
    }
    Ok(())
}

fn decode(text: &str) -> Option<u128> {
    // The first letter holds the top 3 of 128 bits: more would be a second spelling of an id.
    if text.len() != LETTERS || text.as_bytes().first().is_none_or(|first| *first > b'7') {
        return None;
    }
    text.bytes().try_fold(0_u128, |bits, letter| {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        Some((bits << 5) | value as u128)
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// What the public form starts with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, roughly ordered by time.
            pub fn new() -> Self {
                Self(uuid::Uuid::now_v7())
            }
            /// The 16 bytes that are stored.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
            /// From the 16 bytes that were stored.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                uuid::Uuid::from_slice(bytes).ok().map(Self)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
                into.write_str(concat!($prefix, "_"))?;
                encode(self.0.as_u128(), into)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, into)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map(|bits| Self(uuid::Uuid::from_u128(bits)))
                    .ok_or(BadId { prefix: $prefix })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A tenant: the company that runs or rents Tidegate's API.
    BusinessId = "biz";
    /// A bearer key of a business.
    ApiKeyId = "key";
    /// A business's or the operator's standing at an institution.
    RegistrationId = "reg";
    /// A customer's link to an institution.
    ConnectionId = "con";
    /// One attempt of a customer to let us in.
    AuthorisationId = "aut";
    /// Refused logins in a row; a login after which there is nothing to count begins another.
    LoginSeries = "lgn";
    /// One period of a customer's consent.
    ConsentId = "cns";
    /// A bank account.
    AccountId = "acc";
    /// One run over one account.
    SyncId = "syn";
    /// What we tell; also the `webhook-id`.
    EventId = "evt";
    /// Where we tell it.
    EndpointId = "end";
    /// An event on its way to an endpoint.
    DeliveryId = "dlv";
    /// One try of a delivery.
    AttemptId = "att";
    /// A running process of the service.
    ProcessId = "prc";
}

/// A transaction: its account, and its number within it. Shown as `txn_<account>_<number>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    /// The account it stands in.
    pub account: AccountId,
    /// The `seq` of the change that added it, hence unique within the account and never reused.
    pub number: i64,
}

impl fmt::Display for TransactionId {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        into.write_str("txn_")?;
        encode(self.account.0.as_u128(), into)?;
        write!(into, "_{}", self.number)
    }
}

impl FromStr for TransactionId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let parse = || {
            let (account, number) = text.strip_prefix("txn_")?.split_once('_')?;
            let account = AccountId(uuid::Uuid::from_u128(decode(account)?));
            let number = number.parse().ok().filter(|number| *number > 0)?;
            Some(Self { account, number })
        };
        parse().ok_or(BadId { prefix: "txn" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_wrote() {
        let id = AccountId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(AccountId::from_bytes(id.as_bytes()), Some(id));
        let txn = TransactionId { account: id, number: 17 };
        assert_eq!(txn.to_string().parse(), Ok(txn));
    }

    #[test]
    fn an_id_of_another_kind_is_refused_with_the_wanted_prefix() {
        let id = ConnectionId::new().to_string();
        assert_eq!(id.parse::<AccountId>(), Err(BadId { prefix: "acc" }));
        for wrong in ["acc_", "acc_zzzzzzzzzzzzzzzzzzzzzzzzzz", "acc_0123", "nothing", ""] {
            assert!(wrong.parse::<AccountId>().is_err(), "{wrong}");
        }
    }
}
