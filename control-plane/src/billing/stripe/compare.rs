//! What Stripe has of our invoices, beside ours, and where the two differ: to the unit, and by name.

use authsome_shared::id::{InvoiceId, WorkspaceId};

use super::Stripe;
use super::client::Form;
use super::collection::{self, Collection, Step};
use super::object;
use crate::app::App;
use crate::billing::invoice::{Collector, Filter, Invoice, Status, store};
use crate::billing::money::Currency;
use crate::billing::reconciliation::Difference as Named;
use crate::error::Result;
use crate::page::PageParams;
use crate::period::Period;

/// Rows of a page.
const PAGE: u32 = 100;

/// An invoice of ours, and what Stripe says of it. Amounts are minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    pub invoice_id: InvoiceId,
    pub workspace_id: WorkspaceId,
    pub number: Option<String>,
    pub currency: Currency,
    pub status: Status,
    /// What was to be paid through Stripe.
    pub amount_due: i64,
    /// `None`: nothing of it is there.
    pub theirs: Option<Theirs>,
    /// Empty when both say the same.
    pub differences: Vec<Difference>,
}

/// An invoice at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theirs {
    pub id: String,
    pub status: String,
    /// With the credit notes that were made before it was paid.
    pub total: i64,
    pub paid: i64,
    /// Of it, what was not of this invoice but of the customer's balance at Stripe; negative when
    /// less was paid for that reason.
    pub carried: i64,
    pub refunded: i64,
    /// By credit notes that were made at Stripe and not by us.
    pub credited: i64,
}

/// How Stripe's differs from ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It should be at Stripe and is not.
    Missing,
    Status {
        ours: &'static str,
        theirs: String,
    },
    Total {
        ours: i64,
        theirs: i64,
    },
    /// Paid by both, and not explained by what was carried.
    Paid {
        ours: i64,
        theirs: i64,
    },
    /// Stripe asked for so much more (negative: less), by its customer's balance with it.
    Carried {
        amount: i64,
    },
    Refunded {
        amount: i64,
    },
    CreditedAtStripe {
        amount: i64,
    },
    /// Collecting stands still, and why.
    Stopped {
        problem: String,
    },
}

impl Compared {
    /// The differences as the reconciliation of a month names them.
    pub fn named(&self) -> Vec<Named> {
        let name = self.number.as_deref().unwrap_or(self.invoice_id.as_str());
        let named = |what: &str, stated: i64, found: i64, message: String| Named {
            what: format!("stripe.{what}"),
            stated,
            found,
            message: format!("Invoice {name}: {message}"),
        };
        let money = |amount: i64| self.currency.format(amount);
        let name = |difference: &Difference| match difference {
            Difference::Missing => named("missing", 1, 0, "it is not at Stripe".into()),
            Difference::Status { ours, theirs } => {
                named("status", 1, 0, format!("it is {ours}, and {theirs} at Stripe"))
            }
            Difference::Total { ours, theirs } => {
                let (due, asked) = (money(*ours), money(*theirs));
                named("total", *ours, *theirs, format!("{due} is due, and Stripe asks for {asked}"))
            }
            Difference::Paid { ours, theirs } => {
                let (due, paid) = (money(*ours), money(*theirs));
                let message = format!("{due} was due, and {paid} was paid at Stripe");
                named("paid", *ours, *theirs, message)
            }
            Difference::Carried { amount } => {
                let message = format!(
                    "{} was asked for besides, by its customer's balance with Stripe",
                    money(*amount)
                );
                named("carried", 0, *amount, message)
            }
            Difference::Refunded { amount } => {
                named("refunded", 0, *amount, format!("{} was refunded at Stripe", money(*amount)))
            }
            Difference::CreditedAtStripe { amount } => {
                named("credited", 0, *amount, format!("{} was credited at Stripe", money(*amount)))
            }
            Difference::Stopped { problem } => {
                named("stopped", 1, 0, format!("collecting stands still: {problem}"))
            }
        };
        self.differences.iter().map(name).collect()
    }
}

/// What Stripe says otherwise of a month, of one workspace or of all; nothing where there is no
/// Stripe. One that can't be asked is a difference, too: nobody knows then. Makes calls.
pub async fn of_month(
    app: &App,
    workspace_id: Option<&WorkspaceId>,
    period: Period,
) -> Vec<(Option<WorkspaceId>, Named)> {
    let Ok(stripe) = app.stripe() else { return vec![] };
    match compare(app, stripe, workspace_id, Some(&period.to_string())).await {
        Ok(compared) => compared
            .iter()
            .flat_map(|one| one.named().into_iter().map(|it| (Some(one.workspace_id.clone()), it)))
            .collect(),
        Err(error) => {
            tracing::warn!(error = format!("{error:?}"), "Stripe can't be compared with");
            let named = Named {
                what: "stripe.answers".into(),
                stated: 1,
                found: 0,
                message: "Stripe could not be asked for all its invoices".into(),
            };
            vec![(workspace_id.cloned(), named)]
        }
    }
}

/// Compares every issued invoice that Stripe collects, of a workspace or a period or of all. Makes a
/// call for each: no transaction may be open.
pub async fn compare(
    app: &App,
    stripe: &Stripe,
    workspace_id: Option<&WorkspaceId>,
    period: Option<&str>,
) -> Result<Vec<Compared>> {
    let filter = Filter {
        workspace_id: workspace_id.cloned(),
        period: period.map(ToOwned::to_owned),
        ..Filter::default()
    };
    let mut compared = Vec::new();
    for page in 1.. {
        let mut tx = app.db.read().await?;
        let page = PageParams { page, page_size: PAGE };
        let invoices = store::list(&mut tx, &filter, page).await?;
        let mut pairs = Vec::new();
        for invoice in invoices.data {
            if invoice.collector == Collector::Stripe && invoice.status != Status::Draft {
                pairs.push((collection::of(&mut tx, &invoice.id).await?, invoice));
            }
        }
        drop(tx);
        for (collection, invoice) in pairs {
            compared.push(one(stripe, invoice, collection.as_ref()).await?);
        }
        if i64::from(page.page) * i64::from(PAGE) >= invoices.total {
            break;
        }
    }
    Ok(compared)
}

