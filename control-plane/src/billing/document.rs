//! Invoices and credit notes as documents. A [`Document`] is what is said, as text; [`html`] and
//! [`pdf`] only differ in how it looks. Both are functions of the value alone: the same document
//! gives the same bytes, whenever it is made.

mod address;
mod canvas;
pub mod credit_note;
pub mod html;
pub mod invoice;
mod sheet;
pub mod typeface;

use chrono::{DateTime, Utc};

use typeface::Fonts;

/// What a document says, in the order in which it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Such as "Invoice".
    pub title: &'static str,
    /// Its number, or what stands in for one.
    pub number: String,
    pub stamp: Option<Stamp>,
    pub issuer: Contact,
    pub customer: Contact,
    /// Number, dates, period: label and value.
    pub facts: Vec<(String, String)>,
    /// What it comes to, in one line.
    pub headline: String,
    /// What is to be known of it in one sentence.
    pub remark: Option<String>,
    pub rows: Vec<Row>,
    pub sums: Vec<Sum>,
    pub notes: Vec<Note>,
    /// At the foot of every page, small.
    pub footer: Option<String>,
    pub paper: Paper,
    /// When it was issued, for the file's own description.
    pub dated: DateTime<Utc>,
}

/// A party, as in an address field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    pub name: String,
    pub lines: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    pub description: String,
    /// What the figures rest on, in smaller letters.
    pub detail: Option<String>,
    pub quantity: Option<String>,
    pub unit_price: Option<String>,
    pub amount: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    pub label: String,
    pub amount: String,
    pub strong: bool,
}

/// A paragraph at the end, such as how to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub title: String,
    pub text: String,
}

/// What became of it, beside the title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    Draft,
    Paid,
    Void,
    PastDue,
    Failed,
}

impl Stamp {
    pub fn text(self) -> &'static str {
        match self {
            Self::Draft => "Draft",
            Self::Paid => "Paid",
            Self::Void => "Void",
            Self::PastDue => "Past due",
            Self::Failed => "Payment failed",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paper {
    A4,
    Letter,
}

impl Paper {
    /// What printers hold in that country (ISO 3166-1).
    pub fn usual_in(country: &str) -> Self {
        const LETTER: [&str; 9] = ["US", "CA", "MX", "PH", "CL", "CO", "VE", "GT", "CR"];
        if LETTER.contains(&country) { Self::Letter } else { Self::A4 }
    }

    /// Width and height in points.
    fn size(self) -> (f32, f32) {
        match self {
            Self::A4 => (595.28, 841.89),
            Self::Letter => (612.0, 792.0),
        }
    }
}

impl Document {
    /// The title of the file or the page.
    pub fn name(&self) -> String {
        format!("{} {}", self.title, self.number)
    }

    /// Is anything in it counted and priced by the piece? Where nothing is, there are no columns for it.
    fn has_quantities(&self) -> bool {
        self.rows.iter().any(|row| row.quantity.is_some() || row.unit_price.is_some())
    }

    /// What its file is called: the number, in letters that every file system and header takes.
    pub fn file_name(&self, extension: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
        let number: String = self.number.chars().map(plain).collect();
        format!("{number}.{extension}")
    }
}

/// The document as a PDF file.
pub fn pdf(document: &Document, fonts: &Fonts) -> Vec<u8> {
    sheet::render(document, fonts)
}

#[cfg(test)]
mod tests;
