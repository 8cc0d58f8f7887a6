//! HTML replies: a small reader of tags as banks write them, with attributes in any order and quoted in any
//! way, cells and rows that are not closed, entities, comments with tags inside.
//!
//! No crate: a full parser (html5ever) is ten times larger than a connector and mends pages into trees that
//! nobody here needs; the small ones (tl) are no longer kept. Scripts and styles are passed over.
//!
//! ```
//! # use tidegate_sdk::html;
//! let tokens = html::tokens("<table id=rows><tr class='odd'><td>1 Mar<td>&pound;5</table>");
//! let rows = html::table(&tokens, "rows").unwrap();
//! assert_eq!(rows.first().unwrap().cells, ["1 Mar", "£5"]);
//! ```

use std::borrow::Cow;

/// A piece of a page, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'t> {
    /// A tag that opens: its name, and its attributes as they are written.
    Open(&'t str, &'t str),
    /// A tag that closes.
    Close(&'t str),
    /// Text with its entities.
    Text(&'t str),
}

impl<'t> Token<'t> {
    /// A tag of this name that opens?
    pub fn opens(&self, name: &str) -> bool {
        matches!(self, Self::Open(open, _) if open.eq_ignore_ascii_case(name))
    }

    fn closes(&self, name: &str) -> bool {
        matches!(self, Self::Close(close) if close.eq_ignore_ascii_case(name))
    }

    /// The value of an attribute of the tag; empty if it has none.
    pub fn attribute(&self, name: &str) -> Option<Cow<'t, str>> {
        let Self::Open(_, mut rest) = *self else { return None };
        loop {
            rest = rest.trim_start_matches(|letter: char| letter.is_ascii_whitespace() || letter == '/');
            let end =
                rest.find(|letter: char| letter.is_ascii_whitespace() || letter == '=' || letter == '/');
            let (found, after) = rest.split_at(end.unwrap_or(rest.len()));
            if found.is_empty() && after.is_empty() {
                return None;
            }
            let after = after.trim_start();
            let (value, next) = match after.strip_prefix('=').map(str::trim_start) {
                None => ("", after),
                Some(value) => match value.chars().next().filter(|quote| "\"'".contains(*quote)) {
                    Some(quote) => {
                        let inner = value.get(1..).unwrap_or_default();
                        inner.split_once(quote).unwrap_or((inner, ""))
                    }
                    None => {
                        value.split_at(value.find(|l: char| l.is_ascii_whitespace()).unwrap_or(value.len()))
                    }
                },
            };
            if found.eq_ignore_ascii_case(name) {
                return Some(decoded(value));
            }
            rest = next;
        }
    }

    /// Is this one of the words of its `class`?
    pub fn has_class(&self, class: &str) -> bool {
        self.attribute("class").is_some_and(|all| all.split_ascii_whitespace().any(|word| word == class))
    }
}

/// The pieces of a page.
pub fn tokens(page: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let (text, tag) = rest.split_at(start);
        if !text.is_empty() {
            tokens.push(Token::Text(text));
        }
        if let Some(comment) = tag.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let end = end_of_tag(tag);
        let inside = tag.get(1..end).unwrap_or_default();
        rest = tag.get(end + 1..).unwrap_or_default();
        if inside.starts_with(['!', '?']) {
            continue;
        }
        if let Some(close) = inside.strip_prefix('/') {
            tokens.push(Token::Close(close.trim()));
            continue;
        }
        let space = inside.find(|letter: char| letter.is_ascii_whitespace() || letter == '/');
        let (name, attributes) = inside.split_at(space.unwrap_or(inside.len()));
        tokens.push(Token::Open(name, attributes));
        if name.eq_ignore_ascii_case("script") || name.eq_ignore_ascii_case("style") {
            // What is inside is no text; it ends with its own closing tag.
            rest = rest.find("</").map_or("", |at| rest.get(at..).unwrap_or_default());
        }
    }
    if !rest.is_empty() {
        tokens.push(Token::Text(rest));
    }
    tokens
}

/// Where the tag's `>` stands: not inside quotes.
fn end_of_tag(tag: &str) -> usize {
    let mut quote = None;
    for (at, letter) in tag.char_indices() {
        match (quote, letter) {
            (None, '>') => return at,
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
    }
    tag.len()
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<'t> {
    /// `<tr …>`.
    pub tag: Token<'t>,
    /// As people read them.
    pub cells: Vec<String>,
}

/// The rows with cells (`td`) of the table of this id; none if there is no such table.
pub fn table<'t>(tokens: &[Token<'t>], id: &str) -> Option<Vec<Row<'t>>> {
    let named = |token: &Token<'_>| token.opens("table") && token.attribute("id").as_deref() == Some(id);
    let start = tokens.iter().position(named)?;
    let mut rows: Vec<Row<'t>> = Vec::new();
    let mut in_cell = false;
    for token in tokens.get(start + 1..)?.iter().take_while(|token| !token.closes("table")) {
        if token.opens("tr") {
            rows.push(Row { tag: *token, cells: Vec::new() });
            in_cell = false;
        } else if token.opens("td") {
            in_cell = true;
            rows.last_mut()?.cells.push(String::new());
        } else if token.closes("td") || token.closes("tr") || token.opens("th") {
            in_cell = false;
        } else if let (true, Token::Text(text)) = (in_cell, token)
            && let Some(cell) = rows.last_mut().and_then(|row| row.cells.last_mut())
        {
            cell.push_str(&decoded(text));
        }
    }
    rows.retain(|row| !row.cells.is_empty());
    rows.iter_mut().flat_map(|row| &mut row.cells).for_each(|cell| *cell = as_read(cell));
    Some(rows)
}

