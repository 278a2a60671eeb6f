//! The demonstration on a terminal: plain text in 80 columns, with colours only where somebody looks.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;

use crate::simulator::Simulator;

const WIDTH: usize = 80;
const INDENT: usize = 3;

#[derive(Clone, Copy)]
pub enum Ink {
    Plain,
    Bold,
    Faint,
    Good,
    Bad,
}

/// Somebody who watches sees the story unfold.
const PAUSE: Duration = Duration::from_millis(400);

/// Prints a story, chapter by chapter.
pub struct Narrator {
    watched: bool,
    chapter: usize,
}

impl Narrator {
    pub fn new() -> Self {
        Self { watched: std::io::stdout().is_terminal(), chapter: 0 }
    }

    pub fn chapter(&mut self, title: &str) {
        if self.watched {
            std::thread::sleep(PAUSE);
        }
        self.chapter += 1;
        let number = self.chapter;
        self.blank();
        self.line(&self.inked(Ink::Bold, &format!("{number:<INDENT$}{title}")));
    }

    pub fn blank(&self) {
        self.line("");
    }

    pub fn say(&self, text: &str) {
        self.say_in(Ink::Plain, text);
    }

    pub fn say_in(&self, ink: Ink, text: &str) {
        for line in wrapped(text, WIDTH - INDENT) {
            self.line(&format!("{:INDENT$}{}", "", self.inked(ink, &line)));
        }
    }

    /// ✓ or ✗, a short name, and what there is to say about it.
    pub fn check(&self, passed: bool, name: &str, detail: &str) {
        let (mark, ink) = if passed { ("✓", Ink::Good) } else { ("✗", Ink::Bad) };
        let mark = self.inked(ink, mark);
        let column = INDENT + 20;
        for (index, line) in wrapped(detail, WIDTH - column).iter().enumerate() {
            match index {
                0 => self.line(&format!("{:INDENT$}{mark} {name:<18}{line}", "")),
                _ => self.line(&format!("{:column$}{line}", "")),
            }
        }
    }

    pub fn table<const N: usize>(&self, rows: &[[String; N]]) {
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; N] = std::array::from_fn(width);
        for (index, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            let text = cells.collect::<Vec<_>>().join("   ");
            let ink = if index == 0 { Ink::Faint } else { Ink::Plain };
            self.line(&format!("{:INDENT$}{}", "", self.inked(ink, text.trim_end())));
        }
    }

    /// A message as Slack shows it, with or without the list of gates.
    pub fn slack(&self, sent: &Value, gates: bool) {
        let inner = WIDTH - INDENT - 4;
        let edge = |text: &str| self.line(&format!("{:INDENT$}{}", "", self.inked(Ink::Faint, text)));
        edge(&format!("┌─ Slack {}┐", "─".repeat(inner - 6)));
        let is_gate = |text: &str| text.starts_with(['✓', '✗']);
        let mut shown = paragraphs(sent);
        if !gates && let Some(first) = shown.iter().position(|(_, text)| is_gate(text)) {
            shown[first].1 = "(and the gates, as above)".to_owned();
            shown.retain(|(_, text)| !is_gate(text));
        }
        for (ink, text) in shown {
            for line in wrapped(&text, inner) {
                let gap = " ".repeat(inner.saturating_sub(line.chars().count()));
                let bar = self.inked(Ink::Faint, "│");
                self.line(&format!("{:INDENT$}{bar} {}{gap} {bar}", "", self.inked(ink, &line)));
            }
        }
        edge(&format!("└{}┘", "─".repeat(inner + 2)));
    }

    /// A reader that has gone away, such as `head`, is no failure of the story.
    pub fn line(&self, text: &str) {
        writeln!(std::io::stdout(), "{text}").ok();
    }

    fn inked(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            _ if !self.watched => return text.to_owned(),
            Ink::Plain => return text.to_owned(),
            Ink::Bold => 1,
            Ink::Faint => 2,
            Ink::Good => 32,
            Ink::Bad => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// The messages that Slack has taken, as they were sent.
pub fn slack_messages(simulator: &Simulator) -> Vec<Value> {
    let calls = simulator.calls("slack.*").into_iter().filter(|call| call.status == Some(200));
    calls.map(|call| serde_json::from_str(&call.body).unwrap_or_default()).collect()
}

/// The paragraphs of a message in Block Kit, without Slack's markup.
fn paragraphs(sent: &Value) -> Vec<(Ink, String)> {
    let mut found: Vec<(Ink, String)> = Vec::new();
    for block in sent["blocks"].as_array().into_iter().flatten() {
        let (ink, holders) = match block["type"].as_str() {
            Some("header") => (Ink::Bold, vec![&block["text"]]),
            Some("section") => (Ink::Plain, vec![&block["text"]]),
            _ => (Ink::Faint, block["elements"].as_array().into_iter().flatten().collect()),
        };
        // A blank line between blocks, except within the small print.
        let small = |ink| matches!(ink, Ink::Faint);
        if found.last().is_some_and(|(last, _)| !small(*last) || !small(ink)) {
            found.push((ink, String::new()));
        }
        let texts = holders.into_iter().filter_map(|holder| holder["text"].as_str());
        found.extend(texts.flat_map(unmarked).map(|line| (ink, line)));
    }
    if found.is_empty() {
        found.extend(unmarked(sent["text"].as_str().unwrap_or_default()).map(|line| (Ink::Plain, line)));
    }
    found
}

/// Lines without `*`, `` ` `` and entities; links by their label, code blocks as commands at a prompt.
fn unmarked(mrkdwn: &str) -> impl Iterator<Item = String> {
    let mut plain = String::new();
    for (index, part) in mrkdwn.split("```").enumerate() {
        match index % 2 {
            1 => plain += &format!("\n  $ {part}\n"),
            _ => plain += part.trim_matches('\n'),
        }
    }
    let mut bare = String::new();
    let mut rest = plain.as_str();
    while let Some((before, link)) = rest.split_once('<') {
        let (link, after) = link.split_once('>').unwrap_or((link, ""));
        bare += before;
        bare += link.split_once('|').map_or(link, |(_, label)| label);
        rest = after;
    }
    bare += rest;
    let bare = bare.replace(['*', '`'], "").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    bare.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Lines of at most this width, broken at spaces; what continues a line is indented as that line is.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let kept_together = text.replace(" %", "\u{a0}%");
    for paragraph in kept_together.lines().chain(text.is_empty().then_some("")) {
        let lead: String = paragraph.chars().take_while(|c| *c == ' ').collect();
        let hang =
            if paragraph.trim_start().starts_with("$ ") { format!("{lead}    ") } else { lead.clone() };
        let mut line = lead;
        let mut fresh = true;
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            if !fresh && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::replace(&mut line, hang.clone()));
                fresh = true;
            }
            if !fresh {
                line.push(' ');
            }
            line += word;
            fresh = false;
        }
        lines.push(line);
    }
    lines.iter().map(|line| line.replace('\u{a0}', " ")).collect()
}

/// How long ago something was, in its largest unit.
pub fn ago(seconds: f64) -> String {
    match (seconds / 60.0).round() {
        minutes if minutes < 1.0 => "now".to_owned(),
        minutes if minutes < 120.0 => format!("{minutes} min ago"),
        minutes if minutes < 2880.0 => format!("{} hours ago", (minutes / 60.0).round()),
        minutes => format!("{} days ago", (minutes / 1440.0).round()),
    }
}
