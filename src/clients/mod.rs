//! Everything that can fail: what leaves the process over the network.

pub mod transport;

mod retry;

#[cfg(test)]
mod within;

pub mod tokens;

pub mod google;

pub mod cloud_run;

pub mod monitoring;

pub mod registry;

pub mod metadata;

pub mod probe;

pub mod runback;

pub mod tasks;

pub mod slack;
