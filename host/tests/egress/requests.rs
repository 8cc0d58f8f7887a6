//! What leaves, and what does not.

use crate::bank::*;
use host::clock::Clock;
use host::egress::{EgressError, Limits};
use host::model::*;
use std::time::Duration;

#[tokio::test]
async fn a_request_leaves_with_its_values_filled_in_and_nothing_of_a_proxy_or_cookie() {
    let bank = Bank::new(|_, _| ok("Content-Type: application/json\r\nX-Id: 7\r\n", "{\"n\":1.10}")).await;
    let mut world = World::of(bank.address);
    let mut request = world.request(Method::Post, "/accounts/");
    request.url.extend([text("a%20b?q="), value("basic")]);
    request.derived = vec![Derived {
        name: "basic".to_owned(),
        how: Operation::Encode(Encoding::Base64, vec![text("me:"), value("token")]),
    }];
    request.headers = vec![
        header("Authorization", vec![text("Basic "), value("basic")]),
        header("Content-Type", vec![text("text/plain")]),
    ];
    request.body = vec![text("token="), value("token"), Part::Bytes(vec![b'!'])];
    let exchange = world.send(&request).await.unwrap();
    assert_eq!(exchange.reply.status, 200);
    assert_eq!(exchange.reply.body, b"{\"n\":1.10}");
    assert_eq!(
        exchange.reply.headers,
        [("content-type".into(), "application/json".into()), ("x-id".into(), "7".into())]
    );
    assert!(exchange.captured.is_empty());
    let seen = &bank.seen()[0];
    let basic = "bWU6YS1sb25nLXNlY3JldC10b2tlbg==";
    assert!(
        seen.starts_with(&format!("POST /accounts/a%20b?q={} HTTP/1.1\r\n", basic.replace('=', "%3D"))),
        "{seen}"
    );
    assert!(seen.contains(&format!("authorization: Basic {basic}\r\n")), "{seen}");
    assert!(
        seen.contains(&format!("host: {}\r\n", bank.address)) && seen.contains("accept-encoding: gzip\r\n"),
        "{seen}"
    );
    assert!(seen.ends_with("\r\n\r\ntoken=a-long-secret-token!"), "{seen}");
    assert!(!seen.to_lowercase().contains("cookie"), "{seen}");
}

#[tokio::test]
async fn an_allowed_port_does_not_open_another() {
    let (bank, next) = (Bank::new(|_, _| ok("", "")).await, Bank::new(|_, _| ok("", "")).await);
    for host in ["127.0.0.1", "localhost"] {
        let origin = |bank: &Bank| format!("http://{host}:{}", bank.address.port());
        let mut world = World::with(&origin(&next), &[bank.address], Limits::default(), Clock::system());
        let error = world.send(&world.get()).await.unwrap_err();
        let EgressError::BlockedAddress(said) = error else { panic!("{error:?}") };
        assert!(
            said.contains(&format!("add \"{}\" to egress.allow", next.address)) || said.contains("[::1]"),
            "{said}"
        );
        assert!(next.seen().is_empty());
        let mut world = World::with(&origin(&bank), &[bank.address], Limits::default(), Clock::system());
        assert_eq!(world.send(&world.get()).await.unwrap().reply.status, 200, "{host}");
    }
    assert_eq!(bank.seen().len(), 2);
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_blocked_over_https_too() {
    let bank = Bank::new(|_, _| ok("", "")).await;
    for host in ["localhost", "127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254"] {
        let mut world = World::with(
            &format!("https://{host}:{}", bank.address.port()),
            &[],
            Limits::default(),
            Clock::system(),
        );
        let error = world.send(&world.get()).await.unwrap_err();
        assert!(matches!(error, EgressError::BlockedAddress(_)), "{host}: {error:?}");
    }
    assert!(bank.seen().is_empty());
}

#[tokio::test]
async fn an_undeclared_route_and_a_wrong_purpose_never_leave() {
    let bank = Bank::new(|_, _| ok("", "")).await;
    let mut world = World::of(bank.address);
    let undeclared = world.request(Method::Get, "/payments");
    let error = world.send(&undeclared).await.unwrap_err();
    assert!(matches!(&error, EgressError::Refused(said) if said.contains("path = \"/payments\"")), "{error}");
    assert!(bank.seen().is_empty());
}

#[tokio::test]
async fn a_line_break_in_a_header_never_leaves() {
    let bank = Bank::new(|_, _| ok("", "")).await;
    let mut world = World::of(bank.address);
    for bad in ["a\r\nX-Evil: 1", "a\nb", "a\0b", "a\rb"] {
        let mut request = world.get();
        request.headers = vec![header("X-Id", vec![text(bad)])];
        assert!(matches!(world.send(&request).await, Err(EgressError::Refused(_))), "{bad:?}");
        world.values.insert("token".to_owned(), Secret::new(format!("{bad}, and so on for long")));
        request.headers = vec![header("X-Id", vec![value("token")])];
        let error = world.send(&request).await.unwrap_err();
        assert!(!error.to_string().contains("Evil"), "{error}");
    }
    let mut request = world.get();
    request.headers = vec![header("X-Id\r\nX-Evil", vec![text("1")])];
    assert!(world.send(&request).await.is_err());
    assert!(bank.seen().is_empty());
    request.headers = vec![header("X-Id", vec![text("fine")])];
    assert!(world.send(&request).await.is_ok());
}

#[tokio::test]
async fn a_giant_request_never_leaves() {
    let bank = Bank::new(|_, _| ok("", "")).await;
    let mut world = World::of(bank.address);
    let mut request = world.request(Method::Post, "/accounts/1");
    request.body = vec![text(&"x".repeat(256 * 1024))];
    assert!(matches!(world.send(&request).await, Err(EgressError::Refused(_))));
    assert!(bank.seen().is_empty());
    let limits = Limits { request_bytes: 300 * 1024, ..Limits::default() };
    let mut world = World::with(&world.origin, &[bank.address], limits, Clock::system());
    assert!(world.send(&request).await.is_ok());
}

#[tokio::test]
async fn nothing_leaves_after_the_lease_ran_out() {
    let bank = Bank::new(|_, _| ok("", "")).await;
    let mut world = World::of(bank.address);
    world.clock = Clock::frozen(Timestamp(0));
    world.deadline = world.clock.deadline(Duration::from_secs(60));
    world.clock.advance(Duration::from_secs(59));
    assert!(world.send(&world.get()).await.is_ok());
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.send(&world.get()).await, Err(EgressError::DeadlinePassed));
    assert_eq!(bank.seen().len(), 1);
}

