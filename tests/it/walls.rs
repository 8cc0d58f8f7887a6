//! The walls of the house: who may know whom, read from the sources themselves.
//!
//! Every sentence here stands in ARCHITECTURE.md too. Comments, texts and `#[cfg(test)]` items are
//! passed over; what counts is the names that the service's own code uses.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each module of `host/src` and the ones it may name, or the one room of them. `app` is named from above by those who get the
/// built `App` passed in.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("ledger", &["model"]),
    ("clock", &["model"]),
    ("nudge", &["model"]),
    ("crew", &["model", "clock"]),
    ("vault", &["model"]),
    ("egress", &["model", "clock"]),
    ("config", &["model", "egress"]),
    ("telemetry", &["model", "config", "egress"]),
    ("sandbox", &["model"]),
    ("store", &["model", "clock", "nudge", "vault", "ledger"]),
    ("webhook", &["model", "clock", "vault", "egress", "nudge", "store", "app"]),
    ("sync", &["model", "clock", "egress", "vault", "ledger", "nudge", "sandbox", "store", "webhook", "app"]),
    // `api` never runs a sync, it asks for one and waits: of `sync` it knows only the schedule.
    ("api", &["model", "clock", "vault", "egress", "nudge", "store", "webhook", "sync::schedule", "app"]),
    (
        "app",
        &[
            "model",
            "clock",
            "nudge",
            "crew",
            "config",
            "telemetry",
            "vault",
            "egress",
            "sandbox",
            "store",
            "sync",
            "webhook",
            "api",
        ],
    ),
    ("cli", &["model", "clock", "config", "telemetry", "vault", "sandbox", "store", "api", "app"]),
];

/// A sentence of absence: these names stand nowhere but in these modules.
struct Only {
    sentence: &'static str,
    modules: &'static [&'static str],
    /// Sequences of tokens, as `std :: fs`.
    names: &'static [&'static str],
}

const ONLY: &[Only] = &[
    Only { sentence: "only `sandbox` names wasmtime", modules: &["sandbox"], names: &["wasmtime"] },
    Only { sentence: "only `store` names sqlx", modules: &["store"], names: &["sqlx"] },
    Only {
        sentence: "only `api` names axum",
        modules: &["api"],
        names: &["axum", "tower_http", "utoipa", "askama"],
    },
    Only {
        sentence: "every connection out of the process goes through `egress`",
        modules: &["egress"],
        names: &["reqwest", "TcpStream", "UdpSocket"],
    },
    Only {
        sentence: "only `telemetry` names opentelemetry, but for its client in `egress`",
        modules: &["telemetry", "egress"],
        names: &[
            "opentelemetry",
            "opentelemetry_sdk",
            "opentelemetry_otlp",
            "opentelemetry_http",
            "tracing_opentelemetry",
        ],
    },
    Only {
        sentence: "only `config` reads the environment",
        modules: &["config"],
        names: &["env :: var", "env :: var_os", "env :: vars", "env :: vars_os"],
    },
    Only {
        sentence: "only `clock` reads the time of day",
        modules: &["clock"],
        names: &["Utc :: now", "Local :: now", "SystemTime :: now"],
    },
];

/// Names that must not stand in a module.
struct Never {
    sentence: &'static str,
    modules: &'static [&'static str],
    names: &'static [&'static str],
}

const NEVER: &[Never] = &[Never {
    sentence: "`ledger` and `model` do no I/O, do not wait, and take the time as an argument",
    modules: &["ledger", "model"],
    names: &[
        "async",
        "await",
        "tokio",
        "std :: fs",
        "std :: process",
        "std :: thread",
        "std :: env",
        "Instant :: now",
        "SystemTime",
        "Utc :: now",
        "TcpListener",
    ],
}];

/// A source file of the service, as its tokens.
struct Source {
    path: PathBuf,
    module: String,
    text: String,
    tokens: Vec<Token>,
}

struct Token {
    text: String,
    line: usize,
}

#[test]
fn the_service_keeps_its_walls() {
    let sources = sources(&root().join("host/src"));
    let mut broken = Vec::new();
    for source in &sources {
        broken.extend(broken_arrows(source));
        for Only { sentence, modules, names } in ONLY {
            if !modules.contains(&source.module.as_str()) {
                broken.extend(found(source, names, sentence));
            }
        }
        for Never { sentence, modules, names } in NEVER {
            if modules.contains(&source.module.as_str()) {
                broken.extend(found(source, names, sentence));
            }
        }
    }
    assert!(broken.is_empty(), "walls are broken:\n{}", broken.join("\n"));
}

