//! Runback moves a Cloud Run service's traffic back to the last healthy revision when a Monitoring alert fires,
//! the evidence convicts the newest deploy, and the policy allows it.
//!
//! ```text
//! alert ─▶ server ─▶ intake ─▶ respond ─┬─ clients: read service, revisions, evidence
//!                                       ├─ domain:  decide
//!                                       ├─ clients: write traffic and record, read until the status shows it
//!                                       └─ notice ─▶ clients: Slack
//! ```
//!
//! Invariants:
//! * `domain` is pure: no clock, no network, no environment, no serialisation. The moment is an argument.
//! * A write is made from one read: traffic and record together, refused when the service has changed since.
//! * What Runback does not understand it acknowledges, logs and leaves alone.
//!
//! In reading order:

pub mod respond;

pub mod domain;

pub mod intake;

pub mod notice;

pub mod server;

pub mod cli;

mod answer;

pub mod record_json;

pub mod hold_json;

pub mod policy_document;

pub mod config;

pub mod watch;

pub mod snapshot;

pub mod logging;

pub mod clients;
