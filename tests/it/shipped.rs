//! What is shipped fits together: profiles, connectors, and what the two say of each other.

use host::model::{Institution, Manifest, resolve_routes};
use std::collections::BTreeSet;
use tests::world::root;

fn files(folder: &str) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> =
        std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn every_profile_has_its_connector_and_every_route_an_address() {
    let mut used = BTreeSet::new();
    for path in files("institutions") {
        let id = path.file_stem().unwrap().to_str().unwrap();
        let profile = Institution::parse(id, &std::fs::read_to_string(&path).unwrap()).unwrap();
        let manifest = root().join("connectors").join(&profile.connector).join("connector.toml");
        let manifest =
            std::fs::read(&manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
        let manifest = Manifest::parse(&manifest).unwrap();
        let routes = resolve_routes(&manifest, &profile).unwrap();
        assert!(!routes.is_empty(), "{id}");
        for name in &profile.allow_post {
            assert!(
                routes.iter().any(|route| route.name == *name),
                "{id}: allow-post names no route \"{name}\""
            );
        }
        used.insert(profile.connector);
    }
    for path in files("connectors") {
        let Ok(manifest) = std::fs::read(path.join("connector.toml")) else { continue }; // the SDK
        let manifest = Manifest::parse(&manifest).unwrap();
        assert!(used.contains(&manifest.name), "no profile shows how {} is used", manifest.name);
        for needed in ["README.md", "fixtures", "src/lib.rs"] {
            assert!(path.join(needed).exists(), "{} has no {needed}", manifest.name);
        }
    }
}
