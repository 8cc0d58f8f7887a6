//! Values: what parts are filled with, and what the host computes of them.
//!
//! All of a request goes to one route, so every rule about where a secret may go is asked once, at
//! the moment the secret is taken up, for that route; what is computed from it can go nowhere else.

use super::limits::{DERIVED_MAX, Limits, RANDOM_BYTES_MAX, SECRET_BYTES_MIN};
use super::{Call, EgressError, crypto, encoding};
use crate::model::{
    Derived, Encoding, Operation, Part, Purpose, Request, Route, Secret, ValueDeclaration, ValueUse, is_name,
    own_value,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Bytes to fill in.
#[derive(Clone)]
pub(super) struct Value {
    pub bytes: Zeroizing<Vec<u8>>,
    /// A secret can be read from it: it is one, or is one written in an alphabet.
    pub secret: bool,
    /// Made by `encode` with `percent`: not encoded again in a URL.
    pub percent: bool,
}

/// The values of one request.
pub(super) struct Values<'a> {
    call: &'a Call<'a>,
    route: &'a Route,
    limits: &'a Limits,
    derived: BTreeMap<String, Value>,
}

fn refused<T>(text: String) -> Result<T, EgressError> {
    Err(EgressError::Refused(text))
}

/// Bytes of a request as the connector wrote it; each part counts one more, so that empty ones are
/// not free.
pub(super) fn request_bytes(request: &Request) -> usize {
    let parts = |parts: &[Part]| -> usize {
        parts
            .iter()
            .map(|part| match part {
                Part::Text(text) | Part::Value(text) => text.len() + 1,
                Part::Bytes(bytes) => bytes.len() + 1,
            })
            .sum()
    };
    let derived = |derived: &Derived| {
        derived.name.len()
            + match &derived.how {
                Operation::Encode(_, over) | Operation::Sha256(over) | Operation::Length { over, .. } => {
                    parts(over)
                }
                Operation::Hmac { algorithm, key, over } | Operation::Sign { algorithm, key, over } => {
                    algorithm.len() + key.len() + parts(over)
                }
                Operation::Totp(seed) => seed.len(),
                Operation::Pick { secret, positions } => secret.len() + positions.len(),
                Operation::Random(_) | Operation::Counter => 1,
            }
    };
    parts(&request.url)
        + parts(&request.body)
        + request.headers.iter().map(|header| header.name.len() + parts(&header.value)).sum::<usize>()
        + request.derived.iter().map(derived).sum::<usize>()
}

impl<'a> Values<'a> {
    /// Computes a request's derived values for the route it is on.
    pub fn derive(
        call: &'a Call<'a>,
        route: &'a Route,
        limits: &'a Limits,
        request: &Request,
        unix_seconds: i64,
    ) -> Result<Self, EgressError> {
        if request.derived.len() > DERIVED_MAX {
            return refused(format!("more than {DERIVED_MAX} derived values in one request"));
        }
        let mut values = Self { call, route, limits, derived: BTreeMap::new() };
        for derived in &request.derived {
            let name = derived.name.as_str();
            let taken = || {
                call.manifest.value(name).is_some()
                    || own_value(name).is_some()
                    || values.derived.contains_key(name)
            };
            if !is_name(name) || taken() {
                return refused(format!(
                    "the name of a derived value must be lower-case letters, digits and \"-\", and not be taken ({})",
                    if is_name(name) { name } else { "…" }
                ));
            }
            let value = values.compute(&derived.how, unix_seconds)?;
            values.derived.insert(name.to_owned(), value);
        }
        Ok(values)
    }

    /// Derived values from which a secret can be read; searched for in the reply as well.
    pub fn readable(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.derived
            .iter()
            .filter(|(_, value)| value.secret)
            .map(|(name, value)| (name.as_str(), value.bytes.as_slice()))
    }

