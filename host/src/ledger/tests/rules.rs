//! The rules that ids, twins, balances and blocks need.

use super::*;

fn statement(rows: &[Transaction]) -> Observed {
    let sum =
        rows.iter().filter(|row| row.status == TransactionStatus::Booked).map(|row| row.money.minor).sum();
    whole_month(rows.to_vec(), booked(sum))
}

#[test]
fn positions_in_a_list_are_found_out_and_no_row_becomes_another() {
    let rows = [
        row("1", 2, -10, "Coffee"),
        row("2", 3, -20, "Tea"),
        row("3", 3, -30, "Rent"),
        row("4", 4, -40, "Pay"),
    ];
    let mut held = Held::default();
    held.look(&statement(&rows));
    // Inserted late, and everything after it moves on by one.
    let shifted = [
        rows[0].clone(),
        row("2", 3, -5, "Late"),
        row("3", 3, -20, "Tea"),
        row("4", 3, -30, "Rent"),
        row("5", 4, -40, "Pay"),
    ];
    let verdict = held.look(&statement(&shifted));
    assert_eq!((kinds(&verdict).as_str(), verdict.standing.ids_demoted), ("+", true));
    let tea = held.rows.iter().find(|row| row.transaction.text == "Tea").unwrap();
    assert_eq!(tea.id.number, 3);
}

#[test]
fn a_constant_id_names_nothing() {
    let rows = [row("0", 2, -10, "Coffee"), row("0", 3, -20, "Tea"), row("0", 3, -20, "Tea")];
    let mut held = Held::default();
    let verdict = held.look(&statement(&rows));
    assert_eq!((kinds(&verdict).as_str(), verdict.standing.ids_demoted), ("+++", true));
    assert_eq!(kinds(&held.look(&statement(&rows))), "");
}

#[test]
fn one_corrected_booking_beside_a_twin_of_what_it_was_does_not_cost_the_ids_their_trust() {
    let mut held = Held::default();
    held.look(&statement(&[row("a", 2, -10, "Coffee"), row("b", 3, -20, "Tea")]));
    let then = [row("a", 2, -12, "Coffee"), row("b", 3, -20, "Tea"), row("c", 2, -10, "Coffee")];
    let verdict = held.look(&statement(&then));
    assert_eq!((kinds(&verdict).as_str(), verdict.standing.ids_demoted), ("~+", false));
}

#[test]
fn a_hidden_row_that_shows_later_is_explained_then() {
    let mut held = Held::default();
    held.look(&statement(&[row("a", 2, -10, "Coffee")]));
    // The list moved while it was paged: the balance counts a row that was not shown.
    let verdict = held.look(&whole_month(vec![row("a", 2, -10, "Coffee")], booked(-30)));
    assert_eq!((kinds(&verdict).as_str(), verdict.proof), ("", Proof::Contradicted));
    let verdict = held.look(&statement(&[row("a", 2, -10, "Coffee"), row("b", 3, -20, "Tea")]));
    assert_eq!((kinds(&verdict).as_str(), verdict.proof), ("+", Proof::Proved));
}

#[test]
fn a_difference_that_stands_through_all_history_is_no_longer_expected_to_go() {
    let rows = vec![row("a", 2, -10, "Coffee")];
    let mut held = Held::default();
    held.look(&whole_month(rows.clone(), booked(100)));
    let fee = Observed { is_all: true, ..whole_month(rows, booked(97)) };
    assert_eq!(held.look(&fee).proof, Proof::Contradicted);
    assert_eq!(held.look(&fee).proof, Proof::Contradicted);
    assert_eq!(held.look(&fee).proof, Proof::Proved);
}

#[test]
fn the_balance_says_whether_equal_rows_are_twins_or_one_row_on_two_pages() {
    let (coffee, tea) = (row("", 2, -10, "Coffee"), row("", 3, -20, "Tea"));
    for (balance, expected) in [(-50, "++"), (-30, "+")] {
        let mut held = Held::default();
        held.confirmed(&statement(std::slice::from_ref(&coffee)));
        let verdict =
            held.look(&whole_month(vec![coffee.clone(), tea.clone(), tea.clone()], booked(balance)));
        assert_eq!((kinds(&verdict).as_str(), verdict.proof), (expected, Proof::Proved));
    }
}

