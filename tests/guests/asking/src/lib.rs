//! A connector that asks its customer in every way there is, for the tests of linking.
//!
//! The profile's `settings.asks` says how, in order: `form`, `code`, `app`, `page`. The bank answers 401 to
//! what it refuses. There is one account, with a balance that nobody is asked for.

use serde::Deserialize;
use tidegate_sdk::request::Field;
use tidegate_sdk::{
    Account, AccountsStep, Balance, BalanceKind, Connector, Context, Coverage, CoverageKind, Credit, Failure,
    Flow, Goal, More, Page, ReadStep, Redirect, Reply, Request, Returned, SessionInfo, SessionStep, Status,
    Stop, Want, status,
};

/// How often the bank is asked whether the customer acted, in milliseconds: the shortest.
const APP_EVERY_MS: u32 = 1_000;

/// A way to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// A form with user name and password, for `POST /login`.
    Form,
    /// A form with a code, for `POST /code`.
    Code,
    /// The customer confirms elsewhere: `GET /app` answers 200 then, 404 before.
    App,
    /// The bank's own page, `GET /page`; the code that comes back is for `POST /token`.
    Page,
}

#[derive(Debug, Deserialize)]
struct Settings {
    asks: Vec<Way>,
}

/// The connector.
#[derive(Debug, Clone, Copy)]
pub struct Asking;

impl Connector for Asking {
    fn session(ask: &Context, goal: Goal, memory: &str, replies: &[Reply]) -> SessionStep {
        let run = || -> Result<SessionInfo, Stop> {
            if goal == Goal::Open {
                let profile = ask.profile::<Settings>()?;
                let bank = profile.origin("bank")?.to_owned();
                let mut flow = Flow::new(memory, replies)?;
                for way in profile.settings.asks {
                    open(&mut flow, &bank, way)?;
                }
            }
            Ok(SessionInfo { valid_until_ms: None, state: None, consent: None })
        };
        run().into()
    }

    fn accounts(_: &Context, _: &str, _: &[Reply]) -> AccountsStep {
        AccountsStep::Done(vec![Account {
            id: "acc-1".to_owned(),
            name: "Everyday".to_owned(),
            currency: "GBP".to_owned(),
            number: Some("20-00-00 55779911".to_owned()),
        }])
    }

    fn read(ask: &Context, wants: &[Want], _: &str, _: &[Reply]) -> ReadStep {
        let pages = wants.iter().map(|want| page(ask, want)).collect();
        ReadStep::Pages(More { pages, next: None, after_commit: vec![], unread: vec![] })
    }
}

fn open(flow: &mut Flow<'_>, bank: &str, way: Way) -> Result<(), Stop> {
    let good = |reply: &Reply| match reply.status {
        401 => Err(Failure::CredentialsRejected),
        _ => status::check(reply, 0).map(drop),
    };
    match way {
        Way::Form => {
            flow.ask_for(&["username", "password"], "Log in as you do on your bank's own site.", None)?;
            let fields = [("username", Field::Value("username")), ("password", Field::Value("password"))];
            flow.ask(Request::post(format!("{bank}/login")).form(&fields), good)
        }
        Way::Code => {
            flow.ask_for(&["code"], "Your bank has sent a code to your phone.", None)?;
            let fields = [("code", Field::Value("code"))];
            flow.ask(Request::post(format!("{bank}/code")).form(&fields), good)
        }
        Way::App => {
            let text = "Please confirm in your bank's app on your phone.";
            let confirmed = |reply: &Reply| Ok((reply.status == 200).then_some(()));
            flow.wait_for(Request::get(format!("{bank}/app")), APP_EVERY_MS, text, confirmed)
        }
        Way::Page => {
            let page = Request::get(format!("{bank}/page"))
                .query("redirect_uri", Field::Value("redirect-uri"))
                .query("state", Field::Value("redirect-state"));
            let returned =
                Returned { parameter: "code".into(), name: "authorisation-code".into(), required: true };
            let to = Redirect { url: page.url, derived: page.derived, returned: vec![returned] };
            flow.redirect(to, "Your bank asks you on its own page.", None)?;
            let fields = [("code", Field::Value("authorisation-code"))];
            flow.ask(Request::post(format!("{bank}/token")).form(&fields), good)
        }
    }
}

fn page(ask: &Context, want: &Want) -> Page {
    let balance = Balance {
        kind: BalanceKind::Booked,
        amount: "12.34".to_owned(),
        currency: "GBP".to_owned(),
        as_of_ms: Some(ask.now_ms),
        includes_pending: false,
        credit_included: Credit::None,
    };
    let coverage = want.transactions.as_ref().map(|window| Coverage {
        kind: CoverageKind::Snapshot,
        window: window.clone(),
        statuses: vec![Status::Pending, Status::Booked],
        complete: true,
    });
    Page {
        account: want.account.clone(),
        transactions: vec![],
        removed: vec![],
        balances: vec![balance],
        coverage,
        state: None,
    }
}

tidegate_sdk::export!(Asking);
