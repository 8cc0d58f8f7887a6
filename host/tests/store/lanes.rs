//! Lanes, shares and caps: who is claimed first, and what a model of the schedule says of every claim.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{NewConnection, Requested};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

impl Bed {
    async fn connection_of(
        &self,
        business: BusinessId,
        institution: &str,
        due_at: Timestamp,
    ) -> ConnectionId {
        let id = ConnectionId::new();
        let new = NewConnection {
            id,
            business,
            institution: institution.to_owned(),
            customer_ref: None,
            credentials: vec![],
            consent: Some(consent()),
            phase: id.phase(),
            slot_at: START,
            due_at,
            linking: false,
        };
        self.store.create_connection(&new, START).await.unwrap().id
    }

    async fn claimed(&self, now: Timestamp, permits: &Permits) -> Vec<Lease> {
        self.store.claim_due(now, now.plus(MINUTE), permits).await.unwrap()
    }

    /// A connection with an account that was read an hour before `due_at`: it is due for its slot.
    async fn read_before(&self, business: BusinessId, institution: &str, due_at: Timestamp) -> Account {
        let begun = due_at.minus(HOUR);
        let id = self.connection_of(business, institution, begun).await;
        let permits = Permits::of_any([(institution.to_owned(), 1_000)]);
        let leases = self.store.claim_due(begun, begun.plus(MINUTE), &permits).await.unwrap();
        let lease = leases.into_iter().find(|lease| lease.connection == id).unwrap();
        assert_eq!(lease.lane, Lane::First);
        let account = self.list(&lease, &[bank_account("a1", None)], begun).await.unwrap().remove(0);
        self.commit(&lease, &account, vec![]).await;
        self.store.complete(&lease, due_at, due_at, 0, begun).await.unwrap();
        account
    }
}

fn per_lane(counts: [u32; 4]) -> PerLane<u32> {
    let of: BTreeMap<Lane, u32> = Lane::ALL.into_iter().zip(counts).collect();
    PerLane::of(|lane| of[&lane])
}

/// What is left of a total of which each lane keeps some, as a worker counts it.
fn left(total: u32, keeps: [u32; 4], busy: PerLane<u32>) -> Share {
    let keeps = per_lane(keeps);
    let own = PerLane::of(|lane| keeps.get(lane).saturating_sub(*busy.get(lane)));
    let free = total.saturating_sub(busy.sum());
    let anybodys = free.saturating_sub(own.sum());
    Share { free, own, most: PerLane::of(|lane| (own.get(lane) + anybodys).min(free)) }
}

fn count(leases: &[Lease], lane: Lane) -> usize {
    leases.iter().filter(|lease| lease.lane == lane).count()
}