#[test]
fn the_first_balance_decides_between_explanations_only_when_another_has_confirmed_it() {
    let rent = row("", 3, -20, "Rent");
    let mut held = Held::default();
    // One of three equal rows slipped between two pages; the balance counted it.
    held.look(&whole_month(vec![rent.clone(); 2], booked(-60)));
    let verdict = held.look(&statement(&vec![rent; 3]));
    assert_eq!((kinds(&verdict).as_str(), held.rows.len()), ("+", 3));
}

#[test]
fn rows_that_show_the_same_balance_after_them_are_one() {
    let with = |balance, row: Transaction| Transaction { balance_after: Some(balance), ..row };
    let coffee = with(90, row("", 2, -10, "Coffee"));
    let mut held = Held::default();
    held.look(&whole_month(vec![coffee.clone(), coffee.clone()], vec![]));
    assert_eq!(held.rows.len(), 1);
    // Twins show another balance each; an entry inserted before them moves both.
    let twins = [with(90, row("", 2, -10, "Coffee")), with(80, row("", 2, -10, "Coffee"))];
    let mut held = Held::default();
    held.look(&whole_month(twins.to_vec(), vec![]));
    let first = held.rows.iter().find(|row| row.transaction.balance_after == Some(90)).unwrap().id;
    let moved = [with(95, row("", 2, -5, "Late")), with(85, twins[0].clone()), with(75, twins[1].clone())];
    assert_eq!(kinds(&held.look(&whole_month(moved.to_vec(), vec![]))), "+");
    let row = held.rows.iter().find(|row| row.id == first).unwrap();
    assert_eq!(row.transaction.balance_after, Some(85));
}

#[test]
fn what_is_held_of_equal_rows_is_held_once_though_the_bank_links_one_of_them() {
    let one = Transaction { balance_after: Some(90), ..row("", 2, -10, "Coffee") };
    let other = Transaction { supersedes: Some("p".into()), ..one.clone() };
    let look = whole_month(vec![one.clone(), one, other], vec![]);
    let mut held = Held::default();
    assert_eq!(kinds(&held.look(&look)), "++");
    assert_eq!(kinds(&held.look(&look)), "");
}

#[test]
fn what_the_balance_counts_once_is_one_row_also_under_two_positions() {
    let at = |place: &str, text: &str| Transaction {
        stability: IdStability::Positional,
        ..row(place, 3, -20, text)
    };
    let mut held = Held::default();
    held.confirmed(&statement(&[at("0", "Rent")]));
    let look = whole_month(vec![at("0", "Tea"), at("1", "Tea"), at("2", "Rent")], booked(-40));
    assert_eq!(kinds(&held.look(&look)), "+");
    let verdict = held.look(&look);
    assert_eq!((kinds(&verdict).as_str(), verdict.proof), ("", Proof::Proved));
}

#[test]
fn a_row_at_the_edge_is_the_twin_that_was_shown_until_all_is_read() {
    let rows = [row("a", 5, -10, "Coffee"), row("b", 5, -10, "Coffee")];
    let mut held = Held::default();
    held.confirmed(&statement(&rows[..1]));
    // The first day of a window may be cut at some hour; the balance says that something is amiss.
    let mut look = whole_month(vec![rows[1].clone()], booked(-20));
    look.coverage.as_mut().unwrap().window.since = day(5);
    let verdict = held.look(&look);
    assert_eq!((kinds(&verdict).as_str(), verdict.proof), ("", Proof::Contradicted));
    let verdict = held.look(&statement(&rows));
    assert_eq!((kinds(&verdict).as_str(), verdict.proof), ("+", Proof::Proved));
}

#[test]
fn reissued_ids_with_a_date_before_the_text_are_the_same_rows() {
    let rows = [row("a", 2, -10, "Coffee"), row("b", 3, -20, "Tea"), row("c", 4, -30, "Rent")];
    let mut held = Held::default();
    held.look(&statement(&rows));
    let again: Vec<_> = rows
        .iter()
        .map(|old| Transaction {
            bank_id: Some(format!("x{}", old.money.minor)),
            text: format!("0{} MAR {}", 2, old.text),
            ..old.clone()
        })
        .collect();
    let verdict = held.look(&statement(&again));
    assert_eq!(kinds(&verdict), "~~~");
    assert!(verdict.changes.iter().all(|change| change.reason() == ChangeReason::Amended));
}

