//! The names of the scenarios, and what happens in each: act 0 is what stands there at first.
//!
//! Must not know: how it is played.

use super::Scenario::{self, *};

impl Scenario {
    /// All of them, in the order of the catalogue.
    pub const ALL: [Self; 19] = [
        IdenticalTwins,
        IdsRotated,
        PositionalIdsShift,
        IdPerRequest,
        IdConstantOrReused,
        IdOnlyWhenBooked,
        AmountChangesOnBooking,
        PendingVanishes,
        FutureDated,
        LateEntry,
        RemovedOrTruncated,
        ListMovesBetweenPages,
        SignFlipped,
        BalanceIncludesPending,
        AccountIdChanges,
        WindowShortened,
        IdRuleChanges,
        ReissuedIdsAndDatedPayee,
        BookedThenAmended,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            IdenticalTwins => "identical-twins",
            IdsRotated => "ids-rotated",
            PositionalIdsShift => "positional-ids-shift",
            IdPerRequest => "id-per-request",
            IdConstantOrReused => "id-constant-or-reused",
            IdOnlyWhenBooked => "id-only-when-booked",
            AmountChangesOnBooking => "amount-changes-on-booking",
            PendingVanishes => "pending-vanishes",
            FutureDated => "future-dated",
            LateEntry => "late-entry",
            RemovedOrTruncated => "removed-or-truncated",
            ListMovesBetweenPages => "list-moves-between-pages",
            SignFlipped => "sign-flipped",
            BalanceIncludesPending => "balance-includes-pending",
            AccountIdChanges => "account-id-changes",
            WindowShortened => "window-shortened",
            IdRuleChanges => "id-rule-changes",
            ReissuedIdsAndDatedPayee => "reissued-ids-and-dated-payee",
            BookedThenAmended => "booked-then-amended",
        }
    }

    /// What happens in its acts.
    pub fn acts(self) -> &'static [&'static str] {
        match self {
            IdenticalTwins => &[
                "pairs 15, 14 and 13 days ago, five equal rows 5 days ago on the edges of pages, no ids",
                "a sixth equal row is booked on that day",
                "one of the equal rows is taken back",
            ],
            IdsRotated => &[
                "booked rows and a pending one",
                "all ids are other ones",
                "all ids are other ones again, the pending row is booked, and a new row comes",
            ],
            PositionalIdsShift => &[
                "five rows on one day, and others; ids are places in the day",
                "a late row comes as the first of that day",
                "the third row of that day is taken back",
            ],
            IdPerRequest => {
                &["booked rows; each request gives other ids", "nothing happens", "a new row comes"]
            }
            IdConstantOrReused => &[
                "booked rows; all have one id",
                "ids are the bank's own from now on, and two new rows share one",
                "the oldest row is taken back, and a new one gets its id",
                "all have one id again, and a row comes that equals the oldest one",
            ],
            IdOnlyWhenBooked => &[
                "booked rows and two pending ones, which have no id",
                "a pending row is booked and has an id now",
                "the other one is booked too, and a new pending row comes",
            ],
            AmountChangesOnBooking => &[
                "booked rows and four pending ones: a restaurant, a shop abroad, a fuel pump, a hotel",
                "the restaurant's is booked with a tip",
                "the shop's is booked at another exchange rate and under another label",
                "the hotel's, nine days old, is booked under another label",
                "the pump's hold of 99.00 is booked with what was filled, about a third",
            ],
            PendingVanishes => &[
                "booked rows and three pending ones",
                "a pending row expires",
                "the second one is declined: listed as rejected",
                "the third one expires, and another shop's pending row of the same amount comes",
            ],
            FutureDated => &[
                "booked rows, one booked for the day after tomorrow, a pending one dated in 5 days",
                "the pending one is booked, dated as it was",
                "a pending row dated in 6 days comes",
                "it is cancelled",
            ],
            LateEntry => &[
                "booked rows, three of them 30 to 60 days ago; a pending one 20 days ago",
                "a row dated 11 days ago is booked",
                "a row dated 40 days ago is booked",
                "the pending row of 20 days ago is booked",
            ],
            RemovedOrTruncated => &[
                "booked rows, one of them 40 days ago",
                "a row of 5 days ago is taken back",
                "the two newest rows are left out of the list; the balance still counts them",
                "the list is whole again",
                "the row of 40 days ago is taken back",
            ],
            ListMovesBetweenPages => &[
                "booked rows, the newest first, paged by count",
                "in the next reading the oldest row moves to the front after the first page",
                "a new row comes to the front after the first page of the next reading",
                "in every reading the oldest row moves to the front after the first page",
                "the list rests",
            ],
            SignFlipped => &[
                "booked rows and two pending ones, whose amounts have no sign",
                "a pending row is booked and has its sign",
                "all signs are turned round; the balance is right",
                "the signs are as at first",
            ],
            BalanceIncludesPending => &[
                "booked rows; a pending one that is counted in the booked balance, and not listed",
                "another pending payment, counted and not listed",
                "the first one is booked",
                "the balance is of last night and counts no pending rows; a new row comes",
            ],
            AccountIdChanges => &[
                "booked rows, on another account of the same last four digits too",
                "all accounts of the customer have other ids",
                "a new row comes",
            ],
            WindowShortened => &[
                "booked rows, also 11, 12, 14, 30 and 70 days ago",
                "only the last 10 days are listed; the balance counts the others",
                "all days are listed but the first of those asked for",
                "all days are listed, and a new row comes",
            ],
            IdRuleChanges => &[
                "booked rows and a pending one",
                "all ids are written in another way",
                "ids are written in a third way, and the pending row is booked",
            ],
            ReissuedIdsAndDatedPayee => &[
                "booked rows",
                "the rows of the last 5 days have new ids, and the date before text and payee",
                "a new row comes",
            ],
            BookedThenAmended => &[
                "booked rows",
                "a row has another text",
                "a row has another amount, and the balance follows",
                "a third row has another text and amount",
            ],
        }
    }
}
