//! The words of the trial: what a bank gives, and what goes wrong there.

use serde::Serialize;

/// What the bank gives to tell rows by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Ids that it says name a row; in half of the histories a booked balance too.
    Ids,
    /// The balance after each booked row; in half of the histories a booked balance too.
    RunningBalance,
    /// A booked balance with each look, or opening and closing balance of each statement.
    ClosingBalance,
    /// Rows and nothing else.
    Nothing,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ids, Self::RunningBalance, Self::ClosingBalance, Self::Nothing];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ids => "ids",
            Self::RunningBalance => "running-balance",
            Self::ClosingBalance => "closing-balance",
            Self::Nothing => "nothing",
        }
    }
}

/// What goes wrong at banks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// Equal rows that are not the same, also across the edges of pages and windows.
    IdenticalTwins,
    /// All ids are new ones, the contents equal.
    IdsRotated,
    /// Ids are places in a list, and a late row shifts them.
    PositionalIdsShift,
    /// Each request gives other ids.
    IdPerRequest,
    /// One id for all rows, or blank ones, or an id that a later row gets again.
    IdConstantOrReused,
    /// Pending rows have no id.
    IdOnlyWhenBooked,
    /// A tip, a fuel hold, an exchange rate; often days later and under another label.
    AmountChangesOnBooking,
    /// A pending row that is never booked.
    PendingVanishes,
    /// Rows dated after today; the balance counts them when their day comes.
    FutureDated,
    /// A booked row that appears among older ones, also before the window.
    LateEntry,
    /// A row that the bank takes back, beside lists that are cut short.
    RemovedOrTruncated,
    /// A row that comes or goes while the list is paged: another one comes twice, or not at all.
    ListMovesBetweenPages,
    /// Pending rows without their sign, or a whole answer with the signs turned round.
    SignFlipped,
    /// The booked balance counts pending rows, with or without saying so, or is yesterday's.
    BalanceIncludesPending,
    /// After a new consent the account and all that is named after it has other ids.
    AccountIdChanges,
    /// The bank shows fewer days than asked for, or leaves out the first day.
    WindowShortened,
    /// Our connector makes ids in another way after an upgrade.
    IdRuleChanges,
    /// Recent rows get new ids, and the date in front of the payee.
    ReissuedIdsAndDatedPayee,
    /// A booked row gets another text, date or amount.
    BookedThenAmended,
}

impl Scenario {
    /// All of them, with their names in JSON.
    pub const ALL: [(Self, &'static str); 19] = [
        (Self::IdenticalTwins, "identical-twins"),
        (Self::IdsRotated, "ids-rotated"),
        (Self::PositionalIdsShift, "positional-ids-shift"),
        (Self::IdPerRequest, "id-per-request"),
        (Self::IdConstantOrReused, "id-constant-or-reused"),
        (Self::IdOnlyWhenBooked, "id-only-when-booked"),
        (Self::AmountChangesOnBooking, "amount-changes-on-booking"),
        (Self::PendingVanishes, "pending-vanishes"),
        (Self::FutureDated, "future-dated"),
        (Self::LateEntry, "late-entry"),
        (Self::RemovedOrTruncated, "removed-or-truncated"),
        (Self::ListMovesBetweenPages, "list-moves-between-pages"),
        (Self::SignFlipped, "sign-flipped"),
        (Self::BalanceIncludesPending, "balance-includes-pending"),
        (Self::AccountIdChanges, "account-id-changes"),
        (Self::WindowShortened, "window-shortened"),
        (Self::IdRuleChanges, "id-rule-changes"),
        (Self::ReissuedIdsAndDatedPayee, "reissued-ids-and-dated-payee"),
        (Self::BookedThenAmended, "booked-then-amended"),
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(scenario, _)| *scenario == self).map_or("", |(_, name)| name)
    }

    /// Can a bank of this class have it? Some speak of ids only, one of balances only.
    pub fn fits(self, class: Class) -> bool {
        match self {
            Self::IdsRotated
            | Self::IdPerRequest
            | Self::IdConstantOrReused
            | Self::IdOnlyWhenBooked
            | Self::IdRuleChanges => class == Class::Ids,
            Self::BalanceIncludesPending => class != Class::Nothing,
            _ => true,
        }
    }
}
