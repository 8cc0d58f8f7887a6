//! A PostgreSQL server of the machine's own binaries for the tests of one process: in a temporary
//! folder, on a Unix socket, stopped when the process ends, however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Set to `1` where a missing PostgreSQL is a failure, as in CI.
const REQUIRED: &str = "TIDEGATE_TESTS_REQUIRE_POSTGRES";

struct Server {
    folder: PathBuf,
    /// Stops the server when its input ends, which it does when this process ends.
    _guard: Child,
}

/// The URL of a fresh database; `None`, said loudly, if the machine has no PostgreSQL.
#[allow(clippy::disallowed_methods)] // a switch of the tests, not of the service
pub fn fresh_database() -> Option<String> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    match SERVER.get_or_init(start) {
        Ok(server) => {
            let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
            let folder = server.folder.display();
            run(Command::new("createdb").args(["-h", &folder.to_string(), "-U", "tidegate", &name])).unwrap();
            Some(format!("postgres://tidegate@localhost/{name}?host={folder}"))
        }
        Err(why) => {
            assert!(
                std::env::var(REQUIRED).as_deref() != Ok("1"),
                "{REQUIRED}=1, but PostgreSQL did not start: {why}"
            );
            eprintln!(
                "\n*** SKIPPED ON POSTGRESQL: {why}. Install PostgreSQL 15 (initdb and pg_ctl on PATH). ***\n"
            );
            None
        }
    }
}

fn start() -> Result<Server, String> {
    // A socket's path has to be short, so not below the target folder.
    let folder = std::env::temp_dir().join(format!("tidegate-pg-{}", std::process::id()));
    start_in(&folder).inspect_err(|_| drop(fs::remove_dir_all(&folder)))
}

fn start_in(folder: &Path) -> Result<Server, String> {
    fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let as_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if as_root {
        run(Command::new("chown").arg("postgres").arg(folder))?;
    }
    let data = folder.join("data");
    run(as_server(as_root, "initdb").arg("-D").arg(&data).args([
        "--no-sync",
        "--auth=trust",
        "--username=tidegate",
        "--encoding=UTF8",
        "--no-locale",
    ]))?;
    let options = format!("-c listen_addresses= -k {} -c fsync=off -c max_connections=300", folder.display());
    let log = folder.join("log");
    run(as_server(as_root, "pg_ctl")
        .arg("-D")
        .arg(&data)
        .arg("-l")
        .arg(&log)
        .args(["-w", "-o", &options, "start"]))?;
    let guard = guard(folder, &data)?;
    Ok(Server { folder: folder.to_path_buf(), _guard: guard })
}

/// PostgreSQL refuses to run as root.
fn as_server(as_root: bool, program: &str) -> Command {
    if !as_root {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", program]);
    command
}

fn guard(folder: &Path, data: &Path) -> Result<Child, String> {
    let stop = "cat >/dev/null; pid=$(head -1 \"$1/postmaster.pid\"); kill -QUIT $pid;
                while kill -0 $pid; do sleep 0.02; done; rm -rf \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-c", stop, "guard"]).arg(data).arg(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own: an interrupt at the terminal must not end it before it has cleaned up.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(|why| format!("sh: {why}"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(|why| format!("{name}: {why}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
