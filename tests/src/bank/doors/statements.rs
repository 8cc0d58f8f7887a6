//! The statements: a file of camt.053 for all accounts of a customer, given again and again until it is
//! acknowledged, and then forgotten.
//!
//! # The wire
//! Every request has HTTP Basic (RFC 7617) with the customer's user name and password. Without, or wrong →
//! 401, `www-authenticate: Basic realm="statements"`, no body. Locked after three wrong ones → 403, plain
//! text `Your access is locked. Please call us.`
//!
//! `GET /camt/statements` → 200, `content-type: application/xml; charset=utf-8`, `x-statement-id: st-000001`,
//! and one document of camt.053.001.08; or 204 without a body if nothing is new: no day has ended since the
//! end of the last acknowledged statement. The document covers the days since then up to the end of
//! yesterday (days of the bank's clock), for every account that the customer has; the first one for an
//! account covers the last 90 days, or the days since it was opened. Days without rows count: a statement
//! without `Ntry` says that the balance has not moved. Until it is acknowledged the same document comes
//! again, byte for byte, whatever has happened and however many days have passed.
//!
//! `POST /camt/statements/{x-statement-id}/acknowledge`, no body → 204. The document is forgotten and never
//! given again; the next one goes on where it ended. An id that is unknown, another customer's, or
//! acknowledged before → 404, plain text `There is no such statement.`
//!
//! `GET /camt/accounts` → 200, `application/xml`: `<Accounts>` without a namespace, and in it one `Acct` per
//! account, the same element as in a statement. (A reader that collects `Acct` wherever it stands reads both,
//! and other banks' statements too.)
//!
//! ```xml
//! <?xml version="1.0" encoding="UTF-8"?>
//! <Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>
//! <GrpHdr><MsgId>st-000001</MsgId><CreDtTm>2026-03-20T12:00:00+00:00</CreDtTm></GrpHdr>
//! <Stmt><Id>st-000001-1</Id><ElctrncSeqNb>1</ElctrncSeqNb><CreDtTm>2026-03-20T12:00:00+00:00</CreDtTm>
//! <FrToDt><FrDtTm>2025-12-20T00:00:00+00:00</FrDtTm><ToDtTm>2026-03-19T23:59:59+00:00</ToDtTm></FrToDt>
//! <Acct><Id><IBAN>GB17DEMO40051560000001</IBAN></Id><Tp><Cd>CACC</Cd></Tp><Ccy>GBP</Ccy>
//! <Nm>Everyday</Nm><Ownr><Nm>Ada Lovelace</Nm></Ownr>
//! <Svcr><FinInstnId><BICFI>DEMOGB2LXXX</BICFI></FinInstnId></Svcr></Acct>
//! <Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="GBP">0.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>
//! <Dt><Dt>2025-12-20</Dt></Dt></Bal>
//! <Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="GBP">1234.56</Amt>…<Dt><Dt>2026-03-19</Dt></Dt></Bal>
//! <Ntry><NtryRef>1</NtryRef><Amt Ccy="GBP">3.20</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
//! <BookgDt><DtTm>2026-03-19T08:14:02+00:00</DtTm></BookgDt><ValDt><Dt>2026-03-20</Dt></ValDt>
//! <AcctSvcrRef>9f3c…0000002a</AcctSvcrRef>
//! <BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>CCRD</Cd><SubFmlyCd>POSD</SubFmlyCd></Fmly></Domn></BkTxCd>
//! <NtryDtls><TxDtls><Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs>
//! <RltdPties><Cdtr><Pty><Nm>Blue Door</Nm></Pty></Cdtr></RltdPties>
//! <RmtInf><Ustrd>FLAT WHITE</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>
//! </Stmt>…</BkToCstmrStmt></Document>
//! ```
//! * One `Stmt` per account, with two balances: `OPBD`, at the start of the first day, and `CLBD`, at the end
//!   of the last. Opening plus rows is closing, and closing is the opening of the account's next statement.
//!   `ElctrncSeqNb` counts an account's statements from 1 without a gap. An account is its IBAN: no other id.
//! * `Ntry` is a booked row, in the order of booking; `Amt` has no sign, `CdtDbtInd` says `DBIT` or `CRDT`.
//!   `BookgDt` and `ValDt` hold a `Dt`, or for card payments `BookgDt` a `DtTm`.
//! * `AcctSvcrRef` is the bank's own and never given twice, except that rows of interest have the word
//!   `NOTPROVIDED` there, which is no reference. `NtryRef` is the row's place in this statement, no id, and
//!   every fifth row of an account has none.
//! * The counterparty is `Cdtr` of a debit, `Dbtr` of a credit; an unknown one is `NOTPROVIDED`, or (for
//!   interest) `RltdPties` is missing. `EndToEndId` is `NOTPROVIDED` but for direct debits and wages.
//! * `Ustrd` holds at most 140 characters; a longer text stands in several, cut at a space (or within a word
//!   that is longer): joined by one space they are the text.
//! * A row that an acknowledged statement held and that the bank has taken back since is reversed: a row with
//!   `<RvslInd>true</RvslInd>` (after `CdtDbtInd`), the opposite `CdtDbtInd`, the last day of the statement
//!   as `BookgDt`, and the old `AcctSvcrRef` followed by `-R`. If its amount was corrected, the corrected row
//!   follows under the old reference and its own day. A text alone is not corrected. A row that is booked late
//!   stands in the next statement with its own, older `BookgDt`.
//!
//! Must not know: what other doors answer.

