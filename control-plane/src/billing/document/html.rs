//! A document as one HTML page that needs nothing else: no script, no font, no picture. All of its
//! look is in the one style sheet in its head, so that a policy can allow just that.

use std::fmt::Write;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use super::{Contact, Document, Paper, Stamp};

const STYLE: &str = include_str!("document.css");

/// What the page may load: its own style sheet.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

/// The page.
pub fn render(document: &Document) -> String {
    let mut page = String::with_capacity(8_192);
    let paper = match document.paper {
        Paper::A4 => "a4",
        Paper::Letter => "letter",
    };
    let name = escaped(&document.name());
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{name}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body class=\"{paper}\">\n<main>\n"
    );
    head(&mut page, document);
    table(&mut page, document);
    for note in &document.notes {
        let (title, text) = (escaped(&note.title), escaped(&note.text));
        let _ = writeln!(page, "<section class=\"note\"><h2>{title}</h2><p>{text}</p></section>");
    }
    if let Some(footer) = &document.footer {
        let _ = writeln!(page, "<footer>{}</footer>", escaped(footer));
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn head(page: &mut String, document: &Document) {
    let stamp = document.stamp.map(|stamp| {
        let class = match stamp {
            Stamp::Draft | Stamp::Void => "quiet",
            Stamp::Paid => "good",
            Stamp::PastDue | Stamp::Failed => "bad",
        };
        format!(" <span class=\"stamp {class}\">{}</span>", stamp.text())
    });
    let _ = write!(
        page,
        "<header><h1>{}{}</h1><p class=\"issuer\">{}</p></header>\n<dl class=\"facts\">\n",
        escaped(document.title),
        stamp.unwrap_or_default(),
        escaped(&document.issuer.name)
    );
    for (label, value) in &document.facts {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escaped(label), escaped(value));
    }
    page.push_str("</dl>\n<div class=\"parties\">\n");
    contact(page, None, &document.issuer);
    contact(page, Some("Bill to"), &document.customer);
    let _ = write!(page, "</div>\n<p class=\"headline\">{}</p>\n", escaped(&document.headline));
    if let Some(remark) = &document.remark {
        let _ = writeln!(page, "<p class=\"remark\">{}</p>", escaped(remark));
    }
}

fn contact(page: &mut String, heading: Option<&str>, contact: &Contact) {
    page.push_str("<address>");
    match heading {
        Some(heading) => {
            let name = escaped(&contact.name);
            let _ = write!(page, "<strong>{}</strong><br>{name}", escaped(heading));
        }
        None => {
            let _ = write!(page, "<strong>{}</strong>", escaped(&contact.name));
        }
    }
    for line in &contact.lines {
        let _ = write!(page, "<br>{}", escaped(line));
    }
    page.push_str("</address>\n");
}

fn table(page: &mut String, document: &Document) {
    let priced = document.has_quantities();
    let columns: &[&str] = if priced {
        &["Description", "Quantity", "Unit price", "Amount"]
    } else {
        &["Description", "Amount"]
    };
    page.push_str("<table>\n<thead><tr>");
    for column in columns {
        let _ = write!(page, "<th scope=\"col\">{column}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in &document.rows {
        let detail = row.detail.as_ref().map(|text| format!("<small>{}</small>", escaped(text)));
        let (description, detail) = (escaped(&row.description), detail.unwrap_or_default());
        let _ = write!(page, "<tr><td>{description}{detail}</td>");
        for figure in [&row.quantity, &row.unit_price].into_iter().filter(|_| priced) {
            let _ = write!(page, "<td>{}</td>", escaped(figure.as_deref().unwrap_or_default()));
        }
        let _ = writeln!(page, "<td>{}</td></tr>", escaped(&row.amount));
    }
    page.push_str("</tbody>\n</table>\n<table class=\"sums\">\n<tbody>\n");
    for sum in &document.sums {
        let class = if sum.strong { " class=\"strong\"" } else { "" };
        let (label, amount) = (escaped(&sum.label), escaped(&sum.amount));
        let _ = writeln!(page, "<tr{class}><th scope=\"row\">{label}</th><td>{amount}</td></tr>");
    }
    page.push_str("</tbody>\n</table>\n");
}

/// The text with nothing in it that HTML would take for its own.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' => safe.push_str("<br>"),
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}
