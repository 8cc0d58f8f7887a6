//! The dialogue: numbered messages of segments, a PIN, and a one-time code in the middle. FinTS in
//! spirit, none of its codes' fine print.
//!
//! # The wire
//! `POST /dialogue/open`, `/dialogue/confirm`, `/dialogue/message`, `/dialogue/end`. Body and answer are
//! each the base64 (RFC 4648, padded, one line) of one message. The status is always 200, the content type
//! of an answer `text/plain`; that of a request is not looked at.
//!
//! A message is segments, each ended by `'`; a segment is its name and elements, set apart by `+`. Within
//! an element `?` stands before `? + : ' @`, and nowhere else. UTF-8. The first segment is
//! `HDR+<length>+<dialogue>+<number>'`: the length of the whole message in bytes before base64, this
//! segment included, in exactly 12 digits; the dialogue id, `0` in `open`; the message's number. With the
//! PIN `12345` and nothing known yet, `open` sends the base64 of
//! ```text
//! HDR+000000000044+0+1'LOG+user000001+12345+0'
//! ```
//! An answer has the number of the message that it answers, and the dialogue's id, or `0` where the bank
//! knows no dialogue.
//!
//! **`open`**, number 1, dialogue `0`: `LOG+<user>+<PIN>+<system id>'`, with system id `0` if none was
//! ever given. Answers (after `HDR`):
//! * `DLG+<dialogue id>'RET+0010+ok'`: open;
//! * `DLG+<dialogue id>'RET+3060+Please confirm'TAN+<challenge reference>+<challenge text>'`: the system
//!   id is `0` or not this customer's, or its last code is 90 days old. A code of 6 digits went to the
//!   customer's telephone; the text says to which, e.g. `Please enter the code that we sent to the
//!   telephone ending in 42.`
//! * `RET+9340+PIN wrong'`, also for an unknown user; `RET+9930+locked'` from the third wrong PIN in a row
//!   on. No dialogue.
//!
//! **`confirm`**: `OTP+<challenge reference>+<code>'`. Answers:
//! * `RET+0010+ok'SYS+<system id>'`: open. Sent in later `open`s, this system id saves the code for 90
//!   days; a system id that was sent and confirmed again stays the same.
//! * `RET+9941+code wrong'`, also for a wrong reference: try again, with the next number;
//! * `RET+9800+dialogue ended'`: the third wrong code;
//! * `RET+9951+code expired'`: more than 5 minutes have passed. The dialogue is over.
//!
//! **`message`**, exactly one segment:
//! * `ACC'` → `RET+0010+ok'` and per account `ACC+<account>+<IBAN>+<name>+<owner>+<currency>'`;
//! * `BAL+<account>'` → `RET+0010+ok'BAL+<account>+<C|D>+<amount>+<currency>+<date>+<time>'`: the booked
//!   balance at this moment;
//! * `TRN+<account>+<from>+<to>+<touch-down>'`, the touch-down empty at first → `RET+0010+ok'`, or
//!   `RET+3040+<touch-down>'` if there is more (ask again with the same days and this touch-down), and the
//!   page's rows, **booked only**, with a booking day in there (both inclusive), oldest first:
//!   `ROW+<date>+<value date>+<C|D>+<amount>+<currency>+<text>+<counterparty or empty>'`. Rows have no ids;
//!   two may be alike in everything. A page starts after the last row of the page before.
//! * `RET+9210+account unknown'`: not this customer's. The dialogue goes on.
//!
//! **`end`**: `END'` → `RET+0010+ok'`, and the dialogue is over.
//!
//! Dates are `YYYYMMDD`, times `HHMMSS`, UTC. Amounts have no sign and a comma, all decimals of the
//! currency (`1234,56`; `1200,` in yen); `C` is money that arrives or a balance of zero or more.
//! ```text
//! HDR+000000000106+d-k3Yw+4'RET+3040+MTc3'ROW+20260320+20260321+D+3,20+GBP+BLUE DOOR?: FLAT WHITE+Blue Door'
//! ```
//!
//! What can go wrong besides:
//! * `RET+9110+message not understood'`: no base64, a wrong length, a wrong escape, no `HDR`, or (in an
//!   intact message) a segment that has no place there, or elements that are no dates or touch-downs. In
//!   the first case (dialogue `0`, number `0` in the answer) nothing has happened; in the other the number is
//!   used up and the dialogue goes on.
//! * `RET+9800+dialogue ended'`: the number is not the last one plus one, the dialogue is unknown or over,
//!   10 minutes have passed since its last message, `message` before the code was confirmed, or `confirm`
//!   where no code was asked for. A dialogue that was there is over now.
//!
//! Must not know: what other doors answer.

