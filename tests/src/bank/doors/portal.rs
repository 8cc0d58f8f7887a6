//! The portal: HTML pages for people, behind a form and a cookie. A program that reads it must parse
//! what was made for eyes.
//!
//! # The wire
//! Every answer with a body is `text/html; charset=utf-8` and `cache-control: no-store`. There is one
//! cookie, `portal_session`. No page needs JavaScript.
//!
//! `GET /portal/login` → 200, `set-cookie: portal_session=…; Path=/portal; HttpOnly; SameSite=Lax`, and
//! a page with
//! ```html
//! <form action="/portal/login" method=post>
//! <input value="c7-Zb…" type=hidden name="csrf">
//! <input type="text" name='username'> … <input name=password type='password'>
//! ```
//! The `csrf` is new each time, good for one try and 10 minutes, and only together with the cookie that
//! came with it. Its tag is the first `<input` of the page and always written as above; a csrf has only
//! letters, digits, `-` and `_`.
//!
//! `POST /portal/login`, a form (`application/x-www-form-urlencoded`) of `username`, `password`, `csrf`,
//! with the cookie:
//! * let in → 303, `location: /portal/accounts`, and a new `portal_session` cookie: the session;
//! * wrong → 200, the form again (new cookie, new csrf) and the text
//!   `Your user name or password is wrong.`;
//! * locked, from the third wrong password in a row on → 200 without a form, and the text
//!   `Your access is locked. Please call us.`;
//! * `csrf` missing, old, used or of another cookie → 403 and the text
//!   `This form is no longer valid. Please open the page again.` No password is looked at.
//!
//! A customer has one session: the next login throws the one before out. A session ends 10 minutes after
//! its last page. Without a session, every page below answers 303, `location: /portal/login`, no body.
//!
//! `GET /portal/accounts` → 200 and `<table id="accounts">`: a `<thead>`, and in its `<tbody>` one row per
//! account with six cells: id (inside a link), name, IBAN (in groups of four with `&nbsp;` between),
//! currency, booked balance, the day of that balance.
//! ```html
//! <tr class='odd'><td><a class=acct href="/portal/accounts/22289001">22289001</a></td>
//!   <td>Everyday</td><td class="nr">GB17&nbsp;DEMO&nbsp;4005&nbsp;1560&nbsp;0000&nbsp;01</td><td>GBP</td>
//!   <td align=right class='amt'>-1,234.56</td><td>20 Mar 2026</td></tr>
//! ```
//!
//! `GET /portal/accounts/{id}?from=YYYY-MM-DD&to=YYYY-MM-DD&page=N` → 200 and one page of the rows booked
//! or, if pending, authorised on these days (both inclusive), **newest first**. Left out, `to` is today,
//! `from` is 90 days before `to`, `page` is 1. What is not a date or a page number → 400 and the text
//! `Please check the dates.` An account that is not the customer's → 404 and the text
//! `We do not know this account.`
//!
//! * Above the table, on every page, the balances at this moment:
//!   `<dl class=balance><dt>Current balance</dt><dd id='current'>-1,234.56&nbsp;GBP</dd><dt>Available
//!   balance</dt><dd id="available">…</dd><dt>As at</dt><dd id=asat>20 Mar 2026 12:00:05</dd></dl>`. The
//!   current balance is the booked rows alone; available is less what pending rows reserve.
//! * `<table id=transactions>`: a `<thead>`, and in its `<tbody>` one row per transaction with five cells:
//!   day, value day (`&nbsp;` if there is none), text, counterparty (`&nbsp;` if there is none), amount and
//!   currency. A pending row has the word `pending` in its `class`; a booked one has not. Rows have no ids,
//!   and two may be alike in everything. Without rows the `<tbody>` has one row of one cell (`colspan`):
//!   `No transactions.`
//!   ```html
//!   <tr class="odd pending"><td>20 Mar 2026</td><td>&nbsp;</td>
//!     <td class='text'>TEA &amp; TOAST &#39;TO GO&#39;</td><td>Blue Door</td>
//!     <td class=amt align="right">-3.20&nbsp;GBP</td></tr>
//!   ```
//! * If there are older rows: `<a class='more' href="/portal/accounts/22289001?from=2026-01-01&amp;to=2026-03-20&amp;page=2" rel=next>Older &raquo;</a>`.
//!   Pages are counted from the newest row: when a row is booked between two requests, all rows move on,
//!   and one is shown twice.
//!
//! `POST /portal/logout`, no form → 303, `location: /portal/login`; the session is over.
//!
//! While the bank is being improved ([`crate::bank::Bank::maintenance`], or the fault `Maintenance` for one
//! request) every path answers **200**, no cookie, and the text
//! `We are improving our service. Please come back later.`
//!
//! How things are written: days `20 Mar 2026`; times with seconds, UTC; amounts `-1,234.56`, the sign in
//! front, positive when money arrives, as many decimals as the currency has. Attributes stand in any order,
//! quoted with `"` or `'` or not at all; cells may begin and end with white space that does not belong to
//! them; of entities there are `&amp; &lt; &gt; &quot; &#39; &pound; &nbsp; &copy; &ndash; &raquo;` and
//! hexadecimal ones for other letters (`&#xE9;`). Comments may hold tags.
//!
//! Must not know: what other doors answer.

