//! The hosted link page through the real router, with a stand-in for the worker.

use super::world::{ASKING, Reply, Tenant, World};
use host::model::*;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3_600);
const HOUR: Duration = Duration::from_secs(3_600);

/// A browser as far as it matters: it keeps one cookie.
struct Browser<'a> {
    world: &'a World,
    client: reqwest::Client,
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    fn new(world: &'a World) -> Self {
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Self { world, client, cookie: None }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Reply {
        let request = match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        };
        let reply = super::world::send(request).await;
        if let Some(cookie) = reply.header("set-cookie") {
            assert!(cookie.contains("HttpOnly; SameSite=Lax; Secure"), "{cookie}");
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        reply
    }

    async fn get(&mut self, path: &str) -> Reply {
        let request = self.client.get(format!("{}{path}", self.world.base));
        self.send(request).await
    }

    fn form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        let body = body.extend_pairs(fields).finish();
        let request = self.client.post(format!("{}{path}", self.world.base));
        let request = request.header("user-agent", "A browser").header("x-forwarded-for", "9.9.9.9");
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let request =
            self.form(path, fields).header("sec-fetch-site", "same-origin").header("origin", "null");
        self.send(request).await
    }
}

/// Where a browser is sent, as a path of the page.
#[track_caller]
fn sent_to(reply: &Reply) -> String {
    assert_eq!(reply.status, 303, "{reply:?}");
    let location = reply.header("location").unwrap();
    location.strip_prefix("https://link.example").unwrap_or(&location).to_owned()
}

#[track_caller]
fn shows(reply: &Reply, status: u16, parts: &[&str]) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type").as_deref(), Some("text/html; charset=utf-8"));
    for part in parts {
        assert!(reply.text.contains(part), "\"{part}\" is missing in {}", reply.text);
    }
}

/// A link of a business: id and path.
async fn link(world: &World, tenant: &Tenant, more: Value) -> (AuthorisationId, String) {
    let mut asked = json!({ "customer_ref": "customer-1", "return_to": "https://shop.example/back?order=7" });
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = world.post(tenant, "/v1/links", &asked).await.is(201);
    let url = made["link_url"].as_str().unwrap().strip_prefix("https://link.example").unwrap().to_owned();
    (made["id"].as_str().unwrap().parse().unwrap(), url)
}

/// The connector's turn, once it is: what it came to, after so many refusals of the bank. Gives back the values
/// that it could name.
async fn turn(
    world: &World,
    id: AuthorisationId,
    step: AuthorisationStep,
    refused: usize,
) -> BTreeMap<String, Secret> {
    let now = world.app.clock.now();
    let mut again = tokio::time::interval(Duration::from_millis(10));
    let lease = loop {
        again.tick().await;
        let permits = Permits::of_any([(ASKING.to_owned(), 1)]);
        let mut due = world.app.store.claim_due(now, now.plus(HOUR), &permits).await.unwrap();
        if let Some(lease) = due.pop() {
            break lease;
        }
    };
    for _ in 0..refused {
        world.app.store.note_typed_rejection(&lease, None, now).await.unwrap();
    }
    let open = world.app.store.open_authorisation(&lease, id).await.unwrap().unwrap();
    let kept = BTreeMap::new();
    world.app.store.settle_authorisation(&lease, id, &step, &kept, None, now).await.unwrap();
    world.complete(&lease).await;
    open.progress.values
}

fn asks(world: &World, reason: Option<&str>) -> AuthorisationStep {
    let names = vec!["username".to_owned(), "password".to_owned()];
    AuthorisationStep::Prompted {
        prompt: StandingPrompt { text: "Log in.".into(), ask: StandingAsk::Form(names) },
        memory: "[null]".into(),
        redirect_hash: None,
        reason: reason.map(str::to_owned),
        expires_at: world.app.clock.now().plus(HOUR / 4),
    }
}

fn fails(reason: &str) -> AuthorisationStep {
    AuthorisationStep::Failed { reason: reason.to_owned() }
}

