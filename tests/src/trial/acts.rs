//! How each scenario happens at one look of a history.

use super::history::{Now, Plot};
use super::shown::{Ids, Manners};
use super::words::Class;
use crate::bank::Scenario;
use host::model::TransactionStatus::{Booked, Pending};

impl Plot {
    /// Lets a scenario happen; one that is a bank's way of doing things has happened already.
    pub(super) fn act(&mut self, now: &mut Now, scenario: Scenario) {
        let happened = match scenario {
            Scenario::IdsRotated
            | Scenario::AccountIdChanges
            | Scenario::IdRuleChanges
            | Scenario::ReissuedIdsAndDatedPayee
            | Scenario::IdConstantOrReused => now.number > 0 && self.ids_change(now, scenario),
            Scenario::AmountChangesOnBooking | Scenario::PendingVanishes => {
                self.pending_row_changes(now, scenario)
            }
            Scenario::ListMovesBetweenPages | Scenario::WindowShortened | Scenario::SignFlipped => {
                self.answer_is_wrong(now, scenario)
            }
            Scenario::RemovedOrTruncated => self.less_is_shown(now),
            _ => self.rows_come(scenario),
        };
        if happened {
            self.scenarios.insert(scenario);
        }
    }

    fn rows_come(&mut self, scenario: Scenario) -> bool {
        let Self { random, books, manners, .. } = self;
        let (today, booked) = (books.today, books.standing(Booked));
        match scenario {
            Scenario::IdenticalTwins => {
                let twin = match random.pick(&booked).filter(|_| random.chance(40)) {
                    Some(older) => older,
                    None if manners.pending && random.chance(30) => books.add_any(random, Pending, today),
                    None => books.add_any(random, Booked, today),
                };
                for _ in 0..random.between(1, 2) {
                    books.add_twin(twin);
                }
            }
            Scenario::FutureDated => {
                let day = today + random.between(1, 6);
                let status = if manners.pending && random.chance(40) { Pending } else { Booked };
                if status == Booked && manners.ahead == 0 {
                    manners.ahead = 30; // or nobody would see it
                }
                books.add_any(random, status, day);
            }
            Scenario::LateEntry => {
                let day = (today - random.between(4, 25)).max(2);
                books.add_any(random, Booked, day);
            }
            Scenario::BookedThenAmended => {
                let Some(who) = random.pick(&booked) else { return false };
                books.amend(random, who);
            }
            // Places shift when a row comes among older ones.
            Scenario::PositionalIdsShift => {
                let day = (today - random.between(1, 8)).max(2);
                books.add_any(random, Booked, day);
            }
            _ => return false,
        }
        true
    }

    /// These need a pending row: without one, one comes, and it happens at the next look.
    fn pending_row_changes(&mut self, now: &Now, scenario: Scenario) -> bool {
        let Self { random, books, manners, .. } = self;
        let today = books.today;
        let pending = books.standing(Pending).into_iter().filter(|who| books.entries[*who].day <= today);
        let Some(who) = random.pick(&pending.collect::<Vec<_>>()) else {
            books.add_any(random, Pending, today);
            self.acts.push((now.number + 1, scenario));
            return false;
        };
        match scenario {
            Scenario::AmountChangesOnBooking => {
                let minor = books.entries[who].minor * random.between(90, 135) / 100;
                books.settle(random, who, minor, manners.keeps_id);
            }
            Scenario::PendingVanishes => books.remove(who),
            _ => return false,
        }
        true
    }

    fn ids_change(&mut self, now: &mut Now, scenario: Scenario) -> bool {
        let Self { random, books, manners: Manners { class, ids, prefix, .. }, .. } = self;
        match scenario {
            Scenario::IdsRotated => {
                prefix.2 += 1;
                books.tell("all ids are rotated".to_owned());
            }
            // A new consent: everything is read once more.
            Scenario::AccountIdChanges => {
                prefix.0 = if prefix.0 == 'a' { 'b' } else { 'a' };
                now.asks_all = true;
                books.tell("the account has another id".to_owned());
            }
            // The new rule numbers otherwise, and may give a row the id that another one had.
            Scenario::IdRuleChanges => {
                prefix.1 += random.pick(&[1, 1_000]).unwrap_or(1);
                books.tell("ids are made by another rule".to_owned());
            }
            Scenario::ReissuedIdsAndDatedPayee => {
                let since = books.today - random.between(2, 8);
                let recent: Vec<usize> =
                    books.listed().iter().filter(|entry| entry.day >= since).map(|entry| entry.who).collect();
                for who in &recent {
                    books.reissue(*who);
                    books.change(*who, "reissued", |entry| {
                        entry.text =
                            format!("{} {}", super::books::date(entry.day).format("%d/%m"), entry.text);
                    });
                }
                return !recent.is_empty();
            }
            // A later row gets the id of an earlier one.
            _ => {
                let earlier = random.pick(&books.standing(Booked));
                let Some(earlier) = earlier.filter(|_| *class == Class::Ids && *ids == Ids::Own) else {
                    return false;
                };
                let today = books.today;
                let later = books.add_any(random, Booked, today);
                let id_no = books.entries[earlier].id_no;
                books.change(later, &format!("has the id of #{earlier}"), |entry| entry.id_no = id_no);
            }
        }
        true
    }

    fn answer_is_wrong(&mut self, now: &mut Now, scenario: Scenario) -> bool {
        let random = &mut self.random;
        if scenario == Scenario::ListMovesBetweenPages {
            for _ in 0..random.between(1, 2) {
                let edge = random.place(3) + 1;
                now.glitch.moves.push((edge, random.chance(50)));
            }
        } else if scenario == Scenario::SignFlipped {
            now.glitch.flipped = !self.manners.unsigned;
        } else if self.short_for == 0 {
            self.days = Some((random.between(2, 9), random.chance(50)));
            self.rows = None;
            self.short_for = random.pick(&[1, 1, 2, 3]).unwrap_or(1);
        }
        true
    }

    /// Rows are taken back, or the list is cut short.
    fn less_is_shown(&mut self, now: &mut Now) -> bool {
        let Self { random, books, manners, .. } = self;
        if self.short_for == 0 && random.chance(35) {
            self.rows = Some((random.place(6) + 2, random.chance(50)));
            self.days = None;
            self.short_for = random.pick(&[1, 1, 2]).unwrap_or(1);
            return true;
        }
        for _ in 0..random.between(1, 2) {
            let Some(who) = random.pick(&books.standing(Booked)) else { return false };
            if random.chance(40) {
                now.removed.extend(manners.own_id(&books.entries[who]));
            }
            books.remove(who);
        }
        true
    }
}
