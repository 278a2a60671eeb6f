//! The gates, in the order in which they are passed.

pub(super) mod doors;

pub(super) mod culprit;

pub(crate) mod failing;

pub(super) mod cause;

pub(super) mod released;

pub(super) mod target;

pub(super) mod limits;

pub(super) mod preflight;
