//! `PATCH /v1/connections/{connection_id}`: how often it is synced, and which of its accounts.

use super::{ConnectionWithConsent, find, whole};
use crate::api::Api;
use crate::api::extract::{Body, Id, PathId};
use crate::api::gate::Caller;
use crate::api::problem::{Answer, Code, Problem};
use crate::api::schema;
use crate::model::{AccountId, AccountsKept, ConnectionId, Institution, Timestamp};
use crate::nudge::Bell;
use crate::store::{Changed, Settings};
use crate::sync::schedule;
use axum::Json;
use axum::extract::State;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use utoipa::ToSchema;

/// Minutes between two syncs at most: a week. Whoever wants none pauses the connection.
const INTERVAL_MINUTES_MAX: u32 = 7 * 24 * 60;

/// What to change of a link; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionChange {
    /// Minutes between two syncs: not fewer than the institution's own, at most 10080; null for the institution's own.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<u32>, maximum = 10080)]
    interval_minutes: Option<Option<u32>>,
    /// Which accounts are read: `all`, also those that the bank lists later, or a list of account ids.
    #[serde(default)]
    #[schema(value_type = Option<schema::AccountsKept>)]
    accounts: Option<KeptAsked>,
}

/// Which accounts are read, as shown.
#[derive(Debug)]
pub struct Kept(pub AccountsKept);

/// Which accounts to read, as asked.
pub enum KeptAsked {
    /// All that there are and will be.
    All,
    /// Ids, not yet looked at.
    Only(Vec<String>),
}

/// Change how a connection is synced
///
/// An account that is switched off is not read any more; its history stays readable. One that is switched on is due at
/// once. The place in the interval stays, so that syncs stay spread; the next ones follow the new interval.
#[utoipa::path(patch, path = "/v1/connections/{connection_id}", operation_id = "change_connection", tag = "connections",
    params(("connection_id" = String, Path, description = "The link's id.")),
    request_body = ConnectionChange,
    responses(
        (status = 200, description = "The link as it is now.", body = ConnectionWithConsent),
        (status = 409, description = "The institution has no profile, so nobody knows its interval.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "A value is against a rule; the detail names it.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn change(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<ConnectionId>,
    Body(asked): Body<ConnectionChange>,
) -> Answer<Json<ConnectionWithConsent>> {
    let now = api.app.clock.now();
    let connection = find(&api, caller, id).await?;
    let interval = match asked.interval_minutes {
        Some(minutes) => {
            let bank = api.app.institutions.get(&connection.institution);
            let institution = bank.map(|bank| &bank.institution).ok_or_else(|| {
                let id = &connection.institution;
                Problem::new(
                    Code::InstitutionUnavailable,
                    format!("Put {id}.toml back into the institutions folder."),
                )
            })?;
            check_interval(institution, minutes, now)?;
            Some((minutes, schedule::next_slot(institution, minutes, id.phase(), now)))
        }
        None => None,
    };
    let settings = Settings { interval, accounts: asked.accounts.map(kept).transpose()? };
    match api.app.store.change_settings(caller.business, id, &settings, now).await? {
        Changed::To(connection) => {
            api.app.nudge.ring(Bell::Schedule);
            whole(&api, *connection).await
        }
        Changed::NoSuchAccount => Err(no_such_account()),
        Changed::NoSuchConnection => Err(ConnectionId::unknown()),
    }
}

fn check_interval(institution: &Institution, minutes: Option<u32>, now: Timestamp) -> Answer<()> {
    let min = schedule::interval_min(institution, now);
    match minutes {
        Some(minutes) if minutes < min => {
            let how = if institution.schedule.cron.is_some() { "at most every" } else { "every" };
            Err(Problem::invalid(format!(
                "interval_minutes: at least {min}, since this institution is asked {how} {min} minutes; at most \
                 {INTERVAL_MINUTES_MAX} (a week); null for the institution's own."
            )))
        }
        Some(minutes) if minutes > INTERVAL_MINUTES_MAX => Err(Problem::invalid(format!(
            "interval_minutes: at most {INTERVAL_MINUTES_MAX} (a week). To sync less often than that, pause the connection."
        ))),
        _ => Ok(()),
    }
}

fn kept(asked: KeptAsked) -> Answer<AccountsKept> {
    let ids = match asked {
        KeptAsked::All => return Ok(AccountsKept::All),
        KeptAsked::Only(ids) => ids,
    };
    if ids.is_empty() {
        return Err(Problem::invalid("accounts: name at least one. To read none, pause the connection."));
    }
    let ids: Option<Vec<AccountId>> = ids.iter().map(|id| id.parse().ok()).collect();
    ids.map(AccountsKept::Only).ok_or_else(no_such_account)
}

fn no_such_account() -> Problem {
    Problem::invalid(
        "accounts: one of the ids is no account of this connection. GET /v1/accounts?connection_id=… shows them.",
    )
}

/// Tells null from nothing said.
fn said<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            AccountsKept::All => to.serialize_str("all"),
            AccountsKept::Only(ids) => ids.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for KeptAsked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = KeptAsked;
            fn expecting(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
                into.write_str("\"all\" or a list of account ids")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<KeptAsked, E> {
                match text {
                    "all" => Ok(KeptAsked::All),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<KeptAsked, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element()? {
                    ids.push(id);
                }
                Ok(KeptAsked::Only(ids))
            }
        }
        from.deserialize_any(Reader)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    fn bank(schedule: &str) -> Institution {
        let text = format!(
            "name = \"Bank\"\ncountry = \"GB\"\nconnector = \"c\"\n[origins]\n[schedule]\n{schedule}\n"
        );
        Institution::parse("bank", &text).unwrap()
    }

    #[test]
    fn an_interval_lies_between_the_institutions_own_and_a_week() {
        let check = |bank: &Institution, minutes: u32| {
            check_interval(bank, Some(minutes), NOW).map_err(|problem| problem.json().to_string())
        };
        let (hourly, nightly) = (bank(""), bank("cron = \"0 0 2 * * *\""));
        for good in [60, 61, 10_080] {
            check(&hourly, good).unwrap();
        }
        assert!(check(&hourly, 59).unwrap_err().contains("at least 60"));
        assert!(check(&hourly, 10_081).unwrap_err().contains("at most 10080"));
        assert!(check(&nightly, 1_439).unwrap_err().contains("at least 1440"));
        check(&nightly, 1_440).unwrap();
        assert!(check_interval(&hourly, None, NOW).is_ok());
    }

    #[test]
    fn null_is_told_from_nothing_and_all_from_a_list() {
        let read = |text: &str| serde_json::from_str::<ConnectionChange>(text);
        let nothing = read("{}").unwrap();
        assert!(nothing.interval_minutes.is_none() && nothing.accounts.is_none());
        assert_eq!(read(r#"{"interval_minutes": null}"#).unwrap().interval_minutes, Some(None));
        assert_eq!(read(r#"{"interval_minutes": 90}"#).unwrap().interval_minutes, Some(Some(90)));
        assert!(matches!(read(r#"{"accounts": "all"}"#).unwrap().accounts, Some(KeptAsked::All)));
        for wrong in
            [r#"{"accounts": "none"}"#, r#"{"accounts": 7}"#, r#"{"accounts": [7]}"#, r#"{"interval": 90}"#]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let id = AccountId::new();
        assert_eq!(kept(KeptAsked::Only(vec![id.to_string()])).unwrap(), AccountsKept::Only(vec![id]));
        assert!(kept(KeptAsked::Only(vec![])).is_err());
        assert!(kept(KeptAsked::Only(vec![ConnectionId::new().to_string()])).is_err());
    }
}