use super::Visit;
use super::camt;
use super::login::Refused;
use super::rows::is_booked;
use crate::bank::books::{Account, Entry};
use crate::bank::fault::PathKind;
use crate::bank::spoil::Answer;
use crate::bank::{Shared, State};
use axum::http::{StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Days, NaiveDate, Utc};
use std::collections::btree_map::Entry as BTreeEntry;
use std::collections::{BTreeMap, HashMap};

/// How far back the first statement of an account goes.
const FIRST_DAYS: Days = Days::new(90);

/// A statement that waits to be acknowledged.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) id: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) accounts: Vec<AccountStatement>,
}

/// What a statement says about one account; the amounts in minor units.
#[derive(Debug, Clone)]
pub(super) struct AccountStatement {
    /// As it was, without its entries.
    pub(super) account: Account,
    pub(super) sequence: u32,
    /// The first and the last day.
    pub(super) days: (NaiveDate, NaiveDate),
    pub(super) opening: i64,
    pub(super) closing: i64,
    pub(super) lines: Vec<Line>,
}

#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) entry: Entry,
    /// Takes the entry back.
    pub(super) reversal: bool,
}

/// How far an account was stated.
#[derive(Debug, Clone)]
struct Stated {
    sequence: u32,
    /// The last day.
    until: NaiveDate,
    closing: i64,
    /// All entries that statements have held, by serial number, as they were.
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug, Default)]
struct Customer {
    /// Given, and not acknowledged; and what is stated once it is, by account number.
    waiting: Option<(File, HashMap<String, Stated>)>,
    stated: HashMap<String, Stated>,
}

/// What was stated to whom.
#[derive(Debug, Default)]
pub(super) struct Statements {
    customers: HashMap<String, Customer>,
    given: u32,
}

impl Stated {
    /// Where the first statement of an account begins.
    fn before_the_first(account: &Account, today: NaiveDate) -> Self {
        let opened = account.opened_at.date_naive();
        let first = today.checked_sub_days(FIRST_DAYS).map_or(opened, |first| first.max(opened));
        let until = first.pred_opt().unwrap_or(first);
        let old = account.entries.iter().filter(|entry| entry.booked_at.date_naive() <= until);
        let entries: BTreeMap<u64, Entry> =
            old.filter(|entry| is_booked(entry)).map(|entry| (entry.serial, entry.clone())).collect();
        Self { sequence: 0, until, closing: entries.values().map(|entry| entry.minor).sum(), entries }
    }