/// A customer who agreed and is asked by the bank's form.
async fn agreed(world: &World, browser: &mut Browser<'_>, id: AuthorisationId, path: &str) {
    shows(&browser.get(path).await, 200, &["/agree"]);
    let agree = format!("{path}/agree");
    let fields = [("bank", ASKING)];
    let (reply, _) = tokio::join!(browser.post(&agree, &fields), turn(world, id, asks(world, None), 0));
    assert_eq!(sent_to(&reply), path);
}

async fn shown(world: &World, tenant: &Tenant, id: AuthorisationId) -> Value {
    world.get(tenant, &format!("/v1/authorisations/{id}")).await.is(200)
}

#[tokio::test]
async fn banks_that_can_be_asked_are_found_and_what_is_searched_for_is_shown_as_text() {
    let world = World::with_asking_bank().await;
    let tenant = world.tenant("Corner Shop").await;
    let (_, path) = link(&world, &tenant, json!({})).await;
    let mut browser = Browser::new(&world);
    let all = browser.get(&path).await;
    shows(&all, 200, &["Corner Shop asks", "Asking Bank", "Germany", &format!("{path}?bank={ASKING}")]);
    assert!(!all.text.contains("Example Bank"), "it cannot be asked");
    shows(&browser.get(&format!("{path}?q=germany")).await, 200, &["1 bank for “germany”", "Asking Bank"]);
    let none = browser.get(&format!("{path}?q=%3Cscript%3E%22")).await;
    shows(&none, 200, &["0 banks for “&#60;script&#62;&#34;”", "see all banks"]);
    shows(
        &browser.get(&format!("{path}?bank=example-bank")).await,
        409,
        &["cannot be reached at the moment"],
    );

    let consent = browser.get(&format!("{path}?bank={ASKING}")).await;
    let parts =
        ["May Corner Shop see your accounts at Asking Bank?", "Choose another bank", "does not say here"];
    shows(&consent, 200, &parts);
    let wished = json!({ "institution_id": ASKING, "purpose": "A <b>loan</b>." });
    let (_, path) = link(&world, &tenant, wished).await;
    let consent = browser.get(&format!("{path}?bank=example-bank")).await;
    shows(&consent, 200, &["at Asking Bank?", "A &#60;b&#62;loan&#60;/b&#62;."]);
    assert!(!consent.text.contains("Choose another bank"));
}

#[tokio::test]
async fn looking_binds_nobody_and_agreeing_binds_the_browser() {
    let world = World::with_asking_bank().await;
    let tenant = world.tenant("Corner Shop").await;
    let (id, path) = link(&world, &tenant, json!({ "institution_id": ASKING })).await;
    let (mut scanner, mut customer) = (Browser::new(&world), Browser::new(&world));
    shows(&scanner.get(&path).await, 200, &["May Corner Shop"]);
    agreed(&world, &mut customer, id, &path).await;
    shows(&customer.get(&path).await, 200, &["Log in to Asking Bank", "User name", "type=\"password\""]);
    for way in ["", "/go"] {
        shows(&scanner.get(&format!("{path}{way}")).await, 403, &["opened in another browser"]);
    }
    for way in ["agree", "answer", "decline", "again"] {
        shows(&scanner.post(&format!("{path}/{way}"), &[]).await, 403, &["opened in another browser"]);
    }
    let standing = shown(&world, &tenant, id).await;
    assert_eq!((&standing["state"], &standing["institution_id"]), (&json!("prompted"), &json!(ASKING)));
    let stored = world.app.store.authorisation(tenant.business, id).await.unwrap().unwrap();
    let here = CustomerPresent { ip: "9.9.9.9".parse().unwrap(), user_agent: Some("A browser".into()) };
    assert_eq!(stored.wishes.customer, Some(here), "the bank may be told");
    // A second time changes nothing.
    assert_eq!(sent_to(&customer.post(&format!("{path}/agree"), &[("bank", ASKING)]).await), path);
    let listed = world.get(&tenant, "/v1/connections").await.is(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["customer_ref"], "customer-1");
}

