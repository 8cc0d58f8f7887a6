//! Any cursor from any point leads to what is held, whatever is stored while it is read: random stories of an
//! account, read in pages of every size by plain and compact readers and by one who looks back.

use crate::bed::*;
use crate::both;
use host::model::*;
use host::store::{PageOf, Store, TransactionFilter};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// Stories per database; each takes some dozen transactions of the database.
const STORIES: u32 = 32;

/// What becomes of a row in a commit.
#[derive(Debug, Clone)]
enum Act {
    Add(i64),
    Amend(Index, i64),
    Remove(Index),
}

/// Somebody who reads: from a point of what was stored by then, a page after each further commit, to the end.
#[derive(Debug, Clone)]
struct Reader {
    /// After which commit the first page is read.
    begins: Index,
    /// From which of the changes that there are then; for one who looks back, until which.
    from: Index,
    limit: u32,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Plain,
    Compact,
    LookingBack,
}

fn story() -> impl Strategy<Value = (Vec<Vec<Act>>, Vec<Reader>)> {
    let act = prop_oneof![
        3 => (-99..99_i64).prop_map(Act::Add),
        2 => (any::<Index>(), -99..99_i64).prop_map(|(row, minor)| Act::Amend(row, minor)),
        2 => any::<Index>().prop_map(Act::Remove),
    ];
    let how = prop_oneof![Just(How::Plain), Just(How::Compact), Just(How::LookingBack)];
    let reader = (any::<Index>(), any::<Index>(), 1..6_u32, how)
        .prop_map(|(begins, from, limit, how)| Reader { begins, from, limit, how });
    (prop::collection::vec(prop::collection::vec(act, 0..6), 1..8), prop::collection::vec(reader, 1..8))
}

/// Rows by number: what somebody holds.
type Rows = BTreeMap<i64, Transaction>;

/// What truly happened: what was held after each change, the first being nothing.
struct Truth {
    after: Vec<Rows>,
    /// The last change of each commit, and when it was.
    commits: Vec<(i64, Timestamp)>,
}

impl Truth {
    fn at(&self, seq: i64) -> &Rows {
        &self.after[usize::try_from(seq).unwrap()]
    }
    fn last(&self) -> &Rows {
        self.after.last().unwrap()
    }
    fn head(&self) -> i64 {
        i64::try_from(self.after.len()).unwrap() - 1
    }

    /// The changes of a commit, each row at most once, as a look at a bank gives them.
    fn commit(&mut self, acts: &[Act]) -> Vec<NewChange> {
        let mut untouched: Vec<i64> = self.last().keys().copied().collect();
        let mut changes = Vec::new();
        for act in acts {
            let mut rows = self.last().clone();
            let mut pick = |of: &Index| match untouched.len() {
                0 => None,
                len => Some(untouched.remove(of.index(len))),
            };
            let change = match act {
                Act::Add(minor) => NewChange::added(pending(*minor, "added")),
                Act::Amend(of, minor) => {
                    let Some(number) = pick(of) else { continue };
                    NewChange::amended(number, rows[&number].clone(), booked(3, *minor, "amended"))
                }
                Act::Remove(of) => {
                    let Some(number) = pick(of) else { continue };
                    let before = rows[&number].clone();
                    NewChange::Removed { number, before, reason: ChangeReason::AbsentTwice }
                }
            };
            let seq = self.head() + 1;
            match &change {
                NewChange::Added { after, .. } => drop(rows.insert(seq, after.clone())),
                NewChange::Modified { number, after, .. } => drop(rows.insert(*number, after.clone())),
                NewChange::Removed { number, .. } => drop(rows.remove(number)),
            }
            self.after.push(rows);
            changes.push(change);
        }
        changes
    }
}

/// A reader on the way.
struct Reading {
    how: How,
    limit: u32,
    held: Rows,
    /// The last change that was read, or the last number of who looks back.
    cursor: i64,
    /// What a compact reading covers, or until where somebody looks back.
    span: (i64, i64),
    is_done: bool,
}

impl Reading {
    async fn begin(reader: &Reader, truth: &Truth, store: &Store, account: AccountId) -> Self {
        let Reader { from, limit, how, .. } = reader;
        let (cursor, held, span) = match how {
            How::LookingBack => {
                let (seq, at) = truth.commits[from.index(truth.commits.len())];
                assert_eq!(store.seq_at(account, at).await.unwrap(), seq, "what was known at {at:?}");
                (0, Rows::new(), (0, seq))
            }
            _ => {
                let seq = i64::try_from(from.index(truth.after.len())).unwrap();
                (seq, truth.at(seq).clone(), (seq, truth.head()))
            }
        };
        Self { how: *how, limit: *limit, held, cursor, span, is_done: false }
    }

