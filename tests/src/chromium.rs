//! A real browser: headless Chromium, with scripts switched off in its pages.
//!
//! It is spoken to in the DevTools protocol over its own pipe (`--remote-debugging-pipe`, messages of JSON that
//! end with a zero byte): that needs no crate, no port and no driver of a matching version, and the browser
//! ends with this process. Clicks and letters go in as a hand's would. Must not know: which pages.

use crate::{LOOK_EVERY, PATIENCE};
use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Set to `1`, a missing Chromium (or npm, for axe) is a failure instead of a skip.
pub const REQUIRE_VARIABLE: &str = "TIDEGATE_TESTS_REQUIRE_CHROMIUM";
/// Debian's name, and everybody else's.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// The judge of what is accessible: <https://github.com/dequelabs/axe-core>, from npm.
const AXE: &str = "axe-core@4.14.1";
/// Gives the browser its two pipes: it reads from 3 and writes to 4.
const START: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"#;

/// One page of a browser of its own.
pub struct Chromium {
    _child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    last: u64,
    _profile: tempfile::TempDir,
}

/// Says loudly that something is missing; a failure where it is required.
fn missing(what: &str) -> anyhow::Result<()> {
    let required = std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| value == "1");
    ensure!(!required, "{what}; install it, or unset {REQUIRE_VARIABLE}");
    eprintln!("SKIPPED: {what}");
    Ok(())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

