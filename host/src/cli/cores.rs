//! No core of a process that crashes: it would hold every key and token that the process knew.
//!
//! Must not know: which.

use anyhow::Context;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// From now on the system writes no core of this process, and hands none to a program that gathers them. Nor may
/// another process of the same user read its memory.
pub(super) fn forbid() -> anyhow::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .context("the system does not let this process forbid cores, in which its secrets would lie")
}
