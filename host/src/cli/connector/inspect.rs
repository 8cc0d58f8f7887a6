//! `tidegate connector inspect`: everything the host knows of a component without running it.

use crate::model::{CONTRACT_VERSION, Manifest, ValueDeclaration, ValueUse};
use crate::sandbox::Inspection;
use std::fmt::Write;

/// One line a fact.
pub(super) fn describe(inspection: &Inspection) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = write_all(&mut text, inspection);
    text
}

fn write_all(into: &mut String, inspection: &Inspection) -> std::fmt::Result {
    match &inspection.manifest {
        Some(manifest) => {
            writeln!(into, "connector  {} {}", manifest.name, manifest.version)?;
            if !manifest.description.is_empty() {
                writeln!(into, "           {}", manifest.description)?;
            }
            writeln!(into, "contract   {} (this host speaks {CONTRACT_VERSION})", manifest.contract)?;
        }
        None => writeln!(into, "connector  no readable connector.toml inside")?,
    }
    writeln!(into, "digest     sha256:{}", inspection.digest)?;
    list(into, "exports", &inspection.exports)?;
    list(into, "imports", &inspection.imports)?;
    if let Some(manifest) = &inspection.manifest {
        list(into, "routes", &routes(manifest))?;
        list(into, "values", &manifest.values.iter().map(value).collect::<Vec<_>>())?;
    }
    let limits: Vec<_> = inspection.limits.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    list(into, "limits", &limits)?;
    match &inspection.refusal {
        None => writeln!(into, "would load"),
        Some(why) => writeln!(into, "would not load: {why}"),
    }
}

fn list(into: &mut String, title: &str, items: &[String]) -> std::fmt::Result {
    if items.is_empty() {
        return writeln!(into, "{title:<10} none");
    }
    writeln!(into, "{title}")?;
    items.iter().try_for_each(|item| writeln!(into, "  {item}"))
}

fn routes(manifest: &Manifest) -> Vec<String> {
    let routes = manifest.routes.iter().map(|route| {
        let said = |word: &str, names: Vec<&str>| match names.is_empty() {
            true => String::new(),
            false => format!(", {word} {}", names.join(" ")),
        };
        format!(
            "{}: {} {{{}}}{} ({}{}{}{})",
            route.name,
            route.method.name(),
            route.origin,
            route.path,
            route.purpose.name(),
            said("reply", route.reply.iter().map(String::as_str).collect()),
            said("marks", route.marks.keys().map(String::as_str).collect()),
            said("texts", route.texts.keys().map(String::as_str).collect()),
        )
    });
    routes.collect()
}

fn value(value: &ValueDeclaration) -> String {
    let kind = value.kind.name();
    let usage = match value.usage {
        ValueUse::Fill => "fill",
        ValueUse::Sign => "sign",
        ValueUse::Mac => "mac",
    };
    let mut text = format!("{}: {kind}, {usage}", value.name);
    for (word, holds) in [("public", value.public), ("optional", value.optional)] {
        if holds {
            text.push_str(", ");
            text.push_str(word);
        }
    }
    text.push_str(&format!(
        ", on {}",
        if value.routes.is_empty() { "no route".to_owned() } else { value.routes.join(" ") }
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        name = "demo"
        version = "1.2.3"
        contract = "0.1.0"
        [[route]]
        name = "token"
        method = "POST"
        origin = "auth"
        path = "/token"
        purpose = "login"
        reply = ["expires_in"]
        [[value]]
        name = "refresh-token"
        kind = "credential"
        use = "fill"
        routes = ["token"]
        optional = true
    "#;

    #[test]
    fn everything_that_is_known_of_a_component_is_said_once() {
        let inspection = Inspection {
            digest: "ab12".to_owned(),
            exports: vec!["tidegate:connector/connector@0.1.0".to_owned()],
            imports: vec![],
            manifest: Some(Manifest::parse(MANIFEST.as_bytes()).unwrap()),
            limits: vec![("memory", "64 MiB".to_owned())],
            refusal: None,
        };
        let expected = "connector  demo 1.2.3
contract   0.1.0 (this host speaks 0.1.0)
digest     sha256:ab12
exports
  tidegate:connector/connector@0.1.0
imports    none
routes
  token: POST {auth}/token (login, reply expires_in)
values
  refresh-token: credential, fill, optional, on token
limits
  memory: 64 MiB
would load
";
        assert_eq!(describe(&inspection), expected);
        let refused =
            Inspection { manifest: None, refusal: Some("it imports wasi".to_owned()), ..inspection };
        let text = describe(&refused);
        assert!(text.contains("no readable connector.toml"), "{text}");
        assert!(text.ends_with("would not load: it imports wasi\n"), "{text}");
    }
}
