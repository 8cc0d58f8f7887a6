//! How often rows are compared: what tests hold against growth. Outside of tests nothing is counted.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static COMPARED: Cell<u64> = const { Cell::new(0) };
}

/// Two rows are compared, or one is looked up among others.
#[inline]
pub(super) fn compared() {
    #[cfg(test)]
    COMPARED.with(|count| count.set(count.get() + 1));
}

/// How often, in what `work` does.
#[cfg(test)]
pub(super) fn comparisons(work: impl FnOnce()) -> u64 {
    let before = COMPARED.with(Cell::get);
    work();
    COMPARED.with(Cell::get) - before
}
