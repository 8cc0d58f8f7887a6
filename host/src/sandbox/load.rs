//! From the bytes of a component to something that can be run, or a sentence that says why not.
//!
//! Compilation happens in a child process, so that a component that blows up the compiler harms
//! nothing. Compiled code is kept in a folder and authenticated: whoever can write there must not
//! be able to run native code here.

use super::engine::Meter;
use super::guest::Linked;
use super::limits::Limits;
use crate::model::{BadManifest, CONTRACT_VERSION, MANIFEST_SECTION, Manifest, hex};
use aws_lc_rs::{digest, hmac};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

/// How long the child may compile one component: embedded Python takes 12 s on a busy machine.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of an HMAC-SHA256 tag.
const TAG_BYTES: usize = 32;
/// The instance a connector exports, before `@`.
const EXPORT: &str = "tidegate:connector/connector";

/// Why a component does not load. Each sentence says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Larger than the limit.
    #[error(
        "the file has {0} bytes, more than the limit of {1}; strip debug information or split the connector"
    )]
    TooLarge(usize, usize),
    /// A core module, text, or something else.
    #[error("this is not a WebAssembly component ({0}); build it with `tidegate connector build`")]
    NotAComponent(String),
    /// No `connector.toml` inside.
    #[error(
        "the component carries no connector.toml; build it with `tidegate connector build`, which embeds the file"
    )]
    NoManifest,
    /// `connector.toml` is wrong.
    #[error(transparent)]
    Manifest(#[from] BadManifest),
    /// It wants something from outside.
    #[error(
        "a connector imports nothing, but this one imports {0}; build for wasm32-unknown-unknown and remove what needs the system"
    )]
    Imports(String),
    /// It speaks another version of the contract, or none.
    #[error(
        "the component exports {found}; this host speaks {EXPORT}@{CONTRACT_VERSION}: build it against that version"
    )]
    Contract {
        /// What it exports instead.
        found: String,
    },
    /// Its `connector.toml` says that it was built for another version than it speaks.
    #[error(
        "connector.toml says contract = \"{0}\", but the component speaks {CONTRACT_VERSION}, as this host does; write contract = \"{CONTRACT_VERSION}\" and build it again"
    )]
    ManifestContract(String),
    /// wasmtime refuses it.
    #[error("the component could not be compiled: {0}")]
    Compile(String),
    /// The types do not fit, or it cannot even start.
    #[error("the component could not be instantiated: {0}")]
    Instantiate(String),
    /// The cache folder or the compiler process failed.
    #[error("{0}")]
    System(String),
}

/// SHA-256 of a component, in hex: its name in the cache, tables and logs.
pub(super) fn digest_of(component: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, component).as_ref())
}

/// Reads what stands outside the code: is it a component, and what does its manifest say?
pub(super) fn read_manifest(component: &[u8], limits: &Limits) -> Result<Manifest, LoadError> {
    if component.len() > limits.component_bytes {
        return Err(LoadError::TooLarge(component.len(), limits.component_bytes));
    }
    if !wasmparser::Parser::is_component(component) {
        let what = if wasmparser::Parser::is_core_wasm(component) {
            "it is a core module"
        } else {
            "no component header"
        };
        return Err(LoadError::NotAComponent(what.into()));
    }
    let mut depth = 0_u32;
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        match payload.map_err(|error| LoadError::NotAComponent(error.to_string()))? {
            wasmparser::Payload::ModuleSection { .. } | wasmparser::Payload::ComponentSection { .. } => {
                depth += 1
            }
            wasmparser::Payload::End(_) => depth = depth.saturating_sub(1),
            wasmparser::Payload::CustomSection(section)
                if depth == 0 && section.name() == MANIFEST_SECTION =>
            {
                return Ok(Manifest::parse(section.data())?);
            }
            _ => {}
        }
    }
    Err(LoadError::NoManifest)
}

/// Names of what a component imports and exports.
pub(super) fn surface(engine: &Engine, component: &Component) -> (Vec<String>, Vec<String>) {
    let kind = component.component_type();
    (
        kind.imports(engine).map(|(name, _)| name.to_owned()).collect(),
        kind.exports(engine).map(|(name, _)| name.to_owned()).collect(),
    )
}

