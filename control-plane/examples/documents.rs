//! Writes documents of every kind into a folder, as PDF and HTML, to be looked at:
//! `cargo run -p authsome-control-plane --example documents -- FOLDER [FONT…]`.

use std::path::Path;

use anyhow::Context;
use authsome_control_plane::billing::document::{
    Contact, Document, Note, Paper, Row, Stamp, Sum, html, pdf,
};
use authsome_control_plane::config::Documents;
use chrono::{DateTime, Utc};

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
    let month = month();
    let paid = Document {
        stamp: Some(Stamp::Paid),
        headline: "$0.00 due".into(),
        remark: Some("Paid on December 3, 2026.".into()),
        notes: vec![],
        paper: Paper::Letter,
        ..month.clone()
    };
    let mut long = Document { stamp: Some(Stamp::PastDue), ..month.clone() };
    long.customer.name = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft mit beschränkter Haftung und Compagnie".into();
    long.issuer.name =
        "International Consolidated Application Programming Interfaces Holding".into();
    long.rows = (1..=200)
        .map(|n| Row {
            description: if n % 9 == 0 {
                format!("Meter {n} with a name that goes on and on, so that nobody can say that it has not been tried out")
            } else {
                format!("Meter {n}")
            },
            detail: (n % 3 == 0).then(|| "Nov 15 – Nov 30, 2026 · 16 of 30 days".into()),
            quantity: Some(format!("{},234.567891", n)),
            unit_price: Some("$0.015".into()),
            amount: if n % 10 == 0 { "−$12.50".into() } else { format!("${n}.00") },
        })
        .collect();
    let void = Document { stamp: Some(Stamp::Void), ..month.clone() };
    let mut bare = Document { stamp: Some(Stamp::Draft), number: "Draft".into(), ..month.clone() };
    bare.customer = Contact {
        name: "株式会社アカメ / Ελλάδα ΑΕ / ООО «Ромашка» ɸɮ".into(),
        lines: vec![],
    };
    bare.issuer = Contact { name: "AuthSome Cloud".into(), lines: vec![] };
    bare.facts.truncate(1);
    bare.rows.truncate(1);
    bare.notes.clear();
    bare.headline = "KWD 1,234.567".into();
    bare.rows[0].amount = "KWD 1,234.567".into();
    vec![("month", month), ("paid", paid), ("long", long), ("void", void), ("bare", bare)]
}

/// 150,000 users on a plan of $25 with graduated tiers.
fn month() -> Document {
    let row = |description: &str, detail: &str, quantity: &str, price: &str, amount: &str| Row {
        description: description.into(),
        detail: (!detail.is_empty()).then(|| detail.into()),
        quantity: Some(quantity.into()),
        unit_price: Some(price.into()),
        amount: amount.into(),
    };
    let sum = |label: &str, amount: &str, strong| Sum {
        label: label.into(),
        amount: amount.into(),
        strong,
    };
    let dated = "2026-12-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap_or_default();
    Document {
        title: "Invoice",
        number: "INV-000042".into(),
        stamp: None,
        issuer: Contact {
            name: "AuthSome Cloud".into(),
            lines: ["510 Townsend Street", "San Francisco, CA 94103", "United States", "billing@example.com", "Tax ID 12-3456789"].map(Into::into).into(),
        },
        customer: Contact {
            name: "Acme Corporation".into(),
            lines: ["Hauptstraße 1", "10827 Berlin", "Germany", "accounts@acme.example", "Tax ID DE123456789"].map(Into::into).into(),
        },
        facts: [("Invoice number", "INV-000042"), ("Date of issue", "December 1, 2026"), ("Date due", "December 8, 2026"), ("Service period", "November 2026")]
            .map(|(label, value)| (label.into(), value.into())).into(),
        headline: "$2,822.25 due December 8, 2026".into(),
        remark: None,
        rows: vec![
            row("Pro plan", "Nov 1 – Nov 30, 2026", "1", "$25.00", "$25.00"),
            row("Monthly active users, included", "First 10,000", "10,000", "$0.00", "$0.00"),
            row("Monthly active users", "10,001 – 100,000", "90,000", "$0.02", "$1,800.00"),
            row("Monthly active users", "100,001 – 1,000,000", "50,000", "$0.015", "$750.00"),
            row("Coupon WELCOME10", "10 % off", "", "", "−$257.50"),
        ],
        sums: vec![
            sum("Subtotal", "$2,575.00", false),
            sum("Discount", "−$257.50", false),
            sum("Total excluding tax", "$2,317.50", false),
            sum("VAT (19 %)", "$440.33", false),
            sum("Total", "$2,757.83", false),
            sum("Amount due", "$2,757.83", true),
        ],
        notes: vec![Note {
            title: "How to pay".into(),
            text: "Transfer the amount to IBAN DE89 3704 0044 0532 0130 00 (BIC COBADEFFXXX) and name the invoice's number.".into(),
        }],
        paper: Paper::A4,
        dated,
    }
}
