//! The guest's types, and ours turned into them.

use crate::model;

wasmtime::component::bindgen!({ path: "../wit", world: "bank" });

pub(super) use exports::tidegate::connector::connector as wit;

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
