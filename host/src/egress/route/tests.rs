//! Which URLs are on a route, and what values can do to them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::clock::Clock;
use crate::egress::Limits;
use crate::model::{Derived, Encoding, Manifest, Operation, Purpose, ReplyEncoding, Secret};
use std::collections::BTreeMap;
use std::time::Duration;

const MANIFEST: &str = r#"
name = "bank"
version = "1.0.0"
contract = "0.1.0"
[[route]]
name = "transactions"
method = "GET"
origin = "api"
path = "/accounts/*/transactions"
purpose = "read"
[[route]]
name = "token"
method = "POST"
origin = "login"
path = "/token"
purpose = "login"
[[value]]
name = "id"
kind = "credential"
use = "fill"
routes = ["transactions"]
public = true
"#;

fn route(
    name: &str,
    method: Method,
    scheme: &str,
    host: &str,
    port: u16,
    path: &str,
    purpose: Purpose,
) -> Route {
    Route {
        name: name.into(),
        method,
        scheme: scheme.into(),
        host: host.into(),
        port,
        path: path.into(),
        purpose,
        reply: Vec::new(),
        marks: BTreeMap::new(),
        texts: BTreeMap::new(),
        reply_encoding: ReplyEncoding::Plain,
    }
}

fn routes() -> Vec<Route> {
    vec![
        route(
            "transactions",
            Method::Get,
            "https",
            "api.bank.example",
            443,
            "/v3/accounts/*/transactions",
            Purpose::Read,
        ),
        route("token", Method::Post, "https", "login.bank.example", 8443, "/token", Purpose::Login),
        route("local", Method::Get, "http", "127.0.0.1", 8000, "/", Purpose::Read),
    ]
}

fn request(method: Method, url: Vec<Part>) -> Request {
    Request {
        method,
        url,
        headers: Vec::new(),
        body: Vec::new(),
        derived: Vec::new(),
        captures: Vec::new(),
        after_ms: 0,
    }
}

fn aimed(
    method: Method,
    url: Vec<Part>,
    purposes: &[Purpose],
    id: &str,
    derived: Vec<Derived>,
) -> Result<String, String> {
    let manifest = Manifest::parse(MANIFEST.as_bytes()).unwrap();
    let values = BTreeMap::from([("id".to_owned(), Secret::new(id))]);
    let deadline = Clock::system().deadline(Duration::from_secs(60));
    let routes = routes();
    let call = Call {
        institution: "bank",
        registration: None,
        manifest: &manifest,
        routes: &routes,
        purposes,
        values: &values,
        counter: 0,
        repeats: true,
        way: &Default::default(),
        requests_per_minute: None,
        deadline: &deadline,
    };
    let mut request = request(method, url);
    request.derived = derived;
    let target = aim(&call, &request).map_err(|error| error.to_string())?;
    let limits = Limits::default();
    let values =
        Values::derive(&call, target.route, &limits, &request, 0).map_err(|error| error.to_string())?;
    target.url(&values).map(|url| url.to_string()).map_err(|error| error.to_string())
}

fn text(url: &str) -> Vec<Part> {
    vec![Part::Text(url.to_owned())]
}

fn get(url: &str) -> Result<String, String> {
    aimed(Method::Get, text(url), &[Purpose::Read], "x", Vec::new())
}

fn with_id(id: &str) -> Result<String, String> {
    let url = vec![
        Part::Text("https://api.bank.example/v3/accounts/".into()),
        Part::Value("id".into()),
        Part::Text("/transactions?a=".into()),
        Part::Value("id".into()),
    ];
    aimed(Method::Get, url, &[Purpose::Read], id, Vec::new())
}