both! {
    async fn a_flood_of_one_lane_leaves_the_others_what_they_keep(bed) {
        let business = bed.business;
        let asked = bed.read_before(business, INSTITUTION, START.plus(HOUR)).await;
        for place in 0..20 {
            bed.read_before(business, INSTITUTION, START.minus(place * SECOND)).await;
        }
        for _ in 0..20 {
            bed.connection_of(business, INSTITUTION, START).await;
        }
        assert!(matches!(bed.store.request_sync(&asked, None, START).await.unwrap(), Requested::Sync(_)));
        let share = left(10, [5, 2, 1, 1], PerLane::default());
        let permits = Permits {
            all: Share::of_any(100),
            institutions: vec![(INSTITUTION.to_owned(), share)],
            per_business: PerLane::of(|_| 100),
        };
        let leases = bed.claimed(START, &permits).await;
        // One permit is anybody's, and the schedule's are the oldest; of those that are kept, two stay free.
        assert_eq!(Lane::ALL.map(|lane| count(&leases, lane)), [6, 1, 1, 0]);
        assert_eq!(leases.iter().find(|lease| lease.lane == Lane::Wanted).unwrap().connection, asked.connection);
        let mut busy = PerLane::default();
        leases.iter().for_each(|lease| *busy.get_mut(lease.lane) += 1);
        let again = Permits { institutions: vec![(INSTITUTION.to_owned(), left(10, [5, 2, 1, 1], busy))], ..permits };
        assert_eq!(bed.claimed(START, &again).await, [], "what is kept is kept");
    }

    async fn the_permits_of_all_institutions_together_are_kept_too(bed) {
        let business = bed.business;
        for place in 0..6 {
            bed.read_before(business, if place % 2 == 0 { INSTITUTION } else { "other" }, START.minus(place * SECOND)).await;
        }
        let late = bed.connection_of(business, "other", START).await;
        let permits = Permits {
            all: left(3, [1, 0, 1, 0], PerLane::default()),
            institutions: [INSTITUTION, "other"].map(|name| (name.to_owned(), Share::of_any(100))).to_vec(),
            per_business: PerLane::of(|_| 100),
        };
        let leases = bed.claimed(START, &permits).await;
        assert_eq!(leases.len(), 3);
        assert!(leases.iter().any(|lease| lease.connection == late), "the last that came has a permit of its own");
    }

    async fn a_business_with_many_waits_while_anothers_go_through(bed) {
        let other = bed.store.create_business("Another", START).await.unwrap().id;
        let theirs = bed.read_before(other, INSTITUTION, START.plus(HOUR)).await;
        let mut ours = Vec::new();
        for _ in 0..12 {
            ours.push(bed.read_before(bed.business, INSTITUTION, START.plus(HOUR)).await);
        }
        for (account, place) in ours.iter().zip(0..) {
            bed.store.request_sync(account, None, START.plus(place * SECOND)).await.unwrap();
        }
        let now = START.plus(MINUTE);
        bed.store.request_sync(&theirs, None, now).await.unwrap();
        let permits = Permits {
            per_business: PerLane::of(|_| 3),
            ..Permits::of_any([(INSTITUTION.to_owned(), 8)])
        };
        let leases = bed.claimed(now, &permits).await;
        assert_eq!(leases.len(), 4, "three of the one, one of the other");
        assert!(leases.iter().any(|lease| lease.connection == theirs.connection));
        assert_eq!(bed.claimed(now, &permits).await, [], "those in hand count");
        let done = leases.iter().find(|lease| lease.connection != theirs.connection).unwrap();
        bed.store.complete(done, now, now.plus(HOUR), 0, now).await.unwrap();
        // It was not read, so it is due again, with the rest.
        assert_eq!(bed.claimed(now, &permits).await.len(), 1);
        assert_eq!(bed.claimed(now.plus(2 * MINUTE), &permits).await.len(), 4, "leases that ran out do not count");
    }

    async fn what_a_connection_is_due_for(bed) {
        let lane = async |now: Timestamp| {
            let lease = bed.claim(now).await;
            (lease.lane, lease)
        };
        bed.connection().await;
        let (first, lease) = lane(START).await;
        assert_eq!(first, Lane::First);
        let account = bed.list(&lease, &[bank_account("a1", None)], START).await.unwrap().remove(0);
        let (id, trigger, _) = bed.store.begin_asking(&lease, account.id).await.unwrap();
        let older = SyncCommit { history_due_at: Some(START), ..commit(sync(&lease, &account, id, trigger), vec![]) };
        bed.store.commit_sync(&lease, &older, |_| None).await.unwrap();
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();
        let (older, lease) = lane(START).await;
        assert_eq!(older, Lane::History);
        bed.store.request_sync(&account, None, START).await.unwrap();
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();
        let (asked, lease) = lane(START).await;
        assert_eq!(asked, Lane::Wanted, "who asks goes before older history");
        bed.commit(&lease, &account, vec![]).await;
        bed.store.complete(&lease, START, START, 0, START).await.unwrap();
        let (slot, lease) = lane(START.plus(HOUR)).await;
        assert_eq!(slot, Lane::Ordinary);
        bed.store.complete(&lease, START, START, 0, START.plus(HOUR)).await.unwrap();
        bed.reauthorise(account.connection, &[], None, START.plus(HOUR)).await.unwrap();
        let (again, lease) = lane(START.plus(HOUR)).await;
        assert_eq!(again, Lane::First, "the customer has just agreed");
        bed.store.complete(&lease, START, START, 0, START.plus(HOUR)).await.unwrap();
        assert!(bed.store.begin_closing(bed.business, account.connection, START.plus(HOUR)).await.unwrap());
        assert_eq!(lane(START.plus(HOUR)).await.0, Lane::Wanted, "the customer leaves");
    }

    async fn a_model_of_the_schedule_agrees_with_every_claim(bed) {
        for seed in 1..=4 {
            Model::play(&bed, seed).await;
        }
    }
}

