//! From a connector's crate to the one file the host loads: compile for wasm, make a component of
//! it, put `connector.toml` inside.
//!
//! Prints nothing. Must not know: the sandbox, any one connector.

use crate::model::{BadManifest, MANIFEST_SECTION, Manifest};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use wit_component::{ComponentEncoder, DecodedWasm};

/// What connectors are compiled for: a target without any system beneath it.
const TARGET: &str = "wasm32-unknown-unknown";
/// Flags of the compiler, besides the profile `connector`.
///
/// The stack lies below the data, so that its overflow traps; with 128 KiB instead of 1 MiB, what a
/// step touches lies close together at the start of memory, which the pool keeps resident. Memory
/// starts at 1 MiB, enough for a usual step, since each growth is a system call.
const FLAGS: [&str; 3] =
    ["-Ctarget-feature=+simd128", "-Clink-arg=-zstack-size=131072", "-Clink-arg=--initial-memory=1048576"];
/// The end of a compiler's complaint that is worth repeating, bytes.
const COMPLAINT_BYTES_MAX: usize = 4_000;

/// Why a connector was not built. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo or rustc could not be started.
    #[error("`{program}` could not be started ({error}); install Rust from https://rustup.rs")]
    NoTool {
        /// Which program.
        program: String,
        /// Why not.
        error: std::io::Error,
    },
    /// The wasm target is missing and could not be added.
    #[error(
        "the Rust target {TARGET} is missing and could not be added ({0}); run `rustup target add {TARGET}`, or, without rustup, install the rust-std of {TARGET} for your toolchain"
    )]
    NoTarget(String),
    /// The folder is not a connector.
    #[error(
        "{0}: not a connector's crate; it needs a Cargo.toml with a library of crate-type \"cdylib\" ({1})"
    )]
    NotAConnector(PathBuf, String),
    /// It does not compile.
    #[error("{0}: does not compile:\n{1}")]
    Compile(PathBuf, String),
    /// A file could not be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// `connector.toml` is against a rule.
    #[error("{0}: {1}")]
    Manifest(PathBuf, BadManifest),
    /// What was compiled is no component.
    #[error("{0}: cannot be made a component: {1}; does it call `tidegate_sdk::export!`?")]
    Component(PathBuf, String),
    /// The component wants something from outside.
    #[error("{0}: imports {1}, but a connector imports nothing; remove the dependency that brings it in")]
    Imports(PathBuf, String),
}

/// Compiles the connector in `crate_dir`, writes `<name>.wasm` (the name of its `connector.toml`)
/// into `out_dir`, and says where.
///
/// Adds the wasm target through rustup if it is missing. Compiles in a target directory of its own
/// (`connectors` below the usual one), so that it never waits for a cargo that waits for it. The
/// file appears whole or not at all.
pub fn build(crate_dir: &Path, out_dir: &Path) -> Result<PathBuf, BuildError> {
    ensure_target(crate_dir)?;
    let toml_path = crate_dir.join("connector.toml");
    let toml = std::fs::read(&toml_path).map_err(|error| BuildError::File(toml_path.clone(), error))?;
    let manifest = Manifest::parse(&toml).map_err(|error| BuildError::Manifest(toml_path, error))?;

    let module_path = compile(crate_dir)?;
    let module = std::fs::read(&module_path).map_err(|error| BuildError::File(module_path, error))?;
    let mut component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| BuildError::Component(crate_dir.to_owned(), format!("{error:#}")))?;
    refuse_imports(crate_dir, &component)?;
    append_section(&mut component, MANIFEST_SECTION, &toml);

    let path = out_dir.join(format!("{}.wasm", manifest.name));
    write_whole(&path, &component).map_err(|error| BuildError::File(path.clone(), error))?;
    Ok(path)
}

fn run(command: &mut Command) -> Result<Output, BuildError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|error| BuildError::NoTool { program, error })
}

/// The toolchain is the one that rustup chooses in the crate's folder.
fn ensure_target(crate_dir: &Path) -> Result<(), BuildError> {
    if has_target(crate_dir)? {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).current_dir(crate_dir);
    let output = run(&mut rustup).map_err(|error| BuildError::NoTarget(error.to_string()))?;
    if !output.status.success() {
        return Err(BuildError::NoTarget(complaint(&output.stderr)));
    }
    match has_target(crate_dir)? {
        true => Ok(()),
        false => Err(BuildError::NoTarget("rustup added it to another toolchain".to_owned())),
    }
}

fn has_target(crate_dir: &Path) -> Result<bool, BuildError> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]).current_dir(crate_dir);
    let output = run(&mut rustc)?;
    let libdir = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(libdir.trim()).is_dir())
}

/// What `cargo metadata` says of a crate, as far as we need it.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

/// Compiles the crate; the path of the core module.
fn compile(crate_dir: &Path) -> Result<PathBuf, BuildError> {
    let not_a_connector = |why: String| BuildError::NotAConnector(crate_dir.to_owned(), why);
    let cargo_toml = crate_dir.join("Cargo.toml");
    let cargo_toml = cargo_toml.canonicalize().map_err(|error| not_a_connector(error.to_string()))?;
    let mut cargo = Command::new("cargo");
    cargo
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(&cargo_toml)
        .current_dir(crate_dir);
    let output = run(&mut cargo)?;
    if !output.status.success() {
        return Err(not_a_connector(complaint(&output.stderr)));
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| not_a_connector(error.to_string()))?;
    let library = metadata
        .packages
        .iter()
        .filter(|package| package.manifest_path == cargo_toml)
        .flat_map(|package| &package.targets)
        .find(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))
        .ok_or_else(|| not_a_connector("it has none".to_owned()))?;

    let target_dir = metadata.target_directory.join("connectors");
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--quiet", "--lib", "--profile", "connector", "--target", TARGET, "--manifest-path"])
        .arg(&cargo_toml)
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(crate_dir)
        // What is said to the outer cargo is said for another machine.
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    let output = run(&mut cargo)?;
    if !output.status.success() {
        return Err(BuildError::Compile(crate_dir.to_owned(), complaint(&output.stderr)));
    }
    let file = format!("{}.wasm", library.name.replace('-', "_"));
    Ok(target_dir.join(TARGET).join("connector").join(file))
}

