//! Processes of this machine, and what the kernel says of them (proc(5)).
//!
//! Must not know: what they do.

use anyhow::{Context, ensure};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// Units of time in `/proc/PID/stat` a second: `USER_HZ`, 100 on every common architecture.
const TICKS_PER_S: u64 = 100;

/// A process that is ours: it ends with this value.
pub struct Process {
    child: Child,
    _leash: Option<ChildStdin>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it, its output to the end of a file.
    pub fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = std::fs::File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Self { child, _leash: None })
    }

    /// Starts it, and gives the first line that it prints. It ends when its standard input does.
    pub fn start_and_hear(mut command: Command) -> anyhow::Result<(Self, String)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let leash = child.stdin.take();
        let mut out = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        // What comes after it is nobody's business, but must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Ok((Self { child, _leash: leash }, line.trim().to_owned()))
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has it ended?
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Sends it a signal: `TERM`, `STOP`, …
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status()?;
        ensure!(sent.success(), "no process {id} takes {signal}");
        Ok(())
    }

    /// Waits until it has ended, however that is.
    pub fn wait(mut self) -> anyhow::Result<()> {
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.signal("TERM")?;
        let id = self.id();
        let ended = self.child.wait()?;
        ensure!(ended.success(), "process {id} ended with {ended}");
        Ok(())
    }
}

/// What a process has computed, all its threads together.
pub fn cpu(process: u32) -> anyhow::Result<Duration> {
    Ok(stat(process)?.own)
}

/// What a process has computed with its children, those that have ended included.
pub fn cpu_of_family(process: u32) -> anyhow::Result<Duration> {
    let of = stat(process)?;
    let mut sum = of.own + of.of_ended_children;
    for entry in std::fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // It may have ended meanwhile.
        if let Ok(child) = stat(id)
            && child.parent == process
        {
            sum += child.own;
        }
    }
    Ok(sum)
}

struct Stat {
    parent: u32,
    own: Duration,
    of_ended_children: Duration,
}

fn stat(process: u32) -> anyhow::Result<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in brackets, may hold anything.
    let (_, rest) = text.rsplit_once(')').context("no name in stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |nth: usize| -> anyhow::Result<u64> {
        Ok(fields.get(nth - 3).context("a field of stat is missing")?.parse()?)
    };
    let span = |ticks: u64| Duration::from_millis(ticks * 1000 / TICKS_PER_S);
    Ok(Stat {
        parent: u32::try_from(number(4)?)?,
        own: span(number(14)? + number(15)?),
        of_ended_children: span(number(16)? + number(17)?),
    })
}

/// The most memory that it ever had in use, in MiB.
pub fn peak_rss_mib(process: u32) -> anyhow::Result<u64> {
    let mut text = String::new();
    std::fs::File::open(format!("/proc/{process}/status"))?.read_to_string(&mut text)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
}

/// The middle of some figures, and other parts of a hundred: the nearest rank; 0 if there are none.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_computes_is_seen_to() {
        let me = std::process::id();
        let before = cpu(me).unwrap();
        let mut sum = 0_u64;
        while cpu(me).unwrap() < before + Duration::from_millis(30) {
            (0..100_000_u64).for_each(|n| sum = std::hint::black_box(sum.wrapping_add(n)));
        }
        assert!(cpu_of_family(me).unwrap() >= before + Duration::from_millis(30));
        assert!(peak_rss_mib(me).unwrap() > 0);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let figures: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([50, 99, 100].map(|percent| percentile(&figures, percent)), [100.0, 198.0, 200.0]);
        assert_eq!(percentile(&[], 50), 0.0);
        assert_eq!(percentile(&[7.0], 1), 7.0);
    }
}
