//! Who may call which path.

use super::check::ConfigError;
use super::value::{email, given};
use super::{CALLERS_EVENTS, CALLERS_WATCH, CallersArgs, SERVICE_ACCOUNT};

/// The accounts that may call, in lower case. Where there are none, Cloud Run alone decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallersConfig {
    /// Who may send alerts.
    pub events: Option<Vec<String>>,
    /// Who may report a deploy.
    pub watch: Option<Vec<String>>,
    /// Who may bring tasks.
    pub tasks: Option<Vec<String>>,
}

impl CallersConfig {
    /// Who may call a path, and the variable that says so; `None`: whoever Cloud Run lets in.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<(&'static str, &[String])> {
        let (variable, allowed) = match path {
            "/" | "/events" => (CALLERS_EVENTS, &self.events),
            "/watch" => (CALLERS_WATCH, &self.watch),
            "/tasks" => (SERVICE_ACCOUNT, &self.tasks),
            _ => return None,
        };
        Some((variable, allowed.as_deref()?))
    }

    /// Paths that whoever Cloud Run lets in may call, each with the variable that would say who.
    #[must_use]
    pub fn open(&self) -> Vec<(&'static str, &'static str)> {
        let paths = [
            (self.events.is_none(), "/ and /events", CALLERS_EVENTS),
            (self.watch.is_none(), "/watch", CALLERS_WATCH),
            (self.tasks.is_none(), "/tasks", SERVICE_ACCOUNT),
        ];
        paths.into_iter().filter(|(open, ..)| *open).map(|(_, path, variable)| (path, variable)).collect()
    }
}

impl CallersArgs {
    /// Checks the lists. `tasks` is the account as whom the tasks call back.
    ///
    /// # Errors
    /// When one of the accounts is no e-mail address.
    pub(super) fn check(self, tasks: Option<String>) -> Result<CallersConfig, ConfigError> {
        Ok(CallersConfig {
            events: accounts(CALLERS_EVENTS, self.callers_events)?,
            watch: accounts(CALLERS_WATCH, self.callers_watch)?,
            tasks: accounts(SERVICE_ACCOUNT, tasks)?,
        })
    }
}

fn accounts(variable: &str, text: Option<String>) -> Result<Option<Vec<String>>, ConfigError> {
    let Some(text) = given(text) else { return Ok(None) };
    let one = |account: &str| email(variable, account.trim().to_ascii_lowercase());
    text.split(',').map(one).collect::<Result<_, _>>().map(Some)
}
