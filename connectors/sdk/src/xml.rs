//! XML replies: elements of a document, found one after another. The document is never held as a whole, since
//! a file has megabytes. Names count without their namespace.
//!
//! ```
//! # use tidegate_sdk::xml;
//! let mut names = Vec::new();
//! let document = "<A xmlns='urn:x'><Acct><Nm>Ada &amp; Tom</Nm></Acct></A>";
//! let take = |account: xml::Element| names.extend(account.text(&["Nm"]).map(str::to_owned));
//! xml::elements(document, &[], &["Acct"], take).unwrap();
//! assert_eq!(names, ["Ada & Tom"]);
//! ```

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

/// Elements within elements: a statement of ISO 20022 has about twelve.
const DEPTH_MAX: usize = 32;

/// An element with all that stands in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Element {
    name: String,
    text: String,
    /// Its attribute `Ccy`, the only one that ISO 20022 has.
    currency: Option<String>,
    children: Vec<Element>,
}

impl Element {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The elements in it that are called so.
    pub fn all<'e, 'n>(&'e self, name: &'n str) -> impl Iterator<Item = &'e Self> + use<'e, 'n> {
        self.children.iter().filter(move |child| child.name == name)
    }
    /// The first one at the end of a path of names.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        match path.split_first() {
            None => Some(self),
            Some((first, rest)) => self.all(first).find_map(|child| child.at(rest)),
        }
    }
    /// The text at the end of a path, without white space around it; none if it is empty.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path).map(|found| found.text.trim()).filter(|text| !text.is_empty())
    }
    /// Its attribute `Ccy`, which ISO 20022 gives to amounts.
    pub fn currency(&self) -> Option<&str> {
        self.currency.as_deref()
    }
}

/// Hands over each element called so, whole, wherever it stands, and where one of `openers` begins an empty one
/// of that name. None if the text is not XML to its end. Several documents may follow each other.
pub fn elements(text: &str, openers: &[&str], wanted: &[&str], mut take: impl FnMut(Element)) -> Option<()> {
    let mut reader = Reader::from_str(text);
    let (mut stack, mut outside): (Vec<Element>, usize) = (Vec::new(), 0);
    loop {
        let event = reader.read_event().ok()?;
        let (opened, empty) = match event {
            Event::Start(tag) => (Some(element(&tag)?), false),
            Event::Empty(tag) => (Some(element(&tag)?), true),
            Event::Text(text) => {
                add(&mut stack, &text.xml10_content());
                (None, false)
            }
            Event::CData(text) => {
                add(&mut stack, &text.xml10_content());
                (None, false)
            }
            Event::GeneralRef(entity) => {
                match entity.resolve_char_ref().ok()? {
                    Some(letter) => add(&mut stack, letter.encode_utf8(&mut [0; 4])),
                    None => add(&mut stack, resolve_predefined_entity(&entity.xml10_content())?),
                }
                (None, false)
            }
            Event::End(_) => {
                match (stack.pop(), outside) {
                    (Some(closed), _) => close(&mut stack, closed, &mut take),
                    (None, 0) => return None,
                    (None, _) => outside -= 1,
                }
                (None, false)
            }
            // A file may break off between two elements.
            Event::Eof => return (stack.is_empty() && outside == 0).then_some(()),
            _ => (None, false),
        };
        let Some(opened) = opened else { continue };
        let inside = !stack.is_empty() || wanted.contains(&opened.name.as_str());
        if !inside && openers.contains(&opened.name.as_str()) {
            take(Element { name: opened.name.clone(), ..Element::default() });
        }
        match (inside, empty) {
            (true, true) => close(&mut stack, opened, &mut take),
            (true, false) => stack.push(opened),
            (false, true) => {}
            (false, false) => outside += 1,
        }
        if stack.len() + outside > DEPTH_MAX {
            return None;
        }
    }
}

fn element(tag: &BytesStart<'_>) -> Option<Element> {
    let currency = tag.try_get_attribute("Ccy").ok()?;
    Some(Element {
        name: tag.local_name().as_ref().to_owned(),
        currency: currency.map(|attribute| attribute.value.into_owned()),
        ..Element::default()
    })
}

fn add(stack: &mut [Element], text: &str) {
    if let Some(open) = stack.last_mut() {
        open.text.push_str(text);
    }
}

fn close(stack: &mut [Element], closed: Element, take: &mut impl FnMut(Element)) {
    match stack.last_mut() {
        Some(parent) => parent.children.push(closed),
        None => take(closed),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<Vec<Element>> {
        let mut all = Vec::new();
        elements(text, &["Stmt"], &["Ntry", "Acct"], |element| all.push(element))?;
        Some(all)
    }

    #[test]
    fn elements_are_found_wherever_they_stand_with_all_that_is_in_them() {
        let all = found(
            "<?xml version='1.0'?><!-- <Ntry/> --><a:Doc xmlns:a='x'><a:Stmt><a:Ntry><Amt Ccy=\"GBP\"> 3.20 </Amt>
             <T>a &amp; b &#x20AC;<![CDATA[ <c>]]></T><T/><In><Ntry><X>1</X></Ntry></In></a:Ntry></a:Stmt></a:Doc>",
        )
        .unwrap();
        assert_eq!((all.len(), all[0].name(), all[1].name()), (2, "Stmt", "Ntry"));
        let entry = &all[1];
        assert_eq!(entry.text(&["Amt"]), Some("3.20"));
        assert_eq!(entry.at(&["Amt"]).unwrap().currency(), Some("GBP"));
        assert_eq!(entry.all("T").count(), 2);
        assert_eq!(entry.text(&["T"]), Some("a & b € <c>"));
        assert_eq!(entry.text(&["In", "Ntry", "X"]), Some("1"));
        assert_eq!(entry.text(&["In", "Nothing"]), None);
    }

    #[test]
    fn several_documents_may_follow_each_other() {
        let one = "<?xml version='1.0' encoding='utf-8'?>\n<D><Ntry/></D>\n";
        assert_eq!(found(&format!("{one}{one}")).unwrap().len(), 2);
        assert_eq!(found(""), Some(vec![]));
    }

    #[test]
    fn what_is_no_xml_to_its_end_is_refused() {
        for bad in [
            "<D><Ntry>",
            "<D><Ntry></D>",
            "<D></D></D>",
            "<D><Ntry><Amt>1</Amt></Ntry>",
            "<D><Ntry>&bogus;</Ntry></D>",
            "<D><Ntry>a & b</Ntry></D>",
        ] {
            assert_eq!(found(bad), None, "{bad}");
        }
        let deep = format!("{}{}", "<D>".repeat(40), "</D>".repeat(40));
        assert_eq!(found(&deep), None);
    }
}
