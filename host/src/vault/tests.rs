//! What the vault promises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "new://///////////////////////////////////////w8=";

fn vault(text: &str) -> Vault {
    Vault::from_text(text).unwrap()
}

fn complaint(text: &str) -> String {
    Vault::from_text(text).unwrap_err().to_string()
}

#[test]
fn what_is_sealed_opens_with_the_same_owner_and_context() {
    let vault = vault(OLD);
    let (key, wrapped) = vault.new_data_key(b"con_1").unwrap();
    let context: [&[u8]; 3] = [b"bus_1", b"con_1", b"token"];
    for plain in [&b""[..], b"x", &[7; 100_000]] {
        let sealed = key.seal(&context, plain).unwrap();
        assert_eq!(sealed.len(), plain.len() + 29);
        assert_eq!(vault.unwrap_key(b"con_1", &wrapped).unwrap().open(&context, &sealed).unwrap(), plain);
        assert_ne!(key.seal(&context, plain).unwrap(), sealed, "a nonce was used twice");
    }
}

#[test]
fn a_change_of_any_byte_is_noticed() {
    let (key, _) = vault(OLD).new_data_key(b"con_1").unwrap();
    let sealed = key.seal(&[b"name"], b"a secret").unwrap();
    for at in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        assert!(matches!(key.open(&[b"name"], &bad), Err(VaultError::Tampered)), "byte {at}");
        assert!(matches!(key.open(&[b"name"], &sealed[..at]), Err(VaultError::Tampered)), "cut at {at}");
    }
    assert!(key.open(&[b"name"], &[&sealed[..], &[0]].concat()).is_err());
    assert!(key.open(&[b"name"], &sealed).is_ok());
}

#[test]
fn a_change_of_any_byte_of_a_wrapped_key_is_noticed() {
    let vault = vault(OLD);
    let (_, wrapped) = vault.new_data_key(b"con_1").unwrap();
    for at in 0..wrapped.bytes.len() {
        let mut bad = wrapped.clone();
        bad.bytes[at] ^= 0x80;
        assert!(matches!(vault.unwrap_key(b"con_1", &bad), Err(VaultError::Tampered)), "byte {at}");
    }
}

#[test]
fn a_wrapped_key_opens_only_for_its_owner() {
    let vault = vault(OLD);
    let (_, wrapped) = vault.new_data_key(b"con_1").unwrap();
    assert!(matches!(vault.unwrap_key(b"con_2", &wrapped), Err(VaultError::Tampered)));
    assert!(matches!(vault.unwrap_key(b"", &wrapped), Err(VaultError::Tampered)));
    assert!(vault.unwrap_key(b"con_1", &wrapped).is_ok());
}

#[test]
fn another_context_does_not_open_and_boundaries_between_parts_count() {
    let (key, _) = vault(OLD).new_data_key(b"con_1").unwrap();
    let sealed = key.seal(&[b"ab", b"c"], b"a secret").unwrap();
    let others: [&[&[u8]]; 6] =
        [&[b"a", b"bc"], &[b"abc"], &[b"ab", b"c", b""], &[b"", b"ab", b"c"], &[b"c", b"ab"], &[]];
    for other in others {
        assert!(key.open(other, &sealed).is_err(), "{other:?}");
        assert_ne!(key.index(other), key.index(&[b"ab", b"c"]), "{other:?}");
    }
    assert!(key.open(&[b"ab", b"c"], &sealed).is_ok());
}

#[test]
fn one_owners_key_does_not_open_anothers() {
    let vault = vault(OLD);
    let (first, _) = vault.new_data_key(b"con_1").unwrap();
    let (second, _) = vault.new_data_key(b"con_1").unwrap();
    let sealed = first.seal(&[b"name"], b"a secret").unwrap();
    assert!(second.open(&[b"name"], &sealed).is_err());
    assert_ne!(first.index(&[b"x"]), second.index(&[b"x"]));
}

#[test]
fn an_index_is_the_same_after_unwrapping() {
    let vault = vault(OLD);
    let (key, wrapped) = vault.new_data_key(b"con_1").unwrap();
    assert_eq!(key.index(&[b"GB00"]), vault.unwrap_key(b"con_1", &wrapped).unwrap().index(&[b"GB00"]));
}

