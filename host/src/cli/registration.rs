//! `tidegate registration`: the operator's or a business's own standing at an institution.

use super::{Answer, now, open, table};
use crate::model::{BusinessId, Registration, RegistrationId, Secret};
use crate::store::Store;
use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Store a registration, or replace it whole
    Set(Set),
    /// List all, without their values
    List,
    /// Remove one; connections at the institution can't be synced afterwards
    Delete {
        /// Which
        #[arg(value_name = "REGISTRATION-ID")]
        id: RegistrationId,
    },
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// At which institution
    institution: String,
    /// Whose; without it the operator's, which every business uses that has none of its own
    #[arg(long)]
    business: Option<BusinessId>,
    /// A value that is public, such as client-id=abc; other users of the machine can see it
    #[arg(long = "value", value_name = "NAME=TEXT")]
    values: Vec<String>,
    /// A secret value from a file, `-` for standard input; one line break at its end is dropped
    #[arg(long = "value-file", value_name = "NAME=FILE")]
    value_files: Vec<String>,
    /// Client certificate chain and private key for mutual TLS, PEM, in one file
    #[arg(long, value_name = "PEMFILE")]
    client_identity: Option<String>,
    /// Roots to trust at this institution besides the usual ones, PEM
    #[arg(long, value_name = "PEMFILE")]
    roots: Option<String>,
}

pub(super) async fn run(config: Option<&Path>, command: Command) -> anyhow::Result<Answer> {
    if let Command::Set(set) = command {
        let registration = read(set)?; // before the database is touched
        let (_, store) = open(config).await?;
        return put(&store, registration).await;
    }
    let (_, store) = open(config).await?;
    match command {
        Command::Delete { id } => {
            ensure!(store.delete_registration(id).await?, "there is no registration {id}");
            Answer::good(format!("deleted {id}"))
        }
        Command::Set(_) | Command::List => {
            let rows = store.registrations().await?.into_iter().map(|one| {
                let business =
                    one.business.map_or_else(|| "operator".to_owned(), |business| business.to_string());
                let mut holds: Vec<_> = one.values.keys().cloned().collect();
                holds.extend(one.client_identity.map(|_| "(client identity)".to_owned()));
                holds.extend(one.roots.map(|_| "(roots)".to_owned()));
                vec![one.id.to_string(), one.institution, business, one.version.to_string(), holds.join(",")]
            });
            Answer::good(table(
                &["ID", "INSTITUTION", "OWNER", "VERSION", "HOLDS"],
                &rows.collect::<Vec<_>>(),
            ))
        }
    }
}

/// Replaces the registration of that owner and institution, if there is one.
async fn put(store: &Store, mut registration: Registration) -> anyhow::Result<Answer> {
    let same = |one: &Registration| {
        one.business == registration.business && one.institution == registration.institution
    };
    if let Some(old) = store.registrations().await?.into_iter().find(same) {
        registration.id = old.id;
        registration.version = old.version;
    }
    store.put_registration(&registration).await?;
    Answer::good(format!("stored {} for {}", registration.id, registration.institution))
}

fn read(set: Set) -> anyhow::Result<Registration> {
    let mut values = BTreeMap::new();
    for typed in &set.values {
        let (name, text) = split(typed)?;
        ensure!(
            !text.contains("-----BEGIN"),
            "\"{name}\" looks like a key; hand it in with --value-file {name}=FILE"
        );
        add(&mut values, name, Secret::new(text))?;
    }
    for typed in &set.value_files {
        let (name, file) = split(typed)?;
        let text = read_file(file)?;
        let text =
            text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        ensure!(!text.is_empty(), "{file} is empty");
        add(&mut values, name, Secret::new(text))?;
    }
    Ok(Registration {
        id: RegistrationId::new(),
        business: set.business,
        institution: set.institution,
        values,
        client_identity: set.client_identity.as_deref().map(read_pem).transpose()?.map(Secret::new),
        roots: set.roots.as_deref().map(read_pem).transpose()?,
        version: 1,
        created_at: now(),
    })
}

fn split(typed: &str) -> anyhow::Result<(&str, &str)> {
    match typed.split_once('=') {
        Some((name, rest)) if crate::model::is_name(name) && !rest.is_empty() => Ok((name, rest)),
        _ => bail!("a value is handed in as NAME=…, its name in lower-case letters, digits and \"-\""),
    }
}

fn add(values: &mut BTreeMap<String, Secret>, name: &str, value: Secret) -> anyhow::Result<()> {
    ensure!(values.insert(name.to_owned(), value).is_none(), "the value \"{name}\" is given twice");
    Ok(())
}

fn read_file(file: &str) -> anyhow::Result<String> {
    if file == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input could not be read")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("{file} could not be read"))
}

fn read_pem(file: &str) -> anyhow::Result<String> {
    let text = read_file(file)?;
    ensure!(text.contains("-----BEGIN"), "{file} holds no PEM (\"-----BEGIN …\")");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[&str], value_files: &[String]) -> Set {
        Set {
            institution: "demo-bank".to_owned(),
            business: None,
            values: values.iter().map(|text| (*text).to_owned()).collect(),
            value_files: value_files.to_vec(),
            client_identity: None,
            roots: None,
        }
    }

    #[test]
    fn values_come_from_arguments_and_files_without_the_last_line_break() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let from = format!("client-secret={}", file.path().display());
        let registration = read(set(&["client-id=a=b"], &[from])).unwrap();
        assert_eq!(registration.values.get("client-id").map(Secret::reveal), Some("a=b"));
        assert_eq!(registration.values.get("client-secret").map(Secret::reveal), Some("s3cret"));
    }

    #[test]
    fn what_cannot_be_a_value_is_refused_without_being_repeated() {
        for (values, files, expected) in [
            (&["client-id"][..], vec![], "handed in as NAME="),
            (&["Client=1"], vec![], "lower-case"),
            (&["a=hunter2", "a=hunter2"], vec![], "\"a\" is given twice"),
            (&["key=-----BEGIN PRIVATE KEY-----hunter2"], vec![], "--value-file key=FILE"),
            (&[], vec!["a=/nowhere/x".to_owned()], "/nowhere/x could not be read"),
        ] {
            let error = format!("{:#}", read(set(values, &files)).unwrap_err());
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
