//! The guest's types, ours turned into them, and the calls of its three functions.

use super::engine::Meter;
use crate::model;
use wasmtime::component::{Component, ComponentExportIndex, ComponentNamedList, Func, Instance, InstancePre};
use wasmtime::component::{Lift, Lower, TypedFunc};
use wasmtime::{Result, Store};

wasmtime::component::bindgen!({ path: "../wit", world: "bank" });

pub(super) use exports::tidegate::connector::connector as wit;

/// A component whose functions have the contract's types. Checking them takes longer than making an
/// instance, so it is done once.
pub(super) struct Linked {
    pre: InstancePre<Meter>,
    session: ComponentExportIndex,
    accounts: ComponentExportIndex,
    read: ComponentExportIndex,
}

impl Linked {
    /// Checks the types in a first instance. `interface` is the full name of the exported one.
    pub(super) fn new(
        pre: InstancePre<Meter>,
        component: &Component,
        interface: &str,
        first: Store<Meter>,
    ) -> Result<Self> {
        BankPre::new(pre.clone())?.instantiate(first)?;
        let missing = || wasmtime::Error::msg("an export is gone since its type was checked");
        let within = component.get_export_index(None, interface).ok_or_else(missing)?;
        let index = |name| component.get_export_index(Some(&within), name).ok_or_else(missing);
        Ok(Self { session: index("session")?, accounts: index("accounts")?, read: index("read")?, pre })
    }

    /// A fresh instance.
    pub(super) fn instantiate(&self, store: &mut Store<Meter>) -> Result<Fresh<'_>> {
        Ok(Fresh { linked: self, instance: self.pre.instantiate(store)? })
    }
}

/// An instance for one step.
pub(super) struct Fresh<'a> {
    linked: &'a Linked,
    instance: Instance,
}

impl Fresh<'_> {
    pub(super) fn session(
        &self,
        store: &mut Store<Meter>,
        ask: &wit::Context,
        goal: wit::Goal,
        memory: &str,
        replies: &[wit::Reply],
    ) -> Result<wit::SessionStep> {
        self.call(store, &self.linked.session, (ask, goal, memory, replies))
    }

    pub(super) fn accounts(
        &self,
        store: &mut Store<Meter>,
        ask: &wit::Context,
        memory: &str,
        replies: &[wit::Reply],
    ) -> Result<wit::AccountsStep> {
        self.call(store, &self.linked.accounts, (ask, memory, replies))
    }

    pub(super) fn read(
        &self,
        store: &mut Store<Meter>,
        ask: &wit::Context,
        wants: &[wit::Want],
        memory: &str,
        replies: &[wit::Reply],
    ) -> Result<wit::ReadStep> {
        self.call(store, &self.linked.read, (ask, wants, memory, replies))
    }

    /// Called above with the types of the contract only.
    #[allow(unsafe_code)]
    fn call<Asked, Answer>(
        &self,
        store: &mut Store<Meter>,
        which: &ComponentExportIndex,
        asked: Asked,
    ) -> Result<Answer>
    where
        Asked: ComponentNamedList + Lower,
        (Answer,): ComponentNamedList + Lift,
    {
        let func: Func = self
            .instance
            .get_func(&mut *store, which)
            .ok_or_else(|| wasmtime::Error::msg("an export is no function"))?;
        // SAFETY: `Linked::new` had wasmtime check that this export of this very component has exactly
        // these parameter and result types, generated from the same WIT.
        let typed = unsafe { TypedFunc::<Asked, (Answer,)>::new_unchecked(func) };
        typed.call(store, asked).map(|(answer,)| answer)
    }
}

pub(super) fn context(ask: &model::Context) -> wit::Context {
    wit::Context {
        now_ms: ask.now.millis(),
        seed: ask.seed.to_vec(),
        profile: ask.profile.clone(),
        credentials: ask
            .credentials
            .iter()
            .map(|known| wit::CredentialInfo {
                name: known.name.clone(),
                bytes: known.bytes,
                expires_at_ms: known.expires_at.map(model::Timestamp::millis),
            })
            .collect(),
        consent: ask.consent.as_ref().map(|(granted_at, expires_at, scopes)| wit::ConsentInfo {
            granted_at_ms: granted_at.millis(),
            expires_at_ms: expires_at.map(model::Timestamp::millis),
            scopes: scopes.clone(),
        }),
        customer_present: ask.customer_present,
        state: ask.state.clone(),
    }
}

pub(super) fn replies(replies: Vec<model::Reply>) -> Vec<wit::Reply> {
    replies
        .into_iter()
        .map(|reply| wit::Reply {
            status: reply.status,
            headers: reply
                .headers
                .into_iter()
                .map(|(name, value)| wit::ReplyHeader { name, value })
                .collect(),
            body: reply.body,
            captured: reply.captured,
        })
        .collect()
}

pub(super) fn goal(goal: model::Goal) -> wit::Goal {
    match goal {
        model::Goal::Open => wit::Goal::Open,
        model::Goal::Renew => wit::Goal::Renew,
        model::Goal::Close => wit::Goal::Close,
    }
}

pub(super) fn wants(wants: &[model::Want]) -> Vec<wit::Want> {
    wants
        .iter()
        .map(|want| wit::Want {
            account: want.account.clone(),
            transactions: want.transactions.map(|window| wit::Window {
                since: window.since.to_string(),
                until: window.until.to_string(),
            }),
            balances: want.balances,
            state: want.state.clone(),
        })
        .collect()
}
