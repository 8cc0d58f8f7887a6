//! What a guest said, checked and turned into domain types, or refused: the answer of a connector
//! is hostile until it has been through here.

use super::guest::wit;
use super::limits::Limits;
use crate::model::*;
use chrono::NaiveDate;

/// Bytes of a bank's id of an account or transaction.
const BANK_ID_BYTES_MAX: usize = 256;
/// Characters of a narration.
const TEXT_CHARS_MAX: usize = 2_000;
/// Characters of a name or number.
const NAME_CHARS_MAX: usize = 256;
/// Bytes of a transaction's details.
const DETAILS_BYTES_MAX: usize = 16 << 10;
/// Balances of one page: kinds times currencies, with room.
const BALANCES_MAX: usize = 64;
/// Characters of a prompt.
const PROMPT_CHARS_MAX: usize = 1_000;
/// Fields of one form: more than a customer would fill in.
const FORM_FIELDS_MAX: usize = 8;
/// Parameters that come back from a redirect: code, state, and a few of the bank's own.
const RETURNED_MAX: usize = 8;
/// Milliseconds until a waiting connector is asked again: soon enough for a customer who looks at
/// the screen, seldom enough for the bank.
const WAIT_MS: std::ops::RangeInclusive<u32> = 1_000..=60_000;
/// Scopes of a consent: UK Open Banking knows about twenty.
const SCOPES_MAX: usize = 64;
/// Characters of a field path in `unreadable`.
const FIELD_CHARS_MAX: usize = 64;

/// A rule of the contract that an answer breaks, in words for the connector's author.
pub(super) type Broken = String;

fn at_most(what: &str, count: usize, max: usize) -> Result<(), Broken> {
    if count > max { Err(format!("{what}: {count}, at most {max} allowed")) } else { Ok(()) }
}

fn chars_at_most(what: &str, text: &str, max: usize) -> Result<(), Broken> {
    // Bytes bound characters from above: count only where that is not enough.
    if text.len() > max {
        at_most(&format!("characters of {what}"), text.chars().count(), max)
    } else {
        Ok(())
    }
}

pub(super) fn session(step: wit::SessionStep, limits: &Limits) -> Result<SessionStep, Broken> {
    Ok(match step {
        wit::SessionStep::Send(send) => SessionStep::Send(checked_send(send, limits)?),
        wit::SessionStep::AskCustomer(prompt) => SessionStep::AskCustomer(checked_prompt(prompt, limits)?),
        wit::SessionStep::Ready(info) => {
            checked_state(info.state.as_deref(), limits)?;
            SessionStep::Ready {
                valid_until: info.valid_until_ms.map(Timestamp::from_millis),
                state: info.state,
                consent: info.consent.map(checked_consent).transpose()?,
            }
        }
        wit::SessionStep::Fail(failure) => SessionStep::Fail(checked_failure(failure)),
    })
}

pub(super) fn accounts(step: wit::AccountsStep, limits: &Limits) -> Result<AccountsStep, Broken> {
    Ok(match step {
        wit::AccountsStep::Send(send) => AccountsStep::Send(checked_send(send, limits)?),
        wit::AccountsStep::Fail(failure) => AccountsStep::Fail(checked_failure(failure)),
        wit::AccountsStep::Done(listed) => {
            at_most("accounts", listed.len(), limits.accounts)?;
            let mut ids = std::collections::BTreeSet::new();
            let mut accounts = Vec::with_capacity(listed.len());
            for account in listed {
                at_most("bytes of an account's id", account.id.len(), BANK_ID_BYTES_MAX)?;
                chars_at_most("an account's name", &account.name, NAME_CHARS_MAX)?;
                chars_at_most(
                    "an account's number",
                    account.number.as_deref().unwrap_or(""),
                    NAME_CHARS_MAX,
                )?;
                if account.id.is_empty() || !ids.insert(account.id.clone()) {
                    return Err("an account's id is empty or given twice".into());
                }
                let currency = Currency::from_code(&account.currency)
                    .ok_or("an account's currency is not a three-letter ISO 4217 code")?;
                accounts.push(BankAccount {
                    bank_id: account.id,
                    name: account.name,
                    currency,
                    number: account.number,
                });
            }
            AccountsStep::Done(accounts)
        }
    })
}

