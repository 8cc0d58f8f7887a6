//! What comes back, and what is withheld.

use crate::bank::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use host::clock::Clock;
use host::egress::{EgressConfig, EgressError, Exchange, Limits};
use host::model::*;
use std::io::Write as _;
use std::marker::{Send, Sync};
use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// GETs one reply under these limits.
async fn got(
    limits: Limits,
    answer: impl Fn() -> Answer + Send + Sync + 'static,
) -> Result<Exchange, EgressError> {
    let bank = Bank::new(move |_, _| answer()).await;
    let mut world =
        World::with(&format!("http://{}", bank.address), &[bank.address], limits, Clock::system());
    world.send(&world.get()).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Bank::new(|_, _| ok("", "")).await;
    let to = other.address;
    let bank =
        Bank::new(move |_, _| reply("302 Found", &format!("Location: http://{to}/accounts/1\r\n"), "")).await;
    let mut world = World::with(
        &format!("http://{}", bank.address),
        &[bank.address, to],
        Limits::default(),
        Clock::system(),
    );
    let reply = world.send(&world.get()).await.unwrap().reply;
    assert_eq!(reply.status, 302);
    assert_eq!(reply.headers, [("location".to_owned(), format!("http://{to}/accounts/1"))]);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_reply_larger_than_the_cap_is_refused() {
    let large = || ok("", vec![b'x'; 8 * MIB + 1]);
    assert!(matches!(got(Limits::default(), large).await, Err(EgressError::ReplyTooLarge(_))));
    let more = Limits { reply_bytes: 9 * MIB, ..Limits::default() };
    assert_eq!(got(more, large).await.unwrap().reply.body.len(), 8 * MIB + 1);
    assert_eq!(
        got(Limits::default(), || ok("", vec![b'x'; 8 * MIB])).await.unwrap().reply.body.len(),
        8 * MIB
    );
}

#[tokio::test]
async fn a_reply_without_end_is_refused() {
    let endless = || Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 65536]);
    assert!(matches!(got(Limits::default(), endless).await, Err(EgressError::ReplyTooLarge(_))));
}

#[tokio::test]
async fn a_gzip_bomb_is_refused_and_plain_gzip_is_read() {
    let bomb = gzip(&vec![0; 64 * MIB]);
    assert!(bomb.len() < 100 * 1024);
    let answer = move || ok("Content-Encoding: gzip\r\n", &bomb);
    assert!(matches!(got(Limits::default(), answer.clone()).await, Err(EgressError::ReplyTooLarge(_))));
    let more = Limits { reply_bytes: 65 * MIB, ..Limits::default() };
    assert_eq!(got(more, answer).await.unwrap().reply.body.len(), 64 * MIB);
    let small = got(Limits::default(), || ok("Content-Encoding: gzip\r\n", gzip(b"hello"))).await.unwrap();
    assert_eq!(small.reply.body, b"hello");
    assert!(small.reply.headers.is_empty(), "{:?}", small.reply.headers);
}

