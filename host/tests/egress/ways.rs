//! By which way a request leaves: through a proxy that only an operator can grant, or from an address of ours.

use crate::bank::*;
use crate::tls;
use host::clock::Clock;
use host::egress::{EgressError, Limits};
use host::model::EgressProfile;
use std::net::SocketAddr;
use tests::proxy::Proxy;

fn through(proxy: &Proxy) -> EgressProfile {
    EgressProfile { proxy: Some(format!("http://{}", proxy.address())), local_address: None }
}

/// A world whose bank speaks TLS at `localhost`.
fn world(bank: SocketAddr, allow: &[SocketAddr], way: EgressProfile) -> World {
    let origin = format!("https://localhost:{}", bank.port());
    let mut world = World::with(&origin, allow, Limits::default(), Clock::system());
    world.registration = Some(tls::registration(true, true));
    world.way = way;
    world
}

#[tokio::test]
async fn a_proxy_leads_to_the_bank_and_reads_nothing_of_it() {
    let (bank, seen) = tls::bank().await;
    let proxy = Proxy::start().await.unwrap();
    let mut world = world(bank, &[bank, proxy.address()], through(&proxy));
    let get = world.get();
    assert_eq!(world.send(&get).await.unwrap().reply.body, b"hello");
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].target, format!("localhost:{}", bank.port()));
    // Nothing goes past it.
    proxy.refuse();
    world.registration = Some(tls::registration(true, true)); // another standing, so another connection
    let error = world.send(&get).await.unwrap_err();
    assert!(matches!(error, EgressError::Unreachable { code: "proxy", left: false, .. }), "{error:?}");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn behind_a_proxy_the_banks_address_is_looked_at_and_so_is_the_proxys_own() {
    let (bank, seen) = tls::bank().await;
    let proxy = Proxy::start().await.unwrap();
    for (allowed, expected) in [
        (vec![proxy.address()], format!("add \"127.0.0.1:{}\" to egress.allow", bank.port())),
        (vec![bank], format!("add \"{}\" to egress.allow", proxy.address())),
    ] {
        let mut world = world(bank, &allowed, through(&proxy));
        let get = world.get();
        let error = world.send(&get).await.unwrap_err();
        let EgressError::BlockedAddress(said) = error else { panic!("{error:?}") };
        // A name may have several addresses, each of them private here.
        assert!(said.contains(&expected) || said.contains("[::1]"), "{said}");
    }
    let mut unknown =
        World::with("https://bank.invalid", &[proxy.address()], Limits::default(), Clock::system());
    unknown.way = through(&proxy);
    let get = unknown.get();
    let error = unknown.send(&get).await.unwrap_err().to_string();
    assert!(error.contains("\"bank.invalid\" has no address here"), "{error}");
    let mut metadata =
        World::with("https://169.254.169.254", &[proxy.address()], Limits::default(), Clock::system());
    metadata.way = through(&proxy);
    let get = metadata.get();
    assert!(matches!(metadata.send(&get).await.unwrap_err(), EgressError::BlockedAddress(_)));

    let plain = Bank::new(|_, _| ok("", "hello")).await;
    let mut world = World::with(
        &format!("http://{}", plain.address),
        &[plain.address, proxy.address()],
        Limits::default(),
        Clock::system(),
    );
    world.way = through(&proxy);
    let get = world.get();
    let error = world.send(&get).await.unwrap_err().to_string();
    assert!(error.contains("plain http does not go through a proxy"), "{error}");
    assert!(proxy.asked().is_empty() && seen.lock().unwrap().is_empty() && plain.seen().is_empty());
}

#[tokio::test]
async fn a_bank_sees_the_address_that_the_profile_says() {
    let bank = Bank::new(|_, _| ok("", "hello")).await;
    let mut world = World::of(bank.address);
    let get = world.get();
    world.send(&get).await.unwrap();
    world.way.local_address = Some("127.0.0.2".parse().unwrap());
    world.send(&get).await.unwrap();
    assert_eq!(bank.from().iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1", "127.0.0.2"]);
    // An address that this machine does not have: nothing leaves, and nothing by another way.
    world.way.local_address = Some("192.0.2.1".parse().unwrap());
    let error = world.send(&get).await.unwrap_err();
    assert!(matches!(error, EgressError::Unreachable { code: "connect", left: false, .. }), "{error:?}");
    assert_eq!(bank.seen().len(), 2);
}
