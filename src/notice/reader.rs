//! For whom a message is: the language, the rules, and how their commands name the service.

use chrono::TimeDelta;

use super::form::Mark;
use super::texts::{self, Say, Values};
use super::words::{cut, name, short};
use crate::domain::policy::{Language, Policy, Rules};
use crate::domain::service::ServiceName;

/// A telephone shows this much of a header.
pub(super) const HEADER: usize = 60;

/// A service's name in a header keeps at least this much.
const LEAST: usize = 12;

/// Who reads a message about a service.
pub(super) struct Reader<'a> {
    pub(super) service: Option<&'a ServiceName>,
    pub(super) rules: Rules,
    /// The service as the person's commands take it: short where that is enough.
    handle: String,
    /// Whether the service's name alone does not say whose it is.
    several_projects: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn of(policy: &Policy, service: Option<&'a ServiceName>) -> Self {
        let known = service.and_then(|service| policy.services.get(service));
        // A message about none of them goes to the people who read the others, and calls nobody.
        let rules = match (known, policy.services.values().next()) {
            (Some(rules), _) => rules.clone(),
            (None, Some(other)) => Rules { mention: None, ..other.clone() },
            (None, None) => Rules::default(),
        };
        let handle = service.map_or(String::new(), |service| {
            let alike = policy.services.keys().filter(|other| other.service == service.service).count();
            match alike {
                1 => name(&service.service),
                _ => format!(
                    "projects/{}/locations/{}/services/{}",
                    name(&service.project),
                    name(&service.region),
                    name(&service.service)
                ),
            }
        });
        let mut projects = policy.services.keys().map(|service| &service.project);
        let first = projects.next();
        Self { service, rules, handle, several_projects: projects.any(|project| Some(project) != first) }
    }

    pub(super) fn language(&self) -> Language {
        self.rules.language
    }

    /// `runback release k-back`.
    pub(super) fn command(&self, verb: &str) -> String {
        format!("runback {verb} {}", self.handle)
    }

    /// A revision without the service's name in front.
    pub(super) fn short(&self, revision: &str) -> String {
        cut(&short(revision, self.service.map_or("", |service| &service.service)), 40)
    }

    /// What every text may name.
    pub(super) fn values(&self) -> Values {
        let service = self.service.map_or("Runback".to_owned(), |service| name(&service.service));
        Values::default().with("service", service).with("release", self.command("release"))
    }

    pub(super) fn say(&self, say: Say, values: &Values) -> String {
        values.fill(texts::say(self.language(), say))
    }

    /// A text without places.
    pub(super) fn word(&self, say: Say) -> &'static str {
        texts::say(self.language(), say)
    }

    /// "10 min".
    pub(super) fn span(&self, time: TimeDelta) -> String {
        let seconds = time.num_seconds();
        let (unit, number) = match seconds {
            ..1 => return self.word(Say::UnderASecond).to_owned(),
            1..120 if seconds % 60 != 0 => (Say::Seconds, seconds),
            1..7_200 => (Say::Minutes, seconds / 60),
            7_200..172_800 => (Say::Hours, seconds / 3_600),
            _ => (Say::Days, seconds / 86_400),
        };
        self.say(unit, &Values::default().with("number", number.to_string()))
    }

    /// A header that a telephone shows whole. What is too long is cut from the service's name first: people know it.
    pub(super) fn header(&self, mark: Mark, title: &str, values: &Values) -> String {
        let draw = |service: &str| {
            format!("{} {}", mark.sign(), values.clone().with("service", service).fill(title))
        };
        let long = |text: &str| text.chars().count();
        let service = values.get("service").unwrap_or_default();
        if let (true, Some(name)) = (self.several_projects, self.service) {
            let header = draw(&format!("{service} ({})", super::words::name(&name.project)));
            if long(&header) <= HEADER {
                return header;
            }
        }
        let header = draw(service);
        let over = long(&header).saturating_sub(HEADER);
        if over == 0 {
            return header;
        }
        let kept = long(service).saturating_sub(over).max(LEAST);
        cut(&draw(&cut(service, kept)), HEADER)
    }
}
