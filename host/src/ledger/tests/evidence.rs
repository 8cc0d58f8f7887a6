//! What balances, signs and the bank's word decide.

use super::*;

fn statement(rows: &[Transaction]) -> Observed {
    let sum =
        rows.iter().filter(|row| row.status == TransactionStatus::Booked).map(|row| row.money.minor).sum();
    whole_month(rows.to_vec(), booked(sum))
}

fn with_balance(after: i64, row: Transaction) -> Transaction {
    Transaction { balance_after: Some(after), ..row }
}

fn reasons(verdict: &Verdict) -> Vec<ChangeReason> {
    verdict.changes.iter().map(NewChange::reason).collect()
}

#[test]
fn a_row_dated_after_the_balance_may_be_described_anew() {
    let (rent, order) = (row("", 2, -10, "Rent"), row("", 20, -500, "Standing order"));
    let look = |order: &Transaction| Observed {
        today: Some(day(10)),
        ..whole_month(vec![rent.clone(), order.clone()], booked(-10))
    };
    let mut held = Held::default();
    held.confirmed(&look(&order));
    let anew = Transaction { text: "20/03 Standing order".into(), ..order };
    let verdict = held.look(&look(&anew));
    assert_eq!((reasons(&verdict), verdict.proof), (vec![ChangeReason::Amended], Proof::Proved));
}

#[test]
fn many_rows_without_ids_are_described_anew_beside_a_new_one() {
    let rows = [row("", 2, -10, "Coffee"), row("", 3, -20, "Tea"), row("", 4, 70, "Pay")];
    let mut held = Held::default();
    held.confirmed(&statement(&rows));
    let mut anew: Vec<_> =
        rows.iter().map(|old| Transaction { text: format!("MAR {}", old.text), ..old.clone() }).collect();
    anew.push(row("", 5, -7, "Bus"));
    let verdict = held.look(&statement(&anew));
    assert_eq!((kinds(&verdict).as_str(), verdict.proof), ("~~~+", Proof::Proved));
}

#[test]
fn the_balance_after_a_row_tells_that_it_is_described_anew_wherever_the_reading_ends() {
    let mut held = Held::default();
    held.look(&whole_month(vec![with_balance(90, row("", 5, -10, "Coffee"))], vec![]));
    let mut look = whole_month(vec![with_balance(90, row("", 5, -10, "05/03 Coffee"))], vec![]);
    look.coverage.as_mut().unwrap().complete = false;
    assert_eq!(reasons(&held.look(&look)), [ChangeReason::Amended]);
}

#[test]
fn a_list_with_its_signs_turned_is_refused_until_the_balance_says_that_it_is_the_right_one() {
    let rows = [row("a", 2, -10, "Coffee"), row("b", 3, -20, "Tea"), row("", 4, -40, "Rent")];
    let turned: Vec<_> =
        rows.iter().map(|row| Transaction { money: gbp(-row.money.minor), ..row.clone() }).collect();
    let mut held = Held::default();
    held.look(&whole_month(turned, booked(500)));
    // Nothing says yet which of the two was right.
    assert_eq!(held.judge(&whole_month(rows.to_vec(), booked(500))), Err(Incomplete::SignsTurned(3)));
    let mut more = rows.to_vec();
    more.push(row("d", 5, -7, "Bus"));
    // A turned list would show the bus as money that came.
    let late: Vec<_> =
        more.iter().map(|row| Transaction { money: gbp(-row.money.minor), ..row.clone() }).collect();
    let right = Observed { is_all: true, ..whole_month(more.clone(), booked(493)) };
    let verdict = held.look(&right);
    assert_eq!((kinds(&verdict).as_str(), held.contents()), ("~~~+", contents(more.iter())));
    assert_eq!((kinds(&held.look(&right)).as_str(), held.look(&right).proof), ("", Proof::Proved));
    assert_eq!(held.judge(&whole_month(late, booked(493))), Err(Incomplete::SignsTurned(4)));
}

