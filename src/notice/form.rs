//! The one form of every message: a header with a mark, a sentence or two, what to do now and later, links, and a line of
//! small print. What is longer goes to a bot's thread.

use serde_json::{Value, json};

use super::Message;
use super::reader::Reader;
use super::texts::Say;
use super::words::{cut, dated, name, plain, prose};

/// Slack's limit for every text but the header's.
const SECTION: usize = 3_000;

/// Slack advises 4,000 for the fallback.
const FALLBACK: usize = 3_500;

/// What a message is, at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    RolledBack,
    UnderWay,
    Recovered,
    Warning,
    NeedsYou,
    Pinned,
    HandsOff,
    Test,
}

impl Mark {
    pub(super) fn sign(self) -> char {
        match self {
            Self::RolledBack => '⏪',
            Self::UnderWay => '⏳',
            Self::Recovered => '✅',
            Self::Warning => '🟡',
            Self::NeedsYou => '🔴',
            Self::Pinned => '📌',
            Self::HandsOff => '👀',
            Self::Test => '🧪',
        }
    }
}

/// A command and what it is for.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) say: String,
    pub(super) command: String,
}

impl Offer {
    fn block(&self) -> String {
        format!("{}\n```{}```", self.say, self.command)
    }
}

/// A message's parts. All texts are mrkdwn, and safe.
pub(super) struct Form {
    pub(super) mark: Mark,
    pub(super) header: String,
    /// Lines: what happened, with the deciding figures.
    pub(super) story: Vec<String>,
    pub(super) now: String,
    pub(super) later: Option<String>,
    /// A command for now.
    pub(super) offer: Option<Offer>,
    pub(super) links: Vec<String>,
    /// Parts of the line at the bottom, before the place and the reason.
    pub(super) small: Vec<String>,
    pub(super) reason: String,
    pub(super) incident: String,
    /// Commands that only the thread has room for.
    pub(super) aside: Vec<Offer>,
    /// The thread's small print.
    pub(super) details: Vec<String>,
    /// What the thread keeps of a message that will change.
    pub(super) kept: Vec<String>,
}

impl Form {
    pub(super) fn new(mark: Mark, header: String, reason: &str, incident: &str) -> Self {
        Self {
            mark,
            header,
            story: Vec::new(),
            now: String::new(),
            later: None,
            offer: None,
            links: Vec::new(),
            small: Vec::new(),
            reason: reason.to_owned(),
            incident: incident.to_owned(),
            aside: Vec::new(),
            details: Vec::new(),
            kept: Vec::new(),
        }
    }

    pub(super) fn finish(self, reader: &Reader<'_>) -> Message {
        let story = self.story.iter().filter(|line| !line.is_empty()).cloned().collect::<Vec<_>>().join("\n");
        let labelled = |label: Say, text: &str| format!("{} {text}", reader.word(label));
        let mut next: Vec<String> = Vec::new();
        next.extend((!self.now.is_empty()).then(|| labelled(Say::Now, &self.now)));
        next.extend(self.later.as_deref().map(|later| labelled(Say::Later, later)));
        let steps = next.iter().cloned().chain(self.offer.as_ref().map(Offer::block));
        let steps = steps.collect::<Vec<_>>().join("\n");

        let incident = if self.incident.is_empty() { "none".to_owned() } else { prose(&self.incident, 120) };
        let place = reader.service.map(|it| format!("{}, {}", name(&it.project), name(&it.region)));
        let mark = format!("reason: {} · incident {incident}", name(&self.reason));
        let small: Vec<String> = self.small.iter().cloned().chain(place).chain([mark.clone()]).collect();

        // A notification and a screen reader show nothing else: it has to say everything that matters.
        let offered = self.offer.iter().flat_map(|offer| [offer.say.clone(), offer.command.clone()]);
        let spoken: Vec<String> = std::iter::once(self.header.clone())
            .chain([plain(&story)])
            .chain(next.iter().map(|line| plain(line)))
            .chain(offered.map(|line| plain(&line)))
            .filter(|line| !line.is_empty())
            .collect();
        let text = format!("{}\n{mark}", cut(&spoken.join("\n"), FALLBACK));

        let call = reader.rules.mention.as_deref().filter(|_| self.mark == Mark::NeedsYou);
        let story = call.map_or(story.clone(), |call| format!("{call} {story}"));
        let header = json!({"type": "plain_text", "text": self.header, "emoji": false});
        let mut blocks = vec![json!({"type": "header", "text": header})];
        let parts = [story, steps, self.links.join(" · ")];
        blocks.extend(parts.iter().filter(|part| !part.trim().is_empty()).map(|part| section(part)));
        blocks.push(context(&small.join(" · ")));

        let details = self.aside.iter().map(|offer| section(&offer.block()));
        let details = details.chain(self.details.iter().map(|part| context(&dated(part)))).collect();
        let kept = self.kept.iter().filter(|part| !part.is_empty()).map(|part| section(part)).collect();
        let quiet = matches!(self.mark, Mark::RolledBack | Mark::UnderWay | Mark::Recovered);
        Message { text, blocks, details, kept, urgent: !quiet }
    }
}

/// `verbatim` keeps Slack from making links, mentions and channels of what looks like some.
fn mrkdwn(part: &str) -> Value {
    json!({"type": "mrkdwn", "text": cut(part, SECTION), "verbatim": true})
}

fn section(part: &str) -> Value {
    json!({"type": "section", "text": mrkdwn(part)})
}

fn context(part: &str) -> Value {
    json!({"type": "context", "elements": [mrkdwn(part)]})
}
