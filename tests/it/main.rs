//! The integration tests: one binary, a room each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

mod backup;
mod bank_misbehaves;
mod consents;
mod crash;
mod credentials;
mod credit;
mod demo;
mod doctor;
mod document;
mod door_camt;
mod door_dialogue;
mod door_portal;
mod door_signed;
mod door_uk;
mod door_uk_running;
mod doors;
mod freshness;
mod hostile;
mod isolation;
mod leaving;
mod limits;
mod link_page;
mod linked;
mod load;
mod looks;
mod mock_bank;
mod operations;
mod packaging;
mod prism;
mod processes;
mod proxied;
mod redirected_twice;
mod refusals;
mod relisted;
mod scenarios;
mod served;
mod shipped;
mod specification;
mod statements;
mod story;
mod sync;
mod traces;
mod walls;
