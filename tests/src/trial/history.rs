//! One random history: the bank's truth at each look, and the four answers that a look may need.
//!
//! The class comes from the number of the history, so that each has a quarter. The scenarios are
//! drawn; one counts when it has truly happened.

use super::books::{Books, date};
use super::shown::{Counts, Glitch, Ids, Manners, Reading};
use super::words::Class;
use crate::bank::Scenario;
use crate::random::Random;
use host::model::{Balance, Transaction, TransactionStatus};
use std::collections::BTreeSet;

/// The answers that wait for a look, and the truth at that moment.
#[derive(Debug, Clone)]
pub struct Look {
    /// What happened since the last look, for people.
    pub happened: Vec<String>,
    /// All that stands in the books, as the bank would show it if it showed everything.
    pub books: Vec<(usize, Transaction)>,
    /// The window that is asked for.
    pub first: Reading,
    /// The same window, asked for once more.
    pub again: Reading,
    /// The balance alone, asked for once more.
    pub balances_again: Vec<Balance>,
    /// All days.
    pub whole: Reading,
}

/// A bank and its looks.
#[derive(Debug, Clone)]
pub struct History {
    /// What the bank gives.
    pub class: Class,
    /// What went wrong there.
    pub scenarios: BTreeSet<Scenario>,
    /// In order.
    pub looks: Vec<Look>,
}

const BOOKED: TransactionStatus = TransactionStatus::Booked;
const PENDING: TransactionStatus = TransactionStatus::Pending;

impl History {
    /// The history of this number in the run of this seed.
    pub fn of(seed: u64, number: u64) -> Self {
        let class = Class::ALL[usize::try_from(number % 4).unwrap_or(0)];
        let mut random = Random::of(seed, number);
        let wanted = scenarios(&mut random, class);
        let mut plot = Plot::new(random, class, &wanted);
        let looks = plot.random.between(4, 12);
        for scenario in wanted {
            for _ in 0..plot.random.between(1, 2) {
                let at = plot.random.between(0, looks - 1);
                plot.acts.push((at, scenario));
            }
        }
        let looks = (0..looks).map(|number| plot.look(number)).collect();
        Self { class, scenarios: plot.scenarios, looks }
    }
}

/// Those that shall happen: one to six, and no two that make ids in different ways.
fn scenarios(random: &mut Random, class: Class) -> Vec<Scenario> {
    let mut all: Vec<_> = Scenario::ALL.into_iter().filter(|scenario| class.has(*scenario)).collect();
    random.shuffle(&mut all);
    let schemes = [Scenario::IdPerRequest, Scenario::IdConstantOrReused, Scenario::PositionalIdsShift];
    let mut scheme_taken = false;
    all.retain(|scenario| !schemes.contains(scenario) || !std::mem::replace(&mut scheme_taken, true));
    all.truncate(random.pick(&[1, 2, 3, 4, 4, 5, 5, 6]).unwrap_or(3));
    all
}

/// What is particular to one look.
pub(super) struct Now {
    pub(super) number: i64,
    pub(super) glitch: Glitch,
    /// The ids that the bank says are removed.
    pub(super) removed: Vec<String>,
    /// All days are asked for, not only the latest.
    pub(super) asks_all: bool,
}

/// The history as it unfolds.
pub(super) struct Plot {
    pub(super) random: Random,
    pub(super) books: Books,
    pub(super) manners: Manners,
    /// What happens at which look.
    pub(super) acts: Vec<(i64, Scenario)>,
    /// What has happened.
    pub(super) scenarios: BTreeSet<Scenario>,
    /// For so many more looks the bank shows so many days only, or so many rows; and whether it says so.
    pub(super) short_for: i64,
    pub(super) days: Option<(i64, bool)>,
    pub(super) rows: Option<(usize, bool)>,
    overlap: i64,
    last_day: i64,
    requests: i64,
}

impl Plot {
    fn new(mut random: Random, class: Class, wanted: &[Scenario]) -> Self {
        let has = |scenario| wanted.contains(&scenario);
        let of_pending = [
            Scenario::AmountChangesOnBooking,
            Scenario::PendingVanishes,
            Scenario::SignFlipped,
            Scenario::BalanceIncludesPending,
            Scenario::IdOnlyWhenBooked,
        ];
        let statement =
            class == Class::ClosingBalance && !has(Scenario::BalanceIncludesPending) && random.chance(20);
        let gives_balance = match class {
            Class::Ids | Class::RunningBalance => has(Scenario::BalanceIncludesPending) || random.chance(50),
            Class::ClosingBalance => !statement,
            Class::Nothing => false,
        };
        let manners = Manners {
            class,
            balance: gives_balance,
            statement,
            as_of: random.chance(70),
            counts: Counts::Booked,
            pending: of_pending.iter().any(|scenario| has(*scenario)) || random.chance(75),
            unsigned: has(Scenario::SignFlipped) && random.chance(70),
            keeps_id: random.chance(50),
            supersedes: random.chance(30),
            ids: Ids::Own,
            pending_ids: true,
            prefix: ('a', 0, 0),
            ahead: random.pick(&[0, 0, 30]).unwrap_or(0),
            exclusive: has(Scenario::WindowShortened) && random.chance(30),
            page: random.place(3) + 2,
        };
        let today = random.between(18, 30);
        let base = random.between(-50, 500) * 100;
        let overlap = random.between(3, 20);
        let mut plot = Self {
            random,
            books: Books::new(base, today),
            manners,
            acts: Vec::new(),
            scenarios: BTreeSet::new(),
            short_for: 0,
            days: None,
            rows: None,
            overlap,
            last_day: today,
            requests: 0,
        };
        for _ in 0..plot.random.between(3, 12) {
            let day = plot.random.between(2, today);
            plot.books.add_any(&mut plot.random, BOOKED, day);
        }
        for scenario in wanted {
            plot.settle_manners(*scenario);
        }
        plot
    }

