//! Institutions: one bank each, described by a profile (a TOML file, no code).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A bank's profile: the file `institutions/<id>.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Institution {
    /// The file's name without `.toml`; filled in when the file is read.
    #[serde(skip)]
    pub id: String,
    /// What people call the bank.
    pub name: String,
    /// ISO 3166 letters.
    pub country: String,
    /// Name of the connector that speaks to it.
    pub connector: String,
    /// IANA name; the bank's days and its schedule window are in it.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// Name to base URL, used by the connector's routes.
    pub origins: BTreeMap<String, String>,
    /// Whatever the connector documents; handed to it as JSON.
    #[serde(default)]
    pub settings: toml::Table,
    /// POST routes outside login that the operator allows, by route name.
    #[serde(default)]
    pub allow_post: Vec<String>,
    /// When to ask.
    #[serde(default)]
    pub schedule: ScheduleProfile,
    /// How much to ask.
    #[serde(default)]
    pub limits: LimitsProfile,
    /// By which way requests leave for it.
    #[serde(default)]
    pub egress: EgressProfile,
}

/// By which way requests leave for a bank. Part of what the operator approves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct EgressProfile {
    /// A proxy that is asked by CONNECT to lead to the bank: `http://HOST:PORT`. It sees which bank is talked to, and
    /// nothing of what is said.
    pub proxy: Option<String>,
    /// An address of this machine that connections come from, where a bank or a proxy lets in known addresses only.
    pub local_address: Option<IpAddr>,
}

impl EgressProfile {
    /// A line for each thing that is said, for people and for the fingerprint.
    pub fn lines(&self) -> Vec<String> {
        let proxy = self.proxy.iter().map(|proxy| format!("through the proxy {proxy}"));
        proxy.chain(self.local_address.iter().map(|address| format!("from the address {address}"))).collect()
    }

    fn check(&self) -> Result<(), String> {
        let Some(proxy) = &self.proxy else { return Ok(()) };
        let fits = url::Url::parse(proxy).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some()
                && url.username().is_empty()
                && url.password().is_none()
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && !proxy.ends_with('/')
        });
        match fits {
            true => Ok(()),
            false => Err("egress.proxy must be http://HOST:PORT (or https://), without user, password or path: a profile \
                          holds no secret, so let the proxy know us by our address"
                .to_owned()),
        }
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

/// When to ask a bank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ScheduleProfile {
    /// Minutes between syncs of one connection.
    pub interval_minutes: u32,
    /// A cron expression (seconds first) in the bank's time zone: each firing opens a window, and
    /// connections are spread over it. Replaces the interval.
    pub cron: Option<String>,
    /// How long a cron window stays open.
    pub window_minutes: u32,
    /// So many minutes after its planned sync an account that was not read is stale, and the business is told.
    pub stale_after_minutes: u32,
}

impl Default for ScheduleProfile {
    fn default() -> Self {
        Self { interval_minutes: 60, cron: None, window_minutes: 60, stale_after_minutes: 60 }
    }
}

/// How much to ask of a bank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LimitsProfile {
    /// Days of history that the bank gives.
    pub history_days: u32,
    /// Days before the last reading that are read again, since entries arrive late.
    pub overlap_days: u32,
    /// Seconds between two readings of one account; on-demand calls before that get 429.
    pub min_interval_s: u32,
    /// Connections of this institution synced at the same time by this process.
    pub concurrency: u32,
    /// Requests that this process sends in a minute, one after the other at even distances; none for no limit.
    pub requests_per_minute: Option<u32>,
    /// How often a day (the bank's) an account may be read while its customer is not there; none for no limit. PSD2
    /// caps it at 4 unless the bank agrees to more.
    pub unattended_reads_per_day: Option<u32>,
    /// The bank lets a customer have one session at a time, another login ends it or is refused: connections of one
    /// customer, by `customer_ref`, take turns.
    pub exclusive_session: bool,
}

impl Default for LimitsProfile {
    fn default() -> Self {
        Self {
            history_days: 90,
            overlap_days: 14,
            min_interval_s: 0,
            concurrency: 16,
            requests_per_minute: None,
            unattended_reads_per_day: None,
            exclusive_session: false,
        }
    }
}

