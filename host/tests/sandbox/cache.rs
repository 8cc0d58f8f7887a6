//! Compiled code: kept, believed only if it was written here, and made by a process that may die.

use crate::guest::{compiler, component, config};
use host::sandbox::{Limits, LoadError, Sandbox, SandboxConfig};
use std::path::{Path, PathBuf};

/// A compiler that shows that it was asked.
const NONE: &[&str] = &["/bin/sh", "-c", "cat > /dev/null; echo asked to compile >&2; exit 3"];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

async fn load(folder: &Path, key: u8, compiler: Vec<String>) -> Result<(), LoadError> {
    let cache_dir = folder.to_owned();
    let config = SandboxConfig { cache_dir, compiler, cache_key: [key; 32], ..config(Limits::default()) };
    Sandbox::new(config)?.load(component()).await.map(drop)
}

fn asked() -> Result<(), LoadError> {
    Err(LoadError::Compile("asked to compile (exit status: 3)".into()))
}

/// The only file of the folder.
fn kept(folder: &Path) -> PathBuf {
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[tokio::test]
async fn what_was_compiled_here_is_loaded_and_what_was_not_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    assert_eq!(load(here, 1, words(NONE)).await, asked(), "nothing is kept yet");
    assert_eq!(load(here, 1, compiler()).await, Ok(()));
    assert_eq!(load(here, 1, words(NONE)).await, Ok(()), "the second time nothing is compiled");

    assert_eq!(load(here, 2, words(NONE)).await, asked(), "it was written under another key");
    let file = kept(here);
    let good = std::fs::read(&file).unwrap();
    for at in [0, 31, 32, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&file, &bad).unwrap();
        assert_eq!(load(here, 1, words(NONE)).await, asked(), "the byte at {at} is another");
    }
    for length in [0, 31, 32, good.len() - 1] {
        std::fs::write(&file, &good[..length]).unwrap();
        assert_eq!(load(here, 1, words(NONE)).await, asked(), "cut off at {length}");
    }
    // Honest code of another component, put where this one's is looked for.
    std::fs::write(&file, &good).unwrap();
    assert_eq!(load(here, 1, words(NONE)).await, Ok(()));
    let mut other = component().to_vec();
    other.extend_from_slice(b"\0\x02\x01x"); // an empty custom section `x`
    let its = host::sandbox::inspect(&other).digest;
    let this = host::sandbox::inspect(component()).digest;
    let name = file.file_name().unwrap().to_str().unwrap().replace(&this, &its);
    std::fs::rename(&file, here.join(name)).unwrap();
    let config = SandboxConfig {
        cache_dir: here.to_owned(),
        compiler: words(NONE),
        cache_key: [1; 32],
        ..config(Limits::default())
    };
    assert_eq!(Sandbox::new(config).unwrap().load(&other).await.map(drop), asked());

    std::fs::remove_file(kept(here)).unwrap();
    std::fs::write(&file, "garbage").unwrap();
    assert_eq!(load(here, 1, compiler()).await, Ok(()), "compiled again");
    assert_eq!(load(here, 1, words(NONE)).await, Ok(()), "and kept");
}

#[tokio::test]
async fn a_compiler_that_dies_is_told_of_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let with = async |compiler: &[&str]| load(folder.path(), 1, words(compiler)).await.unwrap_err();
    let killed = with(&["/bin/sh", "-c", "echo out of memory >&2; kill -9 $$"]).await;
    assert_eq!(killed, LoadError::Compile("out of memory (signal: 9 (SIGKILL))".into()));
    let sentence = "the component could not be compiled: out of memory (signal: 9 (SIGKILL))";
    assert_eq!(killed.to_string(), sentence);

    let missing = with(&["/no/such/program"]).await;
    assert!(
        matches!(&missing, LoadError::System(why) if why.starts_with("compiling a connector: /no/such/program did not start: ")),
        "{missing:?}"
    );
    assert_eq!(with(&[]).await, LoadError::System("compiling a connector: no compiler is configured".into()));
    let babble = with(&["/bin/sh", "-c", "cat > /dev/null; echo done"]).await;
    assert!(matches!(babble, LoadError::Compile(_)), "{babble:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing of that is kept");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_costs_time_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(load(&file, 1, compiler()).await, Ok(()));
}
