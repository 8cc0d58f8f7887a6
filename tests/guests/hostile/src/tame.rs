//! The good behaviour that every mode falls back to.

use crate::{Mode, Place};
use serde::Deserialize;
use tidegate_sdk::request::Field;
use tidegate_sdk::{
    Account, AccountsStep, Balance, BalanceKind, Context, Coverage, CoverageKind, Credit, Failure, Flow,
    Goal, IdStability, More, Page, ReadStep, Reply, Request, Send, SessionInfo, SessionStep, Status, Stop,
    Transaction, Want, status,
};

/// The body of `/data`: what the connector hands on, unchecked, so that a test can say anything.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Body {
    /// The rows.
    pub transactions: Vec<Row>,
    /// Ids that the bank says are removed.
    pub removed: Vec<String>,
    /// The balances.
    pub balances: Vec<Money>,
    /// Is the window read to its end? True if not said.
    pub complete: Option<bool>,
}

/// A row. Kinds are words of the contract, such as `booked`, `immutable`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Row {
    /// The bank's id.
    pub id: Option<String>,
    /// `immutable` if there is an id, else `none`, if not said.
    pub stability: Option<String>,
    /// As in the contract.
    pub supersedes: Option<String>,
    /// `booked` or `pending`.
    pub status: String,
    /// A date.
    pub booked_on: Option<String>,
    /// A date.
    pub valued_on: Option<String>,
    /// Any text.
    pub amount: String,
    /// Any text.
    pub currency: String,
    /// Any text.
    pub text: String,
    /// Any text.
    pub counterparty: Option<String>,
    /// Any text.
    pub balance_after: Option<String>,
    /// Any text.
    pub details: String,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            id: None,
            stability: None,
            supersedes: None,
            status: "booked".to_owned(),
            booked_on: Some("2026-11-01".to_owned()),
            valued_on: None,
            amount: "1.00".to_owned(),
            currency: "GBP".to_owned(),
            text: String::new(),
            counterparty: None,
            balance_after: None,
            details: "{}".to_owned(),
        }
    }
}

/// A balance.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    kind: String,
    amount: String,
    currency: String,
    #[serde(default)]
    as_of_ms: Option<u64>,
    #[serde(default)]
    includes_pending: bool,
    /// How much, `unknown`, or none.
    #[serde(default)]
    credit_included: Option<String>,
}

/// Opens at once; logs in with the PIN if asked to.
pub fn session(place: &Place, goal: Goal, memory: &str, replies: &[Reply]) -> SessionStep {
    let run = || -> Result<SessionInfo, Stop> {
        let mut state = None;
        if place.settings.mode == Mode::Login && goal != Goal::Close {
            let request = login(place).capture_json("token", "access_token", true);
            let mut flow = Flow::new(memory, replies)?;
            state = Some(flow.ask(request, |reply| match reply.status {
                401 => Err(Failure::CredentialsRejected),
                _ => status::check(reply, 0).map(text),
            })?);
        }
        Ok(SessionInfo { valid_until_ms: None, state, consent: None })
    };
    run().into()
}

/// `POST /token` with the PIN.
pub fn login(place: &Place) -> Request {
    Request::post(format!("{}/token", place.api)).form(&[("pin", Field::Value("pin"))])
}

/// `acc-1` and so on, in GBP.
pub fn accounts(place: &Place) -> AccountsStep {
    let account = |number: u32| Account {
        id: format!("acc-{number}"),
        name: format!("Account {number}"),
        currency: "GBP".to_owned(),
        number: None,
    };
    AccountsStep::Done((1..=place.settings.accounts).map(account).collect())
}

