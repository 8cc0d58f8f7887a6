//! The harm, one mode at a time.

use crate::{Mode, Place, tame};
use std::hint::black_box;
use tidegate_sdk::{
    Context, Derived, Failure, More, Operation, Part, ReadStep, Reply, Request, Send, Signature, Want,
};

/// Large enough for every limit on text.
const GIANT_BYTES: usize = 1024 * 1024;
/// One more than a step may ask.
const MANY_REQUESTS: u64 = 17;
/// An hour, milliseconds.
const LONG_WAIT_MS: u64 = 3_600_000;
/// What the mode says.
const MILLION: u64 = 1_000_000;

/// Does what the mode says, then behaves where anything is left to do.
pub fn read(place: &Place, ask: &Context, wants: &[Want], memory: &str, replies: &[Reply]) -> ReadStep {
    let settings = &place.settings;
    let account = wants.first().map_or("acc-1", |want| want.account.as_str());
    let data = || tame::data(place, ask, account);
    let behave = || tame::read(place, ask, wants, memory, replies);
    let giant = || "x".repeat(settings.bytes.unwrap_or(GIANT_BYTES));
    // What is wrong with a request shows in the first step; what comes after is tame.
    let first = |request: Request| match replies.is_empty() {
        true => send(vec![request], "0"),
        false => behave(),
    };
    match settings.mode {
        Mode::WellBehaved | Mode::Login => behave(),
        Mode::NeverReturns => {
            spin(settings.count);
            behave()
        }
        Mode::AsksForever => {
            let asked: u64 = memory.parse().unwrap_or(0);
            match settings.count {
                Some(count) if asked >= count => tame::read(place, ask, wants, "0", replies),
                _ => send(vec![data()], &(asked + 1).to_string()),
            }
        }
        Mode::GrowsMemory => {
            grow(settings.bytes);
            behave()
        }
        Mode::MillionRows => match replies.is_empty() {
            true => behave(),
            false => rows(account, settings.count.unwrap_or(MILLION)),
        },
        Mode::UndeclaredRoute => first(Request::get(format!("{}{}", place.api, settings.path))),
        Mode::PrivateName => first(Request::get(settings.url.clone())),
        Mode::UndeclaredCredential => first(data().header_parts("x-value", vec![Part::value("undeclared")])),
        Mode::PinOnDataRoute => first(data().header_parts("x-value", vec![Part::value("pin")])),
        Mode::LoginInRead => first(tame::login(place)),
        Mode::HeaderLineBreak => first(data().header("x-note", "a\r\nx-injected: b")),
        Mode::HeaderLineBreakBytes => {
            first(data().header_parts("x-note", vec![Part::Bytes(b"a\nx-injected: b".to_vec())]))
        }
        Mode::ForbiddenHeader => first(data().header(&settings.header, "evil.example")),
        Mode::GiantRequest => first(data().header("x-note", giant())),
        Mode::GiantMemory => match replies.is_empty() {
            true => send(vec![data()], &giant()),
            // Lifted: the memory came back, and is no number of a want.
            false => tame::read(place, ask, wants, "0", replies),
        },
        Mode::GiantState => match behave() {
            ReadStep::Pages(mut more) => {
                more.pages.iter_mut().for_each(|page| page.state = Some(giant()));
                ReadStep::Pages(more)
            }
            other => other,
        },
        Mode::Panics => panics(),
        Mode::DeepRecursion => {
            dive(settings.count.unwrap_or(u64::MAX));
            behave()
        }
        Mode::ManyRequests => match replies.is_empty() {
            true => send((0..settings.count.unwrap_or(MANY_REQUESTS)).map(|_| data()).collect(), "0"),
            false => behave(),
        },
        Mode::Waits => {
            first(data().after_ms(u32::try_from(settings.count.unwrap_or(LONG_WAIT_MS)).unwrap_or(u32::MAX)))
        }
        Mode::WrongAccount => match behave() {
            ReadStep::Pages(mut more) => {
                more.pages.iter_mut().for_each(|page| page.account = "acc-unwanted".to_owned());
                ReadStep::Pages(more)
            }
            other => other,
        },
        Mode::Echo => echo(place, account, data(), memory, replies),
        Mode::FollowsRedirect => match replies.first() {
            Some(reply) if (300..400).contains(&reply.status) => {
                send(vec![Request::get(reply.header("location").unwrap_or_default())], "0")
            }
            _ => behave(),
        },
        Mode::Signs => first(signed(data())),
    }
}

fn send(requests: Vec<Request>, memory: &str) -> ReadStep {
    ReadStep::Send(Send { requests, memory: memory.to_owned() })
}