use super::Visit;
use super::iban::iban;
use super::login::Refused;
use super::rows::{self, Place, Shown, is_booked};
use super::segments::{self, Message, Segment};
use crate::bank::fault::PathKind;
use crate::bank::money;
use crate::bank::random::Random;
use crate::bank::spoil::Answer;
use crate::bank::{Shared, State};
use axum::http::{StatusCode, header};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use std::collections::HashMap;

/// A dialogue ends so long after its last message.
const IDLE_MAX: TimeDelta = TimeDelta::minutes(10);
/// How long a code is good.
const CODE_LIVES: TimeDelta = TimeDelta::minutes(5);
/// Wrong codes that end a dialogue.
const WRONG_CODES_MAX: u8 = 3;
/// After so long, a known system is asked for a code again.
const SYSTEM_LIVES: TimeDelta = TimeDelta::days(90);

/// A code that a dialogue waits for.
#[derive(Debug)]
struct Challenge {
    reference: String,
    code: String,
    sent_at: DateTime<Utc>,
    wrong: u8,
    /// The system that is made known by it, if the customer's; else there will be a new one.
    system: Option<String>,
}

#[derive(Debug)]
struct Dialogue {
    customer: String,
    /// The number of the last message.
    number: u32,
    seen_at: DateTime<Utc>,
    challenge: Option<Challenge>,
}

#[derive(Debug)]
struct System {
    customer: String,
    confirmed_at: DateTime<Utc>,
}

/// Open dialogues, and the systems that customers have confirmed.
#[derive(Debug)]
pub(super) struct Dialogues {
    open: HashMap<String, Dialogue>,
    systems: HashMap<String, System>,
    /// The code sent last, by customer.
    codes: HashMap<String, String>,
    random: Random,
}

fn segment(elements: &[&str]) -> Segment {
    elements.iter().map(|element| (*element).to_owned()).collect()
}

fn said(code: &str, text: &str) -> Vec<Segment> {
    vec![segment(&["RET", code, text])]
}

fn ok() -> Vec<Segment> {
    said("0010", "ok")
}

fn ended() -> Vec<Segment> {
    said("9800", "dialogue ended")
}

fn not_understood() -> Vec<Segment> {
    said("9110", "message not understood")
}

impl Dialogues {
    pub(super) fn new(seed: u64) -> Self {
        let random = Random::new(seed ^ 0x6469_616c_6f67);
        Self { open: HashMap::new(), systems: HashMap::new(), codes: HashMap::new(), random }
    }

    pub(super) fn last_otp(&self, customer: &str) -> Option<String> {
        self.codes.get(customer).cloned()
    }

    /// A new dialogue of a customer whose PIN was right: its id, and what it begins with.
    fn begin(
        &mut self,
        customer: String,
        system: &str,
        phone: &str,
        now: DateTime<Utc>,
    ) -> (String, Vec<Segment>) {
        let id = self.random.token("d-");
        let known = self.systems.get(system).filter(|known| known.customer == customer);
        let fresh = known.is_some_and(|known| now - known.confirmed_at < SYSTEM_LIVES);
        let system = known.map(|_| system.to_owned());
        let mut answer = vec![segment(&["DLG", &id])];
        let challenge = (!fresh).then(|| Challenge {
            reference: self.random.token("t-"),
            code: format!("{:06}", self.random.between(0, 999_999)),
            sent_at: now,
            wrong: 0,
            system,
        });
        match &challenge {
            None => answer.extend(ok()),
            Some(challenge) => {
                self.codes.insert(customer.clone(), challenge.code.clone());
                let ending: String = phone.chars().skip(phone.chars().count().saturating_sub(2)).collect();
                let text = format!("Please enter the code that we sent to the telephone ending in {ending}.");
                answer.extend(said("3060", "Please confirm"));
                answer.push(segment(&["TAN", &challenge.reference, &text]));
            }
        }
        let dialogue = Dialogue { customer, number: 1, seen_at: now, challenge };
        self.open.insert(id.clone(), dialogue);
        (id, answer)
    }