async fn one(
    stripe: &Stripe,
    invoice: Invoice,
    collection: Option<&Collection>,
) -> Result<Compared> {
    let theirs = match collection.and_then(|known| known.stripe_invoice_id.as_deref()) {
        None => None,
        Some(id) => {
            let found = stripe.client.get(&format!("invoices/{id}"), &Form::new()).await;
            match found {
                Err(failure) if failure.is_absent() => None,
                other => Some(theirs(&other?, collection)),
            }
        }
    };
    let stopped = collection.filter(|known| known.step == Step::Stopped);
    let problem = stopped.and_then(|known| known.problem.as_deref());
    let differences = differences(invoice.status, invoice.amount_due, theirs.as_ref(), problem);
    Ok(Compared {
        invoice_id: invoice.id,
        workspace_id: invoice.workspace_id,
        number: invoice.number,
        currency: invoice.currency,
        status: invoice.status,
        amount_due: invoice.amount_due,
        theirs,
        differences,
    })
}

fn theirs(invoice: &object::Invoice, collection: Option<&Collection>) -> Theirs {
    Theirs {
        id: invoice.id.clone(),
        status: invoice.status.clone(),
        total: invoice.asked(),
        paid: invoice.amount_paid,
        carried: invoice.carried(),
        refunded: collection.map_or(0, |known| known.refunded),
        credited: collection.map_or(0, |known| known.credited),
    }
}

/// Where the two differ.
fn differences(
    status: Status,
    amount_due: i64,
    theirs: Option<&Theirs>,
    problem: Option<&str>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    if let Some(problem) = problem {
        found.push(Difference::Stopped { problem: problem.to_owned() });
    }
    let Some(theirs) = theirs else {
        // What was voided, or was paid by the balance or by hand, need not be there.
        if status.is_open() {
            found.push(Difference::Missing);
        }
        return found;
    };
    let fits = match status {
        Status::Draft => false,
        Status::Pending | Status::Failed => theirs.status == "open",
        Status::Paid => theirs.status == "paid",
        Status::Void => theirs.status == "void",
    };
    if !fits {
        let (ours, theirs) = (status.as_str(), theirs.status.clone());
        found.push(Difference::Status { ours, theirs });
    }
    if status != Status::Void && theirs.total != amount_due {
        found.push(Difference::Total { ours: amount_due, theirs: theirs.total });
    }
    let of_this = theirs.paid - theirs.carried;
    if status == Status::Paid && fits && of_this != amount_due {
        found.push(Difference::Paid { ours: amount_due, theirs: of_this });
    }
    if theirs.carried != 0 {
        found.push(Difference::Carried { amount: theirs.carried });
    }
    if theirs.refunded != 0 {
        found.push(Difference::Refunded { amount: theirs.refunded });
    }
    if theirs.credited != 0 {
        found.push(Difference::CreditedAtStripe { amount: theirs.credited });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_has_its_name() {
        let theirs = |status: &str, total, paid| Theirs {
            id: "in_1".into(),
            status: status.into(),
            total,
            paid,
            carried: 0,
            refunded: 0,
            credited: 0,
        };
        let total = |theirs| Difference::Total { ours: 100, theirs };
        let status = |ours, theirs: &str| Difference::Status { ours, theirs: theirs.to_owned() };
        for (ours, due, there, expected) in [
            (Status::Pending, 100, None, vec![Difference::Missing]),
            (Status::Paid, 100, None, vec![]),
            (Status::Void, 100, None, vec![]),
            (Status::Pending, 100, Some(theirs("open", 100, 0)), vec![]),
            (Status::Pending, 100, Some(theirs("draft", 100, 0)), vec![status("pending", "draft")]),
            (Status::Pending, 100, Some(theirs("open", 99, 0)), vec![total(99)]),
            (Status::Failed, 100, Some(theirs("paid", 100, 100)), vec![status("failed", "paid")]),
            (Status::Paid, 100, Some(theirs("paid", 100, 100)), vec![]),
            (Status::Paid, 0, Some(theirs("paid", 0, 0)), vec![]),
            (
                Status::Paid,
                100,
                Some(theirs("paid", 100, 90)),
                vec![Difference::Paid { ours: 100, theirs: 90 }],
            ),
            (Status::Paid, 100, Some(theirs("open", 100, 0)), vec![status("paid", "open")]),
            (Status::Void, 100, Some(theirs("void", 100, 0)), vec![]),
            (Status::Void, 100, Some(theirs("paid", 100, 100)), vec![status("void", "paid")]),
        ] {
            assert_eq!(
                differences(ours, due, there.as_ref(), None),
                expected,
                "{ours:?} {there:?}"
            );
        }
        let there = Theirs { carried: -5, refunded: 30, credited: 20, ..theirs("paid", 100, 95) };
        assert_eq!(
            differences(Status::Paid, 100, Some(&there), Some("why")),
            [
                Difference::Stopped { problem: "why".into() },
                Difference::Carried { amount: -5 },
                Difference::Refunded { amount: 30 },
                Difference::CreditedAtStripe { amount: 20 },
            ]
        );
    }
}
