//! UK Open Banking's way in: who asks, what the customer says, and what comes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::tests::Desk;
use super::uk_business::{Browser, Business, REDIRECT, connections, parameter};
use super::*;
use crate::http::Api;
use serde_json::{Value, json};

pub(super) async fn status(business: &Business, consent: &str) -> String {
    let answer = business.own_api().await.get(&format!("/account-access-consents/{consent}")).await.unwrap();
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.text("/Data/Status").to_owned()
}

pub(super) fn code(answer: &crate::http::Answer) -> (u16, &str) {
    (answer.status, answer.text("/Errors/0/ErrorCode"))
}

#[tokio::test]
async fn a_customer_logs_in_picks_accounts_and_the_business_reads_just_those() {
    let business = Business::open(BankConfig::default()).await;
    let desk = &business.desk;
    let consent = business.ask_for_all().await;
    assert_eq!(status(&business, &consent).await, "AwaitingAuthorisation");
    desk.bank.set_passcode(&desk.customer.id, "0000").unwrap();

    let request = business.request(&consent);
    let beside = [("response_type", "code"), ("redirect_uri", REDIRECT), ("state", "st&te")];
    let mut browser = Browser::visit(desk, &business.url_with(&request, &beside)).await;
    assert!(browser.page.contains("corner-shop"));
    browser.send(&[("customer", &desk.customer.id), ("passcode", FIRST_PASSCODE)]).await;
    assert!(browser.page.contains("is wrong"), "not the first passcode any more: {}", browser.page);
    browser.send(&[("customer", &desk.customer.id), ("passcode", "0000")]).await;
    assert_eq!(browser.values("account"), desk.customer.accounts);
    assert_eq!(browser.page.matches(" checked").count(), 2);
    browser.send(&[("decision", "allow")]).await;
    assert!(browser.page.contains("Choose at least one account"), "{}", browser.page);
    browser.send(&[("account", desk.account()), ("decision", "allow")]).await;
    assert_eq!(browser.status, 303);
    assert!(browser.location.starts_with(&format!("{REDIRECT}&code=code_")), "{}", browser.location);
    assert_eq!(parameter(&browser.location, "state"), "st&te");
    assert_eq!(status(&business, &consent).await, "Authorised");

    let tokens = business.tokens(&parameter(&browser.location, "code")).await;
    assert_eq!((tokens.status, tokens.text("/scope")), (200, "accounts"));
    let listed = business.api(tokens.text("/access_token")).get("/accounts").await.unwrap();
    let listed = listed.body["Data"]["Account"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["AccountId"], desk.account());
    let renewal = [("grant_type", "refresh_token"), ("refresh_token", tokens.text("/refresh_token"))];
    let renewed = business.token(&renewal).await;
    assert_eq!(business.api(renewed.text("/access_token")).get("/accounts").await.unwrap().status, 200);
    assert_eq!(desk.bank.request_count(PathKind::AuthoriseLogin), 2);
    assert!(!format!("{:?}", desk.bank.requests()).contains("code_"), "no code in the log");
}

#[tokio::test]
async fn a_customer_refuses_for_good_or_cannot_log_in() {
    let business = Business::open(BankConfig::default()).await;
    let desk = &business.desk;
    let consent = business.ask_for_all().await;
    let url = business.url(&business.request(&consent));
    let mut browser = Browser::visit(desk, &url).await;
    for _ in 0..3 {
        browser.send(&[("customer", &desk.customer.id), ("passcode", "1234")]).await;
    }
    assert_eq!(parameter(&browser.location, "error"), "access_denied");
    let mut browser = Browser::visit(desk, &url).await;
    desk.bank.advance(Duration::from_secs(601));
    browser.send(&[("customer", &desk.customer.id), ("passcode", FIRST_PASSCODE)]).await;
    assert_eq!((browser.status, browser.location.as_str()), (400, ""), "the page is too old");
    assert_eq!(status(&business, &consent).await, "AwaitingAuthorisation");

    let url = business.url(&business.request(&consent));
    let mut browser = Browser::visit(desk, &url).await;
    browser.send(&[("customer", &desk.customer.id), ("passcode", FIRST_PASSCODE)]).await;
    browser.send(&[("account", desk.account()), ("decision", "deny")]).await;
    assert_eq!(parameter(&browser.location, "error"), "access_denied");
    assert_eq!(parameter(&browser.location, "state"), "st&te");
    assert_eq!(status(&business, &consent).await, "Rejected");
    let again = desk.bank.decide(&url, &Decision::allow(&desk.customer.id)).unwrap();
    assert_eq!(parameter(&again, "error"), "invalid_request");
}

