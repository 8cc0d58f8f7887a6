//! Where secrets may go, and what is computed of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::clock::Clock;
use crate::model::{Manifest, Method, hex};
use std::time::Duration;

const MANIFEST: &str = r#"
name = "bank"
version = "1.0.0"
contract = "0.1.0"
route = [
  { name = "login", method = "POST", origin = "api", path = "/login", purpose = "login" },
  { name = "read", method = "GET", origin = "api", path = "/read", purpose = "read" },
  { name = "other", method = "GET", origin = "api", path = "/other", purpose = "read" },
]
value = [
  { name = "token", kind = "credential", use = "fill", routes = ["login", "read"] },
  { name = "pin", kind = "credential", use = "fill", routes = ["login", "read"] },
  { name = "client-id", kind = "registration", use = "fill", routes = ["login", "read", "other"], public = true },
  { name = "mac-key", kind = "registration", use = "mac", routes = ["read"] },
  { name = "short-key", kind = "registration", use = "mac", routes = ["login", "read"] },
  { name = "seed", kind = "registration", use = "mac", routes = ["login"] },
  { name = "sign-key", kind = "registration", use = "sign", routes = ["read"] },
  { name = "absent", kind = "credential", use = "fill", routes = ["read"] },
]
"#;

/// Computes `derived` on a route; the last one, or what was said against it.
fn on(route: &str, derived: Vec<(&str, Operation)>) -> Result<Vec<u8>, String> {
    let manifest = Manifest::parse(MANIFEST.as_bytes()).unwrap();
    let values: BTreeMap<String, Secret> = [
        ("token", "a-long-secret-token"),
        ("pin", "1234"),
        ("client-id", "me"),
        ("mac-key", "a-long-secret-mac-key"),
        ("short-key", "Jefe"),
        ("seed", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
        ("sign-key", include_str!("../crypto/rfc7515_a2.pem")),
    ]
    .map(|(name, value)| (name.to_owned(), Secret::new(value)))
    .into();
    let routes = crate::model::resolve_routes(
        &manifest,
        &crate::model::Institution::parse("bank", "name = \"B\"\ncountry = \"GB\"\nconnector = \"bank\"\norigins = { api = \"https://bank.example\" }").unwrap(),
    )
    .unwrap();
    let deadline = Clock::system().deadline(Duration::from_secs(60));
    let call = Call {
        institution: "bank",
        registration: None,
        manifest: &manifest,
        routes: &routes,
        purposes: &[],
        values: &values,
        counter: 7,
        repeats: true,
        way: &Default::default(),
        requests_per_minute: None,
        deadline: &deadline,
    };
    let derived: Vec<Derived> =
        derived.into_iter().map(|(name, how)| Derived { name: name.to_owned(), how }).collect();
    let last = derived.last().map(|derived| derived.name.clone()).unwrap_or_default();
    let request = Request {
        method: Method::Get,
        url: vec![],
        headers: vec![],
        body: vec![],
        derived,
        captures: vec![],
        after_ms: 0,
    };
    let route = routes.iter().find(|known| known.name == route).unwrap();
    let limits = Limits::default();
    let values = Values::derive(&call, route, &limits, &request, 59).map_err(|error| error.to_string())?;
    values.fill(&last).map(|value| value.bytes.to_vec()).map_err(|error| error.to_string())
}

fn value(name: &str) -> Vec<Part> {
    vec![Part::Value(name.to_owned())]
}

fn text(text: &str) -> Vec<Part> {
    vec![Part::Text(text.to_owned())]
}

fn raw(name: &str) -> Operation {
    Operation::Encode(Encoding::Raw, value(name))
}

#[track_caller]
fn check(route: &str, derived: Vec<(&str, Operation)>, wanted: &str) {
    assert_eq!(String::from_utf8(on(route, derived).unwrap()).unwrap(), wanted);
}

#[track_caller]
fn refuses(route: &str, derived: Vec<(&str, Operation)>, says: &str) {
    let said = on(route, derived).unwrap_err();
    assert!(said.contains(says), "{said}");
    for secret in ["a-long-secret", "1234", "Jefe", "GEZD", "BEGIN PRIVATE"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn a_counted_request_gets_its_number() {
    check("read", vec![("number", Operation::Counter), ("x", raw("number"))], "7");
}

#[test]
fn a_value_goes_only_where_it_is_declared_and_as_it_is_declared() {
    check("read", vec![("x", raw("token"))], "a-long-secret-token");
    refuses("other", vec![("x", raw("token"))], "not declared for route \"other\"");
    refuses("read", vec![("x", raw("unknown"))], "[[value]]\nname = \"unknown\"");
    refuses("read", vec![("x", raw("absent"))], "is not there now");
    refuses("read", vec![("x", raw("mac-key"))], "not declared with use = \"fill\"");
    refuses("read", vec![("x", raw("sign-key"))], "not declared with use = \"fill\"");
    refuses(
        "read",
        vec![("x", Operation::Hmac { algorithm: "SHA256".into(), key: "token".into(), over: vec![] })],
        "use = \"mac\"",
    );
    refuses(
        "read",
        vec![("x", Operation::Sign { algorithm: "RS256".into(), key: "token".into(), over: vec![] })],
        "use = \"sign\"",
    );
    refuses(
        "login",
        vec![("x", Operation::Hmac { algorithm: "SHA256".into(), key: "mac-key".into(), over: vec![] })],
        "not declared for route",
    );
    refuses(
        "login",
        vec![("x", Operation::Sign { algorithm: "RS256".into(), key: "sign-key".into(), over: vec![] })],
        "not declared for route",
    );
}

#[test]
fn a_short_secret_goes_only_to_login_routes_in_whatever_form() {
    check("login", vec![("x", raw("pin"))], "1234");
    check("other", vec![("x", raw("client-id"))], "me");
    let short = "shorter than 16 bytes";
    refuses("read", vec![("x", raw("pin"))], short);
    refuses("read", vec![("x", Operation::Sha256(value("pin")))], short);
    refuses("read", vec![("x", Operation::Length { over: value("pin"), digits: 0 })], short);
    refuses(
        "read",
        vec![(
            "x",
            Operation::Hmac { algorithm: "SHA256".into(), key: "mac-key".into(), over: value("pin") },
        )],
        short,
    );
    refuses(
        "read",
        vec![("x", Operation::Hmac { algorithm: "SHA256".into(), key: "short-key".into(), over: vec![] })],
        short,
    );
    refuses(
        "read",
        vec![("x", Operation::Pick { secret: "token".into(), positions: vec![1] })],
        "picked from the secret",
    );
}

#[test]
fn what_is_computed_from_a_secret_goes_only_where_the_secret_goes() {
    let via = |last: Operation| vec![("a", Operation::Encode(Encoding::Base64, value("token"))), ("b", last)];
    assert!(on("read", via(raw("a"))).is_ok());
    refuses("other", via(raw("a")), "not declared for route \"other\"");
    refuses("other", via(Operation::Sha256(value("a"))), "not declared for route \"other\"");
    let picked = vec![
        ("a", Operation::Encode(Encoding::Hex, value("token"))),
        ("b", Operation::Pick { secret: "a".into(), positions: vec![1] }),
    ];
    refuses("read", picked.clone(), "picked from the secret");
    check("login", picked, "6");
}

#[test]
fn values_are_computed_from_earlier_ones_in_order() {
    let basic = vec![(
        "basic",
        Operation::Encode(
            Encoding::Base64,
            vec![Part::Value("client-id".into()), Part::Text(":".into()), Part::Value("pin".into())],
        ),
    )];
    check("login", basic, "bWU6MTIzNA==");
    let chain = vec![
        ("body", Operation::Encode(Encoding::Raw, text("<a>"))),
        ("xml", Operation::Encode(Encoding::XmlText, value("body"))),
        ("length", Operation::Length { over: value("xml"), digits: 6 }),
    ];
    check("login", chain, "000009");
    refuses("login", vec![("a", raw("b")), ("b", raw("client-id"))], "\"b\" is not declared");
}

#[test]
fn macs_signatures_and_codes_are_computed() {
    let mac = Operation::Hmac {
        algorithm: "SHA256".into(),
        key: "short-key".into(),
        over: text("what do ya want for nothing?"),
    };
    assert_eq!(
        hex(&on("login", vec![("x", mac)]).unwrap()),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    let signed = on(
        "read",
        vec![("x", Operation::Sign { algorithm: "PS256".into(), key: "sign-key".into(), over: text("a") })],
    )
    .unwrap();
    assert_eq!(signed.len(), 256);
    check("login", vec![("x", Operation::Totp("seed".into()))], "287082");
    assert_eq!(hex(&on("read", vec![("x", Operation::Sha256(text("abc")))]).unwrap())[..8], *"ba7816bf");
    // An earlier value may be a key: how request signatures are often chained.
    let chain = vec![
        ("key", Operation::Encode(Encoding::Raw, text("Jefe"))),
        (
            "x",
            Operation::Hmac {
                algorithm: "SHA256".into(),
                key: "key".into(),
                over: text("what do ya want for nothing?"),
            },
        ),
    ];
    assert_eq!(hex(&on("other", chain).unwrap())[..8], *"5bdcc146");
    refuses(
        "read",
        vec![("x", Operation::Hmac { algorithm: "MD5".into(), key: "mac-key".into(), over: vec![] })],
        "SHA256, SHA384 or SHA512",
    );
    refuses(
        "read",
        vec![("x", Operation::Sign { algorithm: "HS256".into(), key: "sign-key".into(), over: vec![] })],
        "RS256, PS256, ES256 or EdDSA",
    );
    refuses(
        "read",
        vec![("x", Operation::Sign { algorithm: "ES256".into(), key: "sign-key".into(), over: vec![] })],
        "PKCS#8 PEM",
    );
}

#[test]
fn a_length_that_does_not_fit_its_digits_is_refused() {
    check("read", vec![("x", Operation::Length { over: text("0123456789"), digits: 2 })], "10");
    check("read", vec![("x", Operation::Length { over: text("0123456789"), digits: 0 })], "10");
    refuses(
        "read",
        vec![("x", Operation::Length { over: text("0123456789"), digits: 1 })],
        "does not fit 1 digits",
    );
}

#[test]
fn picked_characters_are_counted_from_one() {
    check(
        "login",
        vec![("x", Operation::Pick { secret: "token".into(), positions: vec![1, 3, 3, 19] })],
        "alln",
    );
    for bad in [0, 20] {
        refuses(
            "login",
            vec![("x", Operation::Pick { secret: "token".into(), positions: vec![bad] })],
            "the first one is 1",
        );
    }
}

#[test]
fn random_bytes_are_new_each_time_and_at_most_64() {
    let random = |count| on("read", vec![("x", Operation::Random(count))]);
    assert_eq!(random(64).unwrap().len(), 64);
    assert_ne!(random(16).unwrap(), random(16).unwrap());
    assert!(random(65).unwrap_err().contains("more than 64"));
}

#[test]
fn names_are_new_and_few() {
    refuses("read", vec![("token", raw("client-id"))], "not be taken (token)");
    refuses("read", vec![("a", raw("client-id")), ("a", raw("client-id"))], "not be taken (a)");
    refuses("read", vec![("A B", raw("client-id"))], "lower-case letters");
    let names: Vec<String> = (0..=DERIVED_MAX).map(|index| format!("d{index}")).collect();
    let many =
        |count: usize| names.iter().take(count).map(|name| (name.as_str(), raw("client-id"))).collect();
    assert!(on("read", many(DERIVED_MAX)).is_ok());
    refuses("read", many(DERIVED_MAX + 1), "more than 16 derived values");
}

#[test]
fn values_that_double_each_other_do_not_grow_without_end() {
    let names: Vec<String> = (0..DERIVED_MAX).map(|index| format!("d{index}")).collect();
    let mut bomb = vec![("d0", Operation::Encode(Encoding::Raw, text(&"x".repeat(1000))))];
    for pair in names.windows(2) {
        bomb.push((
            pair[1].as_str(),
            Operation::Encode(Encoding::Raw, vec![Part::Value(pair[0].clone()); 100]),
        ));
    }
    assert!(on("read", bomb[..2].to_vec()).is_ok());
    refuses("read", bomb, "once its values are filled in");
}

#[test]
fn every_part_counts_towards_the_size_of_a_request() {
    let mut request = Request {
        method: Method::Get,
        url: text("12"),
        headers: vec![],
        body: text("345"),
        derived: vec![],
        captures: vec![],
        after_ms: 0,
    };
    assert_eq!(request_bytes(&request), 7);
    request.headers.push(crate::model::Header { name: "n".into(), value: text("") });
    request.derived.push(Derived {
        name: "ab".into(),
        how: Operation::Encode(Encoding::Raw, vec![Part::Bytes(vec![1, 2])]),
    });
    assert_eq!(request_bytes(&request), 7 + 2 + 5);
}