#[test]
fn rotation_wraps_again_and_then_the_old_key_can_go() {
    let before = vault(OLD);
    let (key, wrapped) = before.new_data_key(b"con_1").unwrap();
    let sealed = key.seal(&[b"name"], b"a secret").unwrap();
    assert_eq!(before.rewrap(b"con_1", &wrapped).unwrap(), None);

    let during = vault(&format!("# the new one first\n\n{NEW}\n{OLD}\n"));
    assert_eq!(during.current_master_key(), "new");
    assert!(during.unwrap_key(b"con_1", &wrapped).is_ok());
    let rewrapped = during.rewrap(b"con_1", &wrapped).unwrap().unwrap();
    assert!(matches!(during.rewrap(b"con_2", &wrapped), Err(VaultError::Tampered)));

    let after = vault(NEW);
    assert_eq!(
        after.unwrap_key(b"con_1", &rewrapped).unwrap().open(&[b"name"], &sealed).unwrap(),
        b"a secret"
    );
    let error = after.unwrap_key(b"con_1", &wrapped).unwrap_err();
    assert!(matches!(&error, VaultError::UnknownMasterKey(id) if id == "old"));
    assert!(error.to_string().contains("tidegate vault rotate"));
}

#[test]
fn a_wrapped_key_that_claims_another_master_key_is_refused() {
    let both = vault(&format!("{NEW}\n{OLD}"));
    let (_, mut wrapped) = both.new_data_key(b"con_1").unwrap();
    wrapped.master_key = "old".to_owned();
    assert!(matches!(both.unwrap_key(b"con_1", &wrapped), Err(VaultError::Tampered)));
}

#[test]
fn a_bad_master_key_text_says_what_to_do() {
    for (text, says) in [
        ("", "there is no master key"),
        ("# nothing\n\n", "there is no master key"),
        ("just-text", "line 1: not of the form"),
        ("Old Key:AAAA", "the id before the colon"),
        (":AAAA", "the id before the colon"),
        ("old:***", "is not base64"),
        ("old:AAAA", "has 3 bytes, not 32"),
        ("old:", "has 0 bytes, not 32"),
    ] {
        let said = complaint(text);
        assert!(said.contains(says), "{text:?}: {said}");
        assert!(said.contains("tidegate vault new-key"), "{said}");
    }
    assert!(complaint(&format!("{OLD}\n{OLD}")).contains("line 2: the id \"old\" stands there twice"));
}

#[test]
fn a_complaint_never_repeats_the_key() {
    for text in ["old:c2VjcmV0LXRoaW5n", "old:c2VjcmV0LXRoaW5n!", "c2VjcmV0LXRoaW5n"] {
        assert!(!complaint(text).contains("c2VjcmV0"), "{text}");
    }
}

#[test]
fn a_new_line_is_a_good_line_and_no_two_are_alike() {
    let (one, two) = (Vault::new_master_key_line().unwrap(), Vault::new_master_key_line().unwrap());
    assert_ne!(one.split_once(':').unwrap().1, two.split_once(':').unwrap().1);
    let made = vault(&format!("{one}\n{two}"));
    assert!(one.starts_with(&format!("{}:", made.current_master_key())));
}

#[test]
fn debug_shows_ids_and_no_key() {
    let made = vault(&format!("{NEW}\n{OLD}"));
    assert_eq!(format!("{made:?}"), "Vault { current: \"new\", older: [\"old\"], .. }");
    assert_eq!(format!("{:?}", made.new_data_key(b"x").unwrap().0), "DataKey(…)");
}

#[test]
fn derived_keys_differ_by_purpose_and_by_master_key() {
    assert_eq!(vault(OLD).derive("modules"), vault(OLD).derive("modules"));
    assert_ne!(vault(OLD).derive("modules"), vault(OLD).derive("cursors"));
    assert_ne!(vault(OLD).derive("modules"), vault(NEW).derive("modules"));
}

#[test]
fn hkdf_agrees_with_rfc_5869_test_case_3() {
    let wanted = [
        0x8d, 0xa4, 0xe7, 0x75, 0xa5, 0x63, 0xc1, 0x8f, 0x71, 0x5f, 0x80, 0x2a, 0x06, 0x3c, 0x5a, 0x31, 0xb8,
        0xa1, 0x1f, 0x5c, 0x5e, 0xe1, 0x87, 0x9e, 0xc3, 0x45, 0x4e, 0x5f, 0x3c, 0x73, 0x8d, 0x2d,
    ];
    assert_eq!(hkdf_sha256(&[0x0b; 22], b""), wanted);
}