#[test]
fn a_declared_url_is_on_its_route() {
    for url in [
        "https://api.bank.example/v3/accounts/12/transactions",
        "https://api.bank.example/v3/accounts/a%20b/transactions?from=2026-01-01&to=x/y?z",
        "https://api.bank.example/v3/accounts/a:b@c/transactions",
    ] {
        assert_eq!(get(url).as_deref(), Ok(url));
    }
    assert_eq!(
        get("https://api.bank.example:443/v3/accounts/12/transactions").unwrap(),
        "https://api.bank.example/v3/accounts/12/transactions"
    );
    assert_eq!(get("http://127.0.0.1:8000").unwrap(), "http://127.0.0.1:8000/");
}

#[test]
fn whatever_is_not_exactly_the_route_is_refused() {
    for url in [
        "http://api.bank.example/v3/accounts/12/transactions",
        "http://api.bank.example:443/v3/accounts/12/transactions",
        "https://api.bank.example:444/v3/accounts/12/transactions",
        "https://API.bank.example/v3/accounts/12/transactions",
        "https://api.bank.example./v3/accounts/12/transactions",
        "https://evil.example/v3/accounts/12/transactions",
        "https://api.bank.example.evil.example/v3/accounts/12/transactions",
        "https://api.bank.example@evil.example/v3/accounts/12/transactions",
        "https://user:pass@api.bank.example/v3/accounts/12/transactions",
        "https://evil.example\\@api.bank.example/v3/accounts/12/transactions",
        "https://api.bank.example/v3/accounts/12/transactions#x",
        "https://api.bank.example/v3/accounts//transactions",
        "https://api.bank.example/v3/accounts/12/transactions/",
        "https://api.bank.example//v3/accounts/12/transactions",
        "https://api.bank.example/v3/accounts/12/13/transactions",
        "https://api.bank.example/v3/accounts/12/Transactions",
        "https://api.bank.example/v3/accounts/12/%74ransactions",
        "https://api.bank.example/v3/accounts/../transactions",
        "https://api.bank.example/v3/accounts/%2e%2e/transactions",
        "https://api.bank.example/v3/accounts/.%2E/transactions",
        "https://api.bank.example/v3/accounts/./transactions",
        "https://api.bank.example/v3/accounts/a%2fb/transactions",
        "https://api.bank.example/v3/accounts/a%5Cb/transactions",
        "https://api.bank.example/v3/accounts/a%252fb/transactions",
        "https://api.bank.example/v3/accounts/a%00b/transactions",
        "https://api.bank.example/v3/accounts/a%0d%0ab/transactions",
        "https://api.bank.example/v3/accounts/a%zz/transactions",
        "https://api.bank.example/v3/accounts/a b/transactions",
        "https://api.bank.example/v3/accounts/a\tb/transactions",
        "https://api.bank.example/v3/accounts/é/transactions",
        "https://api.bänk.example/v3/accounts/12/transactions",
        "https://api.bank.example/v3/accounts/\0/transactions",
        "https:api.bank.example/v3/accounts/12/transactions",
        "https:///api.bank.example/v3/accounts/12/transactions",
        "//api.bank.example/v3/accounts/12/transactions",
        "file:///etc/passwd",
        "http://2130706433:8000/",
        "http://0x7f000001:8000/",
        "http://0177.0.0.1:8000/",
        "http://127.1:8000/",
        "http://[::ffff:127.0.0.1]:8000/",
        "http://127.0.0.1:08000x/",
        "http://127.0.0.1:8001/",
        "http://127.0.0.1:/",
        "http://localhost:8000/",
        "",
    ] {
        assert!(get(url).is_err(), "{url}");
    }
    assert!(
        aimed(
            Method::Post,
            text("https://api.bank.example/v3/accounts/12/transactions"),
            &[Purpose::Read],
            "x",
            vec![]
        )
        .is_err()
    );
}

