//! The process: how it starts, how it stops, what it writes.

use crate::harness::guarding;
use crate::simulator::{NOW, Revision, Service, days};

#[tokio::test]
async fn it_starts_serves_and_stops_without_calling_anyone() {
    let revision = Revision::named("menu-1").age(days(3)).served(days(3)..NOW);
    let (simulator, runback) = guarding([Service::named("menu").revision(revision)]).await;
    assert_eq!(simulator.calls("*").len(), 0);
    runback.finish().await;
}
