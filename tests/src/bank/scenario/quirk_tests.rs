//! What is odd in each scenario, and that nothing else is.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::super::RowStatus;
use super::tests::{PAGES, Seen, Wire, contents, watch};
use super::*;
use std::collections::BTreeSet;

/// The acts at each page size, each seen once.
async fn at_each_page_size(scenario: Scenario, check: impl Fn(&[Seen], usize)) {
    for page_rows in PAGES {
        check(&watch(scenario, page_rows, 5).await.0, page_rows);
    }
}

/// Both readings show what the bank has, whatever the ids.
fn shows_the_truth(seen: &Seen) {
    let truth = contents(&seen.true_rows());
    assert_eq!(contents(&seen.first), truth, "{:?}", seen.act);
    assert_eq!(contents(&seen.second), truth, "{:?}", seen.act);
}

fn ids(rows: &[Wire]) -> BTreeSet<String> {
    rows.iter().filter_map(|row| row.id.clone()).collect()
}

/// Entries that are new in the second, and entries that are gone.
fn came_and_went(before: &Seen, after: &Seen) -> (Vec<TrueRow>, Vec<TrueRow>) {
    let only = |these: &[TrueRow], those: &[TrueRow]| -> Vec<TrueRow> {
        let known: BTreeSet<u64> = those.iter().map(|row| row.entry).collect();
        these.iter().filter(|row| !known.contains(&row.entry)).cloned().collect()
    };
    (only(&after.truth, &before.truth), only(&before.truth, &after.truth))
}

/// Entries that both have and that say something else now, whatever the bank's own ids.
fn changed(before: &Seen, after: &Seen) -> Vec<(Row, Row)> {
    let same = |row: &&TrueRow| after.truth.iter().find(|other| other.entry == row.entry).cloned();
    let pairs = before.truth.iter().filter_map(|row| Some((row.row.clone(), same(&row)?.row)));
    pairs.filter(|(old, new)| Row { id: new.id.clone(), ..old.clone() } != *new).collect()
}

fn days_before_noon(row: &Row) -> i64 {
    ("2026-03-20".parse::<chrono::NaiveDate>().unwrap() - row.booked_on).num_days()
}

