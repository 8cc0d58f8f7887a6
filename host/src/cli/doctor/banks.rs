//! Institutions: do their connectors load, and may they be asked?

use super::Check;
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::model::Role;

pub(super) async fn examine(config: &Config) -> Vec<Check> {
    let app = match App::build(config.clone(), Clock::system(), Role::ALL.into()).await {
        Ok(app) => app,
        Err(error) => {
            return vec![Check::problem(
                "service",
                format!("it would not start: {error:#}"),
                "see the sentence",
            )];
        }
    };
    let mut checks = vec![Check::ok("service", "it can be built as configured")];
    let mut well = 0;
    for (id, bank) in &app.institutions {
        match (bank.broken(), bank.unavailable()) {
            (Some(why), _) => checks.push(Check::problem(
                "institution",
                format!("{id} can never be asked: {why}"),
                "mend it, or take its profile away",
            )),
            (None, Some(why)) => checks.push(Check::warning(
                "institution",
                format!("{id} is not asked: {why}"),
                "see the sentence",
            )),
            (None, None) => well += 1,
        }
    }
    if well > 0 {
        checks.push(Check::ok("institution", format!("{well} are loaded and approved")));
    }
    checks
}
