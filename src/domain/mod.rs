//! The judgement: pure values and functions. No clock, no network, no environment, no serialisation.
//!
//! In reading order:

pub mod alert;

pub mod service;

pub mod hold;

pub mod evidence;

pub mod probe;

pub mod policy;

pub mod record;

pub mod steps;

pub mod decision;

pub mod decide;

mod gates;

pub mod looks;

pub mod watch;

pub mod by_hand;

pub mod overview;

pub mod pins;

pub mod by_tag;

pub mod afterwards;

pub mod overdue;

pub mod traffic;

pub mod text;
