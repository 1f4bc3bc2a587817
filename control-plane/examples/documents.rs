//! Writes invoices and credit notes of every kind into a folder, as PDF and HTML, to be looked at:
//! `cargo run -p authsome-control-plane --example documents -- FOLDER [FONT…]`.

use std::path::Path;

use anyhow::Context;
use authsome_control_plane::billing::credit::CreditNote;
use authsome_control_plane::billing::document::invoice::{Texts, document};
use authsome_control_plane::billing::document::{Document, credit_note, html, pdf};
use authsome_control_plane::billing::invoice::whole::Whole;
use authsome_control_plane::billing::invoice::{Collector, Invoice, Status};
use authsome_control_plane::billing::money::{Currency, MICROS};
use authsome_control_plane::billing::party::{Address, Parties, Party};
use authsome_control_plane::billing::price::{Kind, Line};
use authsome_control_plane::config::Documents;
use authsome_shared::id::{CreditNoteId, InvoiceId, WorkspaceId};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::types::Json;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).context("say which folder")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let fonts = std::env::args().skip(2).map(Into::into).collect();
    let fonts = Documents { fonts, ..Documents::default() }.read_fonts()?;
    for (name, document) in samples() {
        std::fs::write(folder.join(format!("{name}.pdf")), pdf(&document, &fonts))?;
        std::fs::write(folder.join(format!("{name}.html")), html::render(&document))?;
    }
    println!("{}", folder.display());
    Ok(())
}

fn samples() -> Vec<(&'static str, Document)> {
    let texts = Texts {
        payment_instructions: "Transfer the amount to IBAN DE89 3704 0044 0532 0130 00 and name the \
                               invoice's number.",
        footer: "Authsome Ltd. · Register court Berlin HRB 12345 · Managing director Ada Lovelace",
    };
    let issued = at("2026-12-01T01:00:00Z");
    let shown = |whole: &Whole, now| document(whole, texts, now);

    let month = month();
    let mut paid = month.clone();
    paid.invoice.status = Status::Paid;
    paid.invoice.paid_at = Some(at("2026-12-03T10:00:00Z"));
    paid.invoice.balance_applied = 10_000;
    paid.invoice.amount_due -= 10_000;
    paid.invoice.parties.0.customer.address = Address {
        line1: Some("510 Townsend Street".into()),
        postal_code: Some("94103".into()),
        city: Some("San Francisco".into()),
        state: Some("CA".into()),
        country: Some("US".into()),
        ..Address::default()
    };
    let credit = CreditNote {
        id: CreditNoteId::new(),
        number: "CN-000003".into(),
        invoice_id: paid.invoice.id.clone(),
        workspace_id: paid.invoice.workspace_id.clone(),
        currency: paid.invoice.currency.clone(),
        amount: 12_345,
        to_balance: 12_345,
        reason: "The applications did not answer for two hours on 12 November".into(),
        created_at: at("2026-12-05T09:00:00Z"),
    };
    let credited = credit_note::document(&credit, &paid.invoice, texts);
    paid.credit_notes.push(credit);
    let mut void = month.clone();
    void.invoice.status = Status::Void;
    void.invoice.voided_at = Some(at("2026-12-02T00:00:00Z"));
    void.invoice.failure = Some("Issued to the wrong company".into());
    vec![
        ("month", shown(&month, issued)),
        ("paid", shown(&paid, issued)),
        ("void", shown(&void, issued)),
        ("changed", shown(&changed(), issued)),
        ("long", shown(&long(), at("2027-01-01T00:00:00Z"))),
        ("bare", shown(&bare(), issued)),
        ("credit-note", credited),
    ]
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_default()
}

/// A line of November; quantity and unit price are millionths.
fn line(kind: Kind, description: &str, priced: Option<(i64, i64)>, amount: i64) -> Line {
    Line {
        kind,
        item: String::new(),
        description: description.into(),
        starts_at: at("2026-11-01T00:00:00Z"),
        ends_at: at("2026-12-01T00:00:00Z"),
        quantity: priced.map(|(quantity, _)| quantity),
        unit_micros: priced.map(|(_, unit)| unit),
        share: None,
        rate_micros: None,
        amount,
    }
}

