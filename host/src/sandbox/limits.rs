//! What a connector may use, each with a name, a unit and a reason. Tests lift single limits to
//! show that each one matters.

/// One epoch tick, in milliseconds: fine enough to stop a step in time, coarse enough to cost nothing.
pub const TICK_MS: u64 = 10;

/// Limits of every connector of an engine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Ticks of computation per step: 200 ms is a thousand times what parsing a page takes.
    pub step_ticks: u64,
    /// Linear memory, all memories of a component summed, in bytes: an 8 MiB reply, its parsed rows,
    /// and the lifted copy fit several times.
    pub memory_bytes: usize,
    /// Elements of all tables summed: function tables of large Rust components have a few thousand.
    pub table_elements: usize,
    /// Bytes the host may copy out of the guest per call: the largest page of rows.
    pub lift_bytes: usize,
    /// Steps of one sync, all calls together: 10,000 rows in pages of 25 with room to spare.
    pub steps_per_sync: u32,
    /// Requests of one step: a page for each of a few accounts.
    pub requests_per_step: usize,
    /// Rows of one page: a busy year; more means a broken page link.
    pub page_rows: usize,
    /// Pages in one answer of `read`: one for each account of a statement file.
    pub pages_per_step: usize,
    /// Accounts of one connection: the largest business customers have hundreds.
    pub accounts: usize,
    /// Bytes of `memory`: where the flow stands, not the data.
    pub memory_text_bytes: usize,
    /// Bytes of `state`: a cursor.
    pub state_bytes: usize,
    /// Bytes of a component file: a JavaScript engine and its connector fit.
    pub component_bytes: usize,
    /// Interrupted steps within a minute before the version is no longer run.
    pub interrupts_per_minute: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            step_ticks: 20,
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            lift_bytes: 16 << 20,
            steps_per_sync: 1_000,
            requests_per_step: 16,
            page_rows: 10_000,
            pages_per_step: 1_000,
            accounts: 1_000,
            memory_text_bytes: 64 << 10,
            state_bytes: 16 << 10,
            component_bytes: 64 << 20,
            interrupts_per_minute: 3,
        }
    }
}

impl Limits {
    /// Name and value of each, for people.
    pub fn list(&self) -> Vec<(&'static str, String)> {
        let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
        let kib = |bytes: usize| format!("{} KiB", bytes >> 10);
        vec![
            ("computation per step", format!("{} ms", self.step_ticks * TICK_MS)),
            ("linear memory", mib(self.memory_bytes)),
            ("table elements", self.table_elements.to_string()),
            ("answer of one step", mib(self.lift_bytes)),
            ("steps per sync", self.steps_per_sync.to_string()),
            ("requests per step", self.requests_per_step.to_string()),
            ("rows per page", self.page_rows.to_string()),
            ("pages per step", self.pages_per_step.to_string()),
            ("accounts per connection", self.accounts.to_string()),
            ("memory text", kib(self.memory_text_bytes)),
            ("state", kib(self.state_bytes)),
            ("component", mib(self.component_bytes)),
            ("interrupted steps in a minute", self.interrupts_per_minute.to_string()),
        ]
    }
}
