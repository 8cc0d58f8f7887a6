//! POSTs to receivers that customers chose.

use crate::bank::*;
use host::clock::Clock;
use host::egress::{Egress, EgressConfig, EgressError, PostAnswer};
use host::model::Timestamp;
use std::net::SocketAddr;
use std::time::Duration;

fn egress(allow: &[SocketAddr]) -> Egress {
    let config = EgressConfig {
        allow: allow.to_vec(),
        webhook_timeout: Duration::from_secs(3),
        ..EgressConfig::default()
    };
    Egress::new(config, Clock::frozen(Timestamp(784_111_777_000_000))) // Sun, 06 Nov 1994 08:49:37 GMT
}

async fn post(bank: &Bank) -> Result<PostAnswer, EgressError> {
    let headers = [("webhook-id", "evt_1".to_owned()), ("content-type", "application/json".to_owned())];
    egress(&[bank.address])
        .post(&format!("http://{}/hook?a=1", bank.address), &headers, b"{\"type\":\"x\"}".to_vec())
        .await
}

#[tokio::test]
async fn a_webhook_arrives_byte_for_byte() {
    let sink = Bank::new(|_, _| reply("202 Accepted", "Set-Cookie: a=1\r\n", "thanks")).await;
    assert_eq!(post(&sink).await, Ok(PostAnswer { status: 202, retry_after_s: None }));
    let seen = &sink.seen()[0];
    assert!(
        seen.starts_with("POST /hook?a=1 HTTP/1.1\r\n") && seen.contains("webhook-id: evt_1\r\n"),
        "{seen}"
    );
    assert!(seen.ends_with("\r\n\r\n{\"type\":\"x\"}"), "{seen}");
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_or_as_a_date() {
    for (header, seconds) in [
        ("Retry-After: 120\r\n", Some(120)),
        ("Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n", Some(60)),
        ("Retry-After: Sun, 06 Nov 1994 08:00:00 GMT\r\n", Some(0)),
        ("Retry-After: soon\r\n", None),
        ("Retry-After: -5\r\n", None),
    ] {
        let sink = Bank::new(move |_, _| reply("429 Too Many Requests", header, "")).await;
        assert_eq!(post(&sink).await, Ok(PostAnswer { status: 429, retry_after_s: seconds }), "{header}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let other = Bank::new(|_, _| ok("", "")).await;
    let to = other.address;
    let sink =
        Bank::new(move |_, _| reply("307 Temporary Redirect", &format!("Location: http://{to}/\r\n"), ""))
            .await;
    assert_eq!(post(&sink).await.unwrap().status, 307);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn an_answer_that_never_ends_ends() {
    let endless =
        Bank::new(|_, _| Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 65536])).await;
    assert_eq!(post(&endless).await.unwrap().status, 200);
    let slow =
        Bank::new(|_, _| Answer::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec())).await;
    assert_eq!(post(&slow).await.unwrap().status, 200);
    let silent = Bank::new(|_, _| Answer::Hang(Vec::new())).await;
    assert!(matches!(post(&silent).await, Err(EgressError::Unreachable { code: "timeout", .. })));
    let rude = Bank::new(|_, _| Answer::Close).await;
    assert!(matches!(post(&rude).await, Err(EgressError::Unreachable { code: "reset", .. })));
    assert_eq!(rude.seen().len(), 1, "a webhook is not sent again by itself");
}

#[tokio::test]
async fn an_allowed_port_does_not_open_another() {
    let (sink, next) = (Bank::new(|_, _| ok("", "")).await, Bank::new(|_, _| ok("", "")).await);
    let egress = egress(&[sink.address]);
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1"] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{}/", next.address.port());
            let error = egress.post(&url, &[], Vec::new()).await.unwrap_err();
            assert!(
                matches!(error, EgressError::BlockedAddress(_) | EgressError::Refused(_)),
                "{url}: {error:?}"
            );
        }
        let url = format!("http://{host}:{}/", sink.address.port());
        assert!(egress.post(&url, &[], Vec::new()).await.is_ok(), "{url}");
    }
    assert!(next.seen().is_empty());
}

#[tokio::test]
async fn an_address_is_checked_when_it_is_handed_in() {
    let allowed: SocketAddr = "127.0.0.1:9000".parse().unwrap();
    let egress = egress(&[allowed]);
    for good in [
        "https://example.com/hooks",
        "https://example.com:8443/",
        "https://8.8.8.8/",
        "http://127.0.0.1:9000/",
        "http://localhost:9000/",
    ] {
        assert_eq!(egress.check_webhook_url(good), Ok(()), "{good}");
    }
    for bad in [
        "http://example.com/hooks",
        "http://8.8.8.8/",
        "https://127.0.0.1/",
        "http://127.0.0.1:9001/",
        "http://127.0.0.2:9000/",
        "https://localhost/",
        "https://app.localhost/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://10.0.0.8/",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00::1]/",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://example.com/#x",
        "ftp://example.com/",
        "file:///etc/passwd",
        "example.com/hooks",
        "https://",
        "",
    ] {
        assert!(egress.check_webhook_url(bad).is_err(), "{bad}");
    }
    assert!(egress.check_webhook_url(&format!("https://example.com/{}", "x".repeat(10_000))).is_err());
}

#[tokio::test]
async fn a_control_character_in_a_header_never_leaves() {
    let sink = Bank::new(|_, _| ok("", "")).await;
    let headers = [("webhook-id", "a\r\nx-evil: 1".to_owned())];
    let answer =
        egress(&[sink.address]).post(&format!("http://{}/", sink.address), &headers, Vec::new()).await;
    assert!(matches!(answer, Err(EgressError::Refused(_))));
    assert!(sink.seen().is_empty());
}
