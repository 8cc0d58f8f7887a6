//! A connector that misbehaves on request, for the tests of the sandbox and of egress.
//!
//! The profile's `settings` choose a [`Mode`] and its parameters, see [`Settings`]. What is not
//! about a mode's harm is done as a good connector does it ([`tame`]), so that a test can show the
//! same guest with a limit on and lifted: the harm then happens, and the sync goes on.

mod harm;
mod tame;

use serde::Deserialize;
use tidegate_sdk::{AccountsStep, Connector, Context, Failure, Goal, ReadStep, Reply, SessionStep, Want};

/// What `settings.mode` may be, in kebab case. All but `Login` act in `read`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Accounts `acc-1` … `acc-<accounts>`; asks `GET /data?account=ID` for each, and hands on what
    /// the body says, see [`tame::Body`].
    #[default]
    WellBehaved,
    /// Computes without end; with `count`, so many rounds, then behaves.
    NeverReturns,
    /// Asks for the same data in every step; with `count`, so many times, then behaves.
    AsksForever,
    /// Takes memory and writes to it, without end; with `bytes`, so much, then behaves.
    GrowsMemory,
    /// Hands out `count` (1,000,000) rows in one page.
    MillionRows,
    /// Asks for `path` (`/other`) at its own origin.
    UndeclaredRoute,
    /// Asks for `url`, whatever that is.
    PrivateName,
    /// Names the value `undeclared`.
    UndeclaredCredential,
    /// Wants `pin` filled in on the route `data`, where it may not go.
    PinOnDataRoute,
    /// Asks for the login route from `read`.
    LoginInRead,
    /// Writes a line break and another header into a header's text.
    HeaderLineBreak,
    /// The same in a part that is bytes.
    HeaderLineBreakBytes,
    /// Sets `header` (`host`) itself.
    ForbiddenHeader,
    /// Makes a request of `bytes` (1 MiB) in a header.
    GiantRequest,
    /// Hands back `bytes` (1 MiB) of memory.
    GiantMemory,
    /// Hands back `bytes` (1 MiB) of state.
    GiantState,
    /// Panics, which is a trap.
    Panics,
    /// Calls itself without end; with `count`, so deep, then behaves.
    DeepRecursion,
    /// Asks for `count` (17) requests in one step.
    ManyRequests,
    /// Wants the host to wait `count` (3,600,000) milliseconds before sending.
    Waits,
    /// Hands out rows of `acc-unwanted`.
    WrongAccount,
    /// Copies the reply's body to where `into` says: `memory`, `text`, `details` or `state`.
    Echo,
    /// Follows a redirect by itself.
    FollowsRedirect,
    /// Signs its request with `signing-key` (ES256) into the header `x-signature`; not harmful.
    Signs,
    /// In `session`: posts `pin` to the login route, captures `access_token` as `token`, and hands
    /// back what it was shown of the reply as state; a 401 is `credentials-rejected`; not harmful.
    Login,
}

/// `settings` of the profile.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What to do.
    pub mode: Mode,
    /// How often, how deep, how many; see [`Mode`].
    pub count: Option<u64>,
    /// How large; see [`Mode`].
    pub bytes: Option<usize>,
    /// For `private-name`.
    pub url: String,
    /// For `undeclared-route`.
    pub path: String,
    /// For `forbidden-header`.
    pub header: String,
    /// For `echo`.
    pub into: String,
    /// How many accounts there are.
    pub accounts: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::WellBehaved,
            count: None,
            bytes: None,
            url: String::new(),
            path: "/other".to_owned(),
            header: "host".to_owned(),
            into: "memory".to_owned(),
            accounts: 1,
        }
    }
}

/// What a call knows of its profile.
pub struct Place {
    /// The base URL named `api`.
    pub api: String,
    /// What to do.
    pub settings: Settings,
}

impl Place {
    fn of(ask: &Context) -> Result<Self, Failure> {
        let profile = ask.profile::<Settings>()?;
        Ok(Self { api: profile.origin("api")?.to_owned(), settings: profile.settings })
    }
}

/// The connector.
#[derive(Debug, Clone, Copy)]
pub struct Hostile;

impl Connector for Hostile {
    fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> SessionStep {
        match Place::of(ask) {
            Ok(place) => tame::session(&place, goal, memory, replies),
            Err(failure) => SessionStep::Fail(failure),
        }
    }
    fn accounts(ask: &Context, _memory: &str, _replies: &[Reply]) -> AccountsStep {
        match Place::of(ask) {
            Ok(place) => tame::accounts(&place),
            Err(failure) => AccountsStep::Fail(failure),
        }
    }
    fn read(ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> ReadStep {
        match Place::of(ask) {
            Ok(place) => harm::read(&place, ask, wants, memory, replies),
            Err(failure) => ReadStep::Fail(failure),
        }
    }
}

tidegate_sdk::export!(Hostile);
