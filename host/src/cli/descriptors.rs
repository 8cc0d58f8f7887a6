//! File descriptors: each request in flight is a socket, and a process that runs out of them fails in odd places.
//!
//! Must not know: what opens them.

use crate::config::Config;
use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Beside syncs and webhooks: the database, the caller's connections to the API, logs, compiled connectors.
const OTHERS: u64 = 512;

/// Raises the process's limit as far as the system allows; an error if that is not enough for what is configured.
pub(super) fn ensure(config: &Config) -> anyhow::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = getrlimit(Resource::Nofile).current.or(current);
    check(allowed, config.sync_concurrency, config.webhook_concurrency)
}

/// `allowed`: none is no limit.
fn check(allowed: Option<u64>, syncs: usize, webhooks: usize) -> anyhow::Result<()> {
    let each = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let wanted = each(syncs).saturating_add(each(webhooks)).saturating_add(OTHERS);
    if let Some(allowed) = allowed.filter(|allowed| *allowed < wanted) {
        bail!(
            "this process may open {allowed} files and sockets, but sync.concurrency = {syncs} and \
             webhook.concurrency = {webhooks} want {wanted}; raise the limit (`ulimit -n {wanted}`, LimitNOFILE= \
             in a systemd unit, --ulimit of a container), or lower them"
        );
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn too_few_are_an_error_that_says_how_many_are_wanted_and_how_to_get_them() {
        check(None, 1_000, 256).unwrap();
        check(Some(1_768), 1_000, 256).unwrap();
        let error = check(Some(1_767), 1_000, 256).unwrap_err().to_string();
        assert!(error.contains("may open 1767 ") && error.contains("ulimit -n 1768"), "{error}");
    }
}
