//! One alert about one service: decided and carried through.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::look::WRITE_LEAST;
use super::observe::{Course, Followed, stepped};
use super::{Case, Ending, Look, MOST_LOOKS_AT_ONCE, OWNED_FOR, PATIENCE_LEFT, Runback, TELL, Turn};
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::domain::decision::{Decision, Outcome, Reason};
use crate::domain::record::Rollback;
use crate::domain::service::ServiceName;
use crate::domain::steps;
use crate::domain::traffic;
use crate::notice::Afterwards;

impl Runback {
    /// Looks, decides and does, anew as often as somebody else changes the service meanwhile.
    pub(super) async fn handle(
        &self,
        case: &Case<'_>,
        name: &ServiceName,
        turn: &mut Turn<'_>,
    ) -> Result<Ending, CallError> {
        let deadline = case.received.deadline();
        let mut looks = 0;
        // What a probe found stays true for the seconds that this takes.
        let mut probes = Vec::new();
        while looks < MOST_LOOKS_AT_ONCE {
            let look = match self.look(case, name, turn, &mut probes).await {
                Err(CallError::Conflict(why)) if Instant::now() + TELL < deadline => {
                    tracing::warn!(%why, "the service changed while its target was tagged; looking again");
                    looks += 1;
                    continue;
                }
                look => look?,
            };
            let Some(look) = look else { continue };
            let Look { decision, document, .. } = &look;
            let writes = !matches!(decision.outcome, Outcome::Notify | Outcome::Ignore | Outcome::Wait);
            if writes || traffic::has_probe(&document.service) {
                turn.reading.forget();
            }
            match &decision.outcome {
                Outcome::Rollback => looks += 1,
                Outcome::Resume(rollback) => {
                    let story = self.memory.story(&rollback.id).filter(|_| self.memory.wrote(rollback));
                    let age = case.received.time() - rollback.last_write();
                    // Whether its owner lives cannot be known, only whether it has told: that is looked for.
                    if story.is_none() && age < OWNED_FOR && Instant::now() + PATIENCE_LEFT < deadline - TELL
                    {
                        sleep(Duration::from_millis(500)).await;
                        turn.waited = true;
                        turn.reading.forget();
                        continue;
                    }
                    // Our own write, whose answer was lost or whose switch took long: its story is the whole decision.
                    let decision =
                        story.map_or_else(|| decision.clone().recalling(rollback), |(decision, _)| decision);
                    let written = Rollback::clone(rollback);
                    // Our own write of a moment ago, whose answer was lost.
                    let judged = looks > 0 && self.memory.story(&rollback.id).is_some();
                    return Ok(self.pursue(case, decision, written, look.document, judged).await);
                }
                Outcome::Hasten(rollback) => {
                    looks += 1;
                    let all = stepped(case, rollback, steps::ALL, rollback.why.clone());
                    match self.go_on(document, &all, deadline - TELL).await {
                        Ok(written) => {
                            let ending = self.pursue(case, look.decision, all.clone(), written, true).await;
                            self.show_phase(name, &all.id, None, deadline).await;
                            return Ok(ending);
                        }
                        Err(CallError::Conflict(why) | CallError::Unavailable(why)) => {
                            tracing::warn!(%why, "the rest could not be moved; looking again");
                            sleep(Duration::from_millis(200)).await;
                        }
                        Err(CallError::Rejected(why) | CallError::NotFound(why)) => {
                            return Ok(self.conclude(case, look.decision.refused(why)).await);
                        }
                        Err(error) => return Err(error),
                    }
                    if Instant::now() + TELL >= deadline {
                        break;
                    }
                    continue;
                }
                Outcome::Recovered(end) => {
                    let (rollback, judgement) = &**end;
                    let (ended, judged) = (Afterwards::Recovered, (Some(*judgement), None));
                    let thread = self.memory.thread(&rollback.id);
                    let thread = thread.as_deref();
                    let told = self.report(document, rollback, ended, judged, thread, case.received).await;
                    self.show_phase(name, &rollback.id, None, deadline).await;
                    return Ok(
                        told.map_or_else(Ending::Later, |_| Ending::Decided(Box::new(decision.clone())))
                    );
                }
                Outcome::Notify | Outcome::Ignore | Outcome::Wait => {
                    if decision.reason != Reason::DeployInProgress {
                        self.untag(case, document).await;
                    }
                    let decision = decision.clone();
                    return Ok(self.conclude(case, decision).await);
                }
            }
            if Instant::now() + WRITE_LEAST > deadline - TELL {
                break;
            }
            let Some((rollback, written)) = self.switch(case, &look).await else {
                return Ok(Ending::Later("a rollback without a plan or a readable record".into()));
            };
            match written {
                Ok(document) => return Ok(self.pursue(case, look.decision, rollback, document, true).await),
                Err(CallError::Conflict(why)) => {
                    tracing::warn!(%why, "the service changed while it was judged; looking again")
                }
                Err(CallError::Unavailable(why)) => {
                    tracing::warn!(%why, "the answer to the write was lost; reading what became of it");
                    sleep(Duration::from_millis(200)).await;
                }
                Err(CallError::Rejected(why) | CallError::NotFound(why)) => {
                    self.untag(case, &look.document).await;
                    return Ok(self.conclude(case, look.decision.refused(why)).await);
                }
                Err(error @ (CallError::Denied { .. } | CallError::SignedOut(_))) => return Err(error),
            }
            if Instant::now() + TELL >= deadline {
                break;
            }
        }
        Ok(Ending::Later("the service could not be changed in time".into()))
    }

    /// Sees a write of this alert's through, as far as the time for its answer reaches. Then a task goes on watching;
    /// without a queue the message has to come again.
    async fn pursue(
        &self,
        case: &Case<'_>,
        decision: Decision,
        rollback: Rollback,
        document: ServiceDocument,
        judged: bool,
    ) -> Ending {
        let name = document.service.name.clone();
        let (written, thread) = (rollback.clone(), self.memory.thread(&rollback.id));
        let late = matches!(decision.outcome, Outcome::Resume(_));
        let Some(rules) = self.policy.services.get(&name) else {
            return Ending::Decided(Box::new(decision));
        };
        let course = Course {
            decision: &decision,
            rollback,
            document,
            rules,
            thread,
            patient: true,
            late,
            untold: false,
            judged,
        };
        match self.follow(case, course).await {
            Followed::Done(_) => Ending::Decided(Box::new(decision)),
            Followed::OnItsWay(trouble) => {
                self.tell_under_way(case, &name, &decision, &written).await;
                let thread = self.memory.thread(&written.id);
                match self.keep_watching(case, &name, &written, 1, thread).await {
                    Ok(()) => Ending::Decided(Box::new(decision)),
                    Err(why) => Ending::Later(format!(
                        "the switch is written; the status does not show it yet ({trouble}), and {why}"
                    )),
                }
            }
            Followed::Again(why) | Followed::Unplanned(why) => Ending::Later(why),
        }
    }
}
