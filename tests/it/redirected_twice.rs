//! A bank that sends the customer's browser to two pages of its own, one after the other.

use axum::Router;
use axum::routing::{get, post};
use serde_json::json;
use tests::browser::Browser;
use tests::http::{expect, text};
use tests::linking;
use tests::world::{World, WorldConfig};

const INSTITUTION: &str = "two-pages";

#[tokio::test(flavor = "multi_thread")]
async fn each_redirect_has_a_state_of_its_own_which_is_good_once() {
    let routes = Router::new()
        .route("/page", get(async || "The bank's own page"))
        .route("/token", post(async || "{}"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let profile = format!(
        "name = \"Two Pages\"\ncountry = \"GB\"\nconnector = \"asking\"\n[origins]\nbank = \"http://{address}\"\n\
         [settings]\nasks = [\"page\", \"page\"]\n"
    );
    let profiles = vec![(INSTITUTION.to_owned(), profile)];
    let allow = vec![address.to_string()];
    let world = World::start(WorldConfig { profiles, allow, ..WorldConfig::default() }).await.unwrap();

    let asked = json!({ "institution_id": INSTITUTION });
    let begun = world.api.post("/v1/connections", &asked).await.unwrap();
    expect(&begun, 201).unwrap();
    let connection = begun.text("/id");
    let mut browser = Browser::new().unwrap();
    let mut backs: Vec<String> = Vec::new();
    for _ in 0..2 {
        let shown = linking::shown(&world.api, connection).await.unwrap();
        browser.visit(text(&shown, "/authorisation/next/url")).await.unwrap();
        let at = browser.page.url.clone();
        let of = |name: &str| at.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let back = format!("{}?state={}&code=the-code", of("redirect_uri"), of("state"));
        assert!(!backs.contains(&back), "the same state again");
        browser.visit(&back).await.unwrap();
        backs.push(back);
    }
    let shown = linking::shown(&world.api, connection).await.unwrap();
    assert_eq!(shown["state"], "active", "{shown}");
    assert_eq!(shown["consent"]["how"], "redirect");
}