#[test]
fn every_module_has_its_row_in_the_table_of_arrows() {
    let modules: BTreeSet<_> =
        sources(&root().join("host/src")).into_iter().map(|source| source.module).collect();
    let rows: BTreeSet<_> = ARROWS.iter().map(|(module, _)| (*module).to_owned()).collect();
    let doors = BTreeSet::from(["lib".to_owned(), "main".to_owned()]);
    assert_eq!(modules.difference(&doors).cloned().collect::<BTreeSet<_>>(), rows);
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    for folder in ["host", "connectors", "tests"] {
        for source in sources(&root().join(folder)) {
            assert!(
                source.text.starts_with("//! "),
                "{} must open with `//! …`: what it is for",
                source.path.display()
            );
        }
    }
}

#[test]
fn nothing_is_left_to_do() {
    let mut left = Vec::new();
    for folder in ["host", "connectors", "tests"] {
        for source in sources(&root().join(folder)) {
            let names = ["todo !", "unimplemented !", "# [ ignore"];
            // Tests count here too: an ignored test is work left.
            let whole = Source { tokens: tokens(&source.text), ..source };
            left.extend(found(&whole, &names, "nothing is left to do, and no test is ignored"));
        }
    }
    assert!(left.is_empty(), "{}", left.join("\n"));
}

#[test]
fn the_reader_sees_names_and_passes_over_comments_texts_and_tests() {
    let text = r##"
        // use crate::app; /* and */ "text"
        /* crate::app /* nested */ crate::app */
        use crate::{model::{self, Id}, clock::Clock};
        const A: &str = "crate::app \" crate::app"; const B: &str = r#"crate::app "quoted""#;
        const C: char = '"'; fn f<'a>(x: &'a str) -> u8 { b'\'' }
        #[cfg(test)]
        #[allow(x)]
        mod tests { use crate::app; fn g() { if true { crate::app::x() } } }
        #[cfg(test)] use crate::app;
        fn h() { crate::vault::x(); std :: env::var("A"); }
    "##;
    let source = source_of("clock", text);
    let named: Vec<_> = named_paths(&source).into_iter().map(|(module, _)| module).collect();
    assert_eq!(named, ["model", "clock::Clock", "vault::x"]);
    assert_eq!(broken_arrows(&source).len(), 1);
    assert_eq!(found(&source, &["std :: env", "env :: var"], "x").len(), 2);
    assert!(found(&source, &["env :: vars", "text", "quoted", "app"], "x").is_empty());
}

// ---- the rules

fn broken_arrows(source: &Source) -> Vec<String> {
    let Some((_, may)) = ARROWS.iter().find(|(module, _)| *module == source.module) else {
        return Vec::new();
    };
    let named = named_paths(source).into_iter();
    let wrong = named.filter(|(path, _)| {
        let module = path.split("::").next().unwrap_or_default();
        module != source.module && !may.contains(&module) && !may.contains(&path.as_str())
    });
    wrong
        .map(|(path, line)| {
            format!(
                "{}:{line}: `{}` names `crate::{path}`, but may know only {may:?}; pass in what it needs, or move the code",
                source.path.display(),
                source.module
            )
        })
        .collect()
}

fn found(source: &Source, names: &[&str], sentence: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in names {
        let wanted: Vec<_> = name.split(' ').collect();
        for window in source.tokens.windows(wanted.len()) {
            if window.iter().zip(&wanted).all(|(token, wanted)| token.text == *wanted) {
                let line = window.first().map_or(0, |token| token.line);
                found.push(format!("{}:{line}: {sentence}; here stands `{name}`", source.path.display()));
            }
        }
    }
    found
}

/// What a file names of this crate, two steps deep: `crate::x`, `crate::x::y`, `crate::{x::y, z}`.
fn named_paths(source: &Source) -> Vec<(String, usize)> {
    let token = |at: usize| source.tokens.get(at).map_or("", |token| token.text.as_str());
    let path = |at: usize| match (token(at + 1), token(at + 2)) {
        ("::", inner) if is_name(inner) => format!("{}::{inner}", token(at)),
        _ => token(at).to_owned(),
    };
    let mut named = Vec::new();
    for (at, first) in source.tokens.iter().enumerate() {
        if first.text != "crate" || token(at + 1) != "::" {
            continue;
        }
        if token(at + 2) != "{" {
            named.push((path(at + 2), first.line));
            continue;
        }
        let mut depth = 0;
        for (inside, inner) in source.tokens.iter().enumerate().skip(at + 2) {
            match inner.text.as_str() {
                "{" => depth += 1,
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                // Directly inside, a name after the brace or a comma; deeper names belong to it.
                name if depth == 1 && is_name(name) && ["{", ","].contains(&token(inside - 1)) => {
                    named.push((path(inside), inner.line));
                }
                _ => {}
            }
        }
    }
    named
}

