//! What a customer agrees to, in plain words. Every sentence is true of this bank and this business.
//!
//! Pure: it is told the time. Must not know: HTML.

use super::view::Topic;
use crate::model::{Business, Institution, Manifest, Timestamp, ValueKind, Wishes};
use crate::sync::schedule;

/// Account numbers that are named; the rest is counted.
const ACCOUNTS_NAMED_MAX: usize = 10;
/// Characters of an account number that are shown: enough to know one's own.
const ENDING_CHARS: usize = 4;

/// All that is agreed to.
pub fn topics(
    business: &Business,
    institution: &Institution,
    manifest: Option<&Manifest>,
    wishes: &Wishes,
    now: Timestamp,
) -> Vec<Topic> {
    let (asks, bank) = (business.display_name(), institution.name.as_str());
    let topic = |question, sentences| Topic { question, sentences };
    vec![
        topic("Who asks?", vec![format!("{asks}.")]),
        topic("What will be seen?", what(asks, institution, wishes)),
        topic("Why?", vec![why(business, wishes)]),
        topic(
            "How often?",
            vec![format!(
                "{bank} is asked {}, and at once when {asks} needs the latest, for example while you use it.",
                every(schedule::minutes_between(institution, now))
            )],
        ),
        topic(
            "For how long?",
            vec![format!(
                "Until you take it back, or until {bank} ends it: many banks ask you again every few months."
            )],
        ),
        topic(
            "How can I stop it?",
            vec![
                format!("Tell {asks}: the access ends, and what is kept of you here is erased."),
                format!("Or withdraw it at {bank}: nothing more is read then."),
            ],
        ),
        topic("What about my login?", login(asks, bank, manifest)),
    ]
}

fn what(asks: &str, institution: &Institution, wishes: &Wishes) -> Vec<String> {
    let mut sentences = vec![format!(
        "Of your accounts at {}: their names and numbers, their balances, and their transactions, those of the last {} \
         days and each new one.",
        institution.name, institution.limits.history_days
    )];
    if let Some(numbers) = &wishes.accounts {
        let named: Vec<_> = numbers.iter().take(ACCOUNTS_NAMED_MAX).map(|number| ending(number)).collect();
        let more = numbers.len().saturating_sub(ACCOUNTS_NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        sentences.push(format!("{asks} asks for these accounts: ending in {}{more}.", named.join(", ")));
    }
    sentences.push("It can only be read: nobody can move money or change anything with it.".to_owned());
    sentences
}

/// The end of a number: whoever else has the link learns no more.
fn ending(number: &str) -> String {
    let letters: Vec<char> = number.chars().filter(|letter| !letter.is_whitespace()).collect();
    letters.iter().skip(letters.len().saturating_sub(ENDING_CHARS)).collect()
}

fn why(business: &Business, wishes: &Wishes) -> String {
    let purpose = wishes.purpose.as_deref().or(business.theme.purpose.as_deref());
    match purpose.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => text.to_owned(),
        None => format!("{} does not say here. Ask there if you are not sure.", business.display_name()),
    }
}

fn login(asks: &str, bank: &str, manifest: Option<&Manifest>) -> Vec<String> {
    let typed = |kind: ValueKind| {
        manifest.is_some_and(|manifest| manifest.asked_for().any(|value| value.kind == kind))
    };
    let elsewhere = manifest.is_some_and(Manifest::redirects);
    let mut sentences = Vec::new();
    if elsewhere {
        sentences
            .push(format!("You log in at {bank} itself: neither {asks} nor this page sees your password."));
    }
    if typed(ValueKind::Credential) {
        sentences.push(format!(
            "What you type here goes to {bank} and to nobody else; {asks} never sees it. What {bank} needs for each \
             visit is kept locked away, and erased when the access ends."
        ));
    } else if typed(ValueKind::Prompt) || !elsewhere {
        sentences.push(format!(
            "What you type here goes to {bank} and to nobody else; {asks} never sees it, and it is not kept."
        ));
    }
    sentences
}

