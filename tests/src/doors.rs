//! Every front door of the bank, from beginning to end through the public door, each step verified: a redirect
//! with mutual TLS, a form, a code in the middle, a file, signed requests; then time, the end of consents, ways
//! back, and leaving.
//!
//! `cargo demo -- --once` prints it; the integration tests play it as well.

use crate::bank::{BankConfig, Customer, FIRST_PASSCODE, Login, NewCustomer, NewEntry, PathKind};
use crate::browser::Browser;
use crate::compare::{Tells, changes, compare_told, tally};
use crate::http::{Answer, expect, text};
use crate::linking::{accounts, fields, go_on, leave, shown};
use crate::sink::Received;
use crate::story::{events, no_bad_signature};
use crate::waiting::{PATIENCE, until};
use crate::world::{CLIENT, DEMO_BANK, Signer, World, WorldConfig};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const HISTORY_DAYS: u32 = 30;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Where the business wants its customers back.
const BACK: &str = "https://shop.example/back";
const ASK: &str = "connection.reauthorisation_required";
/// A way in that the bank has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// UK Open Banking: there and back by redirect.
    Redirect,
    /// A portal: user name and password.
    Form,
    /// A dialogue: PIN, and a code in the middle.
    Code,
    /// Statements: one file for all accounts.
    File,
    /// Signed requests: a page of the bank, and a signature on each request.
    Signature,
}

const KINDS: [Kind; 5] = [Kind::Redirect, Kind::Form, Kind::Code, Kind::File, Kind::Signature];

impl Kind {
    fn institution(self) -> &'static str {
        match self {
            Self::Redirect => DEMO_BANK,
            Self::Form => "demo-portal",
            Self::Code => "demo-dialogue",
            Self::File => "demo-statements",
            Self::Signature => "demo-signed",
        }
    }

    fn tells(self) -> Tells {
        match self {
            Self::Redirect | Self::Signature => Tells::Everything,
            Self::Form => Tells::NoIds,
            Self::Code => Tells::BookedWithoutIds,
            Self::File => Tells::BookedByYesterday,
        }
    }

    fn customer(self) -> &'static str {
        match self {
            Self::Redirect => "Ada Sample",
            Self::Form => "Ben Example",
            Self::Code => "Cleo Specimen",
            Self::File => "Dai Muster",
            Self::Signature => "Eva Model",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Redirect => {
                "redirect (UK Open Banking): PKCE, private_key_jwt and mutual TLS; the customer agreed on the bank's page"
            }
            Self::Form => {
                "form (portal): user name and password, a CSRF field, cookies; pages made for eyes are read"
            }
            Self::Code => "OTP (dialogue): a PIN, then the code that the bank sent to the telephone",
            Self::File => "file (camt.053): one statement for both accounts, acknowledged once it was stored",
            Self::Signature => "signature (PSD2): a digest and an HTTP signature over every request",
        }
    }
}

/// A world with every front door, and the operator registered at those that want it.
pub async fn world() -> anyhow::Result<World> {
    let signer = Signer::new()?;
    let setup = WorldConfig {
        bank: BankConfig { mutual_tls: true, ..BankConfig::default() },
        registered: true,
        shipped: KINDS[1..].iter().map(|kind| (kind.institution(), "")).collect(),
        registrations: vec![(Kind::Signature.institution().to_owned(), signer.registration())],
        ..WorldConfig::default()
    };
    let world = World::start(setup).await?;
    signer.tell(&world.bank)?;
    Ok(world)
}

/// A customer at one of the doors.
struct Guest {
    kind: Kind,
    customer: Customer,
    login: Login,
    connection: String,
    /// Our account id by the bank's.
    accounts: BTreeMap<String, String>,
    /// Where the business has read the everyday account's changes to.
    cursor: String,
}

