//! What a connector says and hears, as the host holds it: the contract's request, reply and steps,
//! free of the guest's types, with rows already checked.

use super::{Balance, BankAccount, Coverage, Failure, Timestamp, Transaction, Window};
use serde::{Deserialize, Serialize};

/// A piece of a URL, header or body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// As it stands.
    Bytes(Vec<u8>),
    /// Filled in by the host when the request leaves.
    Value(String),
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// RFC 4648, padded.
    Base64,
    /// RFC 4648 section 5, not padded.
    Base64Url,
    /// Lower case.
    Hex,
    /// RFC 3986, all but unreserved characters.
    Percent,
    /// The inside of a JSON string.
    JsonText,
    /// XML character data.
    XmlText,
    /// FinTS 3.0 text.
    FintsText,
}

/// How the host computes a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Join and write in an alphabet.
    Encode(Encoding, Vec<Part>),
    /// 32 bytes.
    Sha256(Vec<Part>),
    /// `algorithm` SHA256, SHA384 or SHA512.
    Hmac {
        /// Which hash.
        algorithm: String,
        /// Name of the secret.
        key: String,
        /// What is authenticated.
        over: Vec<Part>,
    },
    /// `algorithm` RS256, PS256, ES256 or EdDSA.
    Sign {
        /// Which signature.
        algorithm: String,
        /// Name of a PKCS#8 PEM private key.
        key: String,
        /// What is signed.
        over: Vec<Part>,
    },
    /// RFC 6238 from a named base32 seed.
    Totp(String),
    /// Byte length in decimal, padded to digits.
    Length {
        /// What is measured.
        over: Vec<Part>,
        /// Pad with zeros to so many.
        digits: u8,
    },
    /// Characters of a secret, counted from 1.
    Pick {
        /// Name of the secret.
        secret: String,
        /// Which ones.
        positions: Vec<u8>,
    },
    /// So many random bytes.
    Random(u8),
    /// The number of this request within the session.
    Counter,
}

/// A named value the host computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// What `Part::Value` calls it.
    pub name: String,
    /// How it is made.
    pub how: Operation,
}

impl Request {
    /// Whether anything of it is filled with, or computed from, a value of which this is so.
    pub fn names(&self, is_so: impl Fn(&str) -> bool) -> bool {
        let parts = |parts: &[Part]| {
            parts.iter().any(|part| match part {
                Part::Value(name) => is_so(name),
                Part::Text(_) | Part::Bytes(_) => false,
            })
        };
        let derived = |derived: &Derived| match &derived.how {
            Operation::Encode(_, over) | Operation::Sha256(over) | Operation::Length { over, .. } => {
                parts(over)
            }
            Operation::Hmac { key, over, .. } | Operation::Sign { key, over, .. } => {
                is_so(key) || parts(over)
            }
            Operation::Totp(seed) => is_so(seed),
            Operation::Pick { secret, .. } => is_so(secret),
            Operation::Random(_) | Operation::Counter => false,
        };
        parts(&self.url)
            || self.headers.iter().any(|header| parts(&header.value))
            || parts(&self.body)
            || self.derived.iter().any(derived)
    }
}

/// The methods a connector may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Safe to repeat.
    Get,
    /// Not safe to repeat.
    Post,
    /// Not safe to repeat here.
    Put,
    /// Not safe to repeat here.
    Delete,
}

impl Method {
    /// As it stands on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// A header to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// A token of RFC 9110.
    pub name: String,
    /// Its value.
    pub value: Vec<Part>,
}

/// Where in a reply a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A field of a JSON body, names joined by points.
    Json(String),
    /// A reply header.
    Header(String),
    /// A cookie the reply sets.
    Cookie(String),
    /// A parameter of the `Location` header's query or fragment.
    LocationQuery(String),
    /// Between two texts.
    Between(String, String),
}

/// A value to take out of the reply and keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The declared credential it becomes.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Its absence from a 2xx reply fails the step.
    pub required: bool,
}

/// One HTTP request, as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Where to.
    pub url: Vec<Part>,
    /// With which headers.
    pub headers: Vec<Header>,
    /// Empty for none.
    pub body: Vec<Part>,
    /// Computed in this order.
    pub derived: Vec<Derived>,
    /// Taken from the reply.
    pub captures: Vec<Capture>,
    /// Wait before sending.
    pub after_ms: u32,
}

