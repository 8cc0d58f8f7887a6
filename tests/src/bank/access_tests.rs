//! Consents and tokens, without HTTP.

#![allow(clippy::unwrap_used)]

use super::access::*;
use super::tls::Caller;
use chrono::{DateTime, TimeDelta, Utc};

const LIVES: TimeDelta = TimeDelta::seconds(600);

fn granted(expires_at: Option<DateTime<Utc>>) -> (Access, Granted, DateTime<Utc>) {
    let mut access = Access::new(1);
    let now = DateTime::UNIX_EPOCH;
    let customer = access.create_customer("Ada");
    let granted = access.grant("shop", &customer, now, expires_at).unwrap();
    (access, granted, now)
}

fn asking(now: DateTime<Utc>) -> Asking<'static> {
    Asking { client: "shop", caller: Caller::default(), now, lives: LIVES }
}

fn check(access: &Access, token: &str, now: DateTime<Utc>) -> Option<Denied> {
    access.check(Some(token), Caller::default(), now).err()
}

#[test]
fn each_renewal_gives_a_new_pair_and_uses_the_old_token_up() {
    let (mut access, granted, now) = granted(None);
    let first = access.renew(&granted.refresh_token, &asking(now)).unwrap();
    assert_eq!(check(&access, &first.access_token, now), None);
    assert_eq!(check(&access, &first.access_token, now + LIVES), Some(Denied::Token));
    let second = access.renew(&first.refresh_token, &asking(now)).unwrap();
    assert_ne!(first.access_token, second.access_token);
    assert_eq!(check(&access, &second.access_token, now), None);
}

#[test]
fn a_reused_refresh_token_ends_the_consent_and_all_its_tokens() {
    let (mut access, granted, now) = granted(None);
    let first = access.renew(&granted.refresh_token, &asking(now)).unwrap();
    assert_eq!(access.renew(&granted.refresh_token, &asking(now)), None);
    assert_eq!(check(&access, &first.access_token, now), Some(Denied::Token));
    assert_eq!(access.renew(&first.refresh_token, &asking(now)), None);
}

#[test]
fn another_business_cannot_use_a_refresh_token_nor_use_it_up() {
    let (mut access, granted, now) = granted(None);
    let stranger = Asking { client: "thief", ..asking(now) };
    assert_eq!(access.renew(&granted.refresh_token, &stranger), None);
    assert!(access.renew(&granted.refresh_token, &asking(now)).is_some());
    assert_eq!(access.consent_for(&granted.consent_id, "thief").err(), Some(Withheld::NotYours));
    assert_eq!(access.delete_consent(&granted.consent_id, "thief"), Err(Withheld::NotYours));
}

#[test]
fn tokens_of_a_new_round_replace_the_old_ones_and_only_their_own_code_ends_them() {
    let (mut access, granted, now) = granted(None);
    let id = granted.consent_id;
    let (first, first_round) = access.open(&id, &asking(now)).unwrap();
    assert_eq!(access.renew(&granted.refresh_token, &asking(now)), None, "from before");
    let (second, second_round) = access.open(&id, &asking(now)).unwrap();
    assert_eq!(check(&access, &first.access_token, now), Some(Denied::Token));
    access.close(&id, first_round);
    assert_eq!(check(&access, &second.access_token, now), None);
    access.close(&id, second_round);
    assert_eq!(check(&access, &second.access_token, now), Some(Denied::Token));
    assert_eq!(access.renew(&second.refresh_token, &asking(now)), None);
}

#[test]
fn a_consent_ends_by_time_or_by_revocation() {
    let end = DateTime::UNIX_EPOCH + TimeDelta::days(90);
    let (mut access, granted, now) = granted(Some(end));
    let long = Asking { lives: TimeDelta::days(365), ..asking(now) };
    let tokens = access.renew(&granted.refresh_token, &long).unwrap();
    assert_eq!(check(&access, &tokens.access_token, now), None);
    assert_eq!(check(&access, &tokens.access_token, end), Some(Denied::ConsentExpired));
    access.revoke(&granted.consent_id).unwrap();
    assert_eq!(check(&access, &tokens.access_token, now), Some(Denied::ConsentRevoked));
    assert_eq!(access.renew(&tokens.refresh_token, &asking(now)), None);
}
