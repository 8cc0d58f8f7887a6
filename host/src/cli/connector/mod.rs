//! `tidegate connector …`: what concerns connectors as files.

pub mod build;
