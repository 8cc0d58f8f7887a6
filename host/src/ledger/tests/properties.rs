//! What holds for any statement.

use super::*;

fn any_row() -> impl Strategy<Value = Transaction> {
    (0_u8..30, 2_u32..28, -5_i64..5, 0_usize..3, any::<bool>(), any::<bool>()).prop_map(
        |(id, on, minor, text, is_pending, has_id)| {
            let (id, text) =
                (if has_id { format!("id{id}") } else { String::new() }, ["Coffee", "Tea", "Rent"][text]);
            if is_pending { pending(&id, on, minor, text) } else { row(&id, on, minor, text) }
        },
    )
}

/// What a bank shows whose ids name rows: no id twice.
fn any_reading() -> impl Strategy<Value = Vec<Transaction>> {
    prop::collection::vec(any_row(), 0..12).prop_map(|mut rows| {
        let mut ids = BTreeSet::new();
        rows.retain(|row| row.bank_id.as_ref().is_none_or(|id| ids.insert(id.clone())));
        rows
    })
}

/// Any answer: from any day on, read to its end or not, with a balance that fits, with one that does not, or without.
fn any_look() -> impl Strategy<Value = Observed> {
    (any_reading(), 1_u32..20, any::<bool>(), prop::option::of(-2_i64..3)).prop_map(
        |(rows, since, complete, off)| {
            let balances = off.map_or(vec![], |off| booked(sum(&rows) + off));
            let mut look = whole_month(rows, balances);
            look.transactions.retain(|row| row.booked_on.is_some_and(|on| on >= day(since)));
            let coverage = look.coverage.as_mut().unwrap();
            (coverage.window.since, coverage.complete) = (day(since), complete);
            look
        },
    )
}

/// All that a business hears of a row.
fn told(row: &Transaction) -> String {
    let Transaction { status, booked_on, valued_on, money, text, counterparty, details, .. } = row;
    format!("{status:?} {booked_on:?} {valued_on:?} {money} {text} {counterparty:?} {details}")
}

fn sum(rows: &[Transaction]) -> i64 {
    rows.iter().filter(|row| row.status == TransactionStatus::Booked).map(|row| row.money.minor).sum()
}