pub(super) fn read(step: wit::ReadStep, wanted: &[Want], limits: &Limits) -> Result<ReadStep, Broken> {
    Ok(match step {
        wit::ReadStep::Send(send) => ReadStep::Send(checked_send(send, limits)?),
        wit::ReadStep::Fail(failure) => ReadStep::Fail(checked_failure(failure)),
        wit::ReadStep::Pages(more) => {
            at_most("pages in one answer", more.pages.len(), limits.pages_per_step)?;
            at_most("unread accounts in one answer", more.unread.len(), limits.accounts)?;
            let unread = more.unread.into_iter().map(|unread| refused_page(unread, wanted));
            let pages = more.pages.into_iter().map(|page| checked_page(page, wanted, limits));
            let pages = pages.chain(unread).collect::<Result<_, _>>()?;
            at_most("requests after the commit", more.after_commit.len(), limits.requests_per_step)?;
            ReadStep::Pages {
                pages,
                next: more.next.map(|send| checked_send(send, limits)).transpose()?,
                after_commit: more.after_commit.into_iter().map(request).collect(),
            }
        }
    })
}

fn is_wanted(account: &str, wanted: &[Want]) -> Result<(), Broken> {
    match wanted.iter().any(|want| want.account == account) {
        true => Ok(()),
        false => Err("a page names an account that was not wanted".into()),
    }
}

/// An account that the connector could not read.
fn refused_page(unread: wit::Unread, wanted: &[Want]) -> Result<Page, Broken> {
    is_wanted(&unread.account, wanted)?;
    let why = checked_failure(wit::Failure::Unreadable(unread.why));
    Ok(Page { account: unread.account, content: Err(why) })
}

fn checked_page(page: wit::Page, wanted: &[Want], limits: &Limits) -> Result<Page, Broken> {
    is_wanted(&page.account, wanted)?;
    at_most("rows of a page", page.transactions.len(), limits.page_rows)?;
    at_most("removed ids of a page", page.removed.len(), limits.page_rows)?;
    at_most("balances of a page", page.balances.len(), BALANCES_MAX)?;
    checked_state(page.state.as_deref(), limits)?;
    for id in &page.removed {
        at_most("bytes of a removed id", id.len(), BANK_ID_BYTES_MAX)?;
    }
    let mut content = PageContent {
        transactions: Vec::with_capacity(page.transactions.len()),
        removed: page.removed,
        balances: Vec::with_capacity(page.balances.len()),
        coverage: None,
        state: page.state,
    };
    // A row that cannot be read is the bank's doing: it refuses this account, not the connector.
    let unreadable = |row: usize, field: &str| Failure::Unreadable {
        row: u32::try_from(row).ok(),
        field: field.to_owned(),
    };
    let mut refused = None;
    for (row, given) in page.transactions.into_iter().enumerate() {
        match transaction(given)? {
            Ok(transaction) => content.transactions.push(transaction),
            Err(field) => {
                refused = Some(unreadable(row, field));
                break;
            }
        }
    }
    for (row, given) in page.balances.into_iter().enumerate() {
        match balance(given) {
            Ok(balance) => content.balances.push(balance),
            Err(field) => refused = refused.or(Some(unreadable(row, field))),
        }
    }
    content.coverage = page.coverage.map(coverage).transpose()?;
    Ok(Page { account: page.account, content: refused.map_or(Ok(content), Err) })
}