fn refuse_imports(crate_dir: &Path, component: &[u8]) -> Result<(), BuildError> {
    let no_component = |why: String| BuildError::Component(crate_dir.to_owned(), why);
    let decoded = wit_component::decode(component).map_err(|error| no_component(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(no_component("it is a WIT package".to_owned()));
    };
    let world = resolve.worlds.get(world).ok_or_else(|| no_component("it has no world".to_owned()))?;
    let names: Vec<_> = world.imports.keys().map(|name| resolve.name_world_key(name)).collect();
    match names.is_empty() {
        true => Ok(()),
        false => Err(BuildError::Imports(crate_dir.to_owned(), names.join(", "))),
    }
}

/// A custom section (id 0): its size, the name's length, the name, the data; lengths in LEB128.
fn append_section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut body = Vec::with_capacity(name.len() + data.len() + 5);
    leb128(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    component.push(0);
    leb128(component, body.len());
    component.extend_from_slice(&body);
}

fn leb128(into: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            into.push(low);
            return;
        }
        into.push(low | 0x80);
    }
}

/// Writes beside the place and renames: readers see the old file or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("{}.tmp", uuid::Uuid::now_v7()));
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // Best effort: the error that matters is the one above.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// The end of what a tool complained about.
fn complaint(stderr: &[u8]) -> String {
    let start = stderr.len().saturating_sub(COMPLAINT_BYTES_MAX);
    String::from_utf8_lossy(stderr.get(start..).unwrap_or_default()).trim().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Length and start of the body of each top-level section, with the section's id.
    fn sections(component: &[u8]) -> Vec<(u8, &[u8])> {
        let number = |from: &mut usize| {
            let mut value = 0;
            let mut shift = 0;
            loop {
                let byte = component[*from];
                *from += 1;
                value |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    return value;
                }
            }
        };
        let mut sections = Vec::new();
        let mut at = 8; // magic and version
        while at < component.len() {
            let id = component[at];
            at += 1;
            let size = number(&mut at);
            sections.push((id, &component[at..at + size]));
            at += size;
        }
        sections
    }

    #[test]
    fn both_connectors_become_components_that_import_nothing_and_carry_their_manifest() {
        let out = tempfile::tempdir().unwrap();
        for (crate_dir, name) in
            [("connectors/open-banking-uk", "open-banking-uk"), ("tests/guests/hostile", "hostile")]
        {
            let crate_dir = root().join(crate_dir);
            let path = build(&crate_dir, out.path()).unwrap();
            assert_eq!(path, out.path().join(format!("{name}.wasm")));
            let component = std::fs::read(&path).unwrap();

            let DecodedWasm::Component(resolve, world) = wit_component::decode(&component).unwrap() else {
                panic!("not a component")
            };
            let world = &resolve.worlds[world];
            assert_eq!(world.imports.len(), 0);
            let exports: Vec<_> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
            assert_eq!(exports, ["tidegate:connector/connector@0.1.0"]);

            let (id, body) = *sections(&component).last().unwrap();
            let toml = body.strip_prefix(b"\x11tidegate:manifest").expect("the last section is the manifest");
            assert_eq!(id, 0);
            assert_eq!(toml, std::fs::read(crate_dir.join("connector.toml")).unwrap());
            assert_eq!(Manifest::parse(toml).unwrap().name, name);
        }
        let left: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "only the finished files: {left:?}");
    }

    #[test]
    fn a_folder_that_is_no_connector_is_refused_with_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let error = build(folder, folder).unwrap_err();
        assert!(matches!(&error, BuildError::File(path, _) if path.ends_with("connector.toml")), "{error}");
        std::fs::write(
            folder.join("connector.toml"),
            "name = \"Not A Name\"\nversion = \"1\"\ncontract = \"0.1.0\"\n",
        )
        .unwrap();
        let error = build(folder, folder).unwrap_err();
        assert!(matches!(&error, BuildError::Manifest(..)), "{error}");
        std::fs::write(
            folder.join("connector.toml"),
            "name = \"none\"\nversion = \"1\"\ncontract = \"0.1.0\"\n",
        )
        .unwrap();
        let error = build(folder, folder).unwrap_err();
        assert!(error.to_string().contains("needs a Cargo.toml"), "{error}");
    }

    #[test]
    fn a_missing_target_gets_a_sentence_that_says_what_to_do() {
        let sentence = BuildError::NoTarget("rustup is not installed".to_owned()).to_string();
        assert!(sentence.contains("run `rustup target add wasm32-unknown-unknown`"), "{sentence}");
    }

    #[test]
    fn long_sections_have_lengths_of_several_bytes() {
        let mut component = b"\0asm\x0d\0\x01\0".to_vec();
        append_section(&mut component, "n", &[7; 300]);
        let sections = sections(&component);
        assert_eq!(sections.len(), 1);
        assert_eq!(sections[0].1.len(), 302);
        assert_eq!(&sections[0].1[..2], b"\x01n");
    }
}
