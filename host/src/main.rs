//! `tidegate`: see `host::cli`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    host::cli::run(std::env::args_os()).await
}