#[test]
fn what_could_be_otherwise_is_marked_and_twins_are_not() {
    let ambiguous = |verdict: &Verdict| {
        let of = |change: &NewChange| matches!(change, NewChange::Modified { ambiguous: true, .. });
        verdict.changes.iter().filter(|change| of(change)).count()
    };
    // Two payments of one amount, of which one was booked: nobody can say which.
    let mut held = Held::default();
    held.look(&statement(&[pending("", 2, -40, "Card 1"), pending("", 3, -40, "Card 2")]));
    let verdict = held.look(&statement(&[row("", 4, -40, "SHOP")]));
    assert_eq!((kinds(&verdict).as_str(), ambiguous(&verdict)), ("~", 1));
    // Their texts decide.
    let mut held = Held::default();
    held.look(&statement(&[pending("", 2, -40, "Luigi"), pending("", 3, -40, "Shoes")]));
    let verdict = held.look(&statement(&[row("", 4, -40, "SHOES LONDON"), row("", 4, -40, "LUIGI")]));
    assert_eq!((kinds(&verdict).as_str(), ambiguous(&verdict)), ("~~", 0));
    // Twins: nobody can tell the difference.
    let mut held = Held::default();
    held.look(&statement(&[pending("", 2, -40, "Luigi"), pending("", 2, -40, "Luigi")]));
    let verdict = held.look(&statement(&[row("", 4, -40, "LUIGI"), row("", 4, -40, "LUIGI")]));
    assert_eq!((kinds(&verdict).as_str(), ambiguous(&verdict)), ("~~", 0));
}