fn is_name(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

// ---- reading

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// All `.rs` files below a folder, but for build output and files that hold only tests.
fn sources(folder: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(here) = folders.pop() {
        for entry in std::fs::read_dir(&here).unwrap_or_else(|error| panic!("{}: {error}", here.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let inside = path.strip_prefix(root().join("host/src")).unwrap_or(&path);
                let module =
                    inside.components().next().map(|first| first.as_os_str().to_string_lossy().into_owned());
                let module = module.unwrap_or_default().trim_end_matches(".rs").to_owned();
                sources.push(Source { tokens: without_tests(tokens(&text)), module, path, text });
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    let tests: BTreeSet<_> = sources.iter().flat_map(test_files).collect();
    sources.retain(|source| !tests.contains(&source.path));
    assert!(!sources.is_empty(), "no sources below {}", folder.display());
    sources
}

fn source_of(module: &str, text: &str) -> Source {
    let tokens = without_tests(tokens(text));
    Source { path: PathBuf::from("x.rs"), module: module.to_owned(), text: text.to_owned(), tokens }
}

/// Where `#[cfg(test)] mod x;` puts its file.
fn test_files(source: &Source) -> Vec<PathBuf> {
    let words: Vec<_> = tokens(&source.text).into_iter().map(|token| token.text).collect();
    let folder = source.path.parent().unwrap_or(Path::new(""));
    let stem = source.path.file_stem().unwrap_or_default();
    let inside = if ["mod", "lib", "main"].iter().any(|name| stem == *name) {
        folder.to_owned()
    } else {
        folder.join(stem)
    };
    let declared = words.windows(10).filter(|window| {
        window.starts_with(&["#", "[", "cfg", "(", "test", ")", "]", "mod"].map(String::from))
            && window.last().is_some_and(|end| end == ";")
    });
    let names = declared.filter_map(|window| window.get(8).cloned());
    names.flat_map(|name| [inside.join(format!("{name}.rs")), inside.join(name).join("mod.rs")]).collect()
}

/// Drops each item that stands under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    let mut window: Vec<Token> = Vec::new();
    while let Some(token) = rest.next() {
        window.push(token);
        let wanted = MARK.iter().take(window.len());
        if !window.iter().zip(wanted).all(|(token, wanted)| token.text == *wanted) {
            kept.append(&mut window);
        } else if window.len() == MARK.len() {
            window.clear();
            let mut depth = 0;
            for token in rest.by_ref() {
                match token.text.as_str() {
                    "{" | "[" | "(" => depth += 1,
                    "}" | "]" | ")" => depth -= 1,
                    _ => {}
                }
                if depth == 0 && ["}", ";"].contains(&token.text.as_str()) {
                    break;
                }
            }
        }
    }
    kept.append(&mut window);
    kept
}

/// Names, numbers, `::` and single signs; comments, texts and characters are dropped.
fn tokens(text: &str) -> Vec<Token> {
    let mut rest = text;
    let mut line = 1;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = quoted(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        let dropped = token.starts_with("//")
            || token.starts_with("/*")
            || token.ends_with(['"', '#', '\'']) && length > 1;
        if !dropped && !first.is_whitespace() {
            tokens.push(Token { text: token.to_owned(), line });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at.min(text.len())
}

/// The length of the text or character that starts here, quotes included; none if none does.
fn quoted(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            rest.starts_with('"')
                || prefix.ends_with('r')
                    && rest.trim_start_matches('#').starts_with('"')
                    && rest.starts_with('#')
        })
    });
    if let Some(prefix) = prefix {
        let rest = text.get(prefix.len()..)?;
        if prefix.ends_with('r') {
            let hashes = rest.len() - rest.trim_start_matches('#').len();
            let end = format!("\"{}", "#".repeat(hashes));
            let body = rest.get(hashes + 1..)?;
            return Some(prefix.len() + hashes + 1 + body.find(&end)? + end.len());
        }
        return Some(prefix.len() + 1 + escaped(rest.get(1..)?, '"')?);
    }
    let quote = text.strip_prefix('b').unwrap_or(text);
    let body = quote.strip_prefix('\'')?;
    let mut letters = body.chars();
    let first = letters.next()?;
    // `'a'` is a character, `'a` a lifetime.
    (first == '\\' || letters.next() == Some('\''))
        .then(|| escaped(body, '\'').map(|length| text.len() - body.len() + length))?
}

/// The length up to and with the closing quote.
fn escaped(body: &str, close: char) -> Option<usize> {
    let mut letters = body.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter == close {
            return Some(at + letter.len_utf8());
        }
    }
    None
}
