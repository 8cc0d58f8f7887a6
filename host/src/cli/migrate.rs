//! `tidegate migrate`: the one command that changes the database's shape.

use super::{Answer, open_unmigrated};
use crate::config::Config;
use anyhow::Context;
use std::path::Path;

pub(super) async fn run(config: Option<&Path>) -> anyhow::Result<Answer> {
    let store = open_unmigrated(&Config::load(config)?).await?;
    let applied = store.migrate().await.context("the database could not be migrated")?;
    if applied.is_empty() {
        return Answer::good("the database is up to date");
    }
    Answer::good(applied.iter().map(|name| format!("applied {name}\n")).collect::<String>())
}