/// A row; or the field that cannot be read; or the rule that it breaks.
fn transaction(row: wit::Transaction) -> Result<Result<Transaction, &'static str>, Broken> {
    for id in [&row.id, &row.supersedes].into_iter().flatten() {
        at_most("bytes of a transaction's id", id.len(), BANK_ID_BYTES_MAX)?;
    }
    chars_at_most("a narration", &row.text, TEXT_CHARS_MAX)?;
    chars_at_most("a counterparty", row.counterparty.as_deref().unwrap_or(""), NAME_CHARS_MAX)?;
    at_most("bytes of a transaction's details", row.details.len(), DETAILS_BYTES_MAX)?;
    let is_object =
        row.details.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(&row.details).is_ok();
    if !is_object {
        return Err("a transaction's details are not a JSON object".into());
    }
    let money = match Money::parse(&row.amount, &row.currency) {
        Ok(money) => money,
        Err(BadAmount::Currency) => return Ok(Err("currency")),
        Err(_) => return Ok(Err("amount")),
    };
    let balance_after = match row.balance_after.as_deref().map(|amount| Money::parse(amount, &row.currency)) {
        None => None,
        Some(Ok(balance)) => Some(balance.minor),
        Some(Err(_)) => return Ok(Err("balance-after")),
    };
    let (Ok(booked_on), Ok(valued_on)) = (date(row.booked_on.as_deref()), date(row.valued_on.as_deref()))
    else {
        return Ok(Err("date"));
    };
    Ok(Ok(Transaction {
        bank_id: row.id,
        stability: match row.stability {
            wit::IdStability::Immutable => IdStability::Immutable,
            wit::IdStability::Provisional => IdStability::Provisional,
            wit::IdStability::Positional => IdStability::Positional,
            wit::IdStability::None => IdStability::None,
        },
        supersedes: row.supersedes,
        status: status(row.status),
        booked_on,
        valued_on,
        money,
        text: row.text,
        counterparty: row.counterparty,
        balance_after,
        details: row.details,
    }))
}

/// A balance; or the field that cannot be read.
fn balance(given: wit::Balance) -> Result<Balance, &'static str> {
    let money = match Money::parse(&given.amount, &given.currency) {
        Ok(money) => money,
        Err(BadAmount::Currency) => return Err("balance.currency"),
        Err(_) => return Err("balance.amount"),
    };
    let credit_included = match given.credit_included {
        wit::Credit::None => Credit::None,
        wit::Credit::Included(amount) => match Money::parse(&amount, &given.currency) {
            Ok(Money { minor: 0, .. }) => Credit::None,
            Ok(Money { minor, .. }) if minor > 0 => Credit::Included(minor),
            _ => return Err("balance.credit-included"),
        },
        wit::Credit::Unknown => Credit::Unknown,
    };
    Ok(Balance {
        kind: balance_kind(given.kind),
        money,
        as_of: given.as_of_ms.map(Timestamp::from_millis),
        includes_pending: given.includes_pending,
        credit_included,
    })
}

fn coverage(given: wit::Coverage) -> Result<Coverage, Broken> {
    let (Ok(Some(since)), Ok(Some(until))) =
        (date(Some(&given.window.since)), date(Some(&given.window.until)))
    else {
        return Err("a coverage window has a date that is not YYYY-MM-DD".into());
    };
    Ok(Coverage {
        snapshot: matches!(given.kind, wit::CoverageKind::Snapshot),
        window: Window { since, until },
        statuses: given.statuses.into_iter().map(status).collect(),
        complete: given.complete,
    })
}

/// `YYYY-MM-DD` and nothing else; absent stays absent.
fn date(text: Option<&str>) -> Result<Option<NaiveDate>, ()> {
    let Some(text) = text else { return Ok(None) };
    // chrono alone would also take signs, blanks and single digits.
    let shape = "YYYY-MM-DD".bytes();
    let fits = |(byte, wanted): (u8, u8)| if wanted == b'-' { byte == b'-' } else { byte.is_ascii_digit() };
    if text.len() != shape.len() || !text.bytes().zip(shape).all(fits) {
        return Err(());
    }
    text.parse().map(Some).map_err(|_| ())
}