proptest! {
    #[test]
    fn two_looks_hold_what_the_bank_shows_and_a_third_changes_nothing(first in any_reading(), second in any_reading()) {
        let mut held = Held::default();
        held.look(&whole_month(first.clone(), booked(sum(&first))));
        let then = whole_month(second.clone(), booked(sum(&second)));
        // Rows that weigh nothing together may look like a truncated statement: then nothing is stored.
        if held.judge(&then).is_ok() {
            held.look(&then);
            if held.judge(&then).is_ok() {
                held.look(&then); // pending rows that vanished wait for the second miss
                prop_assert_eq!(held.contents(), contents(second.iter()));
                prop_assert_eq!(kinds(&held.look(&then)), "");
            }
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(
        first in any_reading(),
        (second, shuffled) in any_reading().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        let mut held = Held::default();
        held.look(&whole_month(first, vec![]));
        let (one, other) = (held.judge(&whole_month(second, vec![])), held.judge(&whole_month(shuffled, vec![])));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn the_same_look_again_changes_nothing(first in any_reading(), second in any_reading()) {
        let mut held = Held::default();
        held.look(&whole_month(first.clone(), booked(sum(&first))));
        let then = whole_month(second.clone(), booked(sum(&second)));
        if held.judge(&then).is_ok() {
            held.look(&then);
            if let Ok(again) = held.judge(&then) {
                // What was missing once is missing twice; nothing else is told.
                prop_assert!(again.changes.iter().all(|change| matches!(change, NewChange::Removed { .. })), "{again:#?}");
                prop_assert!(again.rekeyed.is_empty());
            }
        }
    }

    #[test]
    fn a_list_that_moves_between_pages_shows_rows_twice_and_says_nothing_new(
        rows in any_reading(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut held = Held::default();
        held.look(&whole_month(rows.clone(), booked(sum(&rows))));
        let mut shown = rows.clone();
        for pick in picks.iter().filter(|_| !rows.is_empty()) {
            // Pending rows without ids are twins as far as anybody can know.
            let row = pick.get(&rows);
            if row.bank_id.is_some() {
                shown.push(row.clone());
            }
        }
        let verdict = held.judge(&whole_month(shown, booked(sum(&rows)))).unwrap();
        prop_assert_eq!((verdict.changes, verdict.proof), (vec![], Proof::Proved));
    }

    #[test]
    fn pages_of_any_size_say_the_same(
        second in any_reading(),
        size in 1_usize..7,
        moves in prop::collection::vec(any::<bool>(), 12),
    ) {
        let held = Held::default();
        // Where the list moves on while it is paged, the next page begins with the last row of the one before.
        let mut paged: Vec<Transaction> = Vec::new();
        for (page, moves) in second.chunks(size).zip(moves) {
            let last = paged.last().filter(|row| moves && row.bank_id.is_some()).cloned();
            paged.extend(last.into_iter().chain(page.iter().cloned()));
        }
        let look = |rows| whole_month(rows, booked(sum(&second)));
        prop_assert_eq!(held.judge(&look(paged)), held.judge(&look(second.clone())));
    }

    #[test]
    fn changes_applied_to_the_old_state_give_the_new(looks in prop::collection::vec(any_look(), 1..6)) {
        let mut held = Held::default();
        let mut copy: BTreeMap<i64, Transaction> = BTreeMap::new();
        for look in looks {
            let Ok(verdict) = held.judge(&look) else { continue };
            for (seq, change) in (held.next + 1..).zip(&verdict.changes) {
                let known = match change {
                    NewChange::Added { after, .. } => (copy.insert(seq, after.clone()), None),
                    NewChange::Modified { number, before, after, .. } => {
                        (copy.insert(*number, after.clone()), Some(before))
                    }
                    NewChange::Removed { number, before, .. } => (copy.remove(number), Some(before)),
                };
                prop_assert_eq!(known.0.as_ref().map(told), known.1.map(told), "before is what was told");
            }
            held.apply(&verdict);
            let rows: BTreeMap<i64, String> =
                held.rows.iter().map(|row| (row.id.number, told(&row.transaction))).collect();
            let copied: BTreeMap<i64, String> = copy.iter().map(|(number, row)| (*number, told(row))).collect();
            prop_assert_eq!(copied, rows);
        }
    }

    #[test]
    fn a_month_in_two_halves_is_the_month(rows in any_reading()) {
        let whole = {
            let mut held = Held::default();
            held.look(&whole_month(rows.clone(), booked(sum(&rows))));
            held.contents()
        };
        let half = |since: u32, until: u32| {
            let window = Window { since: day(since), until: day(until) };
            let inside = |row: &Transaction| row.booked_on.is_none_or(|on| window.contains(on));
            let part = rows.iter().filter(|row| inside(row)).cloned().collect();
            let mut look = whole_month(part, booked(sum(&rows)));
            look.coverage.as_mut().unwrap().window = window;
            look.coverage.as_mut().unwrap().statuses = vec![TransactionStatus::Booked];
            look
        };
        let mut held = Held::default();
        held.look(&half(15, 31));
        let mut older = half(1, 15);
        older.held_from = Some(day(15));
        prop_assert_eq!(held.look(&older).proof, Proof::Proved);
        prop_assert_eq!(held.contents(), whole);
    }

    #[test]
    fn a_twin_is_one_row_more(rows in any_reading(), pick in any::<prop::sample::Index>()) {
        let nameless: Vec<_> =
            rows.iter().filter(|row| row.bank_id.is_none() && row.status == TransactionStatus::Booked).cloned().collect();
        prop_assume!(!nameless.is_empty());
        let mut held = Held::default();
        held.look(&whole_month(rows.clone(), booked(sum(&rows))));
        let mut more = rows;
        more.push(pick.get(&nameless).clone());
        let verdict = held.look(&whole_month(more.clone(), booked(sum(&more))));
        prop_assert_eq!((kinds(&verdict), verdict.proof), ("+".to_owned(), Proof::Proved));
        prop_assert_eq!(held.contents(), contents(more.iter()));
    }

    #[test]
    fn new_ids_for_all_are_no_news(rows in any_reading()) {
        let mut held = Held::default();
        held.look(&whole_month(rows.clone(), booked(sum(&rows))));
        let mut renamed = rows.clone();
        for row in &mut renamed {
            row.bank_id = row.bank_id.take().map(|id| format!("new {id}"));
        }
        let verdict = held.look(&whole_month(renamed.clone(), booked(sum(&rows))));
        prop_assert_eq!((verdict.changes, verdict.proof), (vec![], Proof::Proved));
        prop_assert_eq!(verdict.rekeyed.len(), rows.iter().filter(|row| row.bank_id.is_some()).count());
        let ids: BTreeSet<_> = held.rows.iter().map(|row| row.transaction.bank_id.clone()).collect();
        prop_assert_eq!(ids, renamed.iter().map(|row| row.bank_id.clone()).collect::<BTreeSet<_>>());
    }

    #[test]
    fn a_late_entry_is_added_and_moves_nothing_else(rows in any_reading(), late in 2_u32..28) {
        let mut held = Held::default();
        held.look(&whole_month(rows.clone(), booked(sum(&rows))));
        let mut more = rows;
        more.insert(0, row("late", late, -77, "Late"));
        let verdict = held.look(&whole_month(more.clone(), booked(sum(&more))));
        prop_assert_eq!((kinds(&verdict), verdict.proof), ("+".to_owned(), Proof::Proved));
    }

    #[test]
    fn a_tip_is_one_entry_that_changed(rows in any_reading(), on in 2_u32..20, after in 0_u32..8, tip in 1_i64..1_000) {
        let mut first = rows.clone();
        first.push(pending("hold", on, -4_000, "Luigi"));
        let mut held = Held::default();
        held.look(&whole_month(first.clone(), booked(sum(&first))));
        let mut second = rows;
        second.push(row("bill", on + after, -4_000 - tip, "LUIGI London"));
        let verdict = held.look(&whole_month(second.clone(), booked(sum(&second))));
        let told: Vec<_> = verdict.changes.iter().map(NewChange::reason).collect();
        prop_assert_eq!((told, verdict.proof), (vec![ChangeReason::Booked], Proof::Proved));
        prop_assert_eq!(held.contents(), contents(second.iter()));
    }
}
