//! Segments as FinTS writes them (FinTS 3.0, formals, H.1): a segment ends with `'`, its elements stand apart by
//! `+`, and `?` stands before `? + : ' @` where they mean themselves.
//!
//! What the host fills in is escaped by [`crate::Encoding::FintsText`]; these are for text of our own and for
//! answers.

/// An element as it stands in a segment.
pub fn escape(element: &str) -> String {
    let mut escaped = String::with_capacity(element.len());
    for letter in element.chars() {
        if "?+:'@".contains(letter) {
            escaped.push('?');
        }
        escaped.push(letter);
    }
    escaped
}

/// An element as it was meant. A `?` at the end is dropped.
pub fn unescape(escaped: &str) -> String {
    let mut letters = escaped.chars();
    let next = || match letters.next()? {
        '?' => letters.next(),
        plain => Some(plain),
    };
    std::iter::from_fn(next).collect()
}

/// The name and elements of each segment; none if the last one does not end.
pub fn split(text: &str) -> Option<Vec<Vec<String>>> {
    let (mut segments, mut segment, mut element) = (Vec::new(), Vec::new(), String::new());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '?' => element.push(letters.next()?),
            '+' => segment.push(std::mem::take(&mut element)),
            '\'' => {
                segment.push(std::mem::take(&mut element));
                segments.push(std::mem::take(&mut segment));
            }
            plain => element.push(plain),
        }
    }
    (segment.is_empty() && element.is_empty()).then_some(segments)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_escaped_on_the_way_out_and_unescaped_on_the_way_in() {
        let written = format!("ROW+{}+'ACC'", escape("a?b+c:d'e@f"));
        assert_eq!(written, "ROW+a??b?+c?:d?'e?@f+'ACC'");
        let rows = split(&written).unwrap();
        assert_eq!(rows, [vec!["ROW".to_owned(), "a?b+c:d'e@f".into(), String::new()], vec!["ACC".into()]]);
        assert_eq!(unescape("a??b?+c?"), "a?b+c");
    }

    #[test]
    fn a_segment_without_an_end_is_refused() {
        for bad in ["ACC", "ACC+", "ACC+1?'", "ACC'?"] {
            assert_eq!(split(bad), None, "{bad}");
        }
        assert_eq!(split(""), Some(vec![]));
    }
}
