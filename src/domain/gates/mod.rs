//! The gates that weigh evidence.

pub(super) mod culprit;

pub(crate) mod failing;

pub(super) mod cause;

pub(super) mod target;

pub(super) mod preflight;