#[test]
fn two_bookings_that_a_pending_entry_may_have_become_stand_beside_it_and_are_linked() {
    let mut held = Held::default();
    held.look(&statement(&[pending("", 5, -4_000, "Luigi")]));
    let verdict = held.look(&statement(&[row("", 7, -4_600, "Luigi"), row("", 7, -4_400, "Luigi")]));
    let links: Vec<_> = verdict
        .changes
        .iter()
        .filter_map(|change| match change {
            NewChange::Added { links, .. } => Some(links.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(links, vec![vec![Link { number: 1, confidence: 45 }]; 2]);
}

#[test]
fn a_block_too_large_to_weigh_is_matched_in_the_order_of_dates_and_says_so() {
    let announced: Vec<_> = (0..100).map(|n| pending("", 2 + n % 5, -40, &format!("Card {n}"))).collect();
    let settled: Vec<_> = (0..100).map(|n| row("", 8 + n % 5, -40, &format!("Payment {n}"))).collect();
    let mut held = Held::default();
    held.look(&statement(&announced));
    let verdict = held.look(&statement(&settled));
    assert_eq!(kinds(&verdict), "~".repeat(100));
    assert!(
        verdict.changes.iter().all(|change| matches!(change, NewChange::Modified { ambiguous: true, .. }))
    );
}

#[test]
fn an_announced_entry_that_is_never_booked_goes_with_a_reason() {
    let mut held = Held::default();
    held.look(&statement(&[pending("p", 5, -40, "Hold")]));
    assert_eq!(kinds(&held.look(&statement(&[]))), "");
    let verdict = held.look(&statement(&[]));
    assert_eq!(
        verdict.changes.iter().map(NewChange::reason).collect::<Vec<_>>(),
        [ChangeReason::NeverBooked]
    );
    // A bank that never lists what is pending to the end.
    let mut held = Held::default();
    held.look(&statement(&[pending("p", 5, -40, "Hold")]));
    let look = |days: u64| {
        let mut look = statement(&[]);
        look.coverage.as_mut().unwrap().statuses = vec![TransactionStatus::Booked];
        look.today = Some(day(5) + chrono::Days::new(days));
        look
    };
    assert_eq!(kinds(&held.look(&look(35))), "");
    let mut late = held.clone();
    let verdict = held.look(&look(36));
    assert_eq!(verdict.changes.iter().map(NewChange::reason).collect::<Vec<_>>(), [ChangeReason::Expired]);
    // What is booked in the same look names no row that goes with it.
    let mut booked = look(36);
    booked.transactions.push(row("b", 6, -41, "Hold"));
    let verdict = late.look(&booked);
    let names = |change: &NewChange| matches!(change, NewChange::Added { links, .. } if !links.is_empty());
    assert_eq!((kinds(&verdict).as_str(), verdict.changes.iter().any(names)), ("-+", false));
}

#[test]
fn an_incomplete_statement_may_be_taken_as_far_as_it_goes() {
    let rows = [row("a", 2, -10, "Coffee"), row("b", 3, -20, "Tea")];
    let mut held = Held::default();
    held.look(&statement(&rows));
    let short = whole_month(vec![rows[0].clone(), row("c", 4, -5, "New")], booked(-35));
    assert_eq!(held.judge(&short), Err(Incomplete::Missing(1)));
    let taken = reconcile(&held.rows, &held.standing, &short, true).unwrap();
    assert_eq!((kinds(&taken).as_str(), taken.proof, taken.missed.len()), ("+", Proof::Proved, 0));
    // Without a balance: most of it missing at once.
    let many: Vec<_> = (0..6).map(|n| row("", 2 + n, -10, &format!("Row {n}"))).collect();
    let mut held = Held::default();
    held.look(&whole_month(many.clone(), vec![]));
    let cut = whole_month(many[..2].to_vec(), vec![]);
    assert_eq!(held.judge(&cut), Err(Incomplete::Shrunk { missing: 4, of: 6 }));
    let taken = reconcile(&held.rows, &held.standing, &cut, true).unwrap();
    assert_eq!(taken.missed.len(), 4);
}

#[test]
fn rows_dated_after_the_balance_need_not_be_in_it() {
    let mut held = Held::default();
    held.look(&statement(&[row("a", 2, -10, "Coffee")]));
    let mut look =
        whole_month(vec![row("a", 2, -10, "Coffee"), row("b", 20, -500, "Standing order")], booked(-10));
    look.today = Some(day(10));
    let verdict = held.look(&look);
    assert_eq!((kinds(&verdict).as_str(), verdict.proof), ("+", Proof::Proved));
    look.today = Some(day(20));
    look.balances = booked(-510);
    assert_eq!(held.look(&look).proof, Proof::Proved);
}

#[test]
fn one_row_gone_and_another_only_hidden_is_an_incomplete_statement() {
    let rows = [row("a", 2, -10, "Coffee"), row("b", 3, -20, "Tea"), row("c", 4, -40, "Rent")];
    let mut held = Held::default();
    held.confirmed(&statement(&rows));
    // The bank took Tea back; Rent only slipped between two pages.
    let look = whole_month(vec![rows[0].clone()], booked(-50));
    assert_eq!(held.judge(&look), Err(Incomplete::Missing(1)));
    let taken = reconcile(&held.rows, &held.standing, &look, true).unwrap();
    assert_eq!(taken.changes.iter().map(NewChange::reason).collect::<Vec<_>>(), [ChangeReason::ProvedAbsent]);
}

#[test]
fn known_credit_in_a_balance_is_taken_off_and_unknown_credit_proves_nothing() {
    let with = |minor: i64, credit_included: Credit| {
        booked(minor).into_iter().map(|balance| Balance { credit_included, ..balance }).collect::<Vec<_>>()
    };
    let rows = [row("a", 2, -10, "Coffee"), row("b", 3, -20, "Tea")];
    let check = |balances: Vec<Balance>, proof: Proof| {
        let mut held = Held::default();
        held.confirmed(&statement(&rows));
        assert_eq!(held.look(&whole_month(rows.to_vec(), balances)).proof, proof);
        assert_eq!(held.standing.expected, Some(gbp(-30)), "the anchor stays");
    };
    check(with(470, Credit::Included(500)), Proof::Proved);
    check(with(470, Credit::None), Proof::Contradicted);
    check(with(470, Credit::Unknown), Proof::Unproved);
    check([with(470, Credit::Unknown), with(-30, Credit::None)].concat(), Proof::Proved);
    // A statement's own balances, too.
    let of = |kind, balance: Vec<Balance>| Balance { kind, ..balance[0] };
    let own = |opening: Vec<Balance>, closing: Vec<Balance>| {
        let balances = vec![of(BalanceKind::Opening, opening), of(BalanceKind::Closing, closing)];
        proof::adds_up(&whole_month(rows.to_vec(), balances))
    };
    assert_eq!(own(with(500, Credit::Included(500)), with(770, Credit::Included(800))), Some(true));
    assert_eq!(own(with(500, Credit::Included(500)), with(770, Credit::None)), Some(false));
    assert_eq!(own(with(500, Credit::Unknown), with(470, Credit::Unknown)), None);
}
