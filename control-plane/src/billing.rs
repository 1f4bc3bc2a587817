//! From usage to money: what a month costs, its invoice, and what becomes of it until it is paid.
//!
//! Pure: `money`, `price` (lines of a month), `bill` (discounts, taxes, total), `dunning::step`.
//! With the database: `month` gathers what a month is priced by, `closing` ends months exactly once,
//! `invoice` keeps and settles invoices, `late` charges what was counted after its month was
//! invoiced, `credit` takes off, `dunning` reminds and suspends, `reconciliation` adds it all up again;
//! `change`, `trial` and `coupon` are what people do with their plan, and `preview` what that comes
//! to. Amounts are minor units of the platform's currency, quantities and unit prices millionths.

pub mod bill;
pub mod change;
pub mod closing;
pub mod coupon;
pub mod credit;
pub mod dunning;
pub mod estimate;
pub mod invoice;
pub mod late;
pub mod money;
pub mod month;
pub mod notice;
mod number;
pub mod party;
pub mod preview;
pub mod price;
pub mod reconciliation;
pub mod trial;
