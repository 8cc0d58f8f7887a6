//! The list of transactions: its window, its pages, and the links between them. A page starts after
//! the last row of the page before, so that rows which come or go meanwhile double or hide none.

use super::books::{Account, Entry};
use super::rows::{Envelope, Links, Meta};
use super::service::{Refusal, json};
use super::spoil::Answer;
use super::statement::RowStatus;
use super::transaction_rows::{RowStyle, Transactions, Tweak};
use super::{API_PATH, Shared};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde::Deserialize;

/// The place of the last row of the page before; how a page token looks inside.
struct After(DateTime<Utc>, u64);

impl After {
    fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}.{}", self.0.timestamp_nanos_opt().unwrap_or_default(), self.1))
    }
    fn read(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (nanos, serial) = text.split_once('.')?;
        Some(Self(DateTime::from_timestamp_nanos(nanos.parse().ok()?), serial.parse().ok()?))
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct TransactionsQuery {
    from_booking_date_time: Option<String>,
    to_booking_date_time: Option<String>,
    page: Option<String>,
}

/// The time is optional and a zone is ignored (specification, `fromBookingDateTime`).
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let date: NaiveDate = text.get(..10)?.parse().ok()?;
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return Some(date.and_hms_opt(0, 0, 0)?.and_utc());
    }
    let zone = rest.find(['Z', '+', '-', ' ']).unwrap_or(rest.len());
    let time = format!("{date}{}", rest.get(..zone)?);
    Some(NaiveDateTime::parse_from_str(&time, "%Y-%m-%dT%H:%M:%S%.f").ok()?.and_utc())
}

pub(super) fn transactions(
    shared: &Shared,
    account: &Account,
    query: &str,
    tweak: &Tweak,
) -> Result<Answer, Refusal> {
    let bad = |what| Refusal(StatusCode::BAD_REQUEST, "UK.OBIE.Field.Invalid", what);
    let given: TransactionsQuery =
        serde_urlencoded::from_str(query).map_err(|_| bad("The query could not be read"))?;
    let limit =
        |text: &Option<String>, what| text.as_deref().map(|text| moment(text).ok_or(bad(what))).transpose();
    let from = limit(&given.from_booking_date_time, "fromBookingDateTime is not a date and time")?;
    let to = limit(&given.to_booking_date_time, "toBookingDateTime is not a date and time")?;
    let page =
        given.page.as_deref().map(|token| After::read(token).ok_or(bad("page is not a page of this list")));
    let page = page.transpose()?;

    let entries = account.entries.as_slice();
    let first = from.map_or(0, |from| entries.partition_point(|entry| entry.booked_at < from));
    let end =
        to.map_or(entries.len(), |to| entries.partition_point(|entry| entry.booked_at <= to)).max(first);
    let done = |After(at, serial): &After| entries.partition_point(|entry| entry.place() <= (*at, *serial));
    let start = page.as_ref().map_or(first, done).clamp(first, end);
    let stop = (start + shared.config.page_rows.max(1)).min(end);
    let shown = entries.get(start..stop).unwrap_or_default();

    let base = format!("{}{API_PATH}/accounts/{}/transactions", shared.origin, account.id);
    let link = |page: Option<String>| {
        let window = [
            ("fromBookingDateTime", &given.from_booking_date_time),
            ("toBookingDateTime", &given.to_booking_date_time),
        ];
        let mut pairs: Vec<(&str, &str)> =
            window.iter().filter_map(|(name, value)| value.as_deref().map(|value| (*name, value))).collect();
        pairs.extend(page.as_deref().map(|page| ("page", page)));
        match serde_urlencoded::to_string(pairs) {
            Ok(query) if !query.is_empty() => format!("{base}?{query}"),
            _ => base.clone(),
        }
    };
    let next = shown.last().filter(|_| stop < end).map(|last| After(last.booked_at, last.serial).token());
    let links = Links {
        this: link(given.page.clone()),
        first: Some(link(None)),
        next: next.map(|token| link(Some(token))),
    };
    let total_pages = (end - first).div_ceil(shared.config.page_rows.max(1)).max(1);
    let mut rows =
        if shared.config.row_balances { with_balances(entries, start, shown) } else { without(shown) };
    if let (Some(times), Some(first)) = (tweak.times, rows.first().copied()) {
        rows.splice(..1, std::iter::repeat_n(first, times));
    }
    let data = Transactions {
        account,
        rows,
        style: RowStyle { with_id: shared.config.row_ids },
        tweak: tweak.clone(),
    };
    Ok(json(StatusCode::OK, &Envelope { data, links, meta: Meta { total_pages } }))
}

fn without(shown: &[Entry]) -> Vec<(&Entry, Option<i64>)> {
    shown.iter().map(|entry| (entry, None)).collect()
}

/// With the booked balance after each booked row, in the order of the list.
fn with_balances<'a>(entries: &[Entry], start: usize, shown: &'a [Entry]) -> Vec<(&'a Entry, Option<i64>)> {
    let booked = |entry: &Entry| entry.status == RowStatus::Booked;
    let mut sum: i64 =
        entries.iter().take(start).filter(|entry| booked(entry)).map(|entry| entry.minor).sum();
    let mut after = |entry: &Entry| {
        booked(entry).then(|| {
            sum = sum.saturating_add(entry.minor);
            sum
        })
    };
    shown.iter().map(|entry| (entry, after(entry))).collect()
}