fn status(status: wit::Status) -> TransactionStatus {
    match status {
        wit::Status::Pending => TransactionStatus::Pending,
        wit::Status::Booked => TransactionStatus::Booked,
    }
}

fn balance_kind(kind: wit::BalanceKind) -> BalanceKind {
    match kind {
        wit::BalanceKind::Booked => BalanceKind::Booked,
        wit::BalanceKind::Available => BalanceKind::Available,
        wit::BalanceKind::Opening => BalanceKind::Opening,
        wit::BalanceKind::Closing => BalanceKind::Closing,
        wit::BalanceKind::Expected => BalanceKind::Expected,
    }
}

fn checked_state(state: Option<&str>, limits: &Limits) -> Result<(), Broken> {
    at_most("bytes of state", state.map_or(0, str::len), limits.state_bytes)
}

fn checked_send(send: wit::Send, limits: &Limits) -> Result<Send, Broken> {
    at_most("requests of a step", send.requests.len(), limits.requests_per_step)?;
    at_most("bytes of memory", send.memory.len(), limits.memory_text_bytes)?;
    if send.requests.is_empty() {
        return Err("a step sends no request; answer with rows or a failure instead".into());
    }
    Ok(Send { requests: send.requests.into_iter().map(request).collect(), memory: send.memory })
}

fn checked_prompt(prompt: wit::Prompt, limits: &Limits) -> Result<Prompt, Broken> {
    chars_at_most("a prompt", &prompt.text, PROMPT_CHARS_MAX)?;
    at_most("bytes of memory", prompt.memory.len(), limits.memory_text_bytes)?;
    let ask = match prompt.ask {
        wit::PromptKind::Form(fields) => {
            at_most("fields of a form", fields.len(), FORM_FIELDS_MAX)?;
            if fields.is_empty() {
                return Err("a form asks for nothing".into());
            }
            PromptKind::Form(fields)
        }
        wit::PromptKind::Redirect(redirect) => {
            at_most("parameters that come back", redirect.returned.len(), RETURNED_MAX)?;
            PromptKind::Redirect(Redirect {
                url: parts(redirect.url),
                derived: redirect.derived.into_iter().map(derived).collect(),
                returned: redirect
                    .returned
                    .into_iter()
                    .map(|returned| Returned {
                        parameter: returned.parameter,
                        name: returned.name,
                        required: returned.required,
                    })
                    .collect(),
            })
        }
        wit::PromptKind::Wait(ms) if WAIT_MS.contains(&ms) => PromptKind::Wait(ms),
        wit::PromptKind::Wait(_) => {
            return Err(format!("a prompt waits {} to {} ms", WAIT_MS.start(), WAIT_MS.end()));
        }
    };
    Ok(Prompt {
        text: prompt.text,
        ask,
        expires_at: prompt.expires_at_ms.map(Timestamp::from_millis),
        memory: prompt.memory,
    })
}

fn checked_consent(given: wit::ConsentGiven) -> Result<ConsentAtBank, Broken> {
    at_most("scopes of a consent", given.scopes.len(), SCOPES_MAX)?;
    for text in given.scopes.iter().chain(&given.reference) {
        at_most("bytes of a consent's scope or reference", text.len(), BANK_ID_BYTES_MAX)?;
    }
    Ok(ConsentAtBank {
        expires_at: given.expires_at_ms.map(Timestamp::from_millis),
        scopes: given.scopes,
        reference: given.reference,
    })
}