use super::Visit;
use super::html;
use super::login::Refused;
use super::portal_pages as pages;
use super::rows;
use crate::bank::books::Entry;
use crate::bank::fault::PathKind;
use crate::bank::random::Random;
use crate::bank::spoil::Answer;
use crate::bank::{Shared, State};
use axum::http::{StatusCode, header};
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use serde::Deserialize;
use std::collections::HashMap;

/// A session ends so long after its last page; a form, so long after it was served.
const IDLE_MAX: TimeDelta = TimeDelta::minutes(10);
/// What `from` is if it is left out.
const WINDOW_DAYS: Days = Days::new(90);

/// A login form that was served and not sent back yet.
#[derive(Debug)]
struct Form {
    csrf: String,
    served_at: DateTime<Utc>,
}

#[derive(Debug)]
struct Session {
    cookie: String,
    seen_at: DateTime<Utc>,
}

/// Forms and sessions.
#[derive(Debug)]
pub(super) struct Portal {
    pub(super) maintenance: bool,
    /// By the cookie they came with.
    forms: HashMap<String, Form>,
    /// By customer: nobody has two.
    sessions: HashMap<String, Session>,
    random: Random,
}

impl Portal {
    pub(super) fn new(seed: u64) -> Self {
        let random = Random::new(seed ^ 0x706f_7274_616c);
        Self { maintenance: false, forms: HashMap::new(), sessions: HashMap::new(), random }
    }

    /// The form with something to say above it.
    fn form(&mut self, now: DateTime<Utc>, notice: Option<&str>) -> Answer {
        self.forms.retain(|_, form| now - form.served_at < IDLE_MAX);
        let (cookie, csrf) = (self.random.token("f"), self.random.token(""));
        let mut answer = pages::login(&csrf, notice);
        answer.header(header::SET_COOKIE.as_str(), &set_cookie(&cookie));
        self.forms.insert(cookie, Form { csrf, served_at: now });
        answer
    }

    fn open(&mut self, customer: String, now: DateTime<Utc>) -> Answer {
        let cookie = self.random.token("s");
        let answer = html::see_other("/portal/accounts", Some(&set_cookie(&cookie)));
        self.sessions.insert(customer, Session { cookie, seen_at: now });
        answer
    }

    /// The customer whose session this is; it lives on.
    fn customer(&mut self, cookie: Option<&str>, now: DateTime<Utc>) -> Option<String> {
        self.sessions.retain(|_, session| now - session.seen_at < IDLE_MAX);
        let found = self.sessions.iter_mut().find(|(_, session)| Some(session.cookie.as_str()) == cookie);
        let (customer, session) = found?;
        session.seen_at = now;
        Some(customer.clone())
    }
}

fn set_cookie(value: &str) -> String {
    format!("portal_session={value}; Path=/portal; HttpOnly; SameSite=Lax")
}

