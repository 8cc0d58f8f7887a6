//! The hosted link page in a real browser that runs no scripts: from the choice of the bank to the way back, by
//! form and by redirect. Each page is judged: what axe finds, and whether it fits narrow screens and large letters.
//!
//! Pictures of all pages go to cargo's target folder (`tmp/link_page`).

use crate::linked::until;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tests::chromium::{self, Chromium};
use tests::http::{expect, items};
use tests::world::{World, WorldConfig};

const FORM_BANK: &str = "form-bank";
const PAGE_BANK: &str = "page-bank";
/// What the page's rules of looking again cannot meet without scripts; it says how to look at once.
const REFRESH: &[&str] = &["meta-refresh"];

/// Both banks, and the business's own page.
#[derive(Default)]
struct Street {
    /// Passwords and codes that were tried.
    tried: Mutex<Vec<String>>,
    confirmed: Mutex<bool>,
}

impl Street {
    fn try_(&self, typed: &str, good: &str) -> StatusCode {
        self.tried.lock().unwrap().push(typed.to_owned());
        if typed == good { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    }
    fn tried(&self) -> Vec<String> {
        self.tried.lock().unwrap().clone()
    }
}

type Fields = BTreeMap<String, String>;

async fn login(State(street): State<Arc<Street>>, form: String) -> StatusCode {
    let form: Fields = serde_urlencoded::from_str(&form).unwrap();
    assert_eq!(form["username"], "ada");
    street.try_(&form["password"], "correct horse")
}

async fn code(State(street): State<Arc<Street>>, form: String) -> StatusCode {
    street.try_(form.strip_prefix("code=").unwrap(), "123456")
}

async fn token(State(street): State<Arc<Street>>, form: String) -> StatusCode {
    street.try_(form.strip_prefix("code=").unwrap(), "the-code")
}

async fn app(State(street): State<Arc<Street>>) -> StatusCode {
    if *street.confirmed.lock().unwrap() { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

async fn page(Query(query): Query<Fields>) -> Html<String> {
    let back = |more: &str| format!("{}?state={}&amp;{more}", query["redirect_uri"], query["state"]);
    Html(format!(
        "<h1>The bank's own page</h1><a id=allow href=\"{}\">Allow</a> <a id=deny href=\"{}\">Deny</a>",
        back("code=the-code"),
        back("error=access_denied")
    ))
}

struct Scene {
    world: World,
    street: Arc<Street>,
    origin: String,
    browser: Chromium,
    axe: Option<String>,
    pictures: PathBuf,
}

impl Scene {
    /// None, said loudly, if the machine has no Chromium.
    async fn new() -> Option<Self> {
        let browser = Chromium::start().await.unwrap()?;
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let pictures = temporary.join("link_page");
        std::fs::create_dir_all(&pictures).unwrap();
        let axe = chromium::axe(temporary).await.unwrap();

        let street = Arc::new(Street::default());
        let routes = Router::new()
            .route("/login", post(login))
            .route("/code", post(code))
            .route("/token", post(token))
            .route("/app", get(app))
            .route("/page", get(page))
            .route("/back", get(async || Html("<h1>Corner Shop again</h1>")));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = routes.with_state(street.clone());
        tokio::spawn(async move { axum::serve(listener, service).await });

        let origin = format!("http://{address}");
        let profile = |name: &str, country: &str, asks: &str| {
            format!(
                "name = \"{name}\"\ncountry = \"{country}\"\nconnector = \"asking\"\n[origins]\nbank = \"{origin}\"\n\
                 [settings]\nasks = {asks}\n"
            )
        };
        let profiles = vec![
            (FORM_BANK.to_owned(), profile("Form Bank & Söhne", "DE", "[\"form\"]")),
            (PAGE_BANK.to_owned(), profile("Page Bank", "IE", "[\"page\", \"app\", \"code\"]")),
        ];
        let setup = WorldConfig { profiles, allow: vec![address.to_string()], ..WorldConfig::default() };
        let world = World::start(setup).await.unwrap();
        let theme = ["--display-name", "Corner Shop", "--colour", "#7a1f3d"];
        let purpose = ["--purpose", "To prepare your bookkeeping, so that you need not send us statements."];
        let command =
            [&["business", "theme", world.business.as_str()][..], &theme[..], &purpose[..]].concat();
        world.tidegate(&command).unwrap();
        Some(Self { world, street, origin, browser, axe, pictures })
    }

    /// A link of the business.
    async fn link(&self, institution: Option<&str>) -> Value {
        let back = format!("{}/back?order=7", self.origin);
        let asked =
            json!({ "institution_id": institution, "customer_ref": "customer-42", "return_to": back });
        let made = self.world.api.post("/v1/links", &asked).await.unwrap();
        expect(&made, 201).unwrap();
        made.body
    }

    async fn authorisation(&self, id: &Value) -> Value {
        let path = format!("/v1/authorisations/{}", id.as_str().unwrap());
        let shown = self.world.api.get(&path).await.unwrap();
        expect(&shown, 200).unwrap();
        shown.body
    }

    /// Is the page that stands there good for everybody? Takes its pictures, too.
    async fn judge(&mut self, name: &str, but: &[&str]) {
        let browser = &mut self.browser;
        for (width, letters) in [(320, 100), (640, 200), (1_280, 100)] {
            browser.resize(width, letters).await.unwrap();
            let wide = browser.ask("document.scrollingElement.scrollWidth").await.unwrap();
            assert!(wide.as_u64().unwrap() <= u64::from(width), "{name} at {width} px is {wide} px wide");
            browser.picture(&self.pictures.join(format!("{name}-{width}.png"))).await.unwrap();
        }
        let spoken =
            "document.documentElement.lang === 'en' && document.querySelectorAll('main h1').length === 1";
        assert_eq!(browser.ask(spoken).await.unwrap(), true, "{name}");
        assert_eq!(browser.ask("document.scripts.length").await.unwrap(), 0, "{name}");
        if let Some(axe) = &self.axe {
            let found = browser.axe(axe, but).await.unwrap();
            assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
        }
    }

    async fn says(&mut self, parts: &[&str]) {
        let text = self.browser.text().await.unwrap();
        for part in parts {
            assert!(text.contains(part), "\"{part}\" is missing in:\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_links_a_bank_by_its_form_without_scripts() {
    let Some(mut scene) = Scene::new().await else { return };
    let on = "data:text/html,<title>off</title><body><script>document.title='on'</script>";
    scene.browser.go(on).await.unwrap();
    assert_eq!(scene.browser.ask("document.title").await.unwrap(), "off", "no page runs scripts");

    let link = scene.link(None).await;
    scene.browser.go(link["link_url"].as_str().unwrap()).await.unwrap();
    scene.browser.see("Choose your bank").await.unwrap();
    scene.says(&["Corner Shop", "All banks", "Demo Bank", "Form Bank & Söhne", "Page Bank"]).await;
    scene.judge("1-choose", &[]).await;
    scene.browser.type_into("Search by name or country", "sohne GERMANY").await.unwrap();
    scene.browser.click("form[role=search] button").await.unwrap();
    scene.browser.until("one bank", "document.querySelectorAll('.banks a').length === 1").await.unwrap();
    scene.says(&["1 bank for “sohne GERMANY”"]).await;
    scene.browser.click(".banks a").await.unwrap();

    scene.browser.see("May Corner Shop see your accounts at Form Bank & Söhne?").await.unwrap();
    scene
        .says(&[
            "those of the last 90 days",
            "To prepare your bookkeeping",
            "about every 60 minutes",
            "Until you take it back",
            "Tell Corner Shop",
            "goes to Form Bank & Söhne and to nobody else",
        ])
        .await;
    scene.judge("2-consent", &[]).await;
    scene.browser.click("form[action$='/agree'] button").await.unwrap();

    scene.browser.see("Log in to Form Bank & Söhne").await.unwrap();
    scene.says(&["Log in as you do on your bank's own site."]).await;
    scene.judge("3-form", &[]).await;
    scene.browser.type_into("User name", " ada ").await.unwrap();
    scene.browser.type_into("Password", "wrong horse").await.unwrap();
    scene.browser.click("form[action$='/answer'] button").await.unwrap();
    scene.browser.until("the complaint", "!!document.querySelector('#problems')").await.unwrap();
    scene.browser.see("Log in to Form Bank & Söhne").await.unwrap();
    scene.says(&["There is a problem", "The bank did not accept what was entered."]).await;
    let described = "[...document.querySelectorAll('.field input')].every(field => field.value === '' \
                     && field.getAttribute('aria-describedby').includes('problems') && field.ariaInvalid === 'true')";
    assert_eq!(scene.browser.ask(described).await.unwrap(), true);
    let source = scene.browser.ask("document.documentElement.outerHTML").await.unwrap().to_string();
    assert!(!source.contains("wrong horse") && source.contains("<title>Error: "), "{source}");
    scene.judge("4-refused", &[]).await;
    scene.browser.type_into("User name", "ada").await.unwrap();
    scene.browser.type_into("Password", "correct horse").await.unwrap();
    scene.browser.click("form[action$='/answer'] button").await.unwrap();

    scene.browser.see("Done").await.unwrap();
    scene.says(&["Form Bank & Söhne is linked with Corner Shop."]).await;
    scene.judge("5-done", &[]).await;
    assert_eq!(scene.street.tried(), ["wrong horse", "correct horse"]);
    scene.browser.click("main a.button").await.unwrap();
    scene.browser.see("Corner Shop again").await.unwrap();
    let shown = scene.authorisation(&link["id"]).await;
    let connection = shown["connection_id"].as_str().unwrap().to_owned();
    let expected = format!(
        "{}/back?order=7&connection_id={connection}&authorisation_id={}&state=ready",
        scene.origin,
        link["id"].as_str().unwrap()
    );
    assert_eq!(scene.browser.ask("location.href").await.unwrap(), expected);
    assert_eq!(shown["state"], "ready");
    let path = format!("/v1/accounts?connection_id={connection}");
    until("the accounts", async || {
        (items(&scene.world.api.get(&path).await.unwrap()).len() == 1).then_some(())
    })
    .await;
    let stored = scene.world.api.get(&format!("/v1/connections/{connection}")).await.unwrap().body;
    assert_eq!((&stored["customer_ref"], &stored["state"]), (&json!("customer-42"), &json!("active")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_goes_to_the_banks_page_waits_and_types_a_code_and_a_third_wrong_one_is_not_sent() {
    let Some(mut scene) = Scene::new().await else { return };
    let link = scene.link(Some(PAGE_BANK)).await;
    scene.browser.go(link["link_url"].as_str().unwrap()).await.unwrap();
    scene.browser.see("May Corner Shop see your accounts at Page Bank?").await.unwrap();
    scene.says(&["You log in at Page Bank itself"]).await;
    scene.browser.click("form[action$='/agree'] button").await.unwrap();
    scene.browser.see("Go to Page Bank").await.unwrap();
    scene.judge("6-redirect", &[]).await;

    // Said no at the bank: the page says so, and begins again.
    scene.browser.click("main a.button").await.unwrap();
    scene.browser.see("The bank's own page").await.unwrap();
    scene.browser.click("#deny").await.unwrap();
    scene.browser.see("That did not work").await.unwrap();
    scene.says(&["Access was declined at the bank.", "Back to Corner Shop"]).await;
    scene.judge("7-failed", &[]).await;
    scene.browser.click("form[action$='/again'] button").await.unwrap();
    scene.browser.see("Go to Page Bank").await.unwrap();
    scene.browser.click("main a.button").await.unwrap();
    scene.browser.see("The bank's own page").await.unwrap();
    scene.browser.click("#allow").await.unwrap();

    scene.browser.see("One moment").await.unwrap();
    scene.says(&["Please confirm in your bank's app on your phone."]).await;
    scene.judge("8-waiting", REFRESH).await;
    *scene.street.confirmed.lock().unwrap() = true;
    // The page looks again by itself.
    scene.browser.see("Log in to Page Bank").await.unwrap();
    for code in ["111 111", "222222"] {
        let typed = "document.querySelector('#field-code')";
        let numeric = format!("{typed}.inputMode === 'numeric' && {typed}.autocomplete === 'one-time-code'");
        assert_eq!(scene.browser.ask(&numeric).await.unwrap(), true);
        scene.browser.type_into("Code", code).await.unwrap();
        scene.browser.click("form[action$='/answer'] button").await.unwrap();
        let left = format!(
            "document.readyState === 'complete' && (!{typed} || !!document.querySelector('#problems'))"
        );
        scene.browser.until("the answer", &left).await.unwrap();
    }
    scene.browser.see("That did not work").await.unwrap();
    scene.says(&["refused the last two logins", "I have logged in at Page Bank itself since"]).await;
    assert_eq!(scene.street.tried(), ["the-code", "111111", "222222"]);
    scene.judge("9-locked", &[]).await;

    // Without the tick the browser sends nothing.
    scene.browser.click("form[action$='/again'] button").await.unwrap();
    assert_eq!(scene.browser.ask("document.activeElement.id").await.unwrap(), "checked");
    scene.browser.click("label[for=checked]").await.unwrap();
    scene.browser.click("form[action$='/again'] button").await.unwrap();
    scene.browser.see("Go to Page Bank").await.unwrap();
    scene.browser.click("form[action$='/decline'] button").await.unwrap();
    scene.browser.see("Nothing was shared").await.unwrap();
    scene.judge("10-declined", &[]).await;
    // The link leads to the newest attempt of the same connection.
    scene.browser.go(link["link_url"].as_str().unwrap()).await.unwrap();
    scene.browser.see("Nothing was shared").await.unwrap();
    assert_eq!(scene.authorisation(&link["id"]).await["reason"], "customer-refused");
}