#[tokio::test]
async fn who_is_not_known_gets_a_page_and_nobody_is_sent_anywhere() {
    let business = Business::open(BankConfig::default()).await;
    let consent = business.ask_for_all().await;
    let with = |name: &str, value: &str| {
        let mut request = business.request(&consent);
        request[name] = json!(value);
        request
    };
    let stranger = business.url(&business.request(&consent)).replace("client_id=corner", "client_id=other");
    let elsewhere = business.url(&with("redirect_uri", "https://evil.example/callback"));
    let unsigned = format!(
        "{}/authorize?client_id=corner-shop&redirect_uri=https%3A%2F%2Fevil.example%2F",
        business.desk.bank.auth_origin()
    );
    for url in [stranger, elsewhere, unsigned] {
        let browser = Browser::visit(&business.desk, &url).await;
        assert_eq!((browser.status, browser.location.as_str()), (400, ""), "{url}");
        assert!(browser.page.contains("does not know"));
    }
}

#[tokio::test]
async fn every_other_fault_of_a_request_goes_back_to_the_client_with_its_state() {
    let business = Business::open(BankConfig::default()).await;
    let desk = &business.desk;
    let consent = business.ask_for_all().await;
    let good = business.request(&consent);
    let with = |name: &str, value: Value| {
        let mut request = good.clone();
        request[name] = value;
        request
    };
    let own = NewClient::new("other", REDIRECT);
    let other = Business {
        client: desk.bank.register_client(&own).unwrap(),
        desk: Desk {
            bank: desk.bank.clone(),
            customer: desk.customer.clone(),
            granted: desk.granted.clone(),
        },
        origin: business.origin.clone(),
        http: business.http.clone(),
    };
    let allow = Decision::allow(&desk.customer.id);
    for (request, error) in [
        (with("response_type", json!("token")), "unsupported_response_type"),
        (with("scope", json!("payments")), "invalid_scope"),
        (with("code_challenge", json!("too-short")), "invalid_request"),
        (with("code_challenge_method", json!("plain")), "invalid_request"),
        (with("openbanking_intent_id", json!("consent-999999")), "invalid_request"),
    ] {
        let location = desk.bank.decide(&business.url(&request), &allow).unwrap();
        assert_eq!(parameter(&location, "error"), error, "{request}");
        assert_eq!(parameter(&location, "state"), "st&te");
    }
    let theirs = desk.bank.decide(&other.url(&other.request(&consent)), &allow).unwrap();
    assert_eq!(parameter(&theirs, "error"), "invalid_request", "another's consent");

    // Without a good request object only what stands beside it says where to go back to.
    let beside = [("redirect_uri", REDIRECT), ("state", "outside")];
    for request in [
        with("aud", json!("https://another.bank.example")),
        with("iss", json!("somebody")),
        with("exp", json!(desk.bank.now().timestamp())),
        with("exp", json!(desk.bank.now().timestamp() + 3601)),
    ] {
        let location = desk.bank.decide(&business.url_with(&request, &beside), &allow).unwrap();
        assert_eq!(parameter(&location, "error"), "invalid_request_object", "{request}");
        assert_eq!(parameter(&location, "state"), "outside");
    }
    let contradicts = business.url_with(&good, &[("state", "another")]);
    assert_eq!(parameter(&desk.bank.decide(&contradicts, &allow).unwrap(), "error"), "invalid_request");

    let standard =
        json!({ "id_token": { "openbanking_intent_id": { "value": consent, "essential": true } } });
    let mut request = with("claims", standard);
    request.as_object_mut().unwrap().remove("openbanking_intent_id");
    assert!(desk.bank.decide(&business.url(&request), &allow).unwrap().contains("code="));
}

#[tokio::test]
async fn a_code_is_good_for_one_try_within_a_minute_by_its_own_client_with_its_verifier() {
    let business = Business::open(BankConfig::default()).await;
    let desk = &business.desk;
    let new_code = async || {
        let consent = business.ask_for_all().await;
        let url = business.url(&business.request(&consent));
        parameter(&desk.bank.decide(&url, &Decision::allow(&desk.customer.id)).unwrap(), "code")
    };
    let error = async |answer: crate::http::Answer| (answer.status, answer.text("/error").to_owned());
    let refused = (400, "invalid_grant".to_owned());

    let first = new_code().await;
    let tokens = business.tokens(&first).await;
    let api = business.api(tokens.text("/access_token"));
    assert_eq!(api.get("/accounts").await.unwrap().status, 200);
    assert_eq!(error(business.tokens(&first).await).await, refused);
    assert_eq!(api.get("/accounts").await.unwrap().status, 401, "a code used twice ends what it gave");
    let renewal = [("grant_type", "refresh_token"), ("refresh_token", tokens.text("/refresh_token"))];
    assert_eq!(error(business.token(&renewal).await).await, refused);

    let second = new_code().await;
    assert_eq!(error(business.redeem(&second, "wrong").await).await, refused);
    assert_eq!(error(business.tokens(&second).await).await, refused, "no second try");
    let late = new_code().await;
    desk.bank.advance(Duration::from_secs(60));
    assert_eq!(error(business.tokens(&late).await).await, refused);
    let fields = [("grant_type", "authorization_code"), ("code", "code_unknown"), ("redirect_uri", REDIRECT)];
    assert_eq!(business.token(&fields).await.text("/error"), "invalid_request", "no code_verifier");
}