/// Plays it all, numbering the steps from `first`; `say` hears a line a step.
pub async fn play(world: &World, first: usize, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<()> {
    world.endpoint().await?;
    let mut guests = Vec::new();
    for (place, kind) in KINDS.into_iter().enumerate() {
        let guest = Guest::comes_in(world, kind).await.with_context(|| format!("{kind:?}"))?;
        let rows = guest.compare(world).await?;
        say(&format!("{}. {}: {rows} rows", first + place, kind.says()));
        guests.push(guest);
    }
    let next = first + KINDS.len();
    a_day_passes(world, &mut guests).await.context("a day passes")?;
    say(&format!("{next}. a day later, by itself, at every door: three new rows each, equal to the bank's"));
    time_runs_out(world, &guests).await.context("a consent runs out")?;
    say(&format!(
        "{}. expiry: told 14, 7 and 1 days ahead; at its end polling stops at once, one event; the OTP is asked for again after 90 days",
        next + 1
    ));
    they_come_back(world, &mut guests).await.context("re-authorisation")?;
    say(&format!(
        "{}. re-authorisation: by redirect and by OTP alone; same accounts, history and cursors",
        next + 2
    ));
    everybody_leaves(world, &guests).await.context("erasure")?;
    say(&format!(
        "{}. erasure at every door: consents and sessions ended at the bank, cursors answer 410, nothing is asked any more",
        next + 3
    ));
    no_bad_signature(world)
}

impl Guest {
    /// A new customer of the bank links it.
    async fn comes_in(world: &World, kind: Kind) -> anyhow::Result<Self> {
        let new = NewCustomer::with_two_accounts(kind.customer(), HISTORY_DAYS);
        let customer = world.bank.create_customer(&new)?;
        let login = world.bank.login(&customer.id)?;
        let request = json!({
            "institution_id": kind.institution(),
            "customer_ref": kind.customer(),
            "return_to": BACK,
            "customer_present": { "ip": "203.0.113.7", "user_agent": "A browser" },
        });
        let begun = world.api.post("/v1/connections", &request).await?;
        expect(&begun, 201)?;
        let (connection, accounts) = (begun.text("/id").to_owned(), BTreeMap::new());
        let mut guest = Self { kind, customer, login, connection, accounts, cursor: String::new() };
        guest.goes_through(world, &begun).await?;
        guest.accounts = accounts_of(world, &guest).await?;
        guest.cursor = changes(&world.api, guest.ours(), None).await?.1;
        Ok(guest)
    }

    /// The bank's id of the current account.
    fn everyday(&self) -> &str {
        self.customer.accounts.first().map_or("", String::as_str)
    }

    /// Ours.
    fn ours(&self) -> &str {
        self.accounts.get(self.everyday()).map_or("", String::as_str)
    }

    /// Does what the answer says is next, until there is nothing left to do.
    async fn goes_through(&self, world: &World, begun: &Answer) -> anyhow::Result<()> {
        let mut answer = begun.clone();
        loop {
            match answer.text("/authorisation/next/kind") {
                "redirect" => {
                    self.goes_to_the_bank(answer.text("/authorisation/next/url")).await?;
                    break;
                }
                "form" => {
                    let mut values = serde_json::Map::new();
                    for name in fields(&answer.body) {
                        values.insert(name.to_owned(), json!(self.types(world, name)?));
                    }
                    answer = go_on(&world.api, &self.connection, &Value::Object(values)).await?;
                }
                _ => break,
            }
        }
        let now = shown(&world.api, &self.connection).await?;
        ensure!(text(&now, "/state") == "active", "the customer is in: {now}");
        Ok(())
    }

    /// What the customer types into a field.
    fn types(&self, world: &World, field: &str) -> anyhow::Result<String> {
        Ok(match field {
            "username" | "user" => self.login.user.clone(),
            "password" => self.login.password.clone(),
            "pin" => self.login.pin.clone(),
            "code" => world.bank.last_otp(&self.customer.id).context("no code was sent")?,
            other => anyhow::bail!("asked for {other}"),
        })
    }

    /// There and back, with the customer's yes.
    async fn goes_to_the_bank(&self, url: &str) -> anyhow::Result<()> {
        let mut browser = Browser::new()?;
        browser.visit(url).await?;
        if self.kind == Kind::Redirect {
            let asks = format!("{CLIENT} asks to see your accounts");
            ensure!(browser.page.body.contains(&asks), "the bank asks: {}", browser.page.body);
            browser.submit(&[("customer", &self.customer.id), ("passcode", FIRST_PASSCODE)]).await?;
            browser.submit(&[("decision", "allow")]).await?;
        } else {
            let (user, password) = (self.login.user.as_str(), self.login.password.as_str());
            browser.submit(&[("username", user), ("password", password), ("decision", "allow")]).await?;
        }
        ensure!(browser.page.url.as_str().starts_with(BACK), "back at the business: {}", browser.page.url);
        ensure!(browser.page.parameter("state") == "ready", "ready: {}", browser.page.url);
        Ok(())
    }

    /// Both accounts, row by row; how many rows.
    async fn compare(&self, world: &World) -> anyhow::Result<usize> {
        let mut rows = 0;
        for (bank_id, account) in &self.accounts {
            rows += compare_told(&world.api, account, &world.bank, bank_id, self.kind.tells()).await?;
        }
        Ok(rows)
    }

    /// Reads on from the cursor until rows with these texts were told, and nothing else.
    async fn follows(&mut self, world: &World, texts: &[&str]) -> anyhow::Result<Vec<Value>> {
        let what = format!("{texts:?} at the door {:?}", self.kind);
        let is_one = |change: &Value| texts.contains(&text(change, "/after/text"));
        let (mut told, cursor) = until(&what, async || {
            let read = changes(&world.api, self.ours(), Some(&self.cursor)).await?;
            Ok((read.0.iter().filter(|change| is_one(change)).count() >= texts.len()).then_some(read))
        })
        .await?;
        if self.kind == Kind::File {
            told.retain(is_one); // the statement of the day has what was booked before the story began as well
        }
        ensure!(told.len() == texts.len(), "{texts:?} and no more: {told:?}");
        self.cursor = cursor;
        Ok(told)
    }

    /// `/sync`, which must succeed.
    async fn syncs(&self, world: &World) -> anyhow::Result<()> {
        let answer =
            world.api.post(&format!("/v1/accounts/{}/sync?wait=60", self.ours()), &json!({})).await?;
        expect(&answer, 200)?;
        ensure!(answer.text("/code") == "SYNC_SUCCESSFUL", "{:?}: {}", self.kind, answer.body);
        Ok(())
    }

    /// How often the business was told so.
    fn told(&self, received: &[Received], kind: &str) -> usize {
        events(received, kind, &self.connection).len()
    }
}

async fn accounts_of(world: &World, guest: &Guest) -> anyhow::Result<BTreeMap<String, String>> {
    accounts(&world.api, &guest.connection, &guest.customer).await
}

/// The bank books; a day later the scheduler has seen it, at every door.
async fn a_day_passes(world: &World, guests: &mut [Guest]) -> anyhow::Result<()> {
    let mark = world.bank.mark();
    for guest in guests.iter() {
        world.bank.book(guest.everyday(), NewEntry::transfer("1250.00", "INVOICE 2217"))?;
        world
            .bank
            .book_twins(guest.everyday(), &NewEntry::card("-3.20", "CORNER COFFEE", "Corner Coffee"))?;
    }
    world.advance_at_rest(DAY).await?;
    for guest in guests {
        let told = guest.follows(world, &["INVOICE 2217", "CORNER COFFEE", "CORNER COFFEE"]).await?;
        if guest.kind.tells() == Tells::Everything {
            tally(&told, &world.bank, guest.everyday(), mark)?;
        }
        guest.compare(world).await?;
    }
    Ok(())
}

fn at(guests: &[Guest], kind: Kind) -> anyhow::Result<&Guest> {
    guests.iter().find(|guest| guest.kind == kind).context("a guest at each door")
}

/// The consent of ninety days is told to end, and ends; a day later the code is needed again.
async fn time_runs_out(world: &World, guests: &[Guest]) -> anyhow::Result<()> {
    let (guest, other) = (at(guests, Kind::Redirect)?, at(guests, Kind::Code)?);
    let consent = shown(&world.api, &guest.connection).await?["consent"].clone();
    let ends: host::model::Timestamp = serde_json::from_value(consent["expires_at"].clone())?;
    for (place, days) in [14, 7, 1].into_iter().enumerate() {
        world.advance_at_rest(ends.minus(DAY * days).since(world.clock.now())).await?;
        let told = |received: &[Received]| {
            let told = events(received, "consent.expiring", &guest.connection);
            told.get(place).map(|event| event.payload["data"]["days_left"].clone())
        };
        let left = world.sink.wait_for("consent.expiring", PATIENCE, told).await?;
        ensure!(left == json!(days), "{days} days ahead, said {left}");
    }
    world.advance_at_rest(ends.since(world.clock.now())).await?;
    stopped(world, guest, "consent-expired").await?;
    let asked = |guest: &Guest| {
        let requests = world.bank.requests();
        requests.iter().filter(|request| request.account.as_deref() == Some(guest.everyday())).count()
    };
    let before = asked(guest);
    world.advance_at_rest(DAY).await?;
    stopped(world, other, "customer-needed").await?;
    // The others go on; this one is left alone.
    at(guests, Kind::Form)?.syncs(world).await?;
    ensure!(asked(guest) == before, "polling stops");
    ensure!(guest.told(&world.sink.received(), ASK) == 1, "one event");
    Ok(())
}

/// Waits until the business was told that the customer is needed, and why.
async fn stopped(world: &World, guest: &Guest, reason: &str) -> anyhow::Result<()> {
    let told = |received: &[Received]| {
        events(received, ASK, &guest.connection).first().map(|event| event.payload["data"]["reason"].clone())
    };
    let said = world.sink.wait_for(ASK, PATIENCE, told).await?;
    ensure!(said == json!(reason), "{:?}: {reason}, said {said}", guest.kind);
    Ok(())
}

/// Whoever was stopped comes back by the same door, and everything is as it was.
async fn they_come_back(world: &World, guests: &mut [Guest]) -> anyhow::Result<()> {
    for kind in [Kind::Redirect, Kind::Code] {
        let guest = guests.iter_mut().find(|guest| guest.kind == kind).context("a guest at each door")?;
        world.bank.book(guest.everyday(), NewEntry::transfer("75.00", "WHILE YOU WERE AWAY"))?;
        let path = format!("/v1/connections/{}/reauthorise", guest.connection);
        let begun = world.api.post(&path, &json!({ "return_to": BACK })).await?;
        expect(&begun, 200)?;
        if kind == Kind::Code {
            ensure!(fields(&begun.body) == ["code"], "PIN and system are known: {}", begun.body);
        }
        guest.goes_through(world, &begun).await?;
        guest.follows(world, &["WHILE YOU WERE AWAY"]).await?;
        ensure!(accounts_of(world, guest).await? == guest.accounts, "the same account ids");
        guest.compare(world).await?;
    }
    Ok(())
}

/// All of them leave.
async fn everybody_leaves(world: &World, guests: &[Guest]) -> anyhow::Result<()> {
    for guest in guests {
        guest.syncs(world).await?; // a session is open, so there is something to end
        let consent = shown(&world.api, &guest.connection).await?["consent"].clone();
        let ended = leave(world, &guest.connection).await?;
        // A bank that only hands out files has nothing to end.
        ensure!(ended == (guest.kind != Kind::File), "{:?}: ended at the bank: {ended}", guest.kind);
        if guest.kind == Kind::Redirect {
            let deleted = world.bank.requests().into_iter().filter(|request| {
                request.kind == PathKind::Consent && request.path.ends_with(text(&consent, "/reference"))
            });
            ensure!(
                deleted.map(|request| request.status).eq([Some(204)]),
                "the bank is told once: {consent}"
            );
        }
    }
    let asked = world.bank.requests().len();
    for guest in guests {
        let read_on = format!("/v1/accounts/{}/changes?cursor={}", guest.ours(), guest.cursor);
        let gone = world.api.get(&read_on).await?;
        expect(&gone, 410)?;
        ensure!(gone.text("/code") == "account-erased", "{}", gone.body);
        for path in ["", "/transactions", "/balances"] {
            let gone = world.api.get(&format!("/v1/accounts/{}{path}", guest.ours())).await?;
            expect(&gone, 404)?;
        }
        ensure!(guest.told(&world.sink.received(), "connection.deleted") == 1, "one event");
    }
    world.advance_at_rest(DAY).await?;
    // Somebody new comes in: whatever was due before had its turn.
    Guest::comes_in(world, Kind::Form).await?;
    let requests = world.bank.requests();
    let since = requests.get(asked..).unwrap_or_default();
    let theirs = guests.iter().flat_map(|guest| &guest.customer.accounts).collect::<Vec<_>>();
    let still =
        since.iter().filter(|request| request.account.as_ref().is_some_and(|id| theirs.contains(&id)));
    ensure!(still.count() == 0, "polling stops");
    Ok(())
}
