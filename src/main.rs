//! The command line. See the library for what it does.

use std::process::ExitCode;

use clap::Parser;
use runback::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await
}
