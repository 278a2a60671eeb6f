//! What a person sees: colour where it is one, questions, and a sign of life while something takes long.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use super::{Stopped, bad, failed};

/// After so long a person wonders.
const LONG: Duration = Duration::from_secs(1);

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    on: bool,
}

/// A colour by what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
    Warn,
    Faint,
    Strong,
}

impl Paint {
    /// Colour on a terminal only, and not where `NO_COLOR` is set.
    #[expect(
        clippy::disallowed_methods,
        reason = "NO_COLOR and TERM are the terminal's, no configuration of ours"
    )]
    fn where_shown(on: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { on: on && !plain }
    }

    /// For standard output.
    pub(super) fn of_output() -> Self {
        Self::where_shown(io::stdout().is_terminal())
    }

    /// For standard error.
    pub(super) fn of_errors() -> Self {
        Self::where_shown(io::stderr().is_terminal())
    }

    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.on => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warn => "33",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    pub(super) fn is_on(self) -> bool {
        self.on
    }
}

/// How a command that writes is told to go on.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Consent {
    /// Do it without asking
    #[arg(long)]
    pub(super) yes: bool,

    /// Show what would be done; write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl Consent {
    /// Stops at once where a question will come that nobody can answer. A piped `yes` is nobody's word.
    pub(super) fn can_be_had(self) -> Result<(), Stopped> {
        if self.yes || self.dry_run || (io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Ok(());
        }
        Err(bad("nobody is there to answer: run it on a terminal, or add --yes (or --dry-run to look only)"))
    }

    /// Asks, unless the answer is given already. Anything but `yes` is no.
    pub(super) fn asked(self, question: &str) -> Result<bool, Stopped> {
        if self.yes {
            return Ok(true);
        }
        eprint!("{question} Type yes to do it: ");
        io::stderr().flush().ok();
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(failed)?;
        Ok(answer.trim() == "yes")
    }
}

/// Waits for something, and says so when it takes long.
pub(super) async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    match tokio::time::timeout(LONG, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            eprintln!("{what} …");
            work.await
        }
    }
}

/// Rows below a head, in columns as wide as their longest cell. The last one ends where it ends.
pub(super) fn table(head: &[&str], rows: &[Vec<(Tone, String)>], paint: Paint) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].1.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let head: Vec<(Tone, String)> = head.iter().map(|cell| (Tone::Faint, (*cell).to_owned())).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::from("  ");
        for ((tone, cell), width) in row.iter().zip(&widths) {
            let gap = " ".repeat(width - cell.chars().count() + 2);
            line += &paint.paint(*tone, cell);
            line += &gap;
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