    /// The next statement of the account, up to that day; it counts as stated.
    fn next(&mut self, account: &Account, until: NaiveDate) -> AccountStatement {
        let listed: HashMap<u64, &Entry> = account
            .entries
            .iter()
            .filter(|entry| is_booked(entry))
            .map(|entry| (entry.serial, entry))
            .collect();
        let stands = |old: &Entry| listed.get(&old.serial).is_some_and(|entry| entry.minor == old.minor);
        let gone: Vec<u64> = self.entries.values().filter(|old| !stands(old)).map(|old| old.serial).collect();
        let reversals = gone.iter().filter_map(|serial| self.entries.remove(serial));
        let mut lines: Vec<Line> = reversals.map(|entry| Line { entry, reversal: true }).collect();
        let due = account.entries.iter().filter(|entry| is_booked(entry));
        let due = due.filter(|entry| entry.booked_at.date_naive() <= until);
        for entry in due {
            if let BTreeEntry::Vacant(free) = self.entries.entry(entry.serial) {
                free.insert(entry.clone());
                lines.push(Line { entry: entry.clone(), reversal: false });
            }
        }
        let moved: i64 = lines.iter().map(Line::minor).sum();
        let (opening, closing) = (self.closing, self.closing.saturating_add(moved));
        let days = (self.until.succ_opt().unwrap_or(until), until);
        (self.sequence, self.until, self.closing) = (self.sequence + 1, until, closing);
        let mut account = account.clone();
        account.entries.clear();
        AccountStatement { account, sequence: self.sequence, days, opening, closing, lines }
    }
}

impl Line {
    pub(super) fn minor(&self) -> i64 {
        if self.reversal { -self.entry.minor } else { self.entry.minor }
    }
}

impl Statements {
    /// The file that the customer has not acknowledged, or a new one if a day has ended.
    fn file(&mut self, customer: &str, accounts: &[&Account], now: DateTime<Utc>) -> Option<&File> {
        let known = self.customers.entry(customer.to_owned()).or_default();
        if known.waiting.is_none() {
            let today = now.date_naive();
            let yesterday = today.pred_opt()?;
            let (mut stated, mut due) = (known.stated.clone(), Vec::new());
            for account in accounts {
                let number = account.number.clone();
                let so_far = stated.entry(number).or_insert_with(|| Stated::before_the_first(account, today));
                if so_far.until < yesterday {
                    due.push(so_far.next(account, yesterday));
                }
            }
            if due.is_empty() {
                return None;
            }
            self.given += 1;
            let file = File { id: format!("st-{:06}", self.given), created_at: now, accounts: due };
            known.waiting = Some((file, stated));
        }
        known.waiting.as_ref().map(|(file, _)| file)
    }

    /// Forgets the file; false if it is not the one that waits.
    fn acknowledge(&mut self, customer: &str, id: &str) -> bool {
        let Some(known) = self.customers.get_mut(customer) else { return false };
        match known.waiting.take_if(|(file, _)| file.id == id) {
            Some((_, stated)) => {
                known.stated = stated;
                true
            }
            None => false,
        }
    }
}

pub(super) fn answer(shared: &Shared, visit: &Visit<'_>) -> Answer {
    let State { books, access, doors, .. } = &mut *shared.state();
    let (user, password) = basic(visit.header("authorization")).unwrap_or_default();
    let customer = match doors.logins.with_password(&user, &password) {
        Ok(customer) => customer,
        Err(Refused::Locked) => {
            return super::text(StatusCode::FORBIDDEN, "Your access is locked. Please call us.");
        }
        Err(Refused::Wrong) => {
            let mut answer = Answer::new(StatusCode::UNAUTHORIZED, Vec::new());
            answer.header(header::WWW_AUTHENTICATE.as_str(), "Basic realm=\"statements\"");
            return answer;
        }
    };
    let owned = access.customer(&customer).map(|customer| customer.accounts.as_slice()).unwrap_or_default();
    let accounts: Vec<&Account> = owned.iter().filter_map(|id| books.account(id).ok()).collect();
    let nothing = || Answer::new(StatusCode::NO_CONTENT, Vec::new());
    match visit.kind {
        PathKind::CamtAccounts => xml(camt::accounts(&accounts)),
        PathKind::CamtStatements => match doors.statements.file(&customer, &accounts, visit.now) {
            None => nothing(),
            Some(file) => {
                let mut answer = xml(camt::document(file, &visit.tweak));
                answer.header("x-statement-id", &file.id);
                answer
            }
        },
        _ if doors.statements.acknowledge(&customer, visit.id.unwrap_or_default()) => nothing(),
        _ => super::text(StatusCode::NOT_FOUND, "There is no such statement."),
    }
}

fn basic(header: &str) -> Option<(String, String)> {
    let pair = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let (user, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn xml(document: String) -> Answer {
    let mut answer = Answer::new(StatusCode::OK, document.into_bytes());
    answer.header(header::CONTENT_TYPE.as_str(), "application/xml; charset=utf-8");
    answer
}