/// The text of the first tag with this id, up to the next tag that closes.
pub fn text_of(tokens: &[Token<'_>], id: &str) -> Option<String> {
    let start = tokens.iter().position(|token| token.attribute("id").as_deref() == Some(id))?;
    let inside = tokens.get(start + 1..)?.iter().take_while(|token| !matches!(token, Token::Close(_)));
    let text: String = inside
        .filter_map(|token| match token {
            Token::Text(text) => Some(decoded(text)),
            _ => None,
        })
        .collect();
    Some(as_read(&text))
}

/// White space as a browser shows it: any run of it is one space, and none at either end.
fn as_read(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// With entities replaced by what they stand for.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        match after.split_once(';').and_then(|(name, after)| Some((entity(name)?, after))) {
            Some((letter, after)) => {
                plain.push(letter);
                rest = after;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

fn entity(name: &str) -> Option<char> {
    const NAMES: [(&str, char); 11] = [
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
        ("nbsp", '\u{a0}'),
        ("pound", '£'),
        ("euro", '€'),
        ("copy", '©'),
        ("ndash", '–'),
        ("raquo", '»'),
    ];
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return code.ok().and_then(char::from_u32);
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, letter)| *letter)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn attributes_stand_in_any_order_and_quoted_in_any_way() {
        let check = |page: &str, name: &str, expected: Option<&str>| {
            assert_eq!(tokens(page)[0].attribute(name).as_deref(), expected, "{page}");
        };
        check("<input value=\"a b\" type=hidden name='c'>", "value", Some("a b"));
        check("<input value=\"a b\" type=hidden name='c'>", "type", Some("hidden"));
        check("<input value=\"a b\" type=hidden name='c'>", "NAME", Some("c"));
        check("<a href=/x/y rel=next>", "href", Some("/x/y"));
        check("<a title='a > b' href=\"/?a=1&amp;b=2\">", "href", Some("/?a=1&b=2"));
        check("<button disabled formnovalidate>", "formnovalidate", Some(""));
        check("<br/>", "href", None);
        check("<a href = 'x'>", "href", Some("x"));
        check("<a href='x", "href", Some("x"));
        check("text", "href", None);
    }

    #[test]
    fn comments_scripts_and_declarations_are_no_text() {
        let page =
            "<!DOCTYPE html><!-- <td>old</td> -->a<script>if (a<b) x('<td>')</script>b<STYLE>td{}</style>c";
        let text: String = tokens(page)
            .iter()
            .filter_map(|token| if let Token::Text(text) = token { Some(*text) } else { None })
            .collect();
        assert_eq!(text, "abc");
    }

    #[test]
    fn a_table_is_read_whether_or_not_its_cells_are_closed() {
        let page =
            "<table id=other><tr><td>no</table><table class=x id='t'><thead><tr><th>A<th>B</tr></thead>
            <tbody><tr class=\"odd pending\"><td>1</td> <td>\n two  <b>words</b>&nbsp;</td></tr>
            <TR><TD>3<TD>&pound;5 &amp; 10&#37; &#xE9;&bogus; <tr><td colspan=2>none</table><td>after";
        let tokens = tokens(page);
        let rows = table(&tokens, "t").unwrap();
        let cells: Vec<Vec<&str>> =
            rows.iter().map(|row| row.cells.iter().map(String::as_str).collect()).collect();
        assert_eq!(cells, [vec!["1", "two words"], vec!["3", "£5 & 10% é&bogus;"], vec!["none"]]);
        assert!(rows[0].tag.has_class("pending") && !rows[0].tag.has_class("pend"));
        assert_eq!(table(&tokens, "missing"), None);
    }

    #[test]
    fn a_text_is_found_by_its_id() {
        let tokens = tokens("<dl><dt>Now</dt><dd id='current'>-1,234.56&nbsp;GBP</dd><dd id=empty></dd>");
        assert_eq!(text_of(&tokens, "current").as_deref(), Some("-1,234.56 GBP"));
        assert_eq!(text_of(&tokens, "empty").as_deref(), Some(""));
        assert_eq!(text_of(&tokens, "missing"), None);
    }

    #[test]
    fn a_page_that_breaks_off_ends_quietly() {
        for page in ["<", "<a", "<a href=\"", "<!-- never", "</", "<table id=t><tr><td>x", "&", "&#x;"] {
            let tokens = tokens(page);
            table(&tokens, "t");
            text_of(&tokens, "t");
        }
    }
}
