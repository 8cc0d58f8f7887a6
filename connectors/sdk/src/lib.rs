//! Write a Tidegate connector.
//!
//! A connector is a pure function: it is asked for the next step and answers with requests to send,
//! with rows, or with a failure. Implement [`Connector`], call [`export!`] once, and build for
//! `wasm32-unknown-unknown`; no WIT file is needed. What each type means, its units and limits,
//! stands in `wit/connector.wit`; the types here are generated from it.
//!
//! The exports exist only on wasm32: natively a connector is an ordinary library, so unit tests and
//! benches call the trait directly.
//!
//! Read in this order: [`Connector`], [`flow`] (several requests as straight-line code),
//! [`request`], [`jwt`], [`claims`], [`oauth`], [`fapi`], [`signature`], [`walk`] (accounts page by page), [`answers`], [`memory`], [`json`],
//! [`html`], `xml` (a feature), [`segments`], [`paging`],
//! [`status`], [`date`], [`decimal`], [`ids`].
//!
//! Must not know: any one bank. Never does I/O; has no clock but `context.now-ms`.

#[cfg(target_arch = "wasm32")]
mod allocator;
pub mod answers;
pub mod claims;
mod context;
pub mod date;
pub mod decimal;
mod failure;
pub mod fapi;
pub mod flow;
pub mod html;
pub mod ids;
pub mod json;
pub mod jwt;
pub mod memory;
pub mod oauth;
pub mod paging;
pub mod request;
pub mod segments;
pub mod signature;
pub mod status;
pub mod walk;
#[cfg(feature = "xml")]
pub mod xml;

/// What `wit-bindgen` generates from `wit/connector.wit`. Use the re-exports of this crate instead.
#[doc(hidden)]
#[allow(
    unsafe_code,
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "generated: the canonical ABI is raw pointers"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "bank",
        additional_derives: [PartialEq, Eq, Clone],
        pub_export_macro: true,
        export_macro_name: "export_bindings",
        default_bindings_module: "tidegate_sdk::bindings",
        runtime_path: "::tidegate_sdk::wit_bindgen::rt",
    });
}

#[doc(hidden)]
pub use wit_bindgen;

// The generated code names this crate from outside and from inside.
extern crate self as tidegate_sdk;

pub use bindings::exports::tidegate::connector::connector::{
    Account, AccountsStep, Balance, BalanceKind, Capture, ConsentGiven, ConsentInfo, Context, Coverage,
    CoverageKind, CredentialInfo, Credit, Derived, Encoded, Encoding, Failure, Goal, Header, IdStability,
    Mac, Method, More, Operation, PaddedLength, Page, Part, Picked, Place, Prompt, PromptKind, RateLimited,
    ReadStep, Redirect, Reply, ReplyHeader, Request, Returned, Scope, Send, SessionInfo, SessionStep,
    Signature, Status, Transaction, Unread, Unreadable, Want, Window,
};
pub use context::Profile;
pub use flow::{Flow, Stop};

/// A bank, as a pure function: the same arguments give the same answer.
///
/// Each call runs in a fresh instance. What must survive between the steps of one sync goes into
/// `memory`; see [`memory`] and [`flow`].
pub trait Connector {
    /// Opens, renews or closes the session. The first call has empty `memory` and no `replies`.
    fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> SessionStep;

    /// Which accounts did the customer give access to?
    fn accounts(ask: &Context, memory: &str, replies: &[Reply]) -> AccountsStep;

    /// Reads transactions, then balances, of the wanted accounts.
    fn read(ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> ReadStep;
}

impl<T: Connector> bindings::exports::tidegate::connector::connector::Guest for T {
    fn session(ask: Context, goal: Goal, memory: String, replies: Vec<Reply>) -> SessionStep {
        <T as Connector>::session(&ask, goal, &memory, &replies)
    }
    fn accounts(ask: Context, memory: String, replies: Vec<Reply>) -> AccountsStep {
        <T as Connector>::accounts(&ask, &memory, &replies)
    }
    fn read(ask: Context, wants: Vec<Want>, memory: String, replies: Vec<Reply>) -> ReadStep {
        <T as Connector>::read(&ask, &wants, &memory, &replies)
    }
}

/// Exports a [`Connector`] from the component. Does nothing but on wasm32.
///
/// ```
/// # use tidegate_sdk::*;
/// pub struct MyBank;
/// impl Connector for MyBank {
///     // …
/// #   fn session(_: &Context, _: Goal, _: &str, _: &[Reply]) -> SessionStep { SessionStep::Fail(Failure::NotSupported) }
/// #   fn accounts(_: &Context, _: &str, _: &[Reply]) -> AccountsStep { AccountsStep::Fail(Failure::NotSupported) }
/// #   fn read(_: &Context, _: &[Want], _: &str, _: &[Reply]) -> ReadStep { ReadStep::Fail(Failure::NotSupported) }
/// }
/// tidegate_sdk::export!(MyBank);
/// ```
#[macro_export]
macro_rules! export {
    ($connector:ident) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::export_bindings!($connector with_types_in $crate::bindings);
    };
}