fn checked_failure(failure: wit::Failure) -> Failure {
    match failure {
        wit::Failure::CredentialsRejected => Failure::CredentialsRejected,
        wit::Failure::ConsentExpired => Failure::ConsentExpired,
        wit::Failure::SessionExpired => Failure::SessionExpired,
        wit::Failure::RateLimited(limited) => Failure::RateLimited {
            retry_after_s: limited.retry_after_s,
            scope: match limited.scope {
                wit::Scope::Account => LimitScope::Account,
                wit::Scope::Connection => LimitScope::Connection,
                wit::Scope::Institution => LimitScope::Institution,
            },
        },
        wit::Failure::BankUnavailable(retry_after_s) => Failure::BankUnavailable { retry_after_s },
        wit::Failure::WindowNotAvailable(earliest) => {
            Failure::WindowNotAvailable { earliest: date(earliest.as_deref()).ok().flatten() }
        }
        wit::Failure::PagesChanged => Failure::PagesChanged,
        // The path must not be a way to carry a customer's text into logs.
        wit::Failure::Unreadable(what) => Failure::Unreadable {
            row: what.row,
            field: if is_field_path(&what.field) { what.field } else { "(unnamed)".into() },
        },
        wit::Failure::NotSupported => Failure::NotSupported,
    }
}

fn is_field_path(field: &str) -> bool {
    (1..=FIELD_CHARS_MAX).contains(&field.len())
        && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-[]".contains(&byte))
}

fn parts(given: Vec<wit::Part>) -> Vec<Part> {
    given
        .into_iter()
        .map(|part| match part {
            wit::Part::Text(text) => Part::Text(text),
            wit::Part::Bytes(bytes) => Part::Bytes(bytes),
            wit::Part::Value(name) => Part::Value(name),
        })
        .collect()
}

fn request(given: wit::Request) -> Request {
    Request {
        method: match given.method {
            wit::Method::Get => Method::Get,
            wit::Method::Post => Method::Post,
            wit::Method::Put => Method::Put,
            wit::Method::Delete => Method::Delete,
        },
        url: parts(given.url),
        headers: given
            .headers
            .into_iter()
            .map(|header| Header { name: header.name, value: parts(header.value) })
            .collect(),
        body: parts(given.body),
        derived: given.derived.into_iter().map(derived).collect(),
        captures: given
            .captures
            .into_iter()
            .map(|capture| Capture {
                name: capture.name,
                place: place(capture.place),
                required: capture.required,
            })
            .collect(),
        after_ms: given.after_ms,
    }
}

fn derived(given: wit::Derived) -> Derived {
    Derived { name: given.name, how: operation(given.how) }
}

fn place(given: wit::Place) -> Place {
    match given {
        wit::Place::Json(path) => Place::Json(path),
        wit::Place::Header(name) => Place::Header(name),
        wit::Place::Cookie(name) => Place::Cookie(name),
        wit::Place::LocationQuery(name) => Place::LocationQuery(name),
        wit::Place::Between((before, after)) => Place::Between(before, after),
    }
}

fn operation(given: wit::Operation) -> Operation {
    match given {
        wit::Operation::Encode(encoded) => Operation::Encode(
            match encoded.alphabet {
                wit::Encoding::Raw => Encoding::Raw,
                wit::Encoding::Base64 => Encoding::Base64,
                wit::Encoding::Base64url => Encoding::Base64Url,
                wit::Encoding::Hex => Encoding::Hex,
                wit::Encoding::Percent => Encoding::Percent,
                wit::Encoding::JsonText => Encoding::JsonText,
                wit::Encoding::XmlText => Encoding::XmlText,
                wit::Encoding::FintsText => Encoding::FintsText,
            },
            parts(encoded.over),
        ),
        wit::Operation::Sha256(over) => Operation::Sha256(parts(over)),
        wit::Operation::Hmac(mac) => {
            Operation::Hmac { algorithm: mac.algorithm, key: mac.key, over: parts(mac.over) }
        }
        wit::Operation::Sign(signature) => Operation::Sign {
            algorithm: signature.algorithm,
            key: signature.key,
            over: parts(signature.over),
        },
        wit::Operation::Totp(seed) => Operation::Totp(seed),
        wit::Operation::Length(length) => {
            Operation::Length { over: parts(length.over), digits: length.digits }
        }
        wit::Operation::Pick(picked) => {
            Operation::Pick { secret: picked.secret, positions: picked.positions }
        }
        wit::Operation::Random(bytes) => Operation::Random(bytes),
        wit::Operation::Counter => Operation::Counter,
    }
}
