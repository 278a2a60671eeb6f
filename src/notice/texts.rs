//! Everything that messages say, one table per language. A text has `{places}` for what differs; both languages have the
//! same ones. Reason codes, commands and what Google says stay as they are.

use crate::domain::decision::Reason;
use crate::domain::policy::Language;

mod en;
mod ja;

#[cfg(test)]
mod tests;

macro_rules! texts {
    ($(#[$doc:meta])* $kind:ident: $($name:ident,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $kind { $($name,)* }

        #[cfg(test)]
        impl $kind {
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

texts! {
    /// A sentence, or a part of one.
    Say:
    // Headers.
    RolledBack, StepMoved, TrialMoved, UnderWay, NoCheckAhead, StepOnHold, HeldUp, OutOfSight, RightsLost, Pinned,
    UnknownService, DeniedTitle,
    // What was seen.
    Failed, Slow, WithWarning, TargetWas, Trusted, Vouched, Unproven, TagsStay, Figures, NoRequests, MonitoringUnread,
    // What happened.
    AllMoved, AllMovedOnWatch, PartMoved, MovedLate, Late, StillFails, HealthCheck, Accepted, CloudRunSays,
    CloudRunSilent, Took, ProvenAfter, ReachedByTag, ReachedWithoutTag, Traffic, PinnedSince, PinnedBanned, Began,
    DeniedStory, RightsStory, StepOnHoldStory, HeldUpStory, OutOfSightStory, NoCheckStory, UnknownStory,
    // What comes next.
    Now, Later, NowCheck, NowAlone, NowTrial, NowStep, NowWatched, NowTag, NowTry, DecidesAt, LooksAgain, LaterPinned,
    LaterFollows, LaterResume, NowGrant, NowTerraform, NowQueue, NowLook, NowUnknown, NowHeld, NowPinned, NowPinnedBanned, NowAgain, NowWaits, NowGrantQueue, DeniedPatience, HeldUpPatience,
    // Commands.
    GoBack, GoBackUnproven, GoBackAny, PutBack, Finish, Status, Gcloud, GitRevert, MoveTag, TryByTag, GrantRun,
    GrantAccount, GrantImages, GrantUnknown,
    MonitoringRole,
    // Links and small print.
    Logs, Revisions, Diff, Alert, ErrorsPerMinute, SlowPerMinute, ChecksPassed, Watched,
    // Units.
    UnderASecond, Seconds, Minutes, Hours, Days, SomePermission,
}

texts! {
    /// How a rollback ended, or stands.
    Ending:
    Recovered, NotHelped, Restoring, Restored, Undone, StillReached, NeverLeft, Unjudged, Halted, Stopped, Cleared,
    Undecided, Forbidden, Overruled, NotArrived, BackNotArrived, StepRefused, BackRefused,
}

/// A header, a sentence on what happened, and what to do now.
pub(super) struct Told {
    pub(super) title: &'static str,
    pub(super) story: &'static str,
    pub(super) now: &'static str,
}

pub(super) fn say(language: Language, say: Say) -> &'static str {
    match language {
        Language::English => en::say(say),
        Language::Japanese => ja::say(say),
    }
}

/// How a rollback ended.
pub(super) fn ending(language: Language, ending: Ending) -> Told {
    match language {
        Language::English => en::ending(ending),
        Language::Japanese => ja::ending(ending),
    }
}

/// Why nothing was moved.
pub(super) fn untouched(language: Language, reason: Reason) -> Told {
    match language {
        Language::English => en::untouched(reason),
        Language::Japanese => ja::untouched(reason),
    }
}

/// What goes into a text's places.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(Vec<(&'static str, String)>);

impl Values {
    pub(super) fn with(mut self, place: &'static str, value: impl Into<String>) -> Self {
        self.0.retain(|(known, _)| *known != place);
        self.0.push((place, value.into()));
        self
    }

    pub(super) fn get(&self, place: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == place).map(|(_, value)| value.as_str())
    }

    /// The text with its places filled. What a value contains is never taken for a place.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, (place, after))) =
            rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            filled += before;
            filled += self.get(place).unwrap_or_default();
            rest = after;
        }
        filled + rest
    }
}
