//! A business as UK Open Banking wants it: with a signing key, request objects, PKCE and, if the bank
//! has it, mutual TLS. Written from the manuals in the bank's modules, to test them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::tests::Desk;
use super::{BankConfig, Client, NewClient, PERMISSIONS};
use crate::http::{Answer, Api};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

pub(super) const REDIRECT: &str = "https://business.example/callback?from=bank";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

pub(super) struct Business {
    pub(super) desk: Desk,
    pub(super) client: Client,
    /// Where it finds the bank.
    pub(super) origin: String,
    /// Its own connections, with its certificate if it has one.
    pub(super) http: reqwest::Client,
}

/// As one that presents this client's certificate.
pub(super) fn connections(desk: &Desk, client: &Client) -> reqwest::Client {
    let mut builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    if let Some(roots) = desk.bank.roots() {
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(roots.as_bytes()).unwrap()]);
    }
    if let Some((chain, key)) = client.certificate.as_ref().zip(client.certificate_key.as_ref()) {
        builder = builder.identity(reqwest::Identity::from_pem(format!("{chain}{key}").as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

impl Business {
    pub(super) async fn open(config: BankConfig) -> Self {
        let desk = Desk::open(config).await;
        let client = desk.bank.register_client(&NewClient::new("corner-shop", REDIRECT)).unwrap();
        let origin = desk.bank.tls_origin().map_or_else(|| desk.bank.auth_origin(), str::to_owned);
        let http = connections(&desk, &client);
        Self { desk, client, origin, http }
    }

    /// The API with an access token.
    pub(super) fn api(&self, token: &str) -> Api {
        Api::with_client(self.http.clone(), format!("{}{}", self.origin, super::API_PATH), Some(token))
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "PS256", "typ": "JWT", "kid": self.client.signing_key_id });
        super::jws::signed(&self.client.signing_key, &header, claims)
    }

    /// The claims of an assertion; each `number` makes another.
    pub(super) fn assertion(&self, number: u32) -> Value {
        let id = &self.client.client_id;
        let exp = self.desk.bank.now().timestamp() + 60;
        json!({ "iss": id, "sub": id, "aud": format!("{}/token", self.origin), "exp": exp, "jti": number.to_string() })
    }

    /// A request to the token endpoint with this assertion.
    pub(super) async fn token_with(&self, assertion: &str, fields: &[(&str, &str)]) -> Answer {
        let own =
            [("client_assertion_type", super::client_auth::JWT_BEARER), ("client_assertion", assertion)];
        let all: Vec<_> = own.into_iter().chain(fields.iter().copied()).collect();
        let body = serde_urlencoded::to_string(all).unwrap().into_bytes();
        let api = Api::with_client(self.http.clone(), self.origin.clone(), None);
        api.send_raw(Method::POST, "/token", &[FORM], body).await.unwrap()
    }

    pub(super) async fn token(&self, fields: &[(&str, &str)]) -> Answer {
        let number = u32::try_from(self.desk.bank.requests().len()).unwrap();
        let assertion = self.sign(&self.assertion(1000 + number));
        self.token_with(&assertion, fields).await
    }

    /// The API with a token of the business itself.
    pub(super) async fn own_api(&self) -> Api {
        let answer = self.token(&[("grant_type", "client_credentials"), ("scope", "accounts")]).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        self.api(answer.text("/access_token"))
    }

    /// Asks for a consent; its id.
    pub(super) async fn ask_for(&self, data: Value) -> String {
        let body = json!({ "Data": data, "Risk": {} });
        let answer = self.own_api().await.post("/account-access-consents", &body).await.unwrap();
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer.text("/Data/ConsentId").to_owned()
    }

    /// A consent to everything.
    pub(super) async fn ask_for_all(&self) -> String {
        self.ask_for(json!({ "Permissions": PERMISSIONS })).await
    }

    /// The claims of a request object.
    pub(super) fn request(&self, consent: &str) -> Value {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, VERIFIER.as_bytes());
        let id = &self.client.client_id;
        json!({
            "iss": id, "client_id": id, "aud": self.origin,
            "exp": self.desk.bank.now().timestamp() + 300,
            "response_type": "code", "redirect_uri": REDIRECT, "scope": "openid accounts",
            "state": "st&te", "nonce": "n-1",
            "code_challenge": URL_SAFE_NO_PAD.encode(digest), "code_challenge_method": "S256",
            "openbanking_intent_id": consent,
        })
    }

    /// Where the customer's browser is sent to.
    pub(super) fn url(&self, request: &Value) -> String {
        self.url_with(request, &[])
    }

    /// The same, with parameters beside the request object.
    pub(super) fn url_with(&self, request: &Value, beside: &[(&str, &str)]) -> String {
        let request = self.sign(request);
        let pairs = [("client_id", self.client.client_id.as_str()), ("request", request.as_str())];
        let pairs: Vec<_> = pairs.into_iter().chain(beside.iter().copied()).collect();
        format!("{}/authorize?{}", self.desk.bank.auth_origin(), serde_urlencoded::to_string(pairs).unwrap())
    }

    pub(super) async fn redeem(&self, code: &str, verifier: &str) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", verifier),
        ];
        self.token(&fields).await
    }

    /// The tokens for a code.
    pub(super) async fn tokens(&self, code: &str) -> Answer {
        self.redeem(code, VERIFIER).await
    }

    /// The whole way for the desk's customer, with all accounts; the API, open.
    pub(super) async fn enter(&self, consent: &str) -> Api {
        let decision = super::Decision::allow(&self.desk.customer.id);
        let location = self.desk.bank.decide(&self.url(&self.request(consent)), &decision).unwrap();
        let answer = self.tokens(&parameter(&location, "code")).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        self.api(answer.text("/access_token"))
    }
}

