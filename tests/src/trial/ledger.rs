//! The ledger on trial, behind one function: [`of_the_service`] is the service's own, and tests put
//! spoilt ones in its place. The only file here that calls the service's code.

use host::model::StoredTransaction;

pub use host::ledger::{Observed, Verdict};
pub use host::model::{NewChange as Change, Standing};

/// A ledger: what is held, what is remembered, and a look; a verdict, or why the look is incomplete.
pub type Ledger<'a> = &'a dyn Fn(&[StoredTransaction], &Standing, &Observed) -> Result<Verdict, String>;

/// The service's own ledger.
pub fn of_the_service(
    known: &[StoredTransaction],
    standing: &Standing,
    observed: &Observed,
) -> Result<Verdict, String> {
    host::ledger::reconcile(known, standing, observed, false).map_err(|why| why.to_string())
}
