//! From usage to money: what a month costs, its invoice, and what becomes of it until it is paid.
//!
//! Pure: `money`, `price` (lines of a month), `bill` (discounts, taxes, total), `dunning::step`.
//! With the database: `month` gathers what a month is priced by, `closing` ends months exactly once,
//! `invoice` keeps and settles invoices, `late` charges what was counted after its month was
//! invoiced, `credit` takes off, `dunning` reminds and suspends, `reconciliation` adds it all up again,
//! and `stripe` collects; `change`, `trial` and `coupon` are what people do with their plan, and
//! `preview` what that comes to. Amounts are minor units of the platform's currency, quantities and
//! unit prices millionths.

pub mod balance;
pub mod bill;
pub mod change;
pub mod charge;
pub mod closing;
mod country;
pub mod coupon;
pub mod credit;
pub mod details;
pub mod document;
pub mod dunning;
pub mod estimate;
pub mod invoice;
pub mod late;
pub mod money;
pub mod month;
pub mod notice;
mod number;
pub mod party;
pub mod payment_method;
pub mod preview;
pub mod price;
pub mod reconciliation;
pub mod stripe;
pub mod tax;
pub mod trial;
