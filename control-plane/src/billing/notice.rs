//! The mails of billing: to those who look after the workspace's bill, with the invoice that they are
//! about. Sending them is for `worker`.

pub mod plan;

use authsome_shared::id::WorkspaceId;

use super::document::invoice::{day, month};
use super::invoice::Invoice;
use crate::config::Billing;
use crate::jobs::Job;

/// An invoice was issued.
pub fn issued(invoice: &Invoice) -> Job {
    let (name, total) = (invoice.name(), invoice.currency.format(invoice.total));
    let then = if invoice.amount_due == 0 {
        "It is paid already: there is nothing to do.".to_owned()
    } else {
        format!("{} is due on {}.", invoice.currency.format(invoice.amount_due), due(invoice))
    };
    mail(
        &invoice.workspace_id,
        Some(invoice),
        format!("Invoice {name} for {}", month(&invoice.period)),
        format!(
            "Invoice {name} over {total} was issued for {}. It is attached.\n\n{then}\n",
            month(&invoice.period)
        ),
    )
}

pub fn payment_failed(invoice: &Invoice, reason: &str) -> Job {
    let (name, amount) = (invoice.name(), invoice.currency.format(invoice.amount_due));
    mail(
        &invoice.workspace_id,
        Some(invoice),
        format!("Payment of invoice {name} failed"),
        format!(
            "The payment of {amount} for invoice {name} failed: {reason}\n\nPlease check the \
             payment method. The invoice is due on {}.\n",
            due(invoice)
        ),
    )
}

/// The first, second, … of them, from 1.
pub fn reminder(settings: &Billing, invoice: &Invoice, number: usize) -> Job {
    let (name, amount) = (invoice.name(), invoice.currency.format(invoice.amount_due));
    let days = settings.suspend_after_days;
    let subject = match number {
        1 => format!("Invoice {name} is due"),
        _ => format!("Invoice {name} is still unpaid (reminder {number})"),
    };
    mail(
        &invoice.workspace_id,
        Some(invoice),
        subject,
        format!(
            "{amount} of invoice {name} was due on {} and is not paid. {days} days after that date \
             the workspace is suspended, and its applications answer no requests until it is \
             paid.\n",
            due(invoice)
        ),
    )
}

pub fn suspended(invoice: &Invoice) -> Job {
    let (name, amount) = (invoice.name(), invoice.currency.format(invoice.amount_due));
    mail(
        &invoice.workspace_id,
        Some(invoice),
        "Your workspace is suspended".into(),
        format!(
            "Invoice {name} is not paid, so the workspace is suspended: its applications answer 503 \
             to all requests. They go on as soon as {amount} is paid.\n"
        ),
    )
}

pub fn restored(workspace: &WorkspaceId) -> Job {
    mail(
        workspace,
        None,
        "Your workspace is active again".into(),
        "Everything that was due is paid. The workspace is active, and its applications answer \
         requests again.\n"
            .into(),
    )
}

fn due(invoice: &Invoice) -> String {
    invoice.due_at.map_or_else(String::new, day)
}

fn mail(workspace: &WorkspaceId, invoice: Option<&Invoice>, subject: String, text: String) -> Job {
    let invoice_id = invoice.map(|invoice| invoice.id.clone());
    Job::MailBilling { workspace_id: workspace.clone(), invoice_id, subject, text }
}
