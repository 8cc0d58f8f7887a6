//! What the last look showed is recognised, and nothing else is.

use super::*;

fn looked(rows: Vec<Transaction>, balance: i64) -> (Held, Index) {
    let mut held = Held::default();
    let observed = whole_month(rows, booked(balance));
    let verdict = held.look(&observed);
    let index = Index::of(&observed, &verdict, &held.rows, day(10)).unwrap();
    (held, index)
}

fn rows() -> Vec<Transaction> {
    vec![
        row("a", 2, -1, "Old"),
        row("b", 12, -100, "Coffee"),
        row("", 13, -100, "Tea"),
        row("", 13, -100, "Tea"),
        pending("p", 14, -5, "Bus"),
    ]
}

#[test]
fn only_what_is_shown_again_as_it_was_is_unchanged() {
    let (held, index) = looked(rows(), 0);
    let later = |since: u32| {
        let mut look = whole_month(rows(), booked(0));
        look.coverage.as_mut().unwrap().window.since = day(since);
        look.transactions.retain(|row| row.booked_on.is_some_and(|on| on >= day(since)));
        look
    };
    let check = |name: &str, expected: Option<Proof>, since: u32, change: &dyn Fn(&mut Observed)| {
        let mut look = later(since);
        change(&mut look);
        assert_eq!(index.unchanged(&held.standing, &look), expected, "{name}");
        if expected.is_some() {
            assert_eq!(kinds(&held.judge(&look).unwrap()), "", "{name}: the ledger agrees");
        }
    };
    let same = Some(Proof::Proved);
    check("the same", same, 10, &|_| {});
    check("the window moves on", same, 13, &|_| {});
    check("in another order", same, 10, &|look| look.transactions.reverse());
    check("without a balance", Some(Proof::Unproved), 10, &|look| look.balances.clear());
    check("more days than it speaks of", None, 2, &|_| {});
    check("another balance", None, 10, &|look| look.balances = booked(1));
    check("a new row", None, 10, &|look| look.transactions.push(row("n", 15, 1, "New")));
    check("one twin less", None, 10, &|look| drop(look.transactions.remove(2)));
    check("another text", None, 10, &|look| look.transactions[0].text = "COFFEE".into());
    check("another id", None, 10, &|look| look.transactions[0].bank_id = Some("c".into()));
    check("a pending row is gone", None, 10, &|look| drop(look.transactions.pop()));
    check("a removal", None, 10, &|look| look.removed.push("a".into()));
    check("not read to its end", None, 10, &|look| look.coverage.as_mut().unwrap().complete = false);
    check("only what changed", None, 10, &|look| look.coverage.as_mut().unwrap().snapshot = false);
}

#[test]
fn what_waits_for_a_second_look_is_looked_at_again() {
    let mut held = Held::default();
    held.look(&whole_month(rows(), vec![]));
    let short = whole_month(rows()[..4].to_vec(), vec![]);
    let verdict = held.look(&short);
    assert_eq!(verdict.missed.len(), 1);
    assert_eq!(Index::of(&short, &verdict, &held.rows, day(1)), None);
    let gone = held.look(&short);
    held.rows.iter().for_each(|row| assert_eq!(row.missed, 0));
    assert!(Index::of(&short, &gone, &held.rows, day(1)).is_some());
}

proptest! {
    #[test]
    fn an_index_reads_back_and_no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_, index) = looked(rows(), 0);
        prop_assert_eq!(Index::decode(&index.encode()), Some(index));
        if let Some(index) = Index::decode(&bytes) {
            prop_assert_eq!(index.encode(), bytes);
        }
    }
}