    /// The value a part names.
    pub fn fill(&self, name: &str) -> Result<Cow<'_, Value>, EgressError> {
        if let Some(value) = self.derived.get(name) {
            return Ok(Cow::Borrowed(value));
        }
        let (public, secret) = match own_value(name) {
            Some(public) => (public, self.own(name)?),
            None => {
                let (declared, secret) = self.declared(name, ValueUse::Fill)?;
                (declared.public, secret)
            }
        };
        let bytes = Zeroizing::new(secret.reveal().as_bytes().to_vec());
        Ok(Cow::Owned(Value { bytes, secret: !public, percent: false }))
    }

    /// One of the host's own values, while a customer authorises.
    fn own(&self, name: &str) -> Result<&'a Secret, EgressError> {
        if !matches!(self.route.purpose, Purpose::Login | Purpose::Customer) {
            return refused(format!("the value \"{name}\" may go only to `login` and `customer` routes"));
        }
        self.call.values.get(name).ok_or_else(|| {
            EgressError::Refused(format!(
                "the value \"{name}\" exists only while `session` opens a connection for a customer"
            ))
        })
    }

    /// Parts with values filled in.
    pub fn join(&self, parts: &[Part]) -> Result<Value, EgressError> {
        let mut whole = Value { bytes: Zeroizing::new(Vec::new()), secret: false, percent: false };
        for part in parts {
            match part {
                Part::Text(text) => whole.bytes.extend_from_slice(text.as_bytes()),
                Part::Bytes(bytes) => whole.bytes.extend_from_slice(bytes),
                Part::Value(name) => {
                    let value = self.fill(name)?;
                    whole.bytes.extend_from_slice(&value.bytes);
                    whole.secret |= value.secret;
                }
            }
            self.check_length(&whole.bytes)?;
        }
        Ok(whole)
    }

    fn check_length(&self, bytes: &[u8]) -> Result<(), EgressError> {
        let most = self.limits.filled_bytes;
        if bytes.len() > most {
            return refused(format!(
                "a body, header or derived value of more than {most} bytes once its values are filled in"
            ));
        }
        Ok(())
    }

    /// A declared value, if it may be used so on this route.
    fn declared(
        &self,
        name: &str,
        usage: ValueUse,
    ) -> Result<(&'a ValueDeclaration, &'a Secret), EgressError> {
        let route = &self.route.name;
        let shown = if is_name(name) { name } else { "…" };
        let wanted = match usage {
            ValueUse::Fill => "fill",
            ValueUse::Sign => "sign",
            ValueUse::Mac => "mac",
        };
        let Some(declared) = self.call.manifest.value(name) else {
            return refused(format!(
                "the value \"{shown}\" is not declared; write in connector.toml\n\
                 [[value]]\nname = \"{shown}\"\nkind = \"credential\"\nuse = \"{wanted}\"\nroutes = [\"{route}\"]"
            ));
        };
        if declared.usage != usage {
            return refused(format!(
                "the value \"{name}\" is not declared with use = \"{wanted}\"; a value has one use"
            ));
        }
        if !declared.routes.contains(route) {
            return refused(format!(
                "the value \"{name}\" is not declared for route \"{route}\"; add it to the value's `routes` in connector.toml"
            ));
        }
        let Some(secret) = self.call.values.get(name) else {
            return refused(format!(
                "the value \"{name}\" is not there now; look in `context` before naming it"
            ));
        };
        if !declared.public
            && secret.reveal().len() < SECRET_BYTES_MIN
            && self.route.purpose != Purpose::Login
        {
            return refused(format!(
                "the secret \"{name}\" is shorter than {SECRET_BYTES_MIN} bytes and may go only to `login` routes, which \"{route}\" is not"
            ));
        }
        Ok((declared, secret))
    }

    fn compute(&self, how: &Operation, unix_seconds: i64) -> Result<Value, EgressError> {
        let plain = |bytes: Vec<u8>| Value { bytes: Zeroizing::new(bytes), secret: false, percent: false };
        let value = match how {
            Operation::Encode(alphabet, over) => {
                let over = self.join(over)?;
                Value {
                    bytes: encoding::encode(*alphabet, &over.bytes)?,
                    secret: over.secret,
                    percent: *alphabet == Encoding::Percent,
                }
            }
            Operation::Sha256(over) => plain(crypto::sha256(&self.join(over)?.bytes)),
            Operation::Hmac { algorithm, key, over } => {
                let over = self.join(over)?;
                let tag = match self.derived.get(key) {
                    Some(key) => crypto::mac(algorithm, &key.bytes, &over.bytes),
                    None => crypto::mac(
                        algorithm,
                        self.declared(key, ValueUse::Mac)?.1.reveal().as_bytes(),
                        &over.bytes,
                    ),
                };
                plain(tag.ok_or_else(|| {
                    EgressError::Refused(
                        "the algorithm of `hmac` must be SHA256, SHA384 or SHA512".to_owned(),
                    )
                })?)
            }
            Operation::Sign { algorithm, key, over } => {
                let (_, pem) = self.declared(key, ValueUse::Sign)?;
                let signed = crypto::sign(algorithm, pem.reveal(), &self.join(over)?.bytes);
                plain(signed.map_err(|why| {
                    EgressError::Refused(match why {
                        crypto::NotSigned::Algorithm => "the algorithm of `sign` must be RS256, PS256, ES256 or EdDSA".to_owned(),
                        crypto::NotSigned::Key => format!(
                            "the key \"{key}\" does not sign with this algorithm: it must be PKCS#8 PEM (`openssl pkcs8 -topk8 -nocrypt`) of the right kind, RSA of at least 2048 bits"
                        ),
                    })
                })?)
            }
            Operation::Totp(seed) => {
                let (_, secret) = self.declared(seed, ValueUse::Mac)?;
                let code = crypto::totp(secret.reveal(), unix_seconds);
                plain(
                    code.ok_or_else(|| {
                        EgressError::Refused(format!("the seed \"{seed}\" is not base32 (RFC 4648)"))
                    })?
                    .into_bytes(),
                )
            }
            Operation::Length { over, digits } => {
                let length = self.join(over)?.bytes.len();
                let text = format!("{length:0width$}", width = usize::from(*digits));
                if *digits > 0 && text.len() > usize::from(*digits) {
                    return refused(format!("a length of {length} bytes does not fit {digits} digits"));
                }
                plain(text.into_bytes())
            }
            Operation::Pick { secret, positions } => self.pick(secret, positions)?,
            Operation::Counter => plain(self.call.counter.to_string().into_bytes()),
            Operation::Random(count) => {
                if *count > RANDOM_BYTES_MAX {
                    return refused(format!("more than {RANDOM_BYTES_MAX} random bytes"));
                }
                let mut bytes = vec![0; usize::from(*count)];
                aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
                    EgressError::Refused("the system's random number generator failed".to_owned())
                })?;
                plain(bytes)
            }
        };
        self.check_length(&value.bytes)?;
        Ok(value)
    }

    /// Characters of a secret. What is picked is a short secret, however long the whole is.
    fn pick(&self, name: &str, positions: &[u8]) -> Result<Value, EgressError> {
        let whole = self.fill(name)?;
        if whole.secret && self.route.purpose != Purpose::Login {
            return refused(format!(
                "characters picked from the secret \"{name}\" may go only to `login` routes, which \"{}\" is not",
                self.route.name
            ));
        }
        let letters: Zeroizing<Vec<char>> =
            Zeroizing::new(String::from_utf8_lossy(&whole.bytes).chars().collect());
        let mut picked = Zeroizing::new(String::new());
        for position in positions {
            match usize::from(*position).checked_sub(1).and_then(|index| letters.get(index)) {
                Some(letter) => picked.push(*letter),
                None => {
                    return refused(format!(
                        "the secret \"{name}\" has no character at a picked position; the first one is 1"
                    ));
                }
            }
        }
        Ok(Value { bytes: Zeroizing::new(picked.as_bytes().to_vec()), secret: whole.secret, percent: false })
    }
}

#[cfg(test)]
mod tests;
