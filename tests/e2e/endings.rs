//! Every way a rollback can end, killed at every call of the look that finds it: it ends there all the same, once.

use std::time::Duration;

use serde_json::json;

use crate::harness::Runback;
use crate::simulator::{Service, Simulator, minutes, refusal};
use crate::situation::{BAD, GOOD, SERVICE, k_back, later, moves, on_record, under_policy};

const ENDINGS: [&str; 6] = ["recovered", "not_helped", "unjudged", "halted", "overruled", "not_arrived"];

/// A rollback of which the next look finds that it ended so, and how often traffic has moved by then.
async fn about_to_be(ending: &str) -> (Simulator, Runback, usize) {
    let gradual = matches!(ending, "halted" | "overruled" | "not_arrived");
    let strategy = if gradual { "gradual" } else { "immediate" };
    let service = Service { rpm: 600.0, ..k_back(0.2) };
    let (simulator, runback, alert) = under_policy(service, json!({"strategy": strategy})).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    let mut moved = 1;
    match ending {
        "not_helped" => simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.4)),
        "halted" => simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.4)),
        "overruled" => simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)])),
        "unjudged" => {
            simulator.change(SERVICE, |service| service.service.rpm = 0.2);
            simulator.advance(minutes(5));
            for _ in 0..2 {
                later(&simulator, &runback, minutes(4)).await;
            }
        }
        "not_arrived" => {
            simulator.change(SERVICE, |service| {
                service.service.reconcile = crate::simulator::Reconcile::Never;
            });
            later(&simulator, &runback, minutes(4)).await;
            moved = 2;
        }
        _ => {}
    }
    simulator.advance(minutes(6));
    assert_ne!(on_record(&simulator)["phase"], ending);
    (simulator, runback, moved)
}

async fn killed(ending: &'static str, call: &'static str, done: bool) {
    let (simulator, mut runback, moved) = about_to_be(ending).await;
    let told = simulator.slack().len();
    let at = simulator.at(call);
    if done {
        at.carried_out().does(runback.killer())
    } else {
        at.does(runback.killer())
    }
    runback.deliver_due_tasks().await;
    runback.restart().await;
    simulator.repair();
    later(&simulator, &runback, Duration::from_secs(20)).await;
    let about = format!("{ending}, killed at {call} {done}");
    assert_eq!((&on_record(&simulator)["phase"], moves(&simulator)), (&json!(ending), moved), "{about}");
    assert!((1..=2).contains(&(simulator.slack().len() - told)), "{about}: {:#?}", simulator.slack());
    assert!(simulator.tasks().is_empty(), "{about}");

    // And then it stays over.
    let (told, written) = (simulator.slack().len(), simulator.calls("run.put").len());
    later(&simulator, &runback, minutes(30)).await;
    assert_eq!((simulator.slack().len(), simulator.calls("run.put").len()), (told, written), "{about}");
    runback.finish().await;
}

#[tokio::test]
async fn wherever_it_is_killed_a_rollback_ends_as_it_would_have() {
    let calls = ["run.get", "monitoring.list", "slack.webhook", "run.put"];
    for ending in ENDINGS {
        // Two at a time: each is a world and a process of its own, and time is measured.
        for call in calls {
            tokio::join!(killed(ending, call, false), killed(ending, call, true));
        }
    }
}

/// Nothing would change if the task came again, and the queue would bring it twenty times.
#[tokio::test]
async fn an_ending_that_cloud_run_refuses_to_record_is_told_once_and_is_over() {
    for ending in ["recovered", "overruled"] {
        let (simulator, runback, alert) = under_policy(k_back(0.4), json!({})).await;
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
        if ending == "overruled" {
            simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
        }
        let told = simulator.slack().len();
        simulator.at("run.put").always().replies(refusal(400, "metadata.annotations: too large"));
        assert_eq!(later(&simulator, &runback, minutes(6)).await, [200], "{ending}");
        assert_eq!(simulator.slack().len() - told, usize::from(ending == "recovered"), "{ending}");
        assert!(simulator.tasks().is_empty(), "{ending}: {:#?}", simulator.tasks());
        assert_eq!((&on_record(&simulator)["phase"], moves(&simulator)), (&json!("switching"), 1));
        runback.finish().await;
    }
}