/// An issued invoice of these lines.
fn whole(currency: &str, lines: Vec<Line>) -> Whole {
    let of = |kinds: &[Kind]| -> i64 {
        lines.iter().filter(|line| kinds.contains(&line.kind)).map(|line| line.amount).sum()
    };
    let subtotal = of(&[Kind::Fee, Kind::Usage, Kind::Adjustment]);
    let (discount, tax) = (-of(&[Kind::Discount]), of(&[Kind::Tax]));
    let total = subtotal - discount + tax;
    let issued = at("2026-12-01T01:00:00Z");
    let invoice = Invoice {
        id: InvoiceId::new(),
        workspace_id: WorkspaceId::new(),
        period: "2026-11".into(),
        number: Some("INV-000042".into()),
        status: Status::Pending,
        currency: currency.parse::<Currency>().unwrap_or_default(),
        subtotal,
        discount,
        tax,
        total,
        balance_applied: 0,
        credited: 0,
        amount_due: total,
        parties: Json(parties()),
        collector: Collector::Manual,
        failure: None,
        finalize_at: issued,
        created_at: issued,
        finalized_at: Some(issued),
        due_at: Some(issued + TimeDelta::days(7)),
        paid_at: None,
        voided_at: None,
        dunning_step: 0,
        dunning_at: None,
        updated_at: issued,
    };
    Whole { invoice, lines, credit_notes: vec![] }
}

fn parties() -> Parties {
    let party = |name: &str, email: &str, line1: &str, tax_id: &str| Party {
        name: name.into(),
        email: Some(email.into()),
        address: Address {
            line1: Some(line1.into()),
            postal_code: Some("10827".into()),
            city: Some("Berlin".into()),
            country: Some("DE".into()),
            ..Address::default()
        },
        tax_id: Some(tax_id.into()),
    };
    Parties {
        issuer: party("AuthSome Cloud", "billing@authsome.example", "Am Ufer 12", "DE987654321"),
        customer: party("Acme GmbH", "accounts@acme.example", "Hauptstraße 1", "DE123456789"),
        ..Parties::default()
    }
}

/// 150,000 users on pro, with a coupon and a tax.
fn month() -> Whole {
    let users = |count: i64, unit| Some((count * MICROS, unit));
    let mut lines = vec![
        line(Kind::Fee, "Pro plan", None, 2_500),
        line(Kind::Usage, "Monthly active users, included", users(10_000, 0), 0),
        line(Kind::Usage, "Monthly active users", users(90_000, 20_000), 180_000),
        line(Kind::Usage, "Monthly active users", users(50_000, 15_000), 75_000),
        line(Kind::Usage, "Storage, GB-months", Some((12_345_678, 100_000)), 123),
        line(Kind::Adjustment, "Late usage of 2026-10: Requests", None, 450),
        line(Kind::Discount, "Coupon WELCOME10: 10 % off", None, -25_762),
        line(Kind::Tax, "VAT 19 %", None, 44_139),
    ];
    lines[6].rate_micros = Some(100_000);
    whole("USD", lines)
}

/// A change of plan in the middle of the month.
fn changed() -> Whole {
    let mut lines = vec![
        line(Kind::Fee, "Free plan", None, 0),
        line(Kind::Fee, "Pro plan", None, 1_250),
        line(Kind::Usage, "Monthly active users", Some((30_000 * MICROS, 20_000)), 14_722),
    ];
    let middle = at("2026-11-16T00:00:00Z");
    lines[0].ends_at = middle;
    lines[1].starts_at = middle;
    lines[0].share = Some((1_296_000, 2_592_000));
    lines[1].share = Some((1_296_000, 2_592_000));
    lines[2].starts_at = at("2026-11-23T17:11:15Z");
    lines[2].share = Some((628_125, 2_592_000));
    whole("EUR", lines)
}

/// Two hundred lines, long names, and nothing paid.
fn long() -> Whole {
    let meters = (1..=200).map(|n| {
        let name = match n % 9 {
            0 => format!(
                "Meter {n} with a name that goes on and on, so that nobody can say that it has not \
                 been tried out"
            ),
            _ => format!("Meter {n}"),
        };
        let amount = if n % 10 == 0 { -1_250 } else { n * 100 };
        line(Kind::Usage, &name, Some((n * 1_234_567_891, 15_000)), amount)
    });
    let mut whole = whole("USD", meters.collect());
    let Parties { issuer, customer, .. } = &mut whole.invoice.parties.0;
    issuer.name = "International Consolidated Application Programming Interfaces Holding".into();
    customer.name =
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft \
                     mit beschränkter Haftung und Compagnie"
            .into();
    whole
}

/// A draft in a currency without cents, to somebody of whom little is known.
fn bare() -> Whole {
    let mut whole = whole("JPY", vec![line(Kind::Fee, "Pro plan", None, 1_234_567)]);
    whole.invoice.status = Status::Draft;
    whole.invoice.number = None;
    whole.invoice.finalized_at = None;
    whole.invoice.due_at = None;
    let Parties { issuer, customer, .. } = &mut whole.invoice.parties.0;
    *issuer = Party { name: "AuthSome Cloud".into(), ..Party::default() };
    *customer = Party {
        name: "株式会社アカメ / Ελλάδα ΑΕ / ООО «Ромашка»".into(),
        ..Party::default()
    };
    whole
}
