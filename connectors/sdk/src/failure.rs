//! Failures, made easy to write.

use crate::{Failure, Unreadable};

/// Characters of `unreadable.field`; the contract's limit.
const FIELD_CHARS_MAX: usize = 64;

impl Failure {
    /// A reply that is not what the bank's interface promises.
    ///
    /// `row` counts from 0 within the reply. `field` is a path of names: whatever the contract does
    /// not allow in it is dropped, so that a bank's text cannot travel in it.
    pub fn unreadable(row: Option<usize>, field: &str) -> Self {
        let allowed = |letter: &char| letter.is_ascii_alphanumeric() || "._-[]".contains(*letter);
        Self::Unreadable(Unreadable {
            row: row.and_then(|row| u32::try_from(row).ok()),
            field: field.chars().filter(allowed).take(FIELD_CHARS_MAX).collect(),
        })
    }

    /// The same failure with its field, if it has one, below `parent`.
    #[must_use]
    pub fn under(self, parent: &str) -> Self {
        match self {
            Self::Unreadable(unreadable) => {
                let row = unreadable.row.map(|row| row as usize);
                let field = match (unreadable.field.as_str(), parent) {
                    ("" | ".", parent) => parent.to_owned(),
                    (place, parent) if place.starts_with('[') => format!("{parent}{place}"),
                    (field, parent) => format!("{parent}.{field}"),
                };
                Self::unreadable(row, &field)
            }
            other => other,
        }
    }

    /// The same failure in that row, if it is about a field of a row.
    #[must_use]
    pub fn in_row(self, row: usize) -> Self {
        match self {
            Self::Unreadable(unreadable) => Self::unreadable(Some(row), &unreadable.field),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_never_carries_what_the_contract_forbids() {
        let failure = Failure::unreadable(Some(3), "Amount.Amount = \"£12\"\n");
        assert_eq!(
            failure,
            Failure::Unreadable(Unreadable { row: Some(3), field: "Amount.Amount12".into() })
        );
        let Failure::Unreadable(long) = Failure::unreadable(None, &"x".repeat(100)) else { unreachable!() };
        assert_eq!(long.field.len(), 64);
    }

    #[test]
    fn a_failure_moves_below_its_parent() {
        assert_eq!(
            Failure::unreadable(None, "api").under("origins"),
            Failure::unreadable(None, "origins.api")
        );
        assert_eq!(
            Failure::unreadable(None, "[1].api").under("origins"),
            Failure::unreadable(None, "origins[1].api")
        );
        assert_eq!(Failure::PagesChanged.under("x"), Failure::PagesChanged);
    }

    #[test]
    fn a_failure_is_told_its_row() {
        assert_eq!(Failure::unreadable(None, "api").in_row(7), Failure::unreadable(Some(7), "api"));
        assert_eq!(Failure::PagesChanged.in_row(7), Failure::PagesChanged);
    }
}