#[tokio::test]
async fn a_client_proves_who_it_is_by_a_fresh_assertion_for_this_endpoint() {
    let business = Business::open(BankConfig::default()).await;
    let fields = [("grant_type", "client_credentials")];
    let now = business.desk.bank.now().timestamp();
    let with = |number: u32, name: &str, value: Value| {
        let mut claims = business.assertion(number);
        claims[name] = value;
        business.sign(&claims)
    };
    let good = business.sign(&business.assertion(0));
    assert_eq!(business.token_with(&good, &fields).await.status, 200);
    let stranger = Business::open(BankConfig { seed: 2, ..BankConfig::default() }).await;
    let kid = json!({ "alg": "PS256", "kid": business.client.signing_key_id });
    let forged = jws::signed(&stranger.client.signing_key, &kid, &business.assertion(1));
    let other_algorithm = json!({ "alg": "RS256" });
    let weak = jws::signed(&business.client.signing_key, &other_algorithm, &business.assertion(13));
    let unsigned = format!("{}.", business.sign(&business.assertion(2)).rsplit_once('.').unwrap().0);
    for (assertion, why) in [
        (good, "used twice"),
        (with(3, "aud", json!(business.origin)), "for the bank, not its token endpoint"),
        (with(4, "sub", json!("somebody")), "about somebody else"),
        (with(5, "iss", json!("somebody")), "from somebody else"),
        (with(6, "exp", json!(now)), "expired"),
        (with(7, "exp", json!(now + 301)), "lives too long"),
        (with(8, "nbf", json!(now + 60)), "not yet valid"),
        (with(9, "jti", Value::Null), "without a jti"),
        (forged, "signed with another key"),
        (weak, "said to be signed otherwise"),
        (unsigned, "not signed"),
        ("nonsense".to_owned(), "no JWT"),
    ] {
        let answer = business.token_with(&assertion, &fields).await;
        assert_eq!((answer.status, answer.text("/error")), (401, "invalid_client"), "{why}");
    }
    let list = with(10, "aud", json!(["https://x.example", format!("{}/token", business.origin)]));
    assert_eq!(business.token_with(&list, &fields).await.status, 200);
    assert_eq!(business.token_with(&with(11, "exp", json!(now + 300)), &fields).await.status, 200);
    let another = [fields[0], ("client_id", "somebody")];
    assert_eq!(business.token_with(&with(12, "iat", json!(now)), &another).await.status, 401);
    let error = business.token(&[("grant_type", "password")]).await;
    assert_eq!((error.status, error.text("/error")), (400, "unsupported_grant_type"));
}

