//! The wasmtime engine: which features of WebAssembly a connector gets, and how it is stopped.

use super::limits::{Limits, TICK_MS};
use std::time::Duration;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter,
};

/// Components alive at the same time: each step holds one, on one of the sandbox threads.
const INSTANCES_PER_THREAD: u32 = 2;
/// Core instances of one component: Rust has 3, embedded Python 14.
const CORE_INSTANCES_PER_COMPONENT: u32 = 16;
/// Memories of one component: language runtimes have one or two.
const MEMORIES_PER_COMPONENT: u32 = 4;
/// Tables of one component.
const TABLES_PER_COMPONENT: u32 = 8;
/// Memory kept resident per slot between steps, in bytes, where the kernel tells which pages were written and
/// only those are wiped (Linux 6.7): what a step touches that parses a page of a hundred rows.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;
/// The same where all of it is wiped: more costs more than the page faults that it saves.
const KEEP_RESIDENT_BLINDLY_BYTES: usize = 256 << 10;
/// Table bytes kept resident per slot: the function tables of Rust components have some hundred entries.
const KEEP_TABLE_BYTES: usize = 64 << 10;

/// The settings that decide what compiled code looks like: the same for the process that compiles
/// and the process that runs.
fn code_config() -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.epoch_interruption(true);
    config.concurrency_support(false);
    config.generate_address_map(false);
    config.wasm_backtrace_max_frames(None);
    // What no connector needs. Multi-memory stays on: wasmtime's own adapters use it.
    config.wasm_memory64(false);
    config.wasm_relaxed_simd(false);
    config
}

/// The engine that runs steps on `threads` threads.
pub(super) fn run_engine(limits: &Limits, threads: usize) -> wasmtime::Result<Engine> {
    let instances = u32::try_from(threads).unwrap_or(u32::MAX).saturating_mul(INSTANCES_PER_THREAD).max(4);
    let keep_resident = match PoolingAllocationConfig::is_pagemap_scan_available() {
        true => KEEP_RESIDENT_BYTES,
        false => KEEP_RESIDENT_BLINDLY_BYTES,
    };
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances * CORE_INSTANCES_PER_COMPONENT)
        .total_memories(instances * MEMORIES_PER_COMPONENT)
        .total_tables(instances * TABLES_PER_COMPONENT)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .table_elements(limits.table_elements)
        .linear_memory_keep_resident(keep_resident)
        .table_keep_resident(KEEP_TABLE_BYTES)
        .pagemap_scan(Enabled::Auto);
    let mut config = code_config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).or_else(|_| {
        // No room for the pool's address space (`ulimit -v`, small address spaces): slower, not different.
        tracing::warn!("the instance pool could not be reserved; connectors run without it, slower");
        Engine::new(&code_config())
    })?;
    start_ticker(&engine);
    Ok(engine)
}

/// The engine of the process that compiles.
pub(super) fn compile_engine() -> wasmtime::Result<Engine> {
    Engine::new(&code_config())
}

/// Advances the epoch until the engine is gone: without it, no step of this engine is ever stopped.
#[allow(clippy::disallowed_methods)] // a thread of its own, whose sleep is the tick; no test waits for it
pub(super) fn start_ticker(engine: &Engine) {
    let weak = engine.weak();
    let spawned = std::thread::Builder::new().name("sandbox-ticker".into()).spawn(move || {
        loop {
            #[allow(clippy::disallowed_methods)] // measures how long a guest computes, in real time
            std::thread::sleep(Duration::from_millis(TICK_MS));
            match weak.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "the sandbox ticker could not start; steps cannot be interrupted");
    }
}

/// What a store holds: how much memory its guest took, all memories and tables summed.
pub(super) struct Meter {
    memory_max: usize,
    table_max: usize,
    memory: usize,
    table: usize,
    /// Which limit was hit, if one was.
    pub(super) hit: Option<&'static str>,
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory_max: limits.memory_bytes,
            table_max: limits.table_elements,
            memory: 0,
            table: 0,
            hit: None,
        }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.memory.saturating_add(desired.saturating_sub(current));
        if sum > self.memory_max {
            self.hit = Some("linear memory");
            return Ok(false);
        }
        self.memory = sum;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.table.saturating_add(desired.saturating_sub(current));
        if sum > self.table_max {
            self.hit = Some("table elements");
            return Ok(false);
        }
        self.table = sum;
        Ok(true)
    }
}