#[test]
fn a_balance_that_begins_anew_beside_a_missing_row_says_nothing_of_it() {
    let rows = [row("", 2, -10, "Coffee"), row("", 3, -20, "Tea"), row("", 4, -40, "Rent")];
    let turned: Vec<_> =
        rows.iter().map(|row| Transaction { money: gbp(-row.money.minor), ..row.clone() }).collect();
    let mut held = Held::default();
    held.look(&whole_month(turned, booked(500)));
    // The coffee is gone, or not shown: no sum that was right before tells which.
    let bus = row("", 5, -7, "Bus");
    let look = whole_month(vec![rows[1].clone(), rows[2].clone(), bus], booked(493));
    assert_eq!((kinds(&held.look(&look)).as_str(), held.standing.expected), ("~~+", None));
    let verdict = held.look(&look);
    assert_eq!(
        (reasons(&verdict), held.standing.expected),
        (vec![ChangeReason::AbsentTwice], Some(gbp(493)))
    );
}

#[test]
fn balances_after_rows_find_turned_signs_at_the_very_first_look() {
    let rows = [(90, -10, "Coffee"), (70, -20, "Tea"), (30, -40, "Rent"), (130, 100, "Pay")];
    let listed = |sign: i64| {
        let of =
            |(after, minor, text): &(i64, i64, &str)| with_balance(*after, row("", 2, sign * minor, text));
        whole_month(rows.iter().map(of).collect(), vec![])
    };
    assert_eq!(kinds(&Held::default().look(&listed(1))), "++++");
    assert_eq!(Held::default().judge(&listed(-1)), Err(Incomplete::SignsTurned(3)));
}

#[test]
fn the_bank_s_word_on_a_removal_is_as_good_as_its_ids() {
    let rows = [row("1", 2, -10, "Coffee"), row("2", 5, -20, "Tea")];
    let mut held = Held::default();
    held.look(&whole_month(rows.to_vec(), vec![]));
    // Ids are made in another way now: what was 1 is 2.
    let mut shifted = whole_month(vec![row("2", 3, -10, "Coffee"), row("3", 5, -20, "Tea")], vec![]);
    shifted.coverage.as_mut().unwrap().window.since = day(4);
    shifted.removed.push("1".into());
    let verdict = held.look(&shifted);
    assert!(verdict.standing.ids_demoted && !reasons(&verdict).contains(&ChangeReason::RemovedByBank));
}

#[test]
fn ids_of_each_request_do_not_make_another_row_of_one_at_the_edge() {
    let named = |request: u32| {
        [row(&format!("{request}-1"), 5, -10, "Coffee"), row(&format!("{request}-2"), 6, -20, "Tea")]
    };
    let mut held = Held::default();
    held.confirmed(&statement(&named(1)));
    // The balance counts a pending row of the same amount; what the edge shows does not explain that.
    let mut look = whole_month(named(2).to_vec(), booked(-40));
    look.coverage.as_mut().unwrap().window.since = day(5);
    let verdict = held.look(&look);
    assert_eq!((kinds(&verdict).as_str(), verdict.proof), ("", Proof::Contradicted));
}

#[test]
fn an_id_that_went_from_a_booked_row_to_an_announced_one_is_no_id() {
    let mut held = Held::default();
    held.look(&whole_month(vec![row("1", 2, -10, "Coffee")], vec![]));
    let mut look = whole_month(vec![pending("1", 9, -10, "Tea")], vec![]);
    look.coverage.as_mut().unwrap().window.since = day(5);
    let verdict = held.look(&look);
    assert_eq!((kinds(&verdict).as_str(), verdict.standing.ids_demoted), ("+", true));
}

#[test]
fn of_equal_rows_the_one_that_was_missing_before_is_missing_still() {
    let after = |balances: &[i64]| -> Vec<Transaction> {
        balances.iter().map(|after| with_balance(*after, row("", 2, -10, "Coffee"))).collect()
    };
    let mut held = Held::default();
    held.look(&whole_month(after(&[90, 80, 70]), vec![]));
    let first = held.look(&whole_month(after(&[90, 80]), vec![])).missed.clone();
    // All balances have moved since: which is which can't be seen any more.
    let verdict = held.look(&whole_month(after(&[95, 85]), vec![]));
    let gone: Vec<i64> = verdict.changes.iter().filter_map(look::changed_number).collect();
    assert_eq!(gone.len(), 1);
    assert_eq!(first, [(gone[0], 1)]);
}