#[tokio::test]
async fn a_form_is_taken_only_from_our_page_with_our_cookie_and_within_limits() {
    let world = World::with_asking_bank().await;
    let tenant = world.tenant("Corner Shop").await;
    let (id, path) = link(&world, &tenant, json!({ "institution_id": ASKING })).await;
    let mut browser = Browser::new(&world);
    let decline = format!("{path}/decline");
    let strange = browser.post(&decline, &[]).await;
    shows(&strange, 403, &["does not keep our cookie"]);
    browser.get(&path).await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
    ] {
        let request = browser.form(&decline, &[]).header(name, value);
        shows(&browser.send(request).await, 403, &["not sent from our page"]);
    }
    let request = browser.client.post(format!("{}{decline}", world.base)).json(&json!({}));
    shows(&browser.send(request).await, 415, &["not sent from our page"]);
    let long = "x".repeat(32 * 1024);
    shows(&browser.post(&decline, &[("a", &long)]).await, 413, &["too much"]);
    assert_eq!(shown(&world, &tenant, id).await["state"], "choosing");
    assert_eq!(sent_to(&browser.post(&decline, &[]).await), path);
    assert_eq!(shown(&world, &tenant, id).await["reason"], "customer-declined");
    let done = browser.get(&path).await;
    shows(&done, 200, &["Nothing was shared", "https://shop.example/back?order=7&#38;authorisation_id=aut_"]);
    assert!(!done.text.contains("/again"));
}

#[tokio::test]
async fn what_is_typed_goes_to_the_connector_and_is_never_shown_again() {
    let world = World::with_asking_bank().await;
    let tenant = world.tenant("Corner Shop").await;
    let (id, path) = link(&world, &tenant, json!({ "institution_id": ASKING })).await;
    let mut browser = Browser::new(&world);
    agreed(&world, &mut browser, id, &path).await;
    let answer = format!("{path}/answer");
    let half = browser.post(&answer, &[("username", "hunter"), ("password", "")]).await;
    shows(
        &half,
        422,
        &["Error: ", "Password: this is missing.", "href=\"#field-password\"", "role=\"alert\""],
    );
    assert!(!half.text.contains("hunter"), "{}", half.text);
    assert_eq!(half.text.matches("aria-invalid=\"true\"").count(), 1, "{}", half.text);
    assert_eq!(shown(&world, &tenant, id).await["state"], "prompted");

    let typed = [("username", " hunter "), ("password", " 2 & more "), ("other", "x")];
    let again = asks(&world, Some("credentials-rejected"));
    let (reply, values) = tokio::join!(browser.post(&answer, &typed), turn(&world, id, again, 0));
    assert_eq!(sent_to(&reply), path);
    let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    assert_eq!(values, [("password", " 2 & more "), ("username", "hunter")]);
    let refused = browser.get(&path).await;
    shows(
        &refused,
        200,
        &["Error: ", "The bank did not accept what was entered.", "aria-describedby=\"prompt problems\""],
    );
    assert!(!refused.text.contains("hunter") && !refused.text.contains("2 &"), "{}", refused.text);
}

#[tokio::test]
async fn after_two_refusals_a_customer_begins_again_only_after_a_login_at_the_bank() {
    let world = World::with_asking_bank().await;
    let tenant = world.tenant("Corner Shop").await;
    let (id, path) = link(&world, &tenant, json!({ "institution_id": ASKING })).await;
    let mut browser = Browser::new(&world);
    agreed(&world, &mut browser, id, &path).await;
    let typed = [("username", "ada"), ("password", "wrong")];
    let answer = format!("{path}/answer");
    let (reply, _) =
        tokio::join!(browser.post(&answer, &typed), turn(&world, id, fails("credentials-rejected"), 2));
    assert_eq!(sent_to(&reply), path);
    shows(
        &browser.get(&path).await,
        200,
        &["That did not work", "refused the last two logins", "name=\"checked\""],
    );
    let again = format!("{path}/again");
    shows(&browser.post(&again, &[]).await, 422, &["then tick the box", "href=\"#checked\""]);

    let connection = shown(&world, &tenant, id).await["connection_id"].as_str().unwrap().to_owned();
    let newest = async {
        loop {
            let shown = world.get(&tenant, &format!("/v1/connections/{connection}")).await.is(200);
            let newest: AuthorisationId = shown["authorisation"]["id"].as_str().unwrap().parse().unwrap();
            if newest != id {
                break turn(&world, newest, fails("credentials-rejected"), 2).await;
            }
        }
    };
    let (reply, _) = tokio::join!(browser.post(&again, &[("checked", "yes")]), newest);
    let next = sent_to(&reply);
    assert_ne!(next, path);
    shows(&browser.get(&next).await, 200, &["That did not work"]);
    assert_eq!(sent_to(&browser.get(&path).await), next, "the first link leads there");
    shows(&Browser::new(&world).get(&next).await, 403, &["another browser"]);

    // Another link for the same customer asks for the same before anything is sent.
    let (other, path) = link(&world, &tenant, json!({ "institution_id": ASKING })).await;
    shows(&browser.get(&path).await, 200, &["name=\"checked\""]);
    let unchecked = browser.post(&format!("{path}/agree"), &[("bank", ASKING)]).await;
    shows(&unchecked, 422, &["then tick the box", "May Corner Shop"]);
    assert_eq!(shown(&world, &tenant, other).await["state"], "choosing");
}