#[test]
fn an_undeclared_route_is_refused_with_the_lines_that_would_declare_it() {
    let said = get("https://api.bank.example/v3/accounts/GB29NWBK/balances?secret=1").unwrap_err();
    assert!(
        said.contains("[[route]]\nname = \"NAME\"\nmethod = \"GET\"\norigin = \"api\"\npath = \"/accounts/*/balances\"\npurpose = \"read\"\n"),
        "{said}"
    );
    assert!(!said.contains("GB29") && !said.contains("secret"), "{said}");
    let said = get("https://other.example/v1/x").unwrap_err();
    assert!(
        said.contains("NAME = \"https://other.example:443\"") && said.contains("path = \"/v1/x\""),
        "{said}"
    );
}

#[test]
fn a_route_of_another_purpose_may_not_be_asked() {
    let token = || text("https://login.bank.example:8443/token");
    let said = aimed(Method::Post, token(), &[Purpose::Read], "x", vec![]).unwrap_err();
    assert!(said.contains("route \"token\"") && said.contains("may not be asked now"), "{said}");
    assert!(aimed(Method::Post, token(), &[Purpose::Login, Purpose::Read], "x", vec![]).is_ok());
}

#[test]
fn only_wild_segments_and_the_query_may_hold_values() {
    for parts in [
        vec![Part::Value("id".into()), Part::Text("://api.bank.example/v3/accounts/1/transactions".into())],
        vec![
            Part::Text("https://".into()),
            Part::Value("id".into()),
            Part::Text("/v3/accounts/1/transactions".into()),
        ],
        vec![Part::Text("https://api.bank.example".into()), Part::Value("id".into())],
        vec![
            Part::Text("https://api.bank.example:".into()),
            Part::Value("id".into()),
            Part::Text("/v3/accounts/1/transactions".into()),
        ],
        vec![
            Part::Text("https://api.bank.example/".into()),
            Part::Value("id".into()),
            Part::Text("/accounts/1/transactions".into()),
        ],
        vec![Part::Text("https://api.bank.example/v3/accounts/1/trans".into()), Part::Value("id".into())],
    ] {
        assert!(aimed(Method::Get, parts, &[Purpose::Read], "v3", vec![]).is_err());
    }
}

#[test]
fn a_value_cannot_leave_its_place() {
    assert_eq!(
        with_id("a b&c=é").unwrap(),
        "https://api.bank.example/v3/accounts/a%20b%26c%3D%C3%A9/transactions?a=a%20b%26c%3D%C3%A9"
    );
    for id in ["", ".", "..", "a/b", "../x", "a\\b", "a?b", "a#b", "a%2fb", "%2e%2e", "a\r\nb", "a\0b"] {
        assert!(with_id(id).is_err(), "{id:?}");
    }
}

#[test]
fn a_value_in_percent_encoding_is_not_encoded_again() {
    let derived = vec![Derived {
        name: "escaped".into(),
        how: Operation::Encode(Encoding::Percent, vec![Part::Value("id".into())]),
    }];
    let url = |place: &str, tail: &str| {
        vec![
            Part::Text(format!("https://api.bank.example/v3/accounts/{place}")),
            Part::Value("escaped".into()),
            Part::Text(tail.into()),
        ]
    };
    let path = || url("", "/transactions");
    assert_eq!(
        aimed(Method::Get, path(), &[Purpose::Read], "a b", derived.clone()).unwrap(),
        "https://api.bank.example/v3/accounts/a%20b/transactions"
    );
    assert!(aimed(Method::Get, path(), &[Purpose::Read], "a/b", derived.clone()).is_err());
    assert_eq!(
        aimed(Method::Get, url("1/transactions?q=", ""), &[Purpose::Read], "a/b%", derived).unwrap(),
        "https://api.bank.example/v3/accounts/1/transactions?q=a%2Fb%25"
    );
}

#[test]
fn a_giant_url_is_refused() {
    let long =
        |length: usize| format!("https://api.bank.example/v3/accounts/1/transactions?{}", "q".repeat(length));
    assert!(get(&long(1000)).is_ok());
    assert!(get(&long(URL_BYTES_MAX)).is_err());
}
