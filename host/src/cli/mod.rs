//! Subcommands of `tidegate`.

pub mod connector;
