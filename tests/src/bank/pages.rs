//! The list of transactions: its window, its pages, and the links between them. A page starts after
//! the last row of the page before, so that rows which come or go meanwhile double or hide none; but a
//! scenario may have the list paged by count.

use super::Shared;
use super::books::{Account, Entry};
use super::consent::{Consent, RowsShown};
use super::rows::{Envelope, Links, Meta, Moment};
use super::scenario::Look;
use super::service::{Asked, NO_PERMISSION, Refusal, json};
use super::spoil::Answer;
use super::statement::RowStatus;
use super::transaction_rows::{RowStyle, Transactions, Tweak};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use serde::Deserialize;
use std::borrow::Cow;

/// What the pages before have shown; how a page token looks inside.
enum After {
    /// All up to the row of this place.
    Row(DateTime<Utc>, u64),
    /// So many rows.
    Count(usize),
}

impl After {
    fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(match self {
            Self::Row(at, serial) => format!("{}.{serial}", at.timestamp_nanos_opt().unwrap_or_default()),
            Self::Count(rows) => rows.to_string(),
        })
    }
    fn read(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let Some((nanos, serial)) = text.split_once('.') else {
            return text.parse().ok().map(Self::Count);
        };
        Some(Self::Row(DateTime::from_timestamp_nanos(nanos.parse().ok()?), serial.parse().ok()?))
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

/// What was asked for, cut down to what the consent and the time since it was given allow.
struct Window {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    /// `from` and `to` where they are not what was asked for.
    meta: (Option<Moment>, Option<Moment>),
}

impl Window {
    /// A window that begins before the history which is given now is refused: the customer would have
    /// to come back. One without a beginning begins where it may, and so does one that begins before
    /// what the customer agreed to.
    fn of(
        asked: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
        consent: &Consent,
        first_day: Option<NaiveDate>,
    ) -> Result<Self, Refusal> {
        let (from, to) = asked;
        if from.zip(first_day).is_some_and(|(from, first)| from.date_naive() < first) {
            let refusal = Refusal(StatusCode::FORBIDDEN, "UK.OBIE.Reauthenticate", TOO_OLD, None);
            return Err(refusal.at("fromBookingDateTime"));
        }
        let first = first_day.map(|day| day.and_time(NaiveTime::MIN).and_utc());
        let begin = [from, first, consent.terms.from].into_iter().flatten().max();
        let end = [to, consent.terms.to].into_iter().flatten().min();
        let meta = (
            begin.filter(|begin| from.is_none_or(|from| *begin > from)).map(Moment),
            end.filter(|end| to.is_none_or(|to| *end < to)).map(Moment),
        );
        Ok(Self { from: begin, to: end, meta })
    }
}

const TOO_OLD: &str = "History of more than 90 days is given only right after the customer has agreed";

/// One page; and what it shows, if a scenario is played on the account.
pub(super) fn transactions(
    shared: &Shared,
    asked: &Asked<'_>,
    account: &Account,
    consent: &Consent,
    tweak: &Tweak,
) -> Result<(Answer, Option<Look>), Refusal> {
    let shown = consent.terms.rows().ok_or(NO_PERMISSION)?;
    let bad = |what| Refusal(StatusCode::BAD_REQUEST, "UK.OBIE.Field.Invalid", what, None);
    let given: TransactionsQuery =
        serde_urlencoded::from_str(asked.query).map_err(|_| bad("The query could not be read"))?;
    let limit =
        |text: &Option<String>, what| text.as_deref().map(|text| moment(text).ok_or(bad(what))).transpose();
    let from = limit(&given.from_booking_date_time, "fromBookingDateTime is not a date and time")?;
    let to = limit(&given.to_booking_date_time, "toBookingDateTime is not a date and time")?;
    let page =
        given.page.as_deref().map(|token| After::read(token).ok_or(bad("page is not a page of this list")));
    let page = page.transpose()?;
    let full_history_for = TimeDelta::from_std(shared.config.full_history_for).unwrap_or(TimeDelta::MAX);
    let window = Window::of((from, to), consent, consent.first_day(shared.clock.now(), full_history_for))?;

    let entries = covered(&account.entries, shown);
    let entries = match account.display() {
        Some(display) => Cow::Owned(display.list(&entries, window.from)),
        None => entries,
    };
    let first = window.from.map_or(0, |from| entries.partition_point(|entry| entry.booked_at < from));
    let end = window
        .to
        .map_or(entries.len(), |to| entries.partition_point(|entry| entry.booked_at <= to))
        .max(first);
    let listed = entries.get(first..end).unwrap_or_default();
    let by_count = account.display().filter(|display| display.by_count);
    let listed = match by_count {
        Some(display) => Cow::Owned(display.newest_first(listed, page.is_none())),
        None => Cow::Borrowed(listed),
    };
    let begins_anew = page.is_none();
    let start = match page {
        None => 0,
        Some(After::Row(at, serial)) => listed.partition_point(|entry| entry.place() <= (at, serial)),
        Some(After::Count(rows)) => rows.min(listed.len()),
    };
    let stop = (start + shared.config.page_rows.max(1)).min(listed.len());
    let page = listed.get(start..stop).unwrap_or_default();

    let base = format!("{}/accounts/{}/transactions", asked.api(shared), account.id);
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
    let after = |last: &Entry| match by_count {
        Some(_) => After::Count(stop).token(),
        None => After::Row(last.booked_at, last.serial).token(),
    };
    let next = page.last().filter(|_| stop < listed.len()).map(after);
    let next_is_none = next.is_none();
    let links = Links {
        this: link(given.page.clone()),
        first: Some(link(None)),
        next: next.map(|token| link(Some(token))),
    };
    let total_pages = listed.len().div_ceil(shared.config.page_rows.max(1)).max(1);
    let mut rows =
        if shared.config.row_balances { with_balances(&account.entries, page) } else { without(page) };
    if let (Some(times), Some(first)) = (tweak.times, rows.first().copied()) {
        rows.splice(..1, std::iter::repeat_n(first, times));
    }
    let look = account.display().map(|display| Look {
        begins: begins_anew,
        ends: next_is_none,
        rows: display.recorded(rows.iter().map(|(entry, _)| *entry), &account.currency),
        last: listed.last().map(|entry| entry.serial),
    });
    let data = Transactions {
        account,
        rows,
        style: RowStyle { with_id: shared.config.row_ids, with_details: shown.details },
        tweak: tweak.clone(),
    };
    let (first_available_date_time, last_available_date_time) = window.meta;
    let meta = Meta { total_pages, first_available_date_time, last_available_date_time };
    Ok((json(StatusCode::OK, &Envelope { data, links, meta }), look))
}

/// Those that the customer lets be seen.
fn covered(entries: &[Entry], shown: RowsShown) -> Cow<'_, [Entry]> {
    if shown.credits && shown.debits {
        return Cow::Borrowed(entries);
    }
    let seen = |entry: &&Entry| if entry.minor < 0 { shown.debits } else { shown.credits };
    Cow::Owned(entries.iter().filter(seen).cloned().collect())
}

fn without(shown: &[Entry]) -> Vec<(&Entry, Option<i64>)> {
    shown.iter().map(|entry| (entry, None)).collect()
}

/// With the booked balance after each booked row, in the order of the books.
fn with_balances<'a>(all: &[Entry], shown: &'a [Entry]) -> Vec<(&'a Entry, Option<i64>)> {
    let booked = |entry: &Entry| entry.status == RowStatus::Booked;
    let sums = all.iter().scan(0i64, |sum, entry| {
        *sum = sum.saturating_add(if booked(entry) { entry.minor } else { 0 });
        Some(*sum)
    });
    let sums: Vec<i64> = std::iter::once(0).chain(sums).collect();
    let after = |entry: &Entry| {
        let place = all.partition_point(|other| other.place() <= entry.place());
        sums.get(place).copied().filter(|_| booked(entry))
    };
    shown.iter().map(|entry| (entry, after(entry))).collect()
}