/// What the schedule must do, said once more and simply.
struct Model<'a> {
    bed: &'a Bed,
    random: Random,
    seed: u64,
    now: Timestamp,
    rows: BTreeMap<ConnectionId, Row>,
    paused: BTreeMap<String, Timestamp>,
    total: BTreeMap<String, u32>,
    cap: u32,
}

struct Row {
    account: Account,
    business: BusinessId,
    institution: String,
    due_at: Timestamp,
    head_due_at: Timestamp,
    lane: Lane,
    token: i64,
    lease: Option<Lease>,
    wanted: bool,
    resting: bool,
    waits_since: Option<Timestamp>,
}

/// Xorshift, so that a seed is a story.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

const KEEPS: [u32; 4] = [2, 1, 1, 0];
/// Steps of a story.
const STEPS: u32 = 120;

impl<'a> Model<'a> {
    async fn play(bed: &'a Bed, seed: u64) {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let other = bed.store.create_business("Another", START).await.unwrap().id;
        let banks = [format!("bank-a-{seed}"), format!("bank-b-{seed}")];
        let mut rows = BTreeMap::new();
        for place in 0..14_u32 {
            let business = if place % 3 == 0 { other } else { bed.business };
            let institution = banks[(place % 2) as usize].clone();
            let due_at = START.plus(SECOND * u32::try_from(random.below(1_200)).unwrap());
            let account = bed.read_before(business, &institution, due_at).await;
            let row = Row {
                business,
                institution,
                due_at,
                head_due_at: due_at,
                lane: Lane::Ordinary,
                token: 1,
                lease: None,
                wanted: false,
                resting: false,
                waits_since: None,
                account,
            };
            rows.insert(row.account.connection, row);
        }
        let total = banks.iter().cloned().zip([4, 6]).collect();
        let (paused, cap) = (BTreeMap::new(), 2);
        let mut model = Self { bed, random, seed, now: START, rows, paused, total, cap };
        for _ in 0..STEPS {
            model.step().await;
        }
        model.drain().await;
    }

    fn any(&mut self) -> ConnectionId {
        let place = self.random.below(self.rows.len() as u64) as usize;
        *self.rows.keys().nth(place).unwrap()
    }

    fn in_hand(&self, row: &Row) -> bool {
        row.lease.as_ref().is_some_and(|lease| lease.until > self.now)
    }

    fn busy(&self, institution: Option<&str>) -> PerLane<u32> {
        let mut busy = PerLane::default();
        for row in self.rows.values().filter(|row| institution.is_none_or(|name| row.institution == name)) {
            // A worker counts a run until it ends, its lease over or not.
            if let Some(lease) = &row.lease {
                *busy.get_mut(lease.lane) += 1;
            }
        }
        busy
    }

    fn permits(&self) -> Permits {
        let institutions = self.total.iter();
        Permits {
            all: left(8, KEEPS, self.busy(None)),
            institutions: institutions
                .map(|(name, total)| (name.clone(), left(*total, KEEPS, self.busy(Some(name)))))
                .collect(),
            per_business: PerLane::of(|_| self.cap),
        }
    }

    fn held(&self, institution: &str) -> bool {
        self.paused.get(institution).is_some_and(|until| *until > self.now)
    }

    fn of_business(&self, business: BusinessId, lane: Lane) -> u32 {
        let in_hand = self.rows.values().filter(|row| self.in_hand(row) && row.business == business);
        in_hand.filter(|row| row.lease.as_ref().is_some_and(|lease| lease.lane == lane)).count() as u32
    }