impl Institution {
    /// Reads and checks a profile. `id` is the file's name without `.toml`. The sentence of the
    /// error says what to change.
    pub fn parse(id: &str, text: &str) -> Result<Self, String> {
        let fail = |what: String| Err(format!("institutions/{id}.toml: {what}"));
        if !super::is_name(id) {
            return fail("the file's name must be lower-case letters, digits and \"-\"".into());
        }
        let mut profile: Self =
            toml::from_str(text).map_err(|error| format!("institutions/{id}.toml: {error}"))?;
        profile.id = id.to_owned();
        for (name, origin) in &profile.origins {
            let url = url::Url::parse(origin)
                .map_err(|error| format!("institutions/{id}.toml: origin \"{name}\": {error}"))?;
            if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
                return fail(format!("origin \"{name}\" must be an http or https URL"));
            }
            if url.query().is_some()
                || url.fragment().is_some()
                || !url.username().is_empty()
                || origin.ends_with('/')
            {
                return fail(format!(
                    "origin \"{name}\" must have no query, fragment, user or trailing slash"
                ));
            }
        }
        if let Err(what) = profile.egress.check() {
            return fail(what);
        }
        if profile.time_zone.parse::<chrono_tz::Tz>().is_err() {
            return fail(format!(
                "time-zone \"{}\" is not an IANA name such as \"Europe/London\"",
                profile.time_zone
            ));
        }
        if let Some(Err(error)) = profile.schedule.cron.as_ref().map(|cron| cron.parse::<cron::Schedule>()) {
            return fail(format!("schedule.cron: {error}"));
        }
        if !(1..=7 * 24 * 60).contains(&profile.schedule.interval_minutes) {
            return fail("schedule.interval-minutes must be 1 to 10080 (a week)".into());
        }
        if !(1..=24 * 60).contains(&profile.schedule.window_minutes) {
            return fail("schedule.window-minutes must be 1 to 1440 (a day)".into());
        }
        if !(1..=7 * 24 * 60).contains(&profile.schedule.stale_after_minutes) {
            return fail("schedule.stale-after-minutes must be 1 to 10080 (a week)".into());
        }
        let limits = &profile.limits;
        if !(1..=3650).contains(&limits.history_days) || limits.overlap_days > limits.history_days {
            return fail("limits.history-days must be 1 to 3650, and overlap-days not more than that".into());
        }
        if !(1..=10_000).contains(&limits.concurrency) {
            return fail("limits.concurrency must be 1 to 10000".into());
        }
        if limits.requests_per_minute.is_some_and(|requests| !(1..=600_000).contains(&requests)) {
            return fail("limits.requests-per-minute must be 1 to 600000".into());
        }
        if limits.unattended_reads_per_day.is_some_and(|reads| !(1..=1_440).contains(&reads)) {
            return fail("limits.unattended-reads-per-day must be 1 to 1440".into());
        }
        Ok(profile)
    }

    /// What the connector is told: JSON of `origins` and `settings`.
    pub fn for_connector(&self) -> String {
        serde_json::json!({ "origins": self.origins, "settings": self.settings }).to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_address_and_no_secret() {
        let parse = |more: &str| {
            let text =
                format!("name = \"B\"\ncountry = \"GB\"\nconnector = \"c\"\n[origins]\n[egress]\n{more}");
            Institution::parse("bank", &text).map(|bank| bank.egress.lines())
        };
        let both = "proxy = \"http://proxy.internal:3128\"\nlocal-address = \"203.0.113.7\"";
        assert_eq!(
            parse(both).unwrap(),
            ["through the proxy http://proxy.internal:3128", "from the address 203.0.113.7"]
        );
        assert!(parse("").unwrap().is_empty());
        for proxy in
            ["proxy.internal:3128", "socks5://p:1", "http://user:pw@p:1", "http://p:1/path", "http://p:1/"]
        {
            let said = parse(&format!("proxy = \"{proxy}\"")).unwrap_err();
            assert!(said.contains("egress.proxy must be http://HOST:PORT"), "{proxy}: {said}");
        }
        assert!(parse("local-address = \"here\"").is_err());
    }

    #[test]
    fn the_profiles_that_are_shipped_can_be_read() {
        let demo =
            Institution::parse("demo-bank", include_str!("../../../institutions/demo-bank.toml")).unwrap();
        let society = Institution::parse(
            "example-building-society",
            include_str!("../../../institutions/example-building-society.toml"),
        )
        .unwrap();
        assert_eq!(demo.connector, society.connector);
        assert!(society.schedule.cron.is_some());
        assert_eq!(demo.schedule.interval_minutes, 60);
    }

    #[test]
    fn the_routes_of_the_connector_resolve_at_every_shipped_profile() {
        let toml = include_bytes!("../../../connectors/open-banking-uk/connector.toml");
        let manifest = crate::model::Manifest::parse(toml).unwrap();
        let text = include_str!("../../../institutions/example-building-society.toml");
        let society = Institution::parse("example-building-society", text).unwrap();
        let routes = crate::model::resolve_routes(&manifest, &society).unwrap();
        let lines: Vec<_> = routes.iter().map(crate::model::Route::line).collect();
        assert_eq!(
            lines.first().unwrap(),
            "POST https://auth.building-society.example:443/oauth2/token (login)"
        );
        let demo =
            Institution::parse("demo-bank", include_str!("../../../institutions/demo-bank.toml")).unwrap();
        assert_eq!(crate::model::resolve_routes(&manifest, &demo).unwrap().len(), routes.len());
    }
}
