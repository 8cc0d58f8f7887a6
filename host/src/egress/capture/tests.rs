//! What is taken out, and what is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

fn open(body: &str) -> Open {
    Open {
        headers: vec![
            ("x-token".to_owned(), "from a header".to_owned()),
            (
                "location".to_owned(),
                "https://app.example/back?code=a%20b&state=s#id_token=j%2Ew&x".to_owned(),
            ),
        ],
        cookies: vec![
            Zeroizing::new("sid=old; Path=/".to_owned()),
            Zeroizing::new("sid=new; HttpOnly".to_owned()),
        ],
        body: body.as_bytes().to_vec(),
    }
}

/// Nothing is public.
fn secret(_: &str) -> bool {
    false
}

fn capture(name: &str, place: Place, required: bool) -> Capture {
    Capture { name: name.to_owned(), place, required }
}

/// One capture: what was found, and the reply that is left.
fn taken(body: &str, place: Place) -> (Option<String>, Open) {
    let mut reply = open(body);
    let captured = take(&mut reply, &[capture("token", place, false)], true, &secret).unwrap();
    (captured.first().map(|(_, secret)| secret.reveal().to_owned()), reply)
}

#[track_caller]
fn check_body(body: &str, place: Place, found: Option<&str>, left: &str) {
    let (value, reply) = taken(body, place);
    assert_eq!(value.as_deref(), found, "{body}");
    assert_eq!(String::from_utf8(reply.body).unwrap(), left, "{body}");
}

fn json(path: &str) -> Place {
    Place::Json(path.to_owned())
}

#[test]
fn a_json_field_is_replaced_by_an_empty_string_and_nothing_else_changes() {
    check_body(
        r#"{"access_token" : "t\u0041","n": 1.10}"#,
        json("access_token"),
        Some("tA"),
        r#"{"access_token" : "","n": 1.10}"#,
    );
    check_body(r#"{"a":{"b":12.50}}"#, json("a.b"), Some("12.50"), r#"{"a":{"b":""}}"#);
    check_body(r#"{"a":"1","a":"2"}"#, json("a"), Some("2"), r#"{"a":"","a":""}"#);
}

#[test]
fn what_is_no_text_or_no_json_is_not_captured() {
    for body in [
        r#"{"a":null}"#,
        r#"{"a":""}"#,
        r#"{"a":{"b":1}}"#,
        r#"{"a":[1]}"#,
        r#"{"b":"a"}"#,
        "a=1",
        r#"{"a":"x""#,
        "",
    ] {
        check_body(body, json("a"), None, body);
    }
}

#[test]
fn a_text_between_two_others_is_cut_out() {
    let between = || Place::Between("value=\"".to_owned(), "\"".to_owned());
    check_body("<input value=\"tok\"> value=\"b\"", between(), Some("tok"), "<input value=\"\"> value=\"b\"");
    check_body("<input value=\"tok", between(), None, "<input value=\"tok");
    check_body("nothing", between(), None, "nothing");
}

#[test]
fn a_header_is_blanked() {
    let (value, reply) = taken("", Place::Header("X-Token".to_owned()));
    assert_eq!(value.unwrap(), "from a header");
    assert_eq!(reply.headers[0], ("x-token".to_owned(), String::new()));
    assert_eq!(taken("", Place::Header("absent".to_owned())).0, None);
}

#[test]
fn a_parameter_of_the_location_is_blanked_in_query_and_fragment() {
    let (value, reply) = taken("", Place::LocationQuery("code".to_owned()));
    assert_eq!(value.unwrap(), "a b");
    assert_eq!(reply.headers[1].1, "https://app.example/back?code=&state=s#id_token=j%2Ew&x");
    let (value, reply) = taken("", Place::LocationQuery("id_token".to_owned()));
    assert_eq!(value.unwrap(), "j.w");
    assert_eq!(reply.headers[1].1, "https://app.example/back?code=a%20b&state=s#id_token=&x");
    assert_eq!(taken("", Place::LocationQuery("absent".to_owned())).0, None);
}

#[test]
fn a_cookie_is_captured_as_it_was_set_last() {
    assert_eq!(taken("", Place::Cookie("sid".to_owned())).0.unwrap(), "new");
    assert_eq!(taken("", Place::Cookie("other".to_owned())).0, None);
}

#[test]
fn several_captures_do_not_disturb_each_other_even_at_one_place() {
    let mut reply = open(r#"{"a":"first","b":"second-and-longer","c":3}"#);
    let captures = [
        capture("two", json("b"), true),
        capture("one", json("a"), true),
        capture("inside", Place::Between("second-".to_owned(), "-longer".to_owned()), true),
        capture("again", json("b"), true),
        capture("header", Place::Header("x-token".to_owned()), true),
    ];
    let captured = take(&mut reply, &captures, true, &secret).unwrap();
    let captured: Vec<(&str, &str)> =
        captured.iter().map(|(name, secret)| (name.as_str(), secret.reveal())).collect();
    let wanted = [
        ("two", "second-and-longer"),
        ("one", "first"),
        ("inside", "and"),
        ("again", "second-and-longer"),
        ("header", "from a header"),
    ];
    assert_eq!(captured, wanted);
    assert_eq!(String::from_utf8(reply.body).unwrap(), r#"{"a":"","b":"","c":3}"#);
}

#[test]
fn a_required_capture_must_be_there_when_the_bank_said_yes() {
    let required = [capture("token", json("access_token"), true)];
    let error = take(&mut open("{}"), &required, true, &secret).unwrap_err();
    assert!(matches!(&error, EgressError::BadReply(said) if said.contains("\"token\"")), "{error}");
    assert!(take(&mut open("{}"), &required, false, &secret).unwrap().is_empty());
}

#[test]
fn a_giant_value_is_refused() {
    let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(CAPTURE_BYTES_MAX + 1));
    assert!(matches!(
        take(&mut open(&body), &[capture("token", json("a"), false)], true, &secret),
        Err(EgressError::BadReply(_))
    ));
}

#[test]
fn a_public_value_is_captured_and_stays_where_it_stands() {
    let mut reply = open(r#"{"id":"c-1","token":"t-1"}"#);
    let captures = [capture("consent-id", json("id"), true), capture("token", json("token"), true)];
    let captured = take(&mut reply, &captures, true, &|name| name == "consent-id").unwrap();
    assert_eq!(captured.len(), 2);
    assert_eq!(String::from_utf8(reply.body).unwrap(), r#"{"id":"c-1","token":""}"#);
}
