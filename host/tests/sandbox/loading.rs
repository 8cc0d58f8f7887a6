//! What does not load, and the sentence that says what to do about it.

use crate::guest::{component, config};
use host::model::BadManifest;
use host::sandbox::{Limits, LoadError, Sandbox, inspect};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding};

const MANIFEST: &str = "name = \\22x\\22\\0aversion = \\221\\22\\0acontract = \\220.1.0\\22\\0a";

/// A component of these fields that carries a manifest.
fn with_manifest(fields: &str) -> Vec<u8> {
    wat::parse_str(format!(r#"(component (@custom "tidegate:manifest" "{MANIFEST}") {fields})"#)).unwrap()
}

/// Loading and `inspect` say the same.
async fn refusal(component: &[u8]) -> LoadError {
    let sandbox = Sandbox::new(config(Limits::default())).unwrap();
    let error = sandbox.load(component).await.map(drop).unwrap_err();
    assert_eq!(inspect(component).refusal, Some(error.to_string()));
    error
}

async fn check(component: &[u8], expected: LoadError, advice: &str) {
    let error = refusal(component).await;
    assert_eq!(error, expected);
    assert!(error.to_string().contains(advice), "{error}");
}

/// The functions of the contract in a version, as a component; `start` runs when it is instantiated.
fn speaking(minor: u64, start: &str) -> Vec<u8> {
    let DecodedWasm::Component(mut resolve, world) = wit_component::decode(component()).unwrap() else {
        panic!("the guest is a component")
    };
    for (_, package) in resolve.packages.iter_mut() {
        if let Some(version) = package.name.version.as_mut() {
            version.minor = minor;
        }
    }
    let function = |name: &str| {
        let export = format!("tidegate:connector/connector@0.{minor}.0#{name}");
        format!(r#"(func (export "{export}") (param i32) (result i32) unreachable)"#)
    };
    let functions = ["session", "accounts", "read"].map(function).concat();
    let mut module = wat::parse_str(format!(
        r#"(module (memory (export "memory") 1) {functions}
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func $start {start}) (start $start))"#
    ))
    .unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let mut component = ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap();
    // A component's fields are a list: the manifest's section of another one fits at the end.
    component.extend_from_slice(&with_manifest("")[8..]);
    component
}

#[tokio::test]
async fn the_guest_itself_loads_and_is_described() {
    let sandbox = Sandbox::new(config(Limits::default())).unwrap();
    let connector = sandbox.load(component()).await.unwrap();
    let inspection = inspect(component());
    assert_eq!((connector.label().as_str(), connector.digest().len()), ("hostile 0.1.0", 64));
    assert_eq!(inspection.digest, connector.digest());
    assert_eq!(inspection.refusal, None);
    assert_eq!(inspection.exports, ["tidegate:connector/connector@0.1.0"]);
    assert!(inspection.imports.is_empty());
    assert_eq!(inspection.manifest.as_ref(), Some(connector.manifest()));
    assert!(inspection.limits.contains(&("linear memory", "64 MiB".to_owned())));
    assert_eq!(
        sandbox.load(&speaking(1, "")).await.map(drop),
        Ok(()),
        "what the refused are made like loads"
    );
}

#[tokio::test]
async fn what_is_no_component_is_refused() {
    let build = "build it with `tidegate connector build`";
    for bytes in [&b""[..], b"name = \"x\"", b"\x7fELF", b"\0asm"] {
        check(bytes, LoadError::NotAComponent("no component header".into()), build).await;
    }
    let module = wat::parse_str("(module)").unwrap();
    check(&module, LoadError::NotAComponent("it is a core module".into()), build).await;
    let cut = component().len() / 2;
    let error = refusal(&component()[..cut]).await;
    assert!(matches!(error, LoadError::NotAComponent(_)), "{error:?}");
}

#[tokio::test]
async fn a_component_without_its_own_manifest_is_refused() {
    let nested = format!(r#"(component (component (@custom "tidegate:manifest" "{MANIFEST}")))"#);
    for text in ["(component)", nested.as_str()] {
        let component = wat::parse_str(text).unwrap();
        check(&component, LoadError::NoManifest, "`tidegate connector build`, which embeds the file").await;
    }
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_refused_with_the_line() {
    let text = format!(r#"(component (@custom "tidegate:manifest" "{MANIFEST}colour = 1\0a"))"#);
    let error = refusal(&wat::parse_str(text).unwrap()).await;
    let LoadError::Manifest(BadManifest::Syntax(why)) = &error else { panic!("{error:?}") };
    assert!(why.contains("unknown field `colour`") && why.contains("line 4"), "{why}");
    assert!(error.to_string().starts_with("connector.toml could not be read: "), "{error}");
}

#[tokio::test]
async fn a_component_of_another_contract_is_refused_with_the_version_it_needs() {
    let other = |found: &str| LoadError::Contract { found: found.into() };
    let advice = "tidegate:connector/connector@0.1.0: build it against that version";
    check(&speaking(2, ""), other("tidegate:connector/connector@0.2.0"), advice).await;
    check(&with_manifest(""), other("nothing"), advice).await;
    let something = r#"(instance $it) (export "other:thing/it@0.1.0" (instance $it))"#;
    check(&with_manifest(something), other("other:thing/it@0.1.0"), advice).await;
    // The right name alone is not enough.
    let hollow = r#"(instance $it) (export "tidegate:connector/connector@0.1.0" (instance $it))"#;
    let error = refusal(&with_manifest(hollow)).await;
    assert!(matches!(&error, LoadError::Instantiate(why) if why.contains("session")), "{error}");
}

#[tokio::test]
async fn a_manifest_that_says_another_contract_is_refused_with_the_line_to_write() {
    let mut component = speaking(1, "");
    let (said, other) = (b"contract = \"0.1.0\"", b"contract = \"0.2.0\"");
    let at = component.windows(said.len()).position(|window| window == said).unwrap();
    component[at..at + said.len()].copy_from_slice(other);
    check(&component, LoadError::ManifestContract("0.2.0".into()), "write contract = \"0.1.0\"").await;
    let shown = inspect(&component).manifest.unwrap();
    assert_eq!(shown.contract, "0.2.0", "what is wrong is shown");
}

#[tokio::test]
async fn a_component_with_an_import_is_refused_with_its_name() {
    let wants = r#"(import "wasi:cli/environment@0.2.0" (instance))
                   (import "wasi:clocks/wall-clock@0.2.0" (instance))"#;
    let named = "wasi:cli/environment@0.2.0, wasi:clocks/wall-clock@0.2.0";
    let advice = "build for wasm32-unknown-unknown and remove what needs the system";
    check(&with_manifest(wants), LoadError::Imports(named.into()), advice).await;
}

#[tokio::test]
async fn a_component_that_is_too_large_is_refused() {
    let limit = Limits::default().component_bytes;
    let large = vec![0; limit + 1];
    check(&large, LoadError::TooLarge(limit + 1, limit), "strip debug information or split the connector")
        .await;
    let small = Sandbox::new(config(Limits { component_bytes: 100, ..Limits::default() })).unwrap();
    let error = small.load(component()).await.map(drop).unwrap_err();
    assert_eq!(error, LoadError::TooLarge(component().len(), 100));
}

#[tokio::test]
async fn a_component_that_does_harm_when_it_is_instantiated_is_refused() {
    for (start, trap) in
        [("(loop br 0)", "interrupt"), ("unreachable", "unreachable"), ("call $start", "stack")]
    {
        let error = refusal(&speaking(1, start)).await;
        assert!(matches!(&error, LoadError::Instantiate(why) if why.contains(trap)), "{start}: {error}");
    }
    let greedy = r#"(drop (memory.grow (i32.const 2000)))"#;
    let sandbox = Sandbox::new(config(Limits::default())).unwrap();
    // To want too much memory is not yet to have it: the guest is told no, and may go on.
    assert_eq!(sandbox.load(&speaking(1, greedy)).await.map(drop), Ok(()));
}

#[tokio::test]
async fn code_that_is_not_valid_is_refused() {
    let mut broken = speaking(1, "(drop (i32.const 5))");
    // `i32.const 5, drop, end` becomes `drop, drop, drop, end`: nothing is there to drop.
    let at = broken.windows(4).position(|window| window == [0x41, 5, 0x1a, 0x0b]).unwrap();
    broken[at..at + 3].copy_from_slice(&[0x1a; 3]);
    let error = refusal_starts(&broken).await;
    assert!(error.contains("could not be compiled"), "{error}");
}

/// The child's own words come with its exit status: `inspect`, without a child, has only the words.
async fn refusal_starts(component: &[u8]) -> String {
    let sandbox = Sandbox::new(config(Limits::default())).unwrap();
    let error = sandbox.load(component).await.map(drop).unwrap_err();
    assert!(matches!(error, LoadError::Compile(_)), "{error:?}");
    assert!(inspect(component).refusal.unwrap().starts_with("the component could not be compiled: "));
    error.to_string()
}
