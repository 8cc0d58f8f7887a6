//! `memory` as a type of your own: what one step tells the next, as JSON text of at most 64 KiB.

use crate::Failure;
use serde::{Serialize, de::DeserializeOwned};

/// What the last step said; the default on the first call of a sync, when memory is empty.
///
/// Fails as `unreadable` with a field under `memory` when the text is not what [`save`] wrote.
pub fn load<T: DeserializeOwned + Default>(memory: &str) -> Result<T, Failure> {
    if memory.is_empty() {
        return Ok(T::default());
    }
    crate::json::document(memory.as_bytes()).map_err(|failure| failure.under("memory"))
}

/// The text for the next step. Over 64 KiB, the host fails the step as `connector-fault`.
///
/// Fails as `unreadable` with the field `memory` when the type cannot be JSON (a map whose keys are
/// not text).
pub fn save<T: Serialize>(memory: &T) -> Result<String, Failure> {
    serde_json::to_string(memory).map_err(|_| Failure::unreadable(None, "memory"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, Serialize, serde::Deserialize)]
    struct Memory {
        page: u32,
    }

    #[test]
    fn memory_reads_back_what_it_wrote() {
        let memory = Memory { page: 7 };
        assert_eq!(load::<Memory>(&save(&memory).unwrap()), Ok(memory));
    }

    #[test]
    fn the_first_call_has_the_default() {
        assert_eq!(load::<Memory>(""), Ok(Memory { page: 0 }));
    }

    #[test]
    fn memory_that_cannot_be_read_says_where() {
        assert_eq!(load::<Memory>(r#"{"page":"x"}"#), Err(Failure::unreadable(None, "memory.page")));
        assert_eq!(load::<Memory>("nonsense"), Err(Failure::unreadable(None, "memory")));
    }

    #[test]
    fn memory_that_cannot_be_json_is_refused() {
        let odd = BTreeMap::from([(vec![1_u8], 1)]);
        assert_eq!(save(&odd), Err(Failure::unreadable(None, "memory")));
    }
}