    /// Reads a page.
    async fn page(&mut self, truth: &Truth, store: &Store, account: AccountId) {
        let (cursor, limit) = (self.cursor, self.limit);
        let has_more = match self.how {
            How::LookingBack => {
                let page = store.held_at(account, self.span.1, cursor, limit).await.unwrap();
                let PageOf { items, has_more } = page;
                for row in items {
                    assert!(row.id.number > self.cursor, "in order");
                    self.cursor = row.id.number;
                    self.held.insert(row.id.number, row.transaction);
                }
                has_more
            }
            How::Compact => {
                let page = store.compact_changes(account, self.span, cursor, limit).await.unwrap();
                self.apply(page)
            }
            How::Plain => {
                let page = store.changes(account, cursor, limit).await.unwrap();
                let seqs: Vec<i64> = page.items.iter().map(|change| change.seq).collect();
                let expected: Vec<i64> =
                    (cursor + 1..=truth.head()).take(usize::try_from(limit).unwrap()).collect();
                assert_eq!(seqs, expected, "without a gap");
                self.apply(page)
            }
        };
        assert!(self.cursor > cursor || !has_more, "a page that does not end the reading goes on");
        if has_more {
            return;
        }
        match self.how {
            How::LookingBack => {
                assert_eq!(&self.held, truth.at(self.span.1), "what was believed then");
                self.is_done = true;
            }
            How::Compact => {
                assert_eq!(&self.held, truth.at(self.span.1), "what became of all until the span's end");
                (self.how, self.cursor) = (How::Plain, self.span.1);
            }
            How::Plain => {
                assert_eq!(&self.held, truth.last(), "what is held now");
                assert_eq!(self.cursor, truth.head());
            }
        }
    }

    fn apply(&mut self, page: PageOf<Change>) -> bool {
        for change in page.items {
            assert!(change.seq > self.cursor, "in order");
            self.cursor = change.seq;
            let number = change.transaction.number;
            assert_eq!(self.held.get(&number), change.before.as_ref(), "before is what the reader holds");
            let kind = match (&change.before, &change.after) {
                (None, Some(_)) => ChangeKind::Added,
                (Some(_), Some(_)) => ChangeKind::Modified,
                (Some(_), None) => ChangeKind::Removed,
                (None, None) => panic!("{change:?}"),
            };
            assert_eq!(change.kind, kind);
            match change.after {
                Some(after) => self.held.insert(number, after),
                None => self.held.remove(&number),
            };
        }
        page.has_more
    }
}

/// Stores the commits one after another; between them everybody who has begun reads a page; then all read to the
/// end.
async fn play(bed: &Bed, commits: &[Vec<Act>], readers: &[Reader]) {
    let connection = bed.connection().await.id;
    let mut leases = bed.claim_all(START).await;
    leases.retain(|lease| lease.connection == connection);
    let lease = leases.remove(0);
    let account = bed.list(&lease, &[bank_account("a1", None)], START).await.unwrap().remove(0);
    let (store, id) = (&bed.store, account.id);
    let mut truth = Truth { after: vec![Rows::new()], commits: Vec::new() };
    let mut reading: Vec<Reading> = Vec::new();
    for (place, acts) in commits.iter().enumerate() {
        let seq = truth.head();
        let changes = truth.commit(acts);
        let at = START.plus(MINUTE * u32::try_from(place).unwrap());
        let one = Sync { finished_at: at, seq, ..sync(&lease, &account, SyncId::new(), Trigger::Schedule) };
        let stored = store.commit_sync(&lease, &commit(one, changes), |_| None).await.unwrap();
        assert_eq!(stored.seq, truth.head());
        truth.commits.push((stored.seq, at));
        for reader in readers.iter().filter(|reader| reader.begins.index(commits.len()) == place) {
            reading.push(Reading::begin(reader, &truth, store, id).await);
        }
        for one in reading.iter_mut().filter(|one| !one.is_done) {
            one.page(&truth, store, id).await;
        }
    }
    for one in &mut reading {
        while !one.is_done && (one.how != How::Plain || one.cursor < truth.head()) {
            one.page(&truth, store, id).await;
        }
        if one.how == How::Plain {
            assert_eq!(&one.held, truth.last());
        }
    }
    let listed = store.transactions(id, &TransactionFilter::default(), 500).await.unwrap().items;
    let listed: Rows = listed.into_iter().map(|row| (row.id.number, row.transaction)).collect();
    assert_eq!(&listed, truth.last());
}

both! {
    async fn any_cursor_from_any_point_rebuilds_the_same_state(bed) {
        let config = Config { cases: STORIES, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        let found = block_in_place(|| {
            runner.run(&story(), |(commits, readers)| {
                Handle::current().block_on(play(&bed, &commits, &readers));
                Ok(())
            })
        });
        if let Err(error) = found {
            panic!("{error}");
        }
    }
}