impl Chromium {
    /// An empty page. None, said loudly, if the machine has no Chromium.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        let Some(program) = PROGRAMS.into_iter().find_map(on_path) else {
            missing("this test needs Chromium (Debian: `apt install chromium`), and it is not on PATH")?;
            return Ok(None);
        };
        let profile = tempfile::tempdir()?;
        let mut child = Command::new("sh")
            .args(["-c", START])
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--disable-background-networking", "--no-first-run", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let to = child.stdin.take().context("no pipe to Chromium")?;
        let from = BufReader::new(child.stdout.take().context("no pipe from Chromium")?);
        let mut page = Self { _child: child, to, from, session: None, last: 0, _profile: profile };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = page.call("Target.attachToTarget", attach).await?;
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        page.scripts(false).await?;
        Ok(Some(page))
    }

    /// One command of the protocol, and its result.
    pub async fn call(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        let asked = async {
            self.last += 1;
            let mut message = json!({ "id": self.last, "method": method, "params": params });
            if let Some(session) = &self.session {
                message["sessionId"] = json!(session);
            }
            let mut bytes = message.to_string().into_bytes();
            bytes.push(0);
            self.to.write_all(&bytes).await?;
            self.to.flush().await?;
            loop {
                let mut said = Vec::new();
                self.from.read_until(0, &mut said).await?;
                ensure!(said.pop() == Some(0), "Chromium ended");
                let said: Value = serde_json::from_slice(&said)?;
                match said.get("error") {
                    _ if said["id"] != self.last => {} // an event, or the answer to a call that was given up
                    Some(error) => bail!("{method}: {}", error["message"]),
                    None => return Ok(said["result"].clone()),
                }
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.with_context(|| format!("{method} was not answered"))?
    }

    /// May the pages run scripts of their own?
    async fn scripts(&mut self, allowed: bool) -> anyhow::Result<()> {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !allowed })).await.map(drop)
    }

    /// The value of an expression, asked from outside the page's own world of scripts.
    pub async fn ask(&mut self, expression: &str) -> anyhow::Result<Value> {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let said = self.call("Runtime.evaluate", params).await?;
        let what: String = expression.chars().take(200).collect();
        ensure!(said.get("exceptionDetails").is_none(), "{what}: {}", said["exceptionDetails"]);
        Ok(said["result"]["value"].clone())
    }

    /// Waits until an expression is true. Pages may come and go meanwhile.
    pub async fn until(&mut self, what: &str, expression: &str) -> anyhow::Result<()> {
        let mut again = tokio::time::interval(LOOK_EVERY);
        let looking = async {
            loop {
                again.tick().await;
                if self.ask(expression).await.is_ok_and(|value| value == true) {
                    return;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, looking).await.is_ok() {
            return Ok(());
        }
        let shown = self.ask("document.body ? document.body.innerText : ''").await.unwrap_or_default();
        bail!("waited in vain for {what}; the page says: {shown}")
    }

    /// Goes to an address, as one types it.
    pub async fn go(&mut self, url: &str) -> anyhow::Result<()> {
        let gone = self.call("Page.navigate", json!({ "url": url })).await?;
        ensure!(gone.get("errorText").is_none(), "{url}: {}", gone["errorText"]);
        self.until("the page", "document.readyState === 'complete'").await
    }

    /// Waits for the page with this heading.
    pub async fn see(&mut self, heading: &str) -> anyhow::Result<()> {
        let expression = format!(
            "document.readyState === 'complete' && document.querySelectorAll('h1').length === 1 \
             && document.querySelector('h1').innerText === {}",
            json!(heading)
        );
        self.until(&format!("the page \"{heading}\""), &expression).await
    }

    /// Clicks on the middle of the first element of this selector.
    pub async fn click(&mut self, selector: &str) -> anyhow::Result<()> {
        self.click_on(&format!("document.querySelector({})", json!(selector)), selector).await
    }

    async fn click_on(&mut self, element: &str, what: &str) -> anyhow::Result<()> {
        let middle = format!(
            "(() => {{ const found = {element}; if (!found) return null; found.scrollIntoView({{ block: 'center' }}); \
             const box = found.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let at = self.ask(&middle).await?;
        ensure!(at.is_array(), "there is nothing to click on: {what}");
        for kind in ["mousePressed", "mouseReleased"] {
            let press = json!({ "type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", press).await?;
        }
        Ok(())
    }

    /// Clicks on a label, which puts the cursor into its field, and types.
    pub async fn type_into(&mut self, label: &str, text: &str) -> anyhow::Result<()> {
        let found = format!(
            "[...document.querySelectorAll('label')].find(label => label.innerText === {})",
            json!(label)
        );
        self.click_on(&found, label).await?;
        let bound = self.ask(&format!("document.activeElement.id === ({found}).htmlFor")).await?;
        ensure!(bound == true, "the label \"{label}\" does not lead into its field");
        self.call("Input.insertText", json!({ "text": text })).await.map(drop)
    }

    /// What can be read.
    pub async fn text(&mut self) -> anyhow::Result<String> {
        Ok(self.ask("document.body.innerText").await?.as_str().unwrap_or_default().to_owned())
    }

    /// As wide as this many CSS pixels; letters so large, in percent.
    pub async fn resize(&mut self, width: u32, letters: u32) -> anyhow::Result<()> {
        let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await?;
        let letters = format!("document.documentElement.style.fontSize = '{letters}%'; true");
        self.ask(&letters).await.map(drop)
    }

    /// A picture of the whole page.
    pub async fn picture(&mut self, file: &Path) -> anyhow::Result<()> {
        let asked = json!({ "format": "png", "captureBeyondViewport": true });
        let taken = self.call("Page.captureScreenshot", asked).await?;
        Ok(std::fs::write(file, BASE64.decode(taken["data"].as_str().unwrap_or_default())?)?)
    }

    /// What axe finds wrong with the page as it stands, a line each; `but` names rules that are not asked.
    pub async fn axe(&mut self, source: &str, but: &[&str]) -> anyhow::Result<Vec<String>> {
        // The judge is itself a script; the page under it has none.
        self.scripts(true).await?;
        self.ask(&format!("{source}; true")).await?;
        let rules: serde_json::Map<_, _> =
            but.iter().map(|rule| ((*rule).to_owned(), json!({ "enabled": false }))).collect();
        let run = format!(
            "axe.run(document, {{ preload: false, resultTypes: ['violations'], rules: {} }}).then(found => \
             found.violations.map(one => one.id + ': ' + one.help + ' ' + one.nodes.map(node => node.html).join(' ')))",
            json!(rules)
        );
        let found = self.ask(&run).await;
        self.scripts(false).await?;
        Ok(serde_json::from_value(found?)?)
    }
}

/// The source of axe, fetched by npm into a folder below this one, once. None, said loudly, where npm is
/// missing or reaches nobody.
pub async fn axe(folder: &Path) -> anyhow::Result<Option<String>> {
    let folder = folder.join(AXE);
    let file = folder.join("node_modules/axe-core/axe.min.js");
    if !file.is_file() {
        std::fs::create_dir_all(&folder)?;
        let installed = Command::new("npm")
            .args(["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .arg(&folder)
            .arg(AXE)
            .stdin(Stdio::null())
            .output()
            .await;
        if !installed.is_ok_and(|output| output.status.success()) {
            missing("this test needs axe-core from npm, and npm is not on PATH or reaches nobody")?;
            return Ok(None);
        }
    }
    Ok(Some(std::fs::read_to_string(file)?))
}