/// A parameter of a redirect; empty if there is none.
pub(super) fn parameter(location: &str, name: &str) -> String {
    let query = location.split_once('?').map_or("", |parts| parts.1);
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    pairs.into_iter().find(|pair| pair.0 == name).map_or_else(String::new, |pair| pair.1)
}

/// A browser: knows the page it is on.
pub(super) struct Browser {
    api: Api,
    pub(super) page: String,
    pub(super) status: u16,
    pub(super) location: String,
}

impl Browser {
    pub(super) async fn visit(desk: &Desk, url: &str) -> Self {
        let origin = desk.bank.auth_origin();
        let api = Api::new(origin.clone(), None).unwrap();
        let answer = api.get(url.strip_prefix(&origin).unwrap()).await.unwrap();
        let mut browser = Self { api, page: String::new(), status: 0, location: String::new() };
        browser.see(&answer);
        browser
    }

    fn see(&mut self, answer: &Answer) {
        self.page = answer.body.as_str().unwrap_or_default().to_owned();
        (self.status, self.location) = (answer.status, answer.header("location").to_owned());
        if !self.page.is_empty() {
            assert!(answer.header("content-type").starts_with("text/html"));
            assert!(!self.page.contains("<script"));
        }
    }

    /// All values of the fields of a name on the page.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        let inputs =
            self.page.split("<input ").skip(1).filter(|input| input.contains(&format!("name=\"{name}\"")));
        let value =
            |input: &str| input.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        inputs.map(value).collect()
    }

    /// Sends the form on the page with these fields.
    pub(super) async fn send(&mut self, fields: &[(&str, &str)]) {
        let action = self.page.split("action=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let id = self.values("authorisation").remove(0);
        let all: Vec<_> =
            [("authorisation", id.as_str())].into_iter().chain(fields.iter().copied()).collect();
        let body = serde_urlencoded::to_string(all).unwrap().into_bytes();
        let answer = self.api.send_raw(Method::POST, &action, &[FORM], body).await.unwrap();
        self.see(&answer);
    }
}