    async fn step(&mut self) {
        match self.random.below(10) {
            0 | 1 => self.now = self.now.plus(SECOND * u32::try_from(self.random.below(180)).unwrap()),
            2..=4 => self.claim().await,
            5 | 6 => self.end().await,
            7 => self.ask().await,
            8 => self.rest().await,
            _ => {
                let name = self.total.keys().nth(self.random.below(2) as usize).unwrap().clone();
                let until = self.now.plus(SECOND * u32::try_from(self.random.below(90)).unwrap());
                self.bed.store.pause_institution(&name, until, "limit").await.unwrap();
                let paused = self.paused.entry(name).or_insert(until);
                *paused = until.max(*paused);
            }
        }
    }

    /// Claims as a worker does, until nothing more comes, and judges all of it.
    async fn claim(&mut self) {
        loop {
            let permits = self.permits();
            let leases = self.bed.claimed(self.now, &permits).await;
            self.judge(&permits, &leases);
            if leases.is_empty() {
                break;
            }
            for lease in leases {
                let row = self.rows.get_mut(&lease.connection).unwrap();
                (row.token, row.due_at, row.waits_since) = (lease.token, lease.until, None);
                row.lease = Some(lease);
            }
        }
        let permits = self.permits();
        // What is left could not be taken: some limit is reached.
        for (id, row) in &self.rows {
            let share = permits.institutions.iter().find(|(name, _)| *name == row.institution).unwrap().1;
            let is_due = row.due_at <= self.now && !row.resting && !self.held(&row.institution);
            let is_capped =
                row.lane != Lane::Ordinary && self.of_business(row.business, row.lane) >= self.cap;
            let is_full = *share.most.get(row.lane) == 0 || *permits.all.most.get(row.lane) == 0;
            assert!(
                !is_due || is_capped || is_full,
                "seed {}: {id} of {:?} was passed over",
                self.seed,
                row.lane
            );
        }
    }

    fn judge(&self, permits: &Permits, leases: &[Lease]) {
        let seed = self.seed;
        let mut seen = BTreeSet::new();
        for lease in leases {
            let row = &self.rows[&lease.connection];
            assert!(seen.insert(lease.connection), "seed {seed}: twice");
            assert!(row.due_at <= self.now && !row.resting, "seed {seed}: not due");
            assert!(!self.held(&row.institution), "seed {seed}: its institution is paused");
            assert_eq!((lease.lane, lease.token), (row.lane, row.token + 1), "seed {seed}");
        }
        let within = |share: &Share, taken: &[&Lease]| {
            assert!(taken.len() as u32 <= share.free, "seed {seed}: more than is free");
            let beyond = Lane::ALL.map(|lane| {
                let of_lane = taken.iter().filter(|lease| lease.lane == lane).count() as u32;
                of_lane.saturating_sub(*share.own.get(lane))
            });
            assert!(beyond.iter().sum::<u32>() <= share.rest(), "seed {seed}: what is kept was given away");
            for lane in Lane::ALL {
                let of_lane = taken.iter().filter(|lease| lease.lane == lane).count() as u32;
                assert!(of_lane <= *share.most.get(lane), "seed {seed}: {lane:?} took what others keep");
            }
        };
        within(&permits.all, &leases.iter().collect::<Vec<_>>());
        for (name, share) in &permits.institutions {
            let here: Vec<_> = leases.iter().filter(|lease| lease.institution == *name).collect();
            within(share, &here);
            // Of one lane and business the most overdue come first.
            for (id, row) in
                self.rows.iter().filter(|(id, row)| !seen.contains(id) && row.institution == *name)
            {
                let passed = here.iter().map(|lease| &self.rows[&lease.connection]);
                let passed = passed.filter(|taken| taken.business == row.business && taken.lane == row.lane);
                let is_due = row.due_at <= self.now && !row.resting;
                let later = passed.map(|taken| taken.due_at).max();
                assert!(
                    !is_due || later.is_none_or(|at| at <= row.due_at),
                    "seed {seed}: {id} was overtaken"
                );
            }
        }
        for business in self.rows.values().map(|row| row.business).collect::<BTreeSet<_>>() {
            for lane in [Lane::Wanted, Lane::First, Lane::History] {
                let new = leases.iter().filter(|lease| lease.lane == lane);
                let new =
                    new.filter(|lease| self.rows[&lease.connection].business == business).count() as u32;
                assert!(
                    new == 0 || new + self.of_business(business, lane) <= self.cap,
                    "seed {seed}: capped"
                );
            }
        }
    }

