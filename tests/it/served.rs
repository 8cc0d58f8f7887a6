//! The real `tidegate serve` as a process of its own, with all that it logs in a file.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use tests::http::Api;
use tests::world::{World, program};

/// A running service; killed when dropped.
pub struct Served {
    child: Child,
    out: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Served {
    /// Serves the world's database in place of its own service, which is stopped; the world's API leads
    /// here from now on. Logs everything there is to log, after what is in the file already.
    pub async fn start(world: &mut World) -> Self {
        world.stop().await.unwrap();
        let log = world.folder().join("log.json");
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut child = Command::new(program().unwrap())
            .args(["serve", "--config"])
            .arg(&world.config)
            .env("TIDEGATE_LOG_FORMAT", "json")
            .env("TIDEGATE_LOG_FILTER", "trace")
            .env("TIDEGATE_METRICS_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let origin = line.trim().strip_prefix("tidegate listens on ").unwrap().to_owned();
        world.api = Api::new(origin.clone(), world.api.key()).unwrap();
        world.origin = origin;
        Self { child, out, log }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// What monitoring reads.
    pub async fn metrics(&self) -> String {
        let log = self.log();
        let line = log.lines().rev().find(|line| line.contains("metrics are served")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let url = format!("http://{}/metrics", line["address"].as_str().unwrap());
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(
            answer.headers()["content-type"],
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        answer.error_for_status().unwrap().text().await.unwrap()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it as an operator would, and waits until it has drained; what it logged.
    pub fn end(mut self) -> String {
        let stopped = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "a signal ends it well");
        self.log()
    }
}