    /// What a scenario makes of the bank for good.
    fn settle_manners(&mut self, scenario: Scenario) {
        let random = &mut self.random;
        match scenario {
            Scenario::IdPerRequest => self.manners.ids = Ids::PerRequest,
            Scenario::IdConstantOrReused if random.chance(50) => {
                self.manners.ids = Ids::Constant(random.pick(&["", "0", "CARD"]).unwrap_or(""));
            }
            Scenario::PositionalIdsShift => {
                self.manners.ids = Ids::Place { newest_first: random.chance(50) };
            }
            Scenario::IdOnlyWhenBooked => {
                (self.manners.pending_ids, self.manners.keeps_id) = (false, true);
            }
            Scenario::BalanceIncludesPending => {
                let counts = [Counts::PendingToo, Counts::PendingSilently, Counts::Yesterday];
                self.manners.counts = random.pick(&counts).unwrap_or(Counts::PendingToo);
            }
            Scenario::WindowShortened if self.manners.exclusive => {}
            Scenario::SignFlipped if self.manners.unsigned => {}
            _ => return,
        }
        self.scenarios.insert(scenario);
    }

    fn look(&mut self, number: i64) -> Look {
        if number > 0 {
            self.books.today += self.random.pick(&[0, 1, 1, 2, 3, 5]).unwrap_or(1);
            self.live();
        }
        let mut now = Now { number, glitch: Glitch::default(), removed: Vec::new(), asks_all: number == 0 };
        let acts: Vec<_> = self.acts.iter().filter(|(at, _)| *at == number).map(|(_, act)| *act).collect();
        for act in acts {
            self.act(&mut now, act);
        }
        let Now { mut glitch, removed, asks_all, .. } = now;
        if self.short_for > 0 {
            self.short_for -= 1;
            let since = self.days.map(|(days, says)| (self.books.today - days, says));
            (glitch.shortened, glitch.cut) = (since, self.rows);
        }
        let until = self.books.today + self.manners.ahead;
        let since = if asks_all { 0 } else { (self.last_day - self.overlap).max(0) };
        self.last_day = self.books.today;
        // A list seldom moves again while it is read once more.
        let calm = Glitch { moves: Vec::new(), ..glitch.clone() };
        let restless = if self.random.chance(20) { &glitch } else { &calm };
        let mut answer = |days, glitch: &Glitch| {
            self.requests += 1;
            let mut reading = self.manners.answer(&self.books, days, self.requests, glitch);
            reading.seen.removed.clone_from(&removed);
            reading
        };
        let first = answer((since, until), &glitch);
        let again = answer((since, until), restless);
        let whole = answer((0, until), &calm);
        let counts = match self.manners.counts {
            Counts::Yesterday if self.random.chance(50) => Counts::Booked,
            counts => counts,
        };
        let mut books = Vec::new();
        for (entry, row) in self.manners.rows(&self.books, 0) {
            if entry.status == BOOKED || self.manners.pending {
                books.push((entry.who, row));
            }
        }
        let mut happened = vec![format!("today is {}", date(self.books.today))];
        happened.append(&mut self.books.happened);
        if glitch.flipped || glitch.cut.is_some() || glitch.shortened.is_some() || !glitch.moves.is_empty() {
            happened.push(format!("{glitch:?}, pages of {}", self.manners.page));
        }
        let balances_again = self.manners.balances(&self.books, counts);
        Look { happened, books, first, again, balances_again, whole }
    }

    /// What goes on at every bank: rows come, and pending ones are booked or expire.
    fn live(&mut self) {
        let today = self.books.today;
        for who in self.books.standing(PENDING) {
            let day = self.books.entries[who].day;
            if today - day > 14 {
                self.books.remove(who);
            } else if day <= today && self.random.chance(40) {
                let minor = self.books.entries[who].minor;
                self.books.settle(&mut self.random, who, minor, self.manners.keeps_id);
            }
        }
        for _ in 0..self.random.between(0, 2) {
            let day = today - self.random.between(0, 1);
            let status = if self.random.chance(50) && self.manners.pending { PENDING } else { BOOKED };
            self.books.add_any(&mut self.random, status, day);
        }
    }
}
