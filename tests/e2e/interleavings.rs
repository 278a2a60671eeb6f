//! What goes wrong in the middle of a rollback, or between its looks: it neither hangs nor says what is not so.

use serde_json::json;

use crate::alert::Alert;
use crate::harness::{Runback, split};
use crate::simulator::{Revision, Service, Simulator, minutes};
use crate::situation::{GOOD, SERVICE, k_back, moves, on_record, under_policy};

const FIX: &str = "k-back-00043-fix";

/// Everything has moved, and the target fails like the culprit; the look at it is due.
async fn not_helped_by(service: Service) -> (Simulator, Runback, Alert) {
    let (simulator, runback, alert) = under_policy(service, json!({"not_helped": "restore"})).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.4));
    simulator.advance(minutes(6));
    (simulator, runback, alert)
}

/// Somebody tries a fix on a part of the target's traffic: the way back would take that away from it.
#[tokio::test]
async fn a_split_that_somebody_has_changed_since_is_not_given_back() {
    let (simulator, runback, _) = not_helped_by(k_back(0.4)).await;
    simulator.change(SERVICE, |service| {
        service.deploy(Revision::named(FIX));
        service.move_traffic(&[(GOOD, 80), (FIX, 20)]);
    });
    assert_eq!(runback.deliver_due_tasks().await[0].status, 200);
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 80), (FIX, 20)]));
    assert_eq!((moves(&simulator), &on_record(&simulator)["phase"]), (1, &json!("not_helped")));
    runback.finish().await;
}