#[tokio::test]
async fn each_client_authenticates_as_it_is_registered() {
    let desk = Desk::open(BankConfig::default()).await;
    let authentication = ClientAuthentication::ClientSecretBasic;
    let new = NewClient { authentication, ..NewClient::new("basic shop", REDIRECT) };
    let client = desk.bank.register_client(&new).unwrap();
    assert!(client.certificate.is_none() && desk.bank.roots().is_none(), "no mutual TLS here");
    assert!(desk.bank.register_client(&new).is_err(), "an id is one client's");
    let secret = client.client_secret.clone().unwrap();
    let post = async |user: &str, password: &str| {
        use base64::Engine;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let headers = [
            ("authorization", format!("Basic {basic}")),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let api = Api::new(desk.bank.auth_origin(), None).unwrap();
        let body = b"grant_type=client_credentials".to_vec();
        api.send_raw(reqwest::Method::POST, "/token", &headers, body).await.unwrap().status
    };
    assert_eq!(post("basic%20shop", &secret).await, 200);
    assert_eq!(post("basic+shop", &secret).await, 200);
    assert_eq!(post("basic%20shop", "wrong").await, 401);

    let (http, origin) = (connections(&desk, &client), desk.bank.auth_origin());
    let business = Business { desk, client, origin, http };
    let assertion = business.sign(&business.assertion(1));
    let answer = business.token_with(&assertion, &[("grant_type", "client_credentials")]).await;
    assert_eq!((answer.status, answer.text("/error")), (401, "invalid_client"));
}

#[tokio::test]
async fn over_mutual_tls_only_the_registered_certificate_opens_and_tokens_are_bound_to_it() {
    let business =
        Business::open(BankConfig { mutual_tls: true, page_rows: 30, ..BankConfig::default() }).await;
    let desk = &business.desk;
    let consent = business.ask_for_all().await;
    let api = business.enter(&consent).await;
    let page = api.get(&desk.transactions()).await.unwrap();
    assert_eq!(page.status, 200);
    let next =
        page.text("/Links/Next").strip_prefix(&desk.bank.tls_api_origin().unwrap()).unwrap().to_owned();
    assert_eq!(api.get(&next).await.unwrap().status, 200, "links lead to where the request came in");

    let plain = Api::new(desk.bank.api_origin(), api.key()).unwrap();
    assert_eq!(plain.get("/accounts").await.unwrap().status, 401, "a stolen token without the certificate");
    let thief = desk.bank.register_client(&NewClient::new("thief", REDIRECT)).unwrap();
    let stolen = Api::with_client(connections(desk, &thief), desk.bank.tls_api_origin().unwrap(), api.key());
    assert_eq!(stolen.get("/accounts").await.unwrap().status, 401, "or with another one");

    let fields = [("grant_type", "client_credentials")];
    let mut with_others = Business {
        desk: Desk {
            bank: desk.bank.clone(),
            customer: desk.customer.clone(),
            granted: desk.granted.clone(),
        },
        client: business.client.clone(),
        origin: business.origin.clone(),
        http: connections(desk, &thief),
    };
    assert_eq!(with_others.token(&fields).await.status, 401);
    with_others.origin = desk.bank.auth_origin();
    assert_eq!(with_others.token(&fields).await.status, 401, "nor without any");

    let bare = Client { certificate: None, certificate_key: None, ..business.client.clone() };
    let url = format!("{}/accounts", desk.bank.tls_api_origin().unwrap());
    assert!(connections(desk, &bare).get(&url).send().await.is_err(), "no certificate, no connection");
    let elsewhere = Business::open(BankConfig { mutual_tls: true, ..BankConfig::default() }).await;
    let foreign = Client { client_id: "x".into(), ..elsewhere.client.clone() };
    assert!(connections(desk, &foreign).get(&url).send().await.is_err(), "nor one of another authority");
    desk.bank.fault(PathKind::Accounts, Fault::Reset, 1);
    assert!(api.get("/accounts").await.is_err(), "faults work here too");
    assert_eq!(api.get("/accounts").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_remote_control_registers_clients_and_decides() {
    let desk = Desk::open(BankConfig { mutual_tls: true, ..BankConfig::default() }).await;
    let control = Api::new(format!("{}/control", desk.bank.auth_origin()), None).unwrap();
    let post = async |path: &str, body: Value| {
        let answer = control.post(path, &body).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        answer.body
    };
    let made = post("/clients", json!({ "client_id": "corner-shop", "redirect_uris": [REDIRECT] })).await;
    let client: Client = serde_json::from_value(made).unwrap();
    let roots = control.get("/roots").await.unwrap();
    assert_eq!(Some(roots.text("/roots")), desk.bank.roots());
    assert_eq!(Some(roots.text("/tls_origin")), desk.bank.tls_origin());
    let customer = desk.customer.id.clone();
    post(&format!("/customers/{customer}/passcode"), json!({ "passcode": "1" })).await;
    let granted =
        post(&format!("/customers/{customer}/consents"), json!({ "client_id": "corner-shop" })).await;

    let (http, origin) = (connections(&desk, &client), desk.bank.tls_origin().unwrap().to_owned());
    let business = Business { desk, client, origin, http };
    let renewal =
        [("grant_type", "refresh_token"), ("refresh_token", granted["refresh_token"].as_str().unwrap())];
    assert_eq!(business.token(&renewal).await.status, 200);
    let consent = business.ask_for_all().await;
    let url = business.url(&business.request(&consent));
    let decided = post("/authorisations", json!({ "url": url, "customer": customer, "allow": true })).await;
    assert!(parameter(decided["location"].as_str().unwrap(), "code").starts_with("code_"));
    let shown = control.get(&format!("/consents/{consent}")).await.unwrap();
    assert_eq!(shown.text("/status"), "Authorised");
    let refused =
        control.post("/authorisations", &json!({ "url": "x", "customer": customer, "allow": true })).await;
    assert_eq!(refused.unwrap().status, 400);
}