fn cookie<'a>(visit: &'a Visit<'_>) -> Option<&'a str> {
    visit.header("cookie").split(';').find_map(|pair| pair.trim().strip_prefix("portal_session="))
}

pub(super) fn answer(shared: &Shared, visit: &Visit<'_>) -> Answer {
    let state = &mut *shared.state();
    let (portal, now) = (&mut state.doors.portal, visit.now);
    if portal.maintenance {
        return html::maintenance();
    }
    match visit.kind {
        PathKind::PortalForm => return portal.form(now, None),
        PathKind::PortalLogin => return login(state, visit),
        _ => {}
    }
    let Some(customer) = portal.customer(cookie(visit), now) else {
        return html::see_other("/portal/login", None);
    };
    match visit.kind {
        PathKind::PortalAccounts => accounts(state, &customer, now),
        PathKind::PortalAccount => account(state, &customer, visit, shared.config.page_rows),
        _ => {
            portal.sessions.remove(&customer);
            html::see_other("/portal/login", Some("portal_session=; Path=/portal; HttpOnly; Max-Age=0"))
        }
    }
}

fn login(state: &mut State, visit: &Visit<'_>) -> Answer {
    let (doors, form) = (&mut state.doors, html::form(visit.body));
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let served = cookie(visit).and_then(|cookie| doors.portal.forms.remove(cookie));
    let good = |served: Form| served.csrf == field("csrf") && visit.now - served.served_at < IDLE_MAX;
    if !served.is_some_and(good) {
        return pages::notice(
            StatusCode::FORBIDDEN,
            "This form is no longer valid. Please open the page again.",
        );
    }
    match doors.logins.with_password(field("username"), field("password")) {
        Ok(customer) => doors.portal.open(customer, visit.now),
        Err(Refused::Wrong) => doors.portal.form(visit.now, Some("Your user name or password is wrong.")),
        Err(Refused::Locked) => pages::notice(StatusCode::OK, "Your access is locked. Please call us."),
    }
}

fn accounts(state: &State, customer: &str, now: DateTime<Utc>) -> Answer {
    let known = state.access.customer(customer).map(|customer| customer.accounts.as_slice());
    let accounts = known.unwrap_or_default().iter().filter_map(|id| state.books.account(id).ok());
    // Booked fails only if the ledger is broken, which the audit of every test would tell.
    let lines = accounts.map(|account| (account, state.books.booked(account).unwrap_or_default()));
    pages::accounts(lines, now)
}

#[derive(Deserialize)]
struct Query {
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    page: Option<usize>,
}

fn account(state: &State, customer: &str, visit: &Visit<'_>, page_rows: usize) -> Answer {
    let id = visit.id.unwrap_or_default();
    let owned =
        state.access.customer(customer).is_ok_and(|customer| customer.accounts.iter().any(|a| a == id));
    let Some(account) = state.books.account(id).ok().filter(|_| owned) else {
        return pages::notice(StatusCode::NOT_FOUND, "We do not know this account.");
    };
    let asked: Option<Query> = serde_urlencoded::from_str(visit.query).ok();
    let Some(asked) = asked.filter(|asked| asked.page != Some(0)) else {
        return pages::notice(StatusCode::BAD_REQUEST, "Please check the dates.");
    };
    let to = asked.to.unwrap_or(visit.now.date_naive());
    let from = asked.from.or(to.checked_sub_days(WINDOW_DAYS)).unwrap_or(to);
    let (page, page_rows) = (asked.page.unwrap_or(1), page_rows.max(1));

    let rest = rows::of_days(account, from, to).iter().rev().skip((page - 1).saturating_mul(page_rows));
    let mut rest: Vec<&Entry> = rest.take(page_rows.saturating_add(1)).collect();
    let more = rest.len() > page_rows;
    rest.truncate(page_rows);
    let next = more.then(|| format!("/portal/accounts/{id}?from={from}&to={to}&page={}", page + 1));
    let standing = pages::Standing {
        booked: state.books.booked(account).unwrap_or_default(),
        available: state.books.available(account).unwrap_or_default(),
        at: visit.now,
    };
    pages::account(account, &standing, &rows::shown(&rest, &visit.tweak), next.as_deref())
}