#[tokio::test]
async fn twins_are_equal_in_all_that_is_shown_and_stand_on_both_sides_of_an_edge() {
    at_each_page_size(Scenario::IdenticalTwins, |acts, page_rows| {
        acts.iter().for_each(shows_the_truth);
        for (seen, copies) in acts.iter().zip([5, 6, 5]) {
            assert_eq!(ids(&seen.first), BTreeSet::new());
            let twin = seen.first.iter().find(|row| row.day == "2026-03-15").unwrap();
            let places = seen.first.iter().enumerate().filter(|(_, row)| *row == twin);
            let places: Vec<usize> = places.map(|(place, _)| place).collect();
            assert_eq!(places.len(), copies);
            // Asked for from 14 days ago on, the first pair is left out.
            for skipped in [0, 2] {
                let pages: BTreeSet<_> = places.iter().map(|place| (place - skipped) / page_rows).collect();
                assert!(pages.len() > 1, "{places:?} of {page_rows}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn rotated_ids_are_all_others_and_the_contents_equal() {
    at_each_page_size(Scenario::IdsRotated, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        assert_eq!(contents(&acts[0].first), contents(&acts[1].first));
        for pair in acts.windows(2) {
            assert!(ids(&pair[0].first).is_disjoint(&ids(&pair[1].first)));
            assert_eq!(pair[1].first, pair[1].second, "they stay until the next act");
        }
        assert_eq!(changed(&acts[1], &acts[2]).len(), 1, "the pending row is booked");
        assert_eq!(came_and_went(&acts[1], &acts[2]).0.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn places_shift_when_a_late_row_comes() {
    at_each_page_size(Scenario::PositionalIdsShift, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        let of_day =
            |seen: &Seen, id: &str| seen.first.iter().find(|row| row.id.as_deref() == Some(id)).cloned();
        for place in 1..=5 {
            let (old, new) = (format!("20260317-{place:03}"), format!("20260317-{:03}", place + 1));
            let row = of_day(&acts[0], &old).unwrap();
            let shifted = of_day(&acts[1], &new).unwrap();
            assert_eq!(row, Wire { id: Some(old.clone()), ..shifted });
            assert_ne!(of_day(&acts[1], &old), Some(row), "its id names another row");
        }
        assert_eq!((acts[1].first.len(), acts[2].first.len()), (12, 11));
    })
    .await;
}

#[tokio::test]
async fn each_request_gives_other_ids_and_equal_contents() {
    at_each_page_size(Scenario::IdPerRequest, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        for seen in acts {
            assert!(ids(&seen.first).is_disjoint(&ids(&seen.second)));
        }
        assert!(changed(&acts[0], &acts[1]).is_empty());
    })
    .await;
}

#[tokio::test]
async fn one_id_for_all_then_for_two_then_an_old_one_again() {
    at_each_page_size(Scenario::IdConstantOrReused, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        assert_eq!((ids(&acts[0].first).len(), acts[0].first.len()), (1, 6));
        assert_eq!((ids(&acts[1].first).len(), acts[1].first.len()), (7, 8));
        let (new, gone) = came_and_went(&acts[1], &acts[2]);
        assert_eq!((new.len(), gone.len()), (1, 1));
        assert_eq!(acts[2].id_of(new[0].entry), acts[1].id_of(gone[0].entry), "the old id again");
        assert!(new[0].row.amount != gone[0].row.amount && new[0].row.booked_on != gone[0].row.booked_on);
        let last = &acts[3].first;
        assert_eq!((ids(last).len(), last.len()), (1, 9));
        assert_eq!(last[0], last[1], "equal in all, and two");
    })
    .await;
}

#[tokio::test]
async fn only_booked_rows_have_ids() {
    at_each_page_size(Scenario::IdOnlyWhenBooked, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        for seen in acts {
            assert!(seen.first.iter().all(|row| row.id.is_some() == (row.status == "Booked")));
            assert!(seen.first.iter().any(|row| row.status == "Pending"));
        }
        assert_eq!((changed(&acts[0], &acts[1]).len(), changed(&acts[1], &acts[2]).len()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn what_is_booked_differs_from_what_was_announced() {
    at_each_page_size(Scenario::AmountChangesOnBooking, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        let differs = |(old, new): &(Row, Row)| {
            assert_eq!((old.status, new.status), (RowStatus::Pending, RowStatus::Booked));
            (old.amount != new.amount, old.text != new.text, days_before_noon(old))
        };
        let found: Vec<_> = acts
            .windows(2)
            .map(|pair| changed(&pair[0], &pair[1]).iter().map(differs).collect::<Vec<_>>())
            .collect();
        let expected = [(true, false, 1), (true, true, 3), (false, true, 9), (true, false, 2)];
        assert_eq!(found, expected.map(|one| vec![one]));
    })
    .await;
}

#[tokio::test]
async fn pending_rows_go_and_one_is_listed_as_rejected() {
    at_each_page_size(Scenario::PendingVanishes, |acts, _| {
        for seen in acts {
            let mut shown = seen.first.clone();
            shown.retain(|row| row.status != "Rejected");
            assert_eq!(shown.len() + usize::from(seen.act.number >= 2), seen.first.len());
            assert_eq!(contents(&shown), contents(&seen.true_rows()));
            assert_eq!(seen.balance, acts[0].balance, "nothing was ever booked");
        }
        let (new, gone) = came_and_went(&acts[2], &acts[3]);
        assert_eq!(new[0].row.amount, gone[0].row.amount);
        assert_ne!(new[0].row.merchant, gone[0].row.merchant);
    })
    .await;
}

#[tokio::test]
async fn rows_are_dated_after_today() {
    at_each_page_size(Scenario::FutureDated, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        let ahead = |seen: &Seen| -> Vec<_> {
            let rows = seen.truth.iter().filter(|row| days_before_noon(&row.row) < 0);
            rows.map(|row| (-days_before_noon(&row.row), row.row.status)).collect()
        };
        let (booked, pending) = (RowStatus::Booked, RowStatus::Pending);
        assert_eq!(ahead(&acts[0]), [(2, booked), (5, pending)]);
        assert_eq!(ahead(&acts[1]), [(2, booked), (5, booked)]);
        assert_eq!(ahead(&acts[2]), [(2, booked), (5, booked), (6, pending)]);
        assert_eq!(ahead(&acts[3]), ahead(&acts[1]));
    })
    .await;
}

#[tokio::test]
async fn late_entries_come_among_older_ones() {
    at_each_page_size(Scenario::LateEntry, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        let late = |act: usize| days_before_noon(&came_and_went(&acts[act - 1], &acts[act]).0[0].row);
        assert_eq!((late(1), late(2)), (11, 40));
        let settled = changed(&acts[2], &acts[3]);
        assert_eq!((days_before_noon(&settled[0].0), days_before_noon(&settled[0].1)), (20, 0));
    })
    .await;
}

#[tokio::test]
async fn a_cut_list_is_short_of_what_the_balance_counts() {
    at_each_page_size(Scenario::RemovedOrTruncated, |acts, _| {
        for act in [0, 1, 3, 4] {
            shows_the_truth(&acts[act]);
        }
        assert_eq!(acts[2].truth, acts[1].truth);
        assert_eq!(acts[2].first, acts[1].first[..acts[1].first.len() - 2]);
        assert_eq!(acts[2].balance, acts[1].balance);
        for (act, days) in [(1, 5), (4, 40)] {
            let gone = came_and_went(&acts[act - 1], &acts[act]).1;
            assert_eq!((gone.len(), days_before_noon(&gone[0].row)), (1, days));
            assert!(acts[act].balance > acts[act - 1].balance, "the money is back");
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_that_moves_shows_a_row_twice_and_another_not_at_all() {
    at_each_page_size(Scenario::ListMovesBetweenPages, |acts, page_rows| {
        let whole = acts[0].first.clone();
        assert!(whole.is_sorted_by(|one, other| one.day >= other.day), "the newest first");
        let pages = page_rows < whole.len();
        // The last row of the first page comes again, and the oldest never.
        let mut moved = whole.clone();
        if pages {
            moved.insert(page_rows, whole[page_rows - 1].clone());
            moved.pop();
        }
        assert_eq!((&acts[1].first, &acts[1].second), (&moved, &whole));
        let mut with_new = acts[2].second.clone();
        assert_eq!(contents(&with_new), contents(&acts[2].true_rows()));
        with_new.remove(0);
        if pages {
            with_new.insert(page_rows, with_new[page_rows - 1].clone());
        }
        assert_eq!(acts[2].first, with_new, "the new one is not seen yet");
        assert_eq!(acts[3].first, acts[3].second, "in every reading");
        assert_eq!(contents(&acts[3].first) == contents(&acts[3].true_rows()), !pages);
        shows_the_truth(&acts[4]);
    })
    .await;
}

#[tokio::test]
async fn pending_rows_have_no_sign_and_then_all_have_the_wrong_one() {
    at_each_page_size(Scenario::SignFlipped, |acts, _| {
        for seen in acts {
            let right = seen.true_rows();
            for (row, right) in seen.first.iter().zip(&right) {
                let expected = match (seen.act.number, right.status.as_str()) {
                    (2, _) => -right.amount,
                    (_, "Pending") => right.amount.abs(),
                    _ => right.amount,
                };
                assert_eq!((row.amount, &row.text, &row.id), (expected, &right.text, &right.id));
            }
            let booked: i64 = right.iter().filter(|row| row.status == "Booked").map(|row| row.amount).sum();
            assert_eq!(seen.balance, booked, "the balance is right");
        }
        assert_ne!(acts[0].first, acts[0].true_rows());
    })
    .await;
}

#[tokio::test]
async fn the_balance_counts_what_is_not_listed_or_not_what_is() {
    at_each_page_size(Scenario::BalanceIncludesPending, |acts, _| {
        for seen in acts {
            let mut booked = seen.true_rows();
            let all: i64 = booked.iter().map(|row| row.amount).sum();
            booked.retain(|row| row.status == "Booked");
            assert_eq!(seen.first, booked);
            let until_last_night = booked.iter().filter(|row| row.day != "2026-03-20");
            let until_last_night: i64 = until_last_night.map(|row| row.amount).sum();
            assert_eq!(seen.balance, if seen.act.number == 3 { until_last_night } else { all });
        }
        assert_eq!(acts[1].first, acts[0].first);
        assert_ne!(acts[1].balance, acts[0].balance);
        assert_eq!(acts[2].balance, acts[1].balance);
    })
    .await;
}

#[tokio::test]
async fn the_account_has_another_id_and_a_double_with_the_same_last_digits() {
    at_each_page_size(Scenario::AccountIdChanges, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        assert_eq!(acts.iter().map(|seen| seen.act.relink).collect::<Vec<_>>(), [false, true, false]);
        assert_ne!(acts[1].act.account, acts[0].act.account);
        assert_eq!(acts[1].first, acts[0].first);
    })
    .await;
    let desk = super::super::tests::Desk::open(Default::default()).await;
    desk.bank.play(Scenario::AccountIdChanges, desk.account(), 5).unwrap();
    let granted = desk.bank.grant(&desk.customer.id, None).unwrap();
    let token = desk.renew(&granted.refresh_token).await.text("/access_token").to_owned();
    let api = crate::http::Api::new(desk.bank.api_origin(), Some(&token)).unwrap();
    let listed = api.get("/accounts").await.unwrap().body;
    let number =
        |place: usize| listed["Data"]["Account"][place]["Account"][0]["Identification"].as_str().unwrap();
    let (one, other) = (number(0), number(2));
    assert!(one != other && one.len() == other.len() && one[10..] == other[10..], "{one} {other}");
}

#[tokio::test]
async fn fewer_days_are_shown_than_asked_for() {
    at_each_page_size(Scenario::WindowShortened, |acts, _| {
        for act in [0, 2, 3] {
            shows_the_truth(&acts[act]); // the first day that is asked for has no row here
        }
        let mut recent = acts[0].first.clone();
        recent.retain(|row| row.day.as_str() >= "2026-03-10");
        assert_eq!((acts[0].first.len() - recent.len(), &acts[1].first), (5, &recent));
        assert_eq!((acts[1].balance, &acts[1].truth), (acts[0].balance, &acts[0].truth));
    })
    .await;
}

#[tokio::test]
async fn the_first_day_that_is_asked_for_is_left_out() {
    let desk = super::super::tests::Desk::open(Default::default()).await;
    let savings = desk.customer.accounts[1].clone();
    let mut play = desk.bank.play(Scenario::WindowShortened, &savings, 5).unwrap();
    let api = desk.api().await;
    let mut days = Vec::new();
    for _ in 0..3 {
        let path = format!("/accounts/{savings}/transactions?fromBookingDateTime=2026-03-06T00:00:00");
        api.get(&path).await.unwrap();
        days.push(play.reading().unwrap()[0].row.booked_on.to_string());
        play.next_act().unwrap();
    }
    assert_eq!(days, ["2026-03-06", "2026-03-11", "2026-03-08"]);
}

#[tokio::test]
async fn ids_are_written_in_another_way() {
    at_each_page_size(Scenario::IdRuleChanges, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        for (old, new) in acts[0].first.iter().zip(&acts[1].first) {
            let id = old.id.as_ref().map(|id| format!("v2.{id}"));
            assert_eq!(*new, Wire { id, ..old.clone() });
        }
        assert!(ids(&acts[2].first).iter().all(|id| id.starts_with("aisp:transaction:")));
        assert_eq!(changed(&acts[1], &acts[2]).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn recent_rows_have_new_ids_and_their_date_in_front() {
    at_each_page_size(Scenario::ReissuedIdsAndDatedPayee, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        for (old, new) in acts[0].first.iter().zip(&acts[1].first) {
            if old.day.as_str() < "2026-03-15" {
                assert_eq!(old, new);
            } else {
                assert_ne!(old.id, new.id);
                let day = old.day.parse::<chrono::NaiveDate>().unwrap().format("%d%b%y").to_string();
                let text = format!("{} {}", day.to_uppercase(), old.text);
                assert_eq!(*new, Wire { id: new.id.clone(), text, ..old.clone() });
            }
        }
        let reworded = changed(&acts[0], &acts[1]);
        assert!((2..8).contains(&reworded.len()));
        let payee = |(_, new): &(Row, Row)| new.merchant.clone().unwrap().contains("MAR26 ");
        assert!(reworded.iter().all(payee), "{reworded:?}");
    })
    .await;
}

#[tokio::test]
async fn a_booked_row_is_amended_under_its_id() {
    at_each_page_size(Scenario::BookedThenAmended, |acts, _| {
        acts.iter().for_each(shows_the_truth);
        let differs = |(old, new): &(Row, Row)| (old.text != new.text, old.amount != new.amount);
        for (pair, expected) in acts.windows(2).zip([(true, false), (false, true), (true, true)]) {
            let changed = changed(&pair[0], &pair[1]);
            assert_eq!(changed.iter().map(differs).collect::<Vec<_>>(), [expected]);
            assert_eq!(changed[0].0.id, changed[0].1.id);
            assert_eq!(ids(&pair[0].first), ids(&pair[1].first));
            assert_eq!(pair[0].balance != pair[1].balance, expected.1, "the balance follows");
        }
    })
    .await;
}