    /// The dialogue that a message goes on with; none, and it is over, if the message is out of turn.
    fn next(&mut self, message: &Message, now: DateTime<Utc>) -> Option<&mut Dialogue> {
        self.open.retain(|_, dialogue| now - dialogue.seen_at < IDLE_MAX);
        let dialogue = self.open.get_mut(&message.dialogue)?;
        if dialogue.number.checked_add(1) != Some(message.number) {
            self.open.remove(&message.dialogue);
            return None;
        }
        (dialogue.number, dialogue.seen_at) = (message.number, now);
        self.open.get_mut(&message.dialogue)
    }

    /// The answer to a code, and whether the dialogue is over.
    fn confirm(&mut self, id: &str, given: &Segment, now: DateTime<Utc>) -> (Vec<Segment>, bool) {
        let Some(dialogue) = self.open.get_mut(id) else { return (ended(), true) };
        let Some(challenge) = &mut dialogue.challenge else { return (ended(), true) };
        let [name, reference, code] = given.as_slice() else { return (not_understood(), false) };
        if name != "OTP" {
            return (not_understood(), false);
        }
        if now - challenge.sent_at > CODE_LIVES {
            return (said("9951", "code expired"), true);
        }
        if *reference != challenge.reference || *code != challenge.code {
            challenge.wrong += 1;
            let over = challenge.wrong >= WRONG_CODES_MAX;
            return (if over { ended() } else { said("9941", "code wrong") }, over);
        }
        let known = challenge.system.take();
        dialogue.challenge = None;
        let system = known.unwrap_or_else(|| self.random.token("y-"));
        let confirmed = System { customer: dialogue.customer.clone(), confirmed_at: now };
        self.systems.insert(system.clone(), confirmed);
        ([ok(), vec![segment(&["SYS", &system])]].concat(), false)
    }
}

pub(super) fn answer(shared: &Shared, visit: &Visit<'_>) -> Answer {
    let body = match segments::read(visit.body) {
        None => segments::write("0", 0, &not_understood()),
        Some(message) => {
            let state = &mut *shared.state();
            let (dialogue, segments) = match visit.kind {
                PathKind::DialogueOpen => open(state, &message, visit.now),
                _ => go_on(state, &message, visit, shared.config.page_rows),
            };
            segments::write(&dialogue, message.number, &segments)
        }
    };
    let mut answer = Answer::new(StatusCode::OK, body);
    answer.header(header::CONTENT_TYPE.as_str(), "text/plain");
    answer
}

fn open(state: &mut State, message: &Message, now: DateTime<Utc>) -> (String, Vec<Segment>) {
    let none = |segments| ("0".to_owned(), segments);
    if message.dialogue != "0" || message.number != 1 {
        return none(ended());
    }
    let [login] = message.segments.as_slice() else { return none(not_understood()) };
    let [name, user, pin, system] = login.as_slice() else { return none(not_understood()) };
    if name != "LOG" {
        return none(not_understood());
    }
    match state.doors.logins.with_pin(user, pin) {
        Err(Refused::Wrong) => none(said("9340", "PIN wrong")),
        Err(Refused::Locked) => none(said("9930", "locked")),
        Ok(customer) => {
            let phone = state.doors.logins.of(&customer).map(|login| login.phone).unwrap_or_default();
            state.doors.dialogues.begin(customer, system, &phone, now)
        }
    }
}