#[tokio::test]
async fn a_compression_that_lies_or_was_not_asked_for_is_a_bad_reply() {
    for (encoding, body) in [
        ("gzip", b"not gzip at all".to_vec()),
        ("br", b"x".to_vec()),
        ("gzip, gzip", gzip(&gzip(b"x"))),
        ("deflate", b"x".to_vec()),
    ] {
        let error = got(Limits::default(), move || ok(&format!("Content-Encoding: {encoding}\r\n"), &body))
            .await
            .unwrap_err();
        assert!(matches!(error, EgressError::BadReply(_)), "{encoding}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_bad_reply() {
    for text in
        ["SSH-2.0-OpenSSH_9.6\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nNo colon here\r\n\r\n"]
    {
        let error = got(Limits::default(), move || Answer::Say(text.as_bytes().to_vec())).await.unwrap_err();
        assert!(matches!(error, EgressError::BadReply(_)), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn giant_headers_are_refused_and_headers_that_are_no_text_are_dropped() {
    let header =
        |length: usize| move || ok(&format!("X-Long: {}\r\nX-B\u{e4}d: 1\r\n", "x".repeat(length)), "");
    let fine = |length: usize| move || ok(&format!("X-Long: {}\r\n", "x".repeat(length)), "");
    assert!(matches!(got(Limits::default(), fine(65_536)).await, Err(EgressError::ReplyTooLarge(_))));
    let more = Limits { reply_header_bytes: 100_000, ..Limits::default() };
    assert!(got(more, fine(65_536)).await.is_ok());
    assert!(matches!(got(Limits::default(), fine(1_000_000)).await, Err(EgressError::ReplyTooLarge(_))));
    assert!(matches!(got(Limits::default(), header(1)).await, Err(EgressError::BadReply(_))));
    let dropped = got(Limits::default(), || ok("X-Text: b\r\nX-Name: K\u{f6}ln\r\n", "")).await.unwrap();
    assert_eq!(dropped.reply.headers, [("x-text".to_owned(), "b".to_owned())]);
}

#[tokio::test]
async fn another_charset_is_translated_and_a_wrong_one_is_a_bad_reply() {
    let typed = |kind: &'static str, body: &'static [u8]| {
        got(Limits::default(), move || ok(&format!("Content-Type: {kind}\r\n"), body))
    };
    let latin = typed("application/json; charset=ISO-8859-1", b"{\"a\":\"K\xf6ln\"}").await.unwrap().reply;
    assert_eq!(latin.body, "{\"a\":\"Köln\"}".as_bytes());
    assert_eq!(latin.headers[0].1, "application/json; charset=utf-8");
    let utf16 = typed("text/plain; charset=\"utf-16le\"", b"a\0b\0").await.unwrap().reply;
    assert_eq!(utf16.body, b"ab");
    let untouched = typed("application/pdf", b"%PDF\xff").await.unwrap().reply;
    assert_eq!(untouched.body, b"%PDF\xff");
    for (kind, body) in [
        ("application/json", &b"{\"a\":\"K\xf6ln\"}"[..]),
        ("application/problem+json", b"\"\xff\""),
        ("text/html; charset=utf-8", b"K\xf6ln"),
        ("text/html; charset=klingon", b"x"),
    ] {
        let error = typed(kind, body).await.unwrap_err();
        assert!(matches!(error, EgressError::BadReply(_)), "{kind}: {error:?}");
    }
}

#[tokio::test]
async fn a_bank_that_falls_silent_is_given_up() {
    for silent in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let bank = Bank::new(move |_, _| Answer::Hang(silent.to_vec())).await;
        let mut world = World::of(bank.address);
        let config = EgressConfig {
            allow: vec![bank.address],
            bank_timeout: Duration::from_millis(300),
            ..EgressConfig::default()
        };
        world.egress = host::egress::Egress::new(config, Clock::system());
        let error = world.send(&world.get()).await.unwrap_err();
        assert!(matches!(error, EgressError::Unreachable { code: "timeout", .. }), "{error:?}");
        assert_eq!(bank.seen().len(), 1, "the time is for all tries together");
    }
}

#[tokio::test]
async fn a_captured_value_is_kept_and_blanked() {
    let bank = Bank::new(|_, _| {
        ok("Content-Type: application/json\r\n", r#"{"access_token":"the-new-access-token","n":1.10}"#)
    })
    .await;
    let mut world = World::of(bank.address);
    let mut request = world.get();
    request.captures = capture(Place::Json("access_token".to_owned()));
    let exchange = world.send(&request).await.unwrap();
    assert_eq!(exchange.captured, [("token".to_owned(), Secret::new("the-new-access-token"))]);
    assert_eq!(exchange.reply.captured, ["token"]);
    assert_eq!(exchange.reply.body, br#"{"access_token":"","n":1.10}"#);
    request.captures = capture(Place::Json("other".to_owned()));
    assert!(matches!(world.send(&request).await, Err(EgressError::BadReply(_))));
    request.captures[0].name = "client-id".to_owned();
    assert!(matches!(world.send(&request).await, Err(EgressError::Refused(_))), "not a credential");
    assert_eq!(bank.seen().len(), 2);
}

#[tokio::test]
async fn a_captured_value_that_stands_elsewhere_too_is_withheld() {
    for body in [
        r#"{"a":"the-new-access-token","b":"the-new-access-token"}"#,
        r#"{"a":"the-new-access-token","b":"dGhlLW5ldy1hY2Nlc3MtdG9rZW4"}"#,
    ] {
        let bank = Bank::new(move |_, _| ok("", body)).await;
        let mut world = World::of(bank.address);
        let mut request = world.get();
        request.captures = capture(Place::Json("a".to_owned()));
        assert!(matches!(world.send(&request).await, Err(EgressError::SecretEchoed(_))), "{body}");
    }
}

#[tokio::test]
async fn captures_come_from_headers_cookies_and_locations_too() {
    let headers = "X-Token: from-a-header-12345\r\nSet-Cookie: sid=from-a-cookie-12345\r\nLocation: https://app.example/?code=from-a-location-1\r\n";
    let bank = Bank::new(move |_, _| reply("302 Found", headers, "<a value='from-the-body-123'>")).await;
    let mut world = World::of(bank.address);
    for (place, found) in [
        (Place::Header("x-token".to_owned()), "from-a-header-12345"),
        (Place::Cookie("sid".to_owned()), "from-a-cookie-12345"),
        (Place::LocationQuery("code".to_owned()), "from-a-location-1"),
        (Place::Between("value='".to_owned(), "'".to_owned()), "from-the-body-123"),
    ] {
        let mut request = world.get();
        request.captures = capture(place);
        let exchange = world.send(&request).await.unwrap();
        assert_eq!(exchange.captured[0].1.reveal(), found);
        assert!(
            !format!("{:?}{}", exchange.reply, String::from_utf8_lossy(&exchange.reply.body)).contains(found),
            "{found}"
        );
    }
}

#[tokio::test]
async fn a_login_reply_shows_only_the_listed_fields() {
    let body = r#"{"access_token":"the-new-access-token","expires_in":3600.50,"scope":"a \"b\"","error":{"pin":"1234"},"pin":"1234"}"#;
    let headers = "Content-Type: application/json\r\nX-Debug: pin 1234\r\nLocation: https://x.example/?pin=1234\r\nRetry-After: 5\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let bank = Bank::new(move |_, _| ok(headers, body)).await;
    let mut world = World::of(bank.address);
    let mut request = world.login();
    request.body = vec![text("pin="), value("pin")];
    request.captures = capture(Place::Json("access_token".to_owned()));
    let exchange = world.send(&request).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&exchange.reply.body), r#"{"expires_in":3600.50,"scope":"a \"b\""}"#);
    let names: Vec<&str> = exchange.reply.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "retry-after", "date"]);
    assert_eq!(exchange.captured[0].1.reveal(), "the-new-access-token");
    assert!(bank.seen()[0].ends_with("pin=1234"));
}

async fn logged_in(
    path: &str,
    body: impl Into<Vec<u8>>,
    place: Option<Place>,
) -> Result<Exchange, EgressError> {
    let body = body.into();
    let bank = Bank::new(move |_, _| ok("Content-Type: text/html; charset=utf-8\r\n", body.clone())).await;
    let mut world = World::of(bank.address);
    let mut request = world.request(Method::Post, path);
    request.captures = place.map(capture).unwrap_or_default();
    world.send(&request).await
}

#[tokio::test]
async fn a_login_page_is_told_by_its_marks_and_never_shown() {
    let seen = async |body: &str| {
        String::from_utf8(logged_in("/page", body, None).await.unwrap().reply.body).unwrap()
    };
    assert_eq!(seen("<p>Your PIN is wrong & locked, Rosalind</p>").await, r#"{"refused":true}"#);
    assert_eq!(seen("<p>Please come back later</p>").await, r#"{"maintenance":true}"#);
    assert_eq!(seen("<p>Welcome, Rosalind</p>").await, "{}");
}

#[tokio::test]
async fn a_wrapped_login_reply_is_opened_before_anything_is_looked_for() {
    use base64::Engine as _;
    let wrap =
        |text: &str| base64::engine::general_purpose::STANDARD.encode(text).replacen("ey", "e\r\ny", 1);
    let body = wrap(r#"{"a":{"b":1.50},"x":"ok","token":"a-captured-secret-token"}"#);
    let exchange = logged_in("/wrapped", body, Some(Place::Json("token".into()))).await.unwrap();
    assert_eq!(String::from_utf8(exchange.reply.body).unwrap(), r#"{"a.b":1.50,"ok":true}"#);
    assert_eq!(exchange.captured[0].1.reveal(), "a-captured-secret-token");
    let bad = logged_in("/wrapped", "not base64!", None).await;
    assert!(matches!(&bad, Err(EgressError::BadReply(why)) if why.contains("not base64")), "{bad:?}");
}

#[tokio::test]
async fn a_browser_is_sent_to_declared_places_and_takes_no_secret_along() {
    let mut world = World::of(([127, 0, 0, 1], 9).into());
    for (name, value) in [("redirect-state", "s t"), ("pkce-verifier", "a-verifier-of-the-host")] {
        world.values.insert(name.to_owned(), Secret::new(value));
    }
    let to = |parts: Vec<Part>| {
        let mut path = vec![text("/authorise?client_id=")];
        path.extend(parts);
        path
    };
    let url =
        world.browser_url(to(vec![value("client-id"), text("&state="), value("redirect-state")]), vec![]);
    assert!(url.unwrap().ends_with("/authorise?client_id=tidegate-client-id-1&state=s%20t"));
    let hash = |name: &str| Derived { name: "hash".into(), how: Operation::Sha256(vec![value(name)]) };
    let hex = Derived { name: "hex".into(), how: Operation::Encode(Encoding::Hex, vec![value("hash")]) };
    let url = world.browser_url(to(vec![value("hex")]), vec![hash("pkce-verifier"), hex]).unwrap();
    assert_eq!(url.rsplit('=').next().unwrap().len(), 64);
    for secret in ["token", "pkce-verifier"] {
        let refused = world.browser_url(to(vec![value(secret)]), vec![]).unwrap_err().to_string();
        assert!(refused.contains("would see the secret"), "{refused}");
    }
    let elsewhere = world.browser_url(vec![text("/elsewhere")], vec![]).unwrap_err().to_string();
    assert!(elsewhere.contains("/elsewhere"), "{elsewhere}");
    let login = world.browser_url(vec![text("/accounts/1")], vec![]).unwrap_err().to_string();
    assert!(login.contains("may not be asked now"), "{login}");
}

#[tokio::test]
async fn a_login_reply_that_is_no_json_shows_nothing() {
    let bank = Bank::new(|_, _| {
        reply("500 Internal Server Error", "Content-Type: text/html\r\n", "<p>your PIN is 1234</p>")
    })
    .await;
    let mut world = World::of(bank.address);
    let login = world.login();
    let reply = world.send(&login).await.unwrap().reply;
    assert_eq!((reply.status, reply.body.as_slice()), (500, &b"{}"[..]));
}

#[tokio::test]
async fn a_login_reply_of_another_make_is_decoded_and_told_by_marks_and_texts() {
    let message =
        "HDR+1'DLG+7'TAN+the-reference-of-the-challenge+Look at the telephone ending in 42.'RET+9340+no'";
    let encoded = STANDARD.encode(message);
    let (first, second) = encoded.split_at(40);
    let body = format!("{first}\r\n{second}\n");
    let bank =
        Bank::new(move |number, _| ok("", if number == 0 { body.as_str() } else { "no base64!" })).await;
    let mut world = World::of(bank.address);
    let mut request = world.request(Method::Post, "/dialogue");
    request.captures = capture(Place::Between("'TAN+".to_owned(), "+".to_owned()));
    let exchange = world.send(&request).await.unwrap();
    assert_eq!(exchange.captured[0].1.reveal(), "the-reference-of-the-challenge");
    let shown: serde_json::Value = serde_json::from_slice(&exchange.reply.body).unwrap();
    let expected = serde_json::json!({ "wrong": true, "challenge": "Look at the telephone ending in 42." });
    assert_eq!(shown, expected);
    assert!(matches!(world.send(&request).await, Err(EgressError::BadReply(_))));
}

#[tokio::test]
async fn an_echoed_secret_is_withheld_and_with_the_search_lifted_it_would_arrive() {
    // What a debugging proxy does: the request in the reply, or in a header.
    let echo = |_: usize, request: &str| ok("Content-Type: text/plain\r\n", request);
    let in_header = |_: usize, _: &str| ok(&format!("X-Echo: {TOKEN}\r\n"), "");
    for basic in [false, true] {
        let bank = Bank::new(echo).await;
        let origin = format!("http://{}", bank.address);
        let blind = Limits { secret_bytes: 1000, ..Limits::default() };
        for (limits, withheld) in [(Limits::default(), true), (blind, false)] {
            let mut world = World::with(&origin, &[bank.address], limits, Clock::system());
            let mut request = world.get();
            let credential = if basic { value("basic") } else { value("token") };
            request.derived = vec![Derived {
                name: "basic".to_owned(),
                how: Operation::Encode(Encoding::Base64, vec![text("me:"), value("token")]),
            }];
            request.headers = vec![header("Authorization", vec![credential])];
            match world.send(&request).await {
                Err(EgressError::SecretEchoed(said)) => {
                    assert!(withheld && said.contains("route \"read\"") && !said.contains(TOKEN), "{said}")
                }
                Ok(exchange) => assert!(!withheld && !exchange.reply.body.is_empty()),
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    let bank = Bank::new(in_header).await;
    let mut world = World::of(bank.address);
    assert!(matches!(world.send(&world.get()).await, Err(EgressError::SecretEchoed(_))));
}

#[tokio::test]
async fn a_public_value_may_be_echoed() {
    let bank = Bank::new(|_, request| ok("", request)).await;
    let mut world = World::of(bank.address);
    let mut request = world.get();
    request.headers = vec![header("X-Client", vec![value("client-id")])];
    assert!(
        String::from_utf8_lossy(&world.send(&request).await.unwrap().reply.body)
            .contains("tidegate-client-id-1")
    );
}