/// A span of minutes, as people say how often.
fn every(minutes: u64) -> String {
    const HOUR: u64 = 60;
    const DAY: u64 = 24 * HOUR;
    match minutes {
        0..=1 => "about every minute".to_owned(),
        DAY => "about once a day".to_owned(),
        _ if minutes.is_multiple_of(DAY) => format!("about every {} days", minutes / DAY),
        _ if minutes > HOUR && minutes.is_multiple_of(HOUR) => {
            format!("about every {} hours", minutes / HOUR)
        }
        _ if minutes > 2 * DAY => format!("about every {} days", minutes.div_ceil(DAY)),
        _ if minutes > 2 * HOUR => format!("about every {} hours", minutes.div_ceil(HOUR)),
        _ => format!("about every {minutes} minutes"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{BusinessId, Theme};

    fn business(purpose: Option<&str>) -> Business {
        Business {
            id: BusinessId::new(),
            name: "CS Ltd".into(),
            theme: Theme {
                display_name: Some("Corner Shop".into()),
                purpose: purpose.map(str::to_owned),
                colour: None,
            },
            created_at: Timestamp(0),
        }
    }

    fn institution(more: &str) -> Institution {
        let text = format!("name = \"Demo Bank\"\ncountry = \"GB\"\nconnector = \"c\"\n[origins]\n{more}");
        Institution::parse("demo", &text).unwrap()
    }

    fn manifest(more: &str) -> Manifest {
        let text = format!("name = \"c\"\nversion = \"1\"\ncontract = \"0.1.0\"\n{more}");
        Manifest::parse(text.as_bytes()).unwrap()
    }

    /// The answer to the question that starts so.
    fn said(topics: &[Topic], question: &str) -> String {
        topics.iter().find(|topic| topic.question.starts_with(question)).unwrap().sentences.join(" ")
    }

    #[test]
    fn the_consent_names_who_what_how_often_and_how_to_stop() {
        let bank = institution("[schedule]\ninterval-minutes = 60\n[limits]\nhistory-days = 400");
        let topics = topics(&business(None), &bank, None, &Wishes::default(), Timestamp(0));
        assert_eq!(said(&topics, "Who"), "Corner Shop.");
        let what = said(&topics, "What will");
        assert!(what.contains("the last 400 days") && !what.contains("ending in"), "{what}");
        assert!(said(&topics, "How often").contains("Demo Bank is asked about every 60 minutes,"));
        assert!(
            said(&topics, "How can").contains("Tell Corner Shop")
                && said(&topics, "How can").contains("at Demo Bank")
        );
    }

    #[test]
    fn the_links_own_purpose_goes_before_the_businesss() {
        let bank = institution("");
        let check = |business: Business, wished: Option<&str>, expected: &str| {
            let wishes = Wishes { purpose: wished.map(str::to_owned), ..Wishes::default() };
            assert_eq!(said(&topics(&business, &bank, None, &wishes, Timestamp(0)), "Why"), expected);
        };
        check(business(Some("Bookkeeping.")), Some("A loan."), "A loan.");
        check(business(Some("Bookkeeping.")), None, "Bookkeeping.");
        check(business(None), None, "Corner Shop does not say here. Ask there if you are not sure.");
    }

    #[test]
    fn of_wanted_accounts_only_the_ends_are_shown() {
        let numbers = (0..12).map(|number| format!("GB29 NWBK 6016 1331 92{number:02}")).collect();
        let wishes = Wishes { accounts: Some(numbers), ..Wishes::default() };
        let topics = topics(&business(None), &institution(""), None, &wishes, Timestamp(0));
        let what = said(&topics, "What will");
        assert!(what.contains("ending in 9200, 9201,") && what.contains("9209 and 2 more."), "{what}");
        assert!(!what.contains("1331"), "{what}");
    }

    #[test]
    fn what_is_said_of_the_login_is_what_the_connector_asks_for() {
        let value = |kind: &str| {
            format!(
                "[[value]]\nname = \"v\"\nkind = \"{kind}\"\nuse = \"fill\"\nroutes = []\nlabel = \"V\"\n"
            )
        };
        let page = "[[route]]\nname = \"a\"\nmethod = \"GET\"\norigin = \"a\"\npath = \"/a\"\npurpose = \"customer\"\n";
        let (kept, redirected) = ("is kept locked away", "You log in at Demo Bank itself");
        let check = |toml: &str, has: &[&str], lacks: &[&str]| {
            let said = login("Corner Shop", "Demo Bank", Some(&manifest(toml))).join(" ");
            assert!(has.iter().all(|part| said.contains(part)), "{said}");
            assert!(!lacks.iter().any(|part| said.contains(part)), "{said}");
        };
        check(&value("credential"), &[kept], &[redirected, "not kept"]);
        check(&value("prompt"), &["it is not kept"], &[redirected, kept]);
        check(page, &[redirected], &["What you type"]);
        check(&format!("{page}{}", value("credential")), &[redirected, kept], &[]);
        check(&value("credential").replace("label = \"V\"", ""), &["it is not kept"], &[kept]);
    }

    #[test]
    fn where_the_bank_has_a_page_of_its_own_nothing_is_said_to_be_typed_here() {
        let uk = include_bytes!("../../../../connectors/open-banking-uk/connector.toml");
        let signed = include_bytes!("../../../../connectors/signed-psd2/connector.toml");
        for toml in [uk.as_slice(), signed] {
            let said = login("Corner Shop", "Demo Bank", Some(&Manifest::parse(toml).unwrap())).join(" ");
            assert_eq!(
                said,
                "You log in at Demo Bank itself: neither Corner Shop nor this page sees your password."
            );
        }
    }

    #[test]
    fn how_often_is_said_as_people_say_it() {
        for (minutes, expected) in [
            (1, "every minute"),
            (60, "every 60 minutes"),
            (90, "every 90 minutes"),
            (120, "every 2 hours"),
            (200, "every 4 hours"),
            (1_440, "once a day"),
            (2_880, "every 2 days"),
            (3_360, "every 56 hours"),
            (10_080, "every 7 days"),
        ] {
            assert_eq!(every(minutes), format!("about {expected}"));
        }
    }
}
