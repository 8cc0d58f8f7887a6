//! The HTML of the portal's pages. What each must hold stands in the header of `portal`.
//!
//! Must not know: sessions, passwords, which rows were asked for.

use super::html::{amount, day, escape, moment, page};
use super::iban::{grouped, iban};
use super::rows::{Shown, is_booked};
use crate::bank::books::Account;
use crate::bank::spoil::Answer;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};

/// A page that only says something.
pub(super) fn notice(status: StatusCode, text: &str) -> Answer {
    page(status, "Notice", &format!("<p class=\"notice\">{}</p>", escape(text)))
}

pub(super) fn login(csrf: &str, notice: Option<&str>) -> Answer {
    let notice = notice.map(|text| format!("<p class='notice'>\n  {}\n</p>\n", escape(text)));
    let inside = format!(
        "<h1>Welcome&nbsp;back</h1>\n{}<form action=\"/portal/login\" method=post>\n\
         <input value=\"{}\" type=hidden name=\"csrf\">\n\
         <label>User&nbsp;name <input type=\"text\" name='username' autocomplete=off></label>\n\
         <label>Password <input name=password type='password'></label>\n\
         <button type=submit>Log&nbsp;in</button>\n</form>",
        notice.unwrap_or_default(),
        escape(csrf)
    );
    page(StatusCode::OK, "Log in", &inside)
}

fn logout() -> &'static str {
    "<form method='post' action=/portal/logout><button>Log&nbsp;out</button></form>"
}

fn stripe(place: usize) -> &'static str {
    if place.is_multiple_of(2) { "odd" } else { "even" }
}

/// Each account with its booked balance.
pub(super) fn accounts<'a>(lines: impl Iterator<Item = (&'a Account, i64)>, now: DateTime<Utc>) -> Answer {
    let line = |(place, (account, booked)): (usize, (&Account, i64))| {
        format!(
            "<tr class='{}'><td><a class=acct href=\"/portal/accounts/{id}\">{id}</a></td>\n  \
             <td>{}</td><td class=\"nr\">{}</td><td>{}</td>\n  \
             <td align=right class='amt'>{}</td><td>{}</td></tr>\n",
            stripe(place),
            escape(&account.nickname),
            grouped(&iban(&account.number), "&nbsp;"),
            account.currency,
            amount(booked, &account.currency),
            day(now.date_naive()),
            id = account.id,
        )
    };
    let rows: String = lines.enumerate().map(line).collect();
    let inside = format!(
        "<h1>Your accounts</h1>\n<table width=100% id=\"accounts\">\n<thead><tr><th>Account<th>Name<th>IBAN\
         <th>Currency<th>Balance<th>Date</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n{}",
        logout()
    );
    page(StatusCode::OK, "Your accounts", &inside)
}

/// The balances of an account, in minor units, and when they were so.
pub(super) struct Standing {
    pub(super) booked: i64,
    pub(super) available: i64,
    pub(super) at: DateTime<Utc>,
}

pub(super) fn account(
    account: &Account,
    standing: &Standing,
    rows: &[Shown<'_>],
    next: Option<&str>,
) -> Answer {
    let currency = account.currency.as_str();
    let balance = format!(
        "<dl class=balance><dt>Current balance</dt><dd id='current'>{}&nbsp;{currency}</dd>\n<dt>Available \
         balance</dt><dd id=\"available\">{}&nbsp;{currency}</dd>\n<dt>As at</dt><dd id=asat>{}</dd></dl>",
        amount(standing.booked, currency),
        amount(standing.available, currency),
        moment(standing.at),
    );
    let mut lines: String = rows.iter().enumerate().map(|(place, row)| line(place, row, currency)).collect();
    if rows.is_empty() {
        lines.push_str("<tr><td colspan=5>No transactions.</td></tr>\n");
    }
    let next = next
        .map(|link| format!("<p><a class='more' href=\"{}\" rel=next>Older &raquo;</a></p>\n", escape(link)));
    let inside = format!(
        "<h1>{}</h1>\n{balance}\n<table id=transactions border='0'>\n<thead><tr><th>Date</th><th>Value\
         &nbsp;date</th><th>Description</th><th>Paid to / from</th><th>Amount</th></tr></thead>\n\
         <tbody>\n{lines}</tbody>\n</table>\n{}{}",
        escape(&account.nickname),
        next.unwrap_or_default(),
        logout()
    );
    page(StatusCode::OK, &account.nickname, &inside)
}

fn line(place: usize, row: &Shown<'_>, currency: &str) -> String {
    let entry = row.entry;
    let pending = if is_booked(entry) { "" } else { " pending" };
    let or_blank = |text: Option<String>| text.unwrap_or_else(|| "&nbsp;".to_owned());
    let written = row.amount.map_or_else(|| amount(entry.minor, currency), escape);
    format!(
        "<tr class=\"{}{pending}\"><td>{}</td><td>{}</td>\n  <td class='text'>\n    {}\n  </td><td>{}</td>\n  \
         <td class=amt align=\"right\">{written}&nbsp;{currency}</td></tr>\n",
        stripe(place),
        day(entry.booked_at.date_naive()),
        or_blank(entry.valued_at.map(|at| day(at.date_naive()))),
        escape(row.text),
        or_blank(entry.merchant.as_deref().map(escape)),
    )
}