#[tokio::test]
async fn who_polls_the_first_attempt_finds_the_next_and_the_connection_speaks_of_the_one_that_is_open() {
    let world = World::with_asking_bank().await;
    let tenant = world.tenant("Corner Shop").await;
    let (id, path) = link(&world, &tenant, json!({ "institution_id": ASKING })).await;
    let mut browser = Browser::new(&world);
    agreed(&world, &mut browser, id, &path).await;
    let path_of =
        format!("/v1/connections/{}", shown(&world, &tenant, id).await["connection_id"].as_str().unwrap());
    let connection = async || {
        let whole = world.get(&tenant, &path_of).await.is(200);
        let listed = world.get(&tenant, "/v1/connections").await.is(200)["items"][0].clone();
        for field in ["reason", "next_step", "next_at", "state"] {
            assert_eq!(whole[field], listed[field], "{field}");
        }
        whole
    };
    let speaks =
        |shown: &Value, word: &str| assert!(shown["next_step"].as_str().unwrap().contains(word), "{shown}");
    let open = connection().await;
    speaks(&open, "authorisation.next");
    assert_eq!((&open["reason"], &open["next_at"]), (&Value::Null, &Value::Null));

    let typed = [("username", "ada"), ("password", "right")];
    let answer = format!("{path}/answer");
    let (reply, _) = tokio::join!(browser.post(&answer, &typed), turn(&world, id, fails("not-supported"), 0));
    assert_eq!(sent_to(&reply), path);
    let failed = connection().await;
    assert_eq!(failed["reason"], "not-supported");
    speaks(&failed, "/reauthorise");
    assert_eq!(shown(&world, &tenant, id).await["superseded_by"], Value::Null);
    // It may have been what was entered.
    shows(&browser.get(&path).await, 200, &["That did not work", "Try again"]);

    let newest = async {
        loop {
            let shown = world.get(&tenant, &path_of).await.is(200); // the list may be a moment later
            let newest: AuthorisationId = shown["authorisation"]["id"].as_str().unwrap().parse().unwrap();
            if newest != id {
                turn(&world, newest, asks(&world, None), 0).await;
                break newest;
            }
        }
    };
    let again = format!("{path}/again");
    let (reply, newest) = tokio::join!(browser.post(&again, &[]), newest);
    assert_ne!(sent_to(&reply), path);
    let first = shown(&world, &tenant, id).await;
    assert_eq!((&first["state"], &first["superseded_by"]), (&json!("failed"), &json!(newest)));
    assert_eq!(shown(&world, &tenant, newest).await["superseded_by"], Value::Null);
    let open = connection().await;
    assert_eq!((&open["reason"], &open["authorisation"]["state"]), (&Value::Null, &json!("prompted")));
    speaks(&open, "authorisation.next");
}

