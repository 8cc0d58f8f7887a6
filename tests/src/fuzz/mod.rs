//! What the fuzz targets do with their bytes: [`reconcile`] plays looks at a bank, [`cursor`] reads cursors. Both
//! panic where a promise is broken, and nowhere else.
//!
//! `tests/fuzz` runs them under libFuzzer; `cargo test` replays the corpus that was found there.

mod bytes;
mod cursor;
mod held;
mod looks;
mod reconcile;

pub use cursor::cursor;
pub use reconcile::reconcile;

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn replay(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(files.len() > 20, "the corpus of {target} is there");
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            // The name of the file that breaks a promise stands above its panic.
            let done = std::panic::catch_unwind(|| run(&bytes));
            assert!(done.is_ok(), "{}", file.display());
        }
    }

    #[test]
    fn the_corpus_of_reconcile_breaks_no_promise() {
        replay("reconcile", super::reconcile);
    }

    #[test]
    fn the_corpus_of_cursor_breaks_no_promise() {
        replay("cursor", super::cursor);
    }
}