/// What the bank said, with captures blanked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Decompressed.
    pub body: Vec<u8>,
    /// Which captures were found.
    pub captured: Vec<String>,
}

/// Requests to send, and what to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// In this order.
    pub requests: Vec<Request>,
    /// Comes back with the replies.
    pub memory: String,
}

/// What a session is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Log in.
    Open,
    /// Before or after its end.
    Renew,
    /// The customer leaves.
    Close,
}

/// Something only the customer can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What to tell the customer.
    pub text: String,
    /// How to ask.
    pub ask: PromptKind,
    /// When it is too late.
    pub expires_at: Option<Timestamp>,
    /// Comes back with the answer.
    pub memory: String,
}

/// How the customer is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptKind {
    /// For these values, by name.
    Form(Vec<String>),
    /// By the bank, in the customer's browser.
    Redirect(Redirect),
    /// Elsewhere; ask again after so many milliseconds.
    Wait(u32),
}

/// Where the customer's browser goes, and what comes back with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// On a route with purpose `customer`.
    pub url: Vec<Part>,
    /// Computed in this order.
    pub derived: Vec<Derived>,
    /// Parameters that become values.
    pub returned: Vec<Returned>,
}

/// A parameter that comes back with the customer's browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// As the bank calls it.
    pub parameter: String,
    /// The declared value of kind `prompt` that it becomes.
    pub name: String,
    /// Its absence fails the authorisation.
    pub required: bool,
}

/// What the customer agreed to at the bank, as the connector understood it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsentAtBank {
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// The permissions, in the bank's words.
    pub scopes: Vec<String>,
    /// The bank's name for it.
    pub reference: Option<String>,
}

/// What `session` answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionStep {
    /// Send, and ask again.
    Send(Send),
    /// The customer is needed.
    AskCustomer(Prompt),
    /// The session is open (or closed, for [`Goal::Close`]).
    Ready {
        /// When it ends, if known.
        valid_until: Option<Timestamp>,
        /// Kept for the next calls.
        state: Option<String>,
        /// What the customer agreed to, if that is new.
        consent: Option<ConsentAtBank>,
    },
    /// It cannot go on.
    Fail(Failure),
}

/// What `accounts` answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountsStep {
    /// Send, and ask again.
    Send(Send),
    /// The list.
    Done(Vec<BankAccount>),
    /// It cannot go on.
    Fail(Failure),
}

/// What to read of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The bank's id of the account.
    pub account: String,
    /// The currency the account was listed with.
    pub transactions: Option<Window>,
    /// Balances too.
    pub balances: bool,
    /// What the connector kept for this account.
    pub state: Option<String>,
}

/// Rows of one account, checked; or why this account cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The bank's id of the account.
    pub account: String,
    /// The rows, or what of them could not be read: one bad row refuses the page.
    pub content: Result<PageContent, Failure>,
}

/// What a page holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageContent {
    /// As the bank gave them, twins twice.
    pub transactions: Vec<Transaction>,
    /// Ids the bank says are removed.
    pub removed: Vec<String>,
    /// As the bank gave them.
    pub balances: Vec<Balance>,
    /// What was proved to be seen.
    pub coverage: Option<Coverage>,
    /// Kept for the next reading.
    pub state: Option<String>,
}

/// What `read` answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadStep {
    /// Send, and ask again.
    Send(Send),
    /// Rows, and perhaps more to ask.
    Pages {
        /// Rows by account; an account that cannot be read has a page that says why.
        pages: Vec<Page>,
        /// What to ask now.
        next: Option<Send>,
        /// What to send once everything is stored.
        after_commit: Vec<Request>,
    },
    /// It cannot go on.
    Fail(Failure),
}

/// A value a connector may name, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialInfo {
    /// As declared.
    pub name: String,
    /// Its length.
    pub bytes: u32,
    /// When it stops working, if known.
    pub expires_at: Option<Timestamp>,
}

/// What a connector is told with every call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The host's clock.
    pub now: Timestamp,
    /// 32 bytes, fresh per call.
    pub seed: [u8; 32],
    /// JSON of the institution's `origins` and `settings`.
    pub profile: String,
    /// What may be named.
    pub credentials: Vec<CredentialInfo>,
    /// Granted, expires, scopes.
    pub consent: Option<(Timestamp, Option<Timestamp>, Vec<String>)>,
    /// The customer is at a screen.
    pub customer_present: bool,
    /// What `session` returned last.
    pub state: Option<String>,
}