    /// A run ends: well, in vain, or given back; one that lost its lease is refused.
    async fn end(&mut self) {
        let running: Vec<_> =
            self.rows.iter().filter(|(_, row)| row.lease.is_some()).map(|(id, _)| *id).collect();
        if running.is_empty() {
            return;
        }
        let id = running[self.random.below(running.len() as u64) as usize];
        let how = self.random.below(4);
        let (bed, now) = (self.bed, self.now);
        let row = self.rows.get_mut(&id).unwrap();
        let lease = row.lease.take().unwrap();
        match how {
            0 => {
                let later = now.plus(5 * SECOND);
                bed.store.release(&lease, later).await.unwrap();
                row.due_at = later;
            }
            1 => {
                bed.store.complete(&lease, now, now, 1, now).await.unwrap();
                row.after_run(now);
            }
            _ => {
                if !row.resting {
                    bed.commit(&lease, &row.account, vec![]).await;
                    (row.head_due_at, row.wanted) = (lease.claimed_at.plus(HOUR), false);
                }
                bed.store.complete(&lease, now, now, 0, now).await.unwrap();
                row.after_run(now);
            }
        }
    }

    async fn ask(&mut self) {
        let (id, now) = (self.any(), self.now);
        let held = self.held(&self.rows[&id].institution);
        let row = self.rows.get_mut(&id).unwrap();
        match self.bed.store.request_sync(&row.account, None, now).await.unwrap() {
            Requested::Sync(_) if row.wanted => {}
            Requested::Sync(_) => {
                assert!(!held && !row.resting, "seed {}", self.seed);
                row.wanted = true;
                if row.lease.is_none() {
                    (row.lane, row.due_at) = (Lane::Wanted, row.due_at.min(now));
                }
            }
            Requested::TooEarly { .. } => assert!(held, "seed {}", self.seed),
            Requested::Paused => assert!(row.resting, "seed {}", self.seed),
            other => panic!("seed {}: {other:?}", self.seed),
        }
    }

    /// A connection is paused, or goes on.
    async fn rest(&mut self) {
        let (id, now, bed) = (self.any(), self.now, self.bed);
        let row = self.rows.get_mut(&id).unwrap();
        if row.lease.is_some() {
            return;
        }
        if row.resting {
            let event = bed.event(id, EventType::ConnectionResumed);
            bed.store.resume_connection(row.business, id, &event, now).await.unwrap().unwrap();
            (row.resting, row.due_at, row.head_due_at) = (false, now, now);
        } else {
            let event = bed.event(id, EventType::ConnectionPaused);
            bed.store.pause_connection(row.business, id, &event, now).await.unwrap().unwrap();
            (row.resting, row.wanted) = (true, false);
        }
    }

    /// Left alone, everything that is due has its turn.
    async fn drain(&mut self) {
        for row in self.rows.values_mut().filter(|row| !row.resting) {
            row.waits_since = Some(self.now);
        }
        for _ in 0..self.rows.len() * 2 {
            self.now = self.now.plus(HOUR);
            self.claim().await;
            while self.rows.values().any(|row| row.lease.is_some()) {
                self.end().await;
            }
        }
        let starved = self.rows.values().filter(|row| row.waits_since.is_some()).count();
        assert_eq!(starved, 0, "seed {}: nothing starves", self.seed);
    }
}

impl Row {
    fn after_run(&mut self, now: Timestamp) {
        self.due_at = if self.wanted { now } else { self.head_due_at };
        self.lane = if self.wanted { Lane::Wanted } else { Lane::Ordinary };
    }
}