/// Rounds of nothing; without end if no count is given.
fn spin(count: Option<u64>) {
    let mut round = 0_u64;
    while count.is_none_or(|count| round < count) {
        round = black_box(round.wrapping_add(1));
    }
}

/// Takes memory in pieces of a megabyte and writes to each; without end if no size is given.
fn grow(bytes: Option<usize>) {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut taken = 0_usize;
    while bytes.is_none_or(|bytes| taken < bytes) {
        pieces.push(vec![1; GIANT_BYTES]);
        taken = taken.saturating_add(GIANT_BYTES);
        black_box(&pieces);
    }
}

/// Calls itself; the array keeps each call's frame on the stack.
fn dive(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    match depth {
        0 => 0,
        _ => dive(black_box(depth - 1)).wrapping_add(frame.iter().fold(0, |sum, word| sum ^ word)),
    }
}

#[allow(clippy::panic, reason = "that is the harm")]
fn panics() -> ReadStep {
    panic!("as asked")
}

/// So many small rows.
fn rows(account: &str, count: u64) -> ReadStep {
    let mut page = tame::empty_page(account);
    for _ in 0..count {
        match tame::Row::default().transaction() {
            Ok(row) => page.transactions.push(row),
            Err(field) => return ReadStep::Fail(Failure::unreadable(None, field)),
        }
    }
    pages(page)
}

fn pages(page: tidegate_sdk::Page) -> ReadStep {
    ReadStep::Pages(More { pages: vec![page], unread: vec![], next: None, after_commit: vec![] })
}

/// Ask, then copy what the bank said to where it should not go.
fn echo(place: &Place, account: &str, data: Request, memory: &str, replies: &[Reply]) -> ReadStep {
    let Some(reply) = replies.first() else {
        return send(vec![data], "");
    };
    let said = tame::text(reply);
    let mut page = tame::empty_page(account);
    let row =
        |text: String, details: String| tame::Row { text, details, ..tame::Row::default() }.transaction();
    let rows = match place.settings.into.as_str() {
        "text" => row(said, "{}".to_owned()).map(|row| vec![row]),
        "details" => row(String::new(), serde_json::json!({ "said": said }).to_string()).map(|row| vec![row]),
        "state" => {
            page.state = Some(said);
            Ok(vec![])
        }
        // Into memory first, and from there into a row: were the memory let through, the row shows it.
        _ if memory.is_empty() => return send(vec![data], &said),
        _ => row(memory.to_owned(), "{}".to_owned()).map(|row| vec![row]),
    };
    match rows {
        Ok(rows) => page.transactions = rows,
        Err(field) => return ReadStep::Fail(Failure::unreadable(None, field)),
    }
    pages(page)
}

