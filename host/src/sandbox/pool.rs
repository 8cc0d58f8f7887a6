//! Threads for guest computation, below the priority of the threads that do I/O.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::sync::oneshot;

/// How much less urgent than I/O a step is (POSIX nice): replies and API calls come first.
const NICE: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

struct Queue {
    jobs: Mutex<(VecDeque<Job>, bool)>,
    ready: Condvar,
}

/// The sandbox threads. They end when the pool is dropped.
pub(super) struct Pool(Arc<Queue>);

impl Pool {
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue { jobs: Mutex::default(), ready: Condvar::new() });
        for number in 0..threads.max(1) {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("sandbox-{number}")).spawn(move || work(&queue))?;
        }
        Ok(Self(queue))
    }

    /// Runs a step; none if it panicked (wasmtime's bug, not the guest's) or the pool is going.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _ = answer.send(step());
        });
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner).0.push_back(job);
        self.0.ready.notify_one();
        answered.await.ok()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.0.ready.notify_all();
    }
}

fn work(queue: &Queue) {
    let me = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(me), NICE) {
        tracing::debug!(%error, "sandbox threads keep the usual priority");
    }
    loop {
        let mut jobs = queue.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let job = loop {
            if let Some(job) = jobs.0.pop_front() {
                break job;
            }
            if jobs.1 {
                return;
            }
            jobs = queue.ready.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        };
        drop(jobs);
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("a sandbox step panicked in the host; its answer is dropped");
        }
    }
}