#[tokio::test]
async fn a_request_waits_as_long_as_it_asked_for() {
    let bank = Bank::new(|_, _| ok("", "")).await;
    let clock = Clock::frozen(Timestamp(0));
    let mut world =
        World::with(&format!("http://{}", bank.address), &[bank.address], Limits::default(), clock.clone());
    let mut request = world.get();
    request.after_ms = 60_001;
    assert!(matches!(world.send(&request).await, Err(EgressError::Refused(_))));
    request.after_ms = 5_000;
    {
        let mut sending = std::pin::pin!(world.send(&request));
        for _ in 0..5 {
            tokio::select! { biased; done = &mut sending => panic!("{done:?}"), () = tokio::task::yield_now() => {} }
        }
        assert!(bank.seen().is_empty());
        clock.advance(Duration::from_millis(5_000));
        assert_eq!(sending.await.unwrap().reply.status, 200);
    }
    world.deadline = clock.deadline(Duration::from_secs(5));
    assert_eq!(world.send(&request).await, Err(EgressError::DeadlinePassed));
    assert_eq!(bank.seen().len(), 1);
}

#[tokio::test]
async fn a_get_is_sent_again_when_the_connection_breaks_and_a_post_is_not() {
    let flaky = |number: usize, _: &str| match number {
        0 => Answer::Close,
        1 => Answer::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec()),
        _ => ok("", "whole"),
    };
    let bank = Bank::new(flaky).await;
    let mut world = World::of(bank.address);
    assert_eq!(world.send(&world.get()).await.unwrap().reply.body, b"whole");
    assert_eq!(bank.seen().len(), 3);

    let bank = Bank::new(flaky).await;
    let mut world = World::of(bank.address);
    let post = world.request(Method::Post, "/accounts/1");
    let error = world.send(&post).await.unwrap_err();
    assert!(matches!(error, EgressError::Unreachable { code: "reset", .. }), "{error:?}");
    assert_eq!(bank.seen().len(), 1);
}

#[tokio::test]
async fn a_get_is_given_up_after_the_third_try() {
    let bank = Bank::new(|_, _| Answer::Close).await;
    let mut world = World::of(bank.address);
    assert!(matches!(world.send(&world.get()).await, Err(EgressError::Unreachable { code: "reset", .. })));
    assert_eq!(bank.seen().len(), 3);
    // Not so a login, which the bank may have refused and counted.
    world.repeats = false;
    let error = world.send(&world.get()).await.unwrap_err();
    assert!(matches!(error, EgressError::Unreachable { code: "reset", left: true, .. }), "{error:?}");
    assert_eq!(bank.seen().len(), 4);
}

#[tokio::test]
async fn a_post_is_sent_again_only_if_nothing_was_sent() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut world = World::of(address);
    let begun = std::time::Instant::now();
    let post = world.request(Method::Post, "/accounts/1");
    let error = world.send(&post).await.unwrap_err();
    assert!(matches!(error, EgressError::Unreachable { code: "connect", left: false, .. }), "{error:?}");
    assert!(begun.elapsed() >= Duration::from_millis(1200), "both pauses were kept");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_said_to_be_so() {
    let mut world = World::with("https://no-such-host.invalid", &[], Limits::default(), Clock::system());
    let error = world.send(&world.get()).await.unwrap_err();
    assert!(
        matches!(&error, EgressError::Unreachable { code: "dns", host, left: false } if host == "no-such-host.invalid"),
        "{error:?}"
    );
}

#[tokio::test]
async fn cookies_stay_in_the_jar_and_go_back() {
    let bank = Bank::new(|_, _| {
        ok("Set-Cookie: sid=s3cr3t; Path=/; HttpOnly\r\nSet-Cookie: gone=1; Max-Age=0\r\n", "")
    })
    .await;
    let mut world = World::of(bank.address);
    let reply = world.send(&world.get()).await.unwrap().reply;
    assert!(
        !format!("{reply:?}").to_lowercase().contains("cookie") && !format!("{reply:?}").contains("s3cr3t"),
        "{reply:?}"
    );
    let kept = serde_json::to_string(&world.jar).unwrap();
    world.jar = serde_json::from_str(&kept).unwrap();
    world.send(&world.get()).await.unwrap();
    assert!(!bank.seen()[0].contains("cookie: "));
    assert!(bank.seen()[1].contains("cookie: sid=s3cr3t\r\n"), "{}", bank.seen()[1]);
}