/// What a message within a dialogue is answered with.
fn go_on(
    state: &mut State,
    message: &Message,
    visit: &Visit<'_>,
    page_rows: usize,
) -> (String, Vec<Segment>) {
    let dialogues = &mut state.doors.dialogues;
    let Some(dialogue) = dialogues.next(message, visit.now) else { return ("0".to_owned(), ended()) };
    let (customer, open) = (dialogue.customer.clone(), dialogue.challenge.is_none());
    let only = match message.segments.as_slice() {
        [only] => only.clone(),
        _ => Segment::new(),
    };
    let (answer, over) = match visit.kind {
        PathKind::DialogueConfirm => dialogues.confirm(&message.dialogue, &only, visit.now),
        PathKind::DialogueEnd if only == ["END"] => (ok(), true),
        PathKind::DialogueMessage if !open => (ended(), true),
        PathKind::DialogueMessage => (read(state, &customer, &only, visit, page_rows), false),
        _ => (not_understood(), false),
    };
    if over {
        state.doors.dialogues.open.remove(&message.dialogue);
    }
    (message.dialogue.clone(), answer)
}

fn read(state: &State, customer: &str, asked: &Segment, visit: &Visit<'_>, page_rows: usize) -> Vec<Segment> {
    let owned = state.access.customer(customer).map(|customer| customer.accounts.as_slice());
    let owned = owned.unwrap_or_default();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    if let ["ACC"] = asked.as_slice() {
        let accounts = owned.iter().filter_map(|id| state.books.account(id).ok());
        let line = |account: &crate::bank::books::Account| {
            let number = iban(&account.number);
            segment(&["ACC", &account.id, &number, &account.nickname, &account.owner, &account.currency])
        };
        return ok().into_iter().chain(accounts.map(line)).collect();
    }
    let (["BAL", id] | ["TRN", id, _, _, _]) = asked.as_slice() else { return not_understood() };
    let account = state.books.account(id).ok().filter(|_| owned.iter().any(|own| own == id));
    let Some(account) = account else { return said("9210", "account unknown") };
    let currency = account.currency.as_str();
    let ["TRN", _, from, to, touch_down] = asked.as_slice() else {
        // Fails only if the ledger is broken, which the audit of every test would tell.
        let booked = state.books.booked(account).unwrap_or_default();
        let (date, time) = (visit.now.format("%Y%m%d").to_string(), visit.now.format("%H%M%S").to_string());
        let line = segment(&["BAL", id, mark(booked), &amount(booked, currency), currency, &date, &time]);
        return [ok(), vec![line]].concat();
    };
    let day = |text: &str| NaiveDate::parse_from_str(text, "%Y%m%d").ok().filter(|_| text.len() == 8);
    let after = Some(*touch_down).filter(|text| !text.is_empty()).map(Place::read);
    let (Some(from), Some(to), None | Some(Some(_))) = (day(from), day(to), after) else {
        return not_understood();
    };
    let booked = rows::of_days(account, from, to).iter().filter(|entry| is_booked(entry));
    let (page, more) = rows::page(booked, after.flatten(), page_rows);
    let first = more.map_or_else(ok, |place| vec![segment(&["RET", "3040", &place.text()])]);
    let shown = rows::shown(&page, &visit.tweak);
    first.into_iter().chain(shown.iter().map(|row| line(row, currency))).collect()
}

fn mark(minor: i64) -> &'static str {
    if minor < 0 { "D" } else { "C" }
}

fn amount(minor: i64, currency: &str) -> String {
    let plain = money::unsigned_text(minor, currency);
    if plain.contains('.') { plain.replace('.', ",") } else { format!("{plain},") }
}

fn line(row: &Shown<'_>, currency: &str) -> Segment {
    let entry = row.entry;
    let day = |at: DateTime<Utc>| at.format("%Y%m%d").to_string();
    let written = row.amount.map_or_else(|| amount(entry.minor, currency), str::to_owned);
    let (booked, valued) = (day(entry.booked_at), day(entry.valued_at.unwrap_or(entry.booked_at)));
    let other = entry.merchant.as_deref().unwrap_or("");
    segment(&["ROW", &booked, &valued, mark(entry.minor), &written, currency, row.text, other])
}