/// One request for each want, in order; memory is the number of the want.
pub fn read(place: &Place, ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> ReadStep {
    let run = || -> Result<More, Stop> {
        let Some(reply) = replies.first() else {
            return match send(place, ask, wants, 0) {
                Some(send) => Err(Stop::Send(send)),
                None => Ok(More { pages: vec![], unread: vec![], next: None, after_commit: vec![] }),
            };
        };
        let at: usize = memory.parse().unwrap_or(0);
        let want = wants.get(at).ok_or_else(|| Failure::unreadable(None, "memory"))?;
        status::check(reply, ask.now_ms)?;
        let body: Body = reply.json()?;
        Ok(More {
            pages: vec![page(want, body)?],
            unread: vec![],
            next: send(place, ask, wants, at + 1),
            after_commit: vec![],
        })
    };
    run().into()
}

fn send(place: &Place, ask: &Context, wants: &[Want], at: usize) -> Option<Send> {
    let want = wants.get(at)?;
    Some(Send { requests: vec![data(place, ask, &want.account)], memory: at.to_string() })
}

/// `GET /data?account=ID`, with the token if there is one.
pub fn data(place: &Place, ask: &Context, account: &str) -> Request {
    let request = Request::get(format!("{}/data", place.api)).query("account", Field::Text(account));
    match ask.credential("token") {
        Some(_) => request.bearer("token"),
        None => request,
    }
}

/// The body as text.
pub fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

/// A page without anything on it.
pub fn empty_page(account: &str) -> Page {
    Page {
        account: account.to_owned(),
        transactions: vec![],
        removed: vec![],
        balances: vec![],
        coverage: None,
        state: None,
    }
}

fn page(want: &Want, body: Body) -> Result<Page, Failure> {
    let rows = body.transactions.into_iter().enumerate();
    let transactions =
        rows.map(|(number, row)| row.transaction().map_err(|field| Failure::unreadable(Some(number), field)));
    let coverage = want.transactions.as_ref().map(|window| Coverage {
        kind: CoverageKind::Snapshot,
        window: window.clone(),
        statuses: vec![Status::Pending, Status::Booked],
        complete: body.complete.unwrap_or(true),
    });
    let balances = body.balances.into_iter().map(Money::balance);
    Ok(Page {
        transactions: transactions.collect::<Result<_, _>>()?,
        removed: body.removed,
        balances: balances.collect::<Result<_, _>>().map_err(|field| Failure::unreadable(None, field))?,
        coverage,
        ..empty_page(&want.account)
    })
}

impl Row {
    /// As the contract has it; else the field that is wrong.
    pub fn transaction(self) -> Result<Transaction, &'static str> {
        let stability = match self.stability.as_deref() {
            None if self.id.is_some() => IdStability::Immutable,
            None | Some("none") => IdStability::None,
            Some("immutable") => IdStability::Immutable,
            Some("provisional") => IdStability::Provisional,
            Some("positional") => IdStability::Positional,
            Some(_) => return Err("stability"),
        };
        let status = match self.status.as_str() {
            "booked" => Status::Booked,
            "pending" => Status::Pending,
            _ => return Err("status"),
        };
        Ok(Transaction {
            id: self.id,
            stability,
            supersedes: self.supersedes,
            status,
            booked_on: self.booked_on,
            valued_on: self.valued_on,
            amount: self.amount,
            currency: self.currency,
            text: self.text,
            counterparty: self.counterparty,
            balance_after: self.balance_after,
            details: self.details,
        })
    }
}

impl Money {
    fn balance(self) -> Result<Balance, &'static str> {
        let kind = match self.kind.as_str() {
            "booked" => BalanceKind::Booked,
            "available" => BalanceKind::Available,
            "opening" => BalanceKind::Opening,
            "closing" => BalanceKind::Closing,
            "expected" => BalanceKind::Expected,
            _ => return Err("balances.kind"),
        };
        let credit_included = match self.credit_included {
            None => Credit::None,
            Some(unknown) if unknown == "unknown" => Credit::Unknown,
            Some(amount) => Credit::Included(amount),
        };
        Ok(Balance {
            kind,
            amount: self.amount,
            currency: self.currency,
            as_of_ms: self.as_of_ms,
            includes_pending: self.includes_pending,
            credit_included,
        })
    }
}