#[tokio::test]
async fn who_says_no_to_the_banks_form_ends_it_and_the_business_is_told() {
    let world = World::with_asking_bank().await;
    let tenant = world.tenant("Corner Shop").await;
    let hook =
        world.post(&tenant, "/v1/webhook-endpoints", &json!({ "url": "https://example.com/hook" })).await;
    let hook = hook.is(201)["id"].as_str().unwrap().to_owned();
    let (id, path) = link(&world, &tenant, json!({ "institution_id": ASKING })).await;
    let mut browser = Browser::new(&world);
    agreed(&world, &mut browser, id, &path).await;
    assert_eq!(sent_to(&browser.post(&format!("{path}/decline"), &[]).await), path);
    let over = shown(&world, &tenant, id).await;
    assert_eq!((&over["state"], &over["reason"]), (&json!("failed"), &json!("customer-declined")));
    assert_eq!(over["message"], "You said no, and nothing is shared.");
    let told = world.get(&tenant, &format!("/v1/webhook-endpoints/{hook}/deliveries")).await.is(200);
    let kinds: Vec<_> = told["items"].as_array().unwrap().iter().map(|one| one["type"].clone()).collect();
    assert_eq!(kinds, ["connection.authorisation_failed"]);
    assert_eq!(sent_to(&browser.post(&format!("{path}/again"), &[]).await), path);
    shows(&browser.get(&path).await, 200, &["Nothing was shared"]);
}

#[tokio::test]
async fn a_link_ends_and_a_wrong_one_says_no_more_than_an_old_one() {
    let world = World::with_asking_bank().await;
    let tenant = world.tenant("Corner Shop").await;
    let (id, path) = link(&world, &tenant, json!({ "institution_id": ASKING, "expires_in_s": 600 })).await;
    let mut browser = Browser::new(&world);
    browser.get(&path).await;
    world.app.clock.advance(Duration::from_secs(600));
    assert_eq!(sent_to(&browser.post(&format!("{path}/agree"), &[("bank", ASKING)]).await), path);
    shows(&browser.get(&path).await, 200, &["This link does not work any more", "Back to Corner Shop"]);
    assert_eq!(shown(&world, &tenant, id).await["reason"], "expired");

    let letters = "A".repeat(43);
    for wrong in [letters.as_str(), "short", "%F0%9F%98%80", &path[6..48]] {
        shows(&browser.get(&format!("/link/{wrong}")).await, 404, &["This link does not work any more"]);
        shows(&browser.get(&format!("/link/{wrong}/go")).await, 404, &["Ask for a new one"]);
        shows(&browser.post(&format!("/link/{wrong}/agree"), &[]).await, 404, &["Ask for a new one"]);
    }
    shows(&browser.get("/v1/callback").await, 400, &["This way back was used already"]);
    shows(&browser.get("/v1/callback?state=x&code=y").await, 400, &["begin again"]);

    // A day after it failed nobody begins again.
    let (id, path) = link(&world, &tenant, json!({ "institution_id": ASKING })).await;
    agreed(&world, &mut browser, id, &path).await;
    world.app.clock.advance(HOUR / 4);
    shows(&browser.get(&path).await, 200, &["It took too long.", "/again"]);
    world.app.clock.advance(DAY + HOUR);
    let late = browser.get(&path).await;
    shows(&late, 200, &["It took too long."]);
    assert!(!late.text.contains("/again"));
}

#[tokio::test]
async fn every_answer_to_a_browser_is_locked_down() {
    let world = World::with_asking_bank().await;
    let tenant = world.tenant("Corner Shop").await;
    let theme = Theme { colour: Some("#7a1f3d".parse().unwrap()), ..Theme::default() };
    assert!(world.app.store.set_theme(tenant.business, &theme).await.unwrap());
    let (_, path) = link(&world, &tenant, json!({})).await;
    let mut browser = Browser::new(&world);
    let page = browser.get(&path).await;
    shows(&page, 200, &["--accent:#7a1f3d", "<html lang=\"en\">"]);
    let answers = [
        page,
        browser.get("/link/unknown").await,
        browser.get("/v1/callback?state=x").await,
        browser.post(&format!("{path}/decline"), &[]).await,
        browser.get(&format!("{path}/go")).await,
    ];
    for answer in answers {
        let policy = answer.header("content-security-policy").unwrap();
        let start = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
        assert!(policy.starts_with(start) && !policy.contains("unsafe"), "{policy}");
        assert_eq!(policy.contains("; style-src 'sha256-"), answer.text.contains("<style>"), "{policy}");
        assert_eq!(answer.header("referrer-policy").as_deref(), Some("no-referrer"));
        assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
        assert!(!answer.text.contains("<script"), "{}", answer.text);
    }
}
