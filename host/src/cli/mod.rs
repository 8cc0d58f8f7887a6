//! Subcommands of `tidegate`.