/// Checks the surface and what the manifest says of it, links, and instantiates once to probe: types
/// only meet at instantiation.
pub(super) fn link(
    engine: &Engine,
    component: &Component,
    manifest: &Manifest,
    limits: &Limits,
) -> Result<Linked, LoadError> {
    let (imports, exports) = surface(engine, component);
    if !imports.is_empty() {
        return Err(LoadError::Imports(imports.join(", ")));
    }
    let wanted = format!("{EXPORT}@{CONTRACT_VERSION}");
    if !exports.contains(&wanted) {
        let found = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
        return Err(LoadError::Contract { found });
    }
    if manifest.contract != CONTRACT_VERSION {
        return Err(LoadError::ManifestContract(manifest.contract.clone()));
    }
    let failed = |error: wasmtime::Error| LoadError::Instantiate(format!("{error:#}"));
    let pre = Linker::<Meter>::new(engine).instantiate_pre(component).map_err(failed)?;
    Linked::new(pre, component, &wanted, super::fresh_store(engine, limits)).map_err(failed)
}

/// Where compiled connectors are kept, and how they are made.
pub(super) struct CodeCache {
    pub(super) folder: PathBuf,
    pub(super) compiler: Vec<String>,
    pub(super) key: [u8; 32],
}

impl CodeCache {
    /// The compiled component, from the folder if what lies there is authentic, else compiled now.
    pub(super) async fn component(&self, engine: &Engine, wasm: &[u8]) -> Result<Component, LoadError> {
        let path = self.path(engine, wasm);
        if let Some(code) = self.read(&path) {
            return deserialize(engine, &code);
        }
        let code = self.compile(wasm).await?;
        let component = deserialize(engine, &code)?;
        if let Err(error) = self.write(&path, &code) {
            tracing::warn!(%error, path = %path.display(), "the compiled connector could not be kept; it will be compiled again");
        }
        Ok(component)
    }

    fn path(&self, engine: &Engine, wasm: &[u8]) -> PathBuf {
        // The hash covers wasmtime's full version and flags, so a patch release compiles anew.
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{}-{:016x}.cwasm", digest_of(wasm), hasher.finish()))
    }

    fn tag_key(&self, path: &Path) -> (hmac::Key, Vec<u8>) {
        let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
        (hmac::Key::new(hmac::HMAC_SHA256, &self.key), name)
    }

    /// The code, if its tag is right for these very bytes under this name.
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let mut bytes = std::fs::read(path).ok()?;
        let (key, mut signed) = self.tag_key(path);
        let code = bytes.split_off(TAG_BYTES.min(bytes.len()));
        signed.extend_from_slice(&code);
        if hmac::verify(&key, &signed, &bytes).is_err() {
            tracing::warn!(path = %path.display(), "a compiled connector was not written by this installation; compiling it again");
            return None;
        }
        Some(code)
    }

    fn write(&self, path: &Path, code: &[u8]) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let (key, mut signed) = self.tag_key(path);
        signed.extend_from_slice(code);
        let mut bytes = hmac::sign(&key, &signed).as_ref().to_vec();
        bytes.extend_from_slice(code);
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&temporary, bytes)?;
        std::fs::rename(temporary, path)
    }

    async fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
        let system = |what: String| LoadError::System(format!("compiling a connector: {what}"));
        let (program, arguments) =
            self.compiler.split_first().ok_or_else(|| system("no compiler is configured".into()))?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear() // the child needs no master key
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| system(format!("{program} did not start: {error}")))?;
        let mut input = child.stdin.take().ok_or_else(|| system("the child has no stdin".into()))?;
        let wasm = wasm.to_vec();
        // A child that dies early closes the pipe; its exit says more than the failed write.
        let feed = tokio::spawn(async move {
            let _ = input.write_all(&wasm).await;
        });
        let output = tokio::time::timeout(COMPILE_TIMEOUT, child.wait_with_output())
            .await
            .map_err(|_| LoadError::Compile(format!("it took more than {} s", COMPILE_TIMEOUT.as_secs())))?
            .map_err(|error| system(error.to_string()))?;
        feed.abort();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(LoadError::Compile(format!("{} ({})", said.trim(), output.status)));
        }
        Ok(output.stdout)
    }
}

#[allow(unsafe_code)]
fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component, LoadError> {
    // SAFETY: the bytes come from `Engine::precompile_component`, either just now from our own child
    // process over a pipe, or from a file whose HMAC over these very bytes was right; they are in our
    // memory and cannot change any more.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| LoadError::Compile(format!("{error:#}")))
}