/// A signature over fixed text, base64url, in a header.
fn signed(data: Request) -> Request {
    let over = vec![Part::text("signed by name")];
    let mut request = data.derive(
        "signature",
        Operation::Sign(Signature { algorithm: "ES256".into(), key: "signing-key".into(), over }),
    );
    request.derived.push(Derived {
        name: "signature-text".into(),
        how: Operation::Encode(tidegate_sdk::Encoded {
            alphabet: tidegate_sdk::Encoding::Base64url,
            over: vec![Part::value("signature")],
        }),
    });
    request.header_parts("x-signature", vec![Part::value("signature-text")])
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::Hostile;
    use tidegate_sdk::{Connector, CredentialInfo, Window};

    fn context(settings: &str) -> Context {
        Context {
            now_ms: 0,
            seed: vec![0; 32],
            profile: format!(r#"{{"origins":{{"api":"https://bank.example"}},"settings":{settings}}}"#),
            credentials: vec![CredentialInfo { name: "token".into(), bytes: 20, expires_at_ms: None }],
            consent: None,
            customer_present: false,
            state: None,
        }
    }
    fn wants() -> Vec<Want> {
        let window = Window { since: "2026-11-01".into(), until: "2026-11-30".into() };
        vec![Want { account: "acc-1".into(), transactions: Some(window), balances: true, state: None }]
    }
    fn run(settings: &str, memory: &str, body: Option<&str>) -> ReadStep {
        let reply = |body: &str| Reply { status: 200, headers: vec![], body: body.into(), captured: vec![] };
        let replies: Vec<_> = body.map(reply).into_iter().collect();
        Hostile::read(&context(settings), &wants(), memory, &replies)
    }

    #[test]
    fn without_a_mode_it_hands_on_what_the_body_says() {
        let ReadStep::Send(send) = run("{}", "", None) else { panic!() };
        let urls: Vec<_> = send.requests.iter().map(Request::url_text).collect();
        assert_eq!(urls, ["https://bank.example/data?account=acc-1"]);
        let body = r#"{"transactions":[{"id":"a","amount":"1e3"}],"balances":[{"kind":"booked","amount":"2","currency":"GBP"}]}"#;
        let ReadStep::Pages(more) = run("{}", &send.memory, Some(body)) else { panic!() };
        let [page] = more.pages.as_slice() else { panic!() };
        assert_eq!((page.transactions.len(), page.balances.len()), (1, 1));
        assert!(page.coverage.as_ref().is_some_and(|coverage| coverage.complete));
        assert_eq!(more.next, None);
    }

    #[test]
    fn a_bounded_harm_ends_and_then_it_behaves() {
        for settings in [
            r#"{"mode":"never-returns","count":1000}"#,
            r#"{"mode":"grows-memory","bytes":3000000}"#,
            r#"{"mode":"deep-recursion","count":100}"#,
            r#"{"mode":"giant-memory"}"#,
            r#"{"mode":"many-requests"}"#,
        ] {
            let ReadStep::Pages(more) = run(settings, "0", Some("{}")) else { panic!("{settings}") };
            assert_eq!(more.pages.len(), 1, "{settings}");
        }
    }

    #[test]
    fn it_asks_as_often_as_it_is_told() {
        let settings = r#"{"mode":"asks-forever","count":2}"#;
        assert!(matches!(run(settings, "", None), ReadStep::Send(send) if send.memory == "1"));
        assert!(matches!(run(settings, "1", Some("{}")), ReadStep::Send(send) if send.memory == "2"));
        assert!(matches!(run(settings, "2", Some("{}")), ReadStep::Pages(_)));
    }

    #[test]
    fn every_harm_shows_in_the_step_it_makes() {
        let first = |settings: &str| match run(settings, "", None) {
            ReadStep::Send(send) => send,
            other => panic!("{settings}: {other:?}"),
        };
        let url = |settings: &str| first(settings).requests.first().map(Request::url_text);
        assert_eq!(url(r#"{"mode":"undeclared-route"}"#).as_deref(), Some("https://bank.example/other"));
        assert_eq!(
            url(r#"{"mode":"private-name","url":"http://10.0.0.1/"}"#).as_deref(),
            Some("http://10.0.0.1/")
        );
        assert_eq!(url(r#"{"mode":"login-in-read"}"#).as_deref(), Some("https://bank.example/token"));
        assert_eq!(first(r#"{"mode":"many-requests"}"#).requests.len(), 17);
        assert_eq!(first(r#"{"mode":"giant-memory","bytes":70000}"#).memory.len(), 70_000);
        let header =
            |settings: &str, name: &str| first(settings).requests.first().and_then(|it| it.header_text(name));
        assert_eq!(header(r#"{"mode":"undeclared-credential"}"#, "x-value").as_deref(), Some("{undeclared}"));
        assert_eq!(header(r#"{"mode":"pin-on-data-route"}"#, "x-value").as_deref(), Some("{pin}"));
        assert_eq!(
            header(r#"{"mode":"header-line-break"}"#, "x-note").as_deref(),
            Some("a\r\nx-injected: b")
        );
        assert_eq!(
            header(r#"{"mode":"header-line-break-bytes"}"#, "x-note").as_deref(),
            Some("a\nx-injected: b")
        );
        assert_eq!(header(r#"{"mode":"forbidden-header"}"#, "host").as_deref(), Some("evil.example"));
        assert_eq!(header(r#"{"mode":"signs"}"#, "x-signature").as_deref(), Some("{signature-text}"));
        let rows = |settings: &str| match run(settings, "0", Some(r#"{"transactions":[{}]}"#)) {
            ReadStep::Pages(more) => more.pages,
            other => panic!("{settings}: {other:?}"),
        };
        assert_eq!(
            rows(r#"{"mode":"million-rows","count":12}"#).first().map(|page| page.transactions.len()),
            Some(12)
        );
        assert_eq!(
            rows(r#"{"mode":"wrong-account"}"#).first().map(|page| page.account.as_str()),
            Some("acc-unwanted")
        );
        let state = |settings: &str| rows(settings).first().and_then(|page| page.state.clone());
        assert_eq!(state(r#"{"mode":"giant-state","bytes":9}"#).as_deref(), Some("xxxxxxxxx"));
        assert_eq!(state(r#"{"mode":"echo","into":"state"}"#).as_deref(), Some(r#"{"transactions":[{}]}"#));
        assert!(
            matches!(run(r#"{"mode":"echo"}"#, "", Some("said")), ReadStep::Send(send) if send.memory == "said")
        );
    }
}
