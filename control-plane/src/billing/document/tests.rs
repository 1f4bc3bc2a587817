//! What is on the pages, read back from the files.

mod reader;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use ring::digest::{SHA256, digest};

use super::typeface::BUILT_IN;
use super::*;

fn document(rows: usize) -> Document {
    let row = |n: usize| Row {
        description: format!("Meter number-{n}"),
        detail: n.is_multiple_of(3).then(|| format!("detail-{n}")),
        quantity: Some(format!("{n},000.25")),
        unit_price: Some("$0.015".into()),
        amount: format!("−${n}.50"),
    };
    Document {
        title: "Invoice",
        number: "INV-000042".into(),
        stamp: Some(Stamp::PastDue),
        issuer: Contact {
            name: "AuthSome Cloud".into(),
            lines: vec!["1 Main Street".into(), "Tax ID 12-345".into()],
        },
        customer: Contact {
            name: "Gödel & Søns <Ελλάδα> ООО".into(),
            lines: vec!["Hauptstraße 1".into(), "10827 Berlin".into()],
        },
        facts: vec![("Date due".into(), "December 8, 2026".into())],
        headline: "¥1,234 due December 8, 2026".into(),
        remark: Some("KWD 1.234 was taken off.".into()),
        rows: (1..=rows).map(row).collect(),
        sums: vec![
            Sum { label: "Subtotal".into(), amount: "¥9,876".into(), strong: false },
            Sum { label: "Amount due".into(), amount: "¥1,234".into(), strong: true },
        ],
        notes: vec![Note { title: "How to pay".into(), text: "By transfer.".into() }],
        footer: Some("Register court Berlin".into()),
        paper: Paper::A4,
        dated: "2026-12-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap(),
    }
}

/// Every text of the document.
fn said(document: &Document) -> Vec<String> {
    let mut said = vec![
        document.title.to_owned(),
        document.headline.clone(),
        document.issuer.name.clone(),
        document.customer.name.clone(),
    ];
    said.extend(document.stamp.map(|stamp| stamp.text().to_owned()));
    said.extend(document.remark.clone());
    said.extend(document.issuer.lines.iter().chain(&document.customer.lines).cloned());
    said.extend(document.facts.iter().flat_map(|(label, value)| [label.clone(), value.clone()]));
    for row in &document.rows {
        said.extend([row.description.clone(), row.amount.clone()]);
        said.extend([&row.detail, &row.quantity, &row.unit_price].into_iter().flatten().cloned());
    }
    said.extend(document.sums.iter().flat_map(|sum| [sum.label.clone(), sum.amount.clone()]));
    said.extend(document.notes.iter().flat_map(|note| [note.title.clone(), note.text.clone()]));
    said.extend(document.footer.clone());
    said
}

#[test]
fn every_word_and_figure_is_in_the_pdf_and_in_the_page() {
    let document = document(30);
    let pages = reader::read(&pdf(&document, &BUILT_IN));
    let shown: Vec<&str> = pages.iter().flatten().map(|shown| shown.text.as_str()).collect();
    let page = html::render(&document);
    for text in said(&document) {
        assert!(shown.contains(&text.as_str()), "{text:?} is not in the PDF: {shown:?}");
        let safe = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let put = [format!(">{safe}<"), format!(">{safe} <")];
        assert!(put.iter().any(|put| page.contains(put)), "{text:?} is not in the page");
    }
}

#[test]
fn the_same_document_gives_the_same_bytes() {
    let once = pdf(&document(40), &BUILT_IN);
    assert_eq!(once, pdf(&document(40), &BUILT_IN));
    assert_ne!(once, pdf(&document(41), &BUILT_IN));
}

#[test]
fn a_long_invoice_has_numbered_pages_with_repeated_heads_and_each_row_once() {
    let document = document(200);
    let pages = reader::read(&pdf(&document, &BUILT_IN));
    let count = pages.len();
    assert!(count > 3, "{count} pages");
    let mut rows = vec![];
    for (n, page) in pages.iter().enumerate() {
        let texts: Vec<&str> = page.iter().map(|shown| shown.text.as_str()).collect();
        assert!(texts.contains(&format!("Page {} of {count}", n + 1).as_str()), "{texts:?}");
        assert!(texts.contains(&"Register court Berlin"), "page {n}");
        assert!(texts.contains(&"Unit price") && texts.contains(&"Amount"), "page {n}");
        let own = texts.iter().filter(|text| text.starts_with("Meter number-"));
        rows.extend(own.map(|text| (*text).to_owned()));
        // The sums stand with the last row.
        assert_eq!(texts.contains(&"Amount due"), n + 1 == count);
        assert!(texts.iter().any(|text| text.starts_with("Meter")), "page {n} has no row");
    }
    let expected: Vec<String> = document.rows.iter().map(|row| row.description.clone()).collect();
    assert_eq!(rows, expected);
}

#[test]
fn figures_end_where_their_column_ends() {
    let pages = reader::read(&pdf(&document(30), &BUILT_IN));
    let amounts = pages.iter().flatten().filter(|shown| shown.text.starts_with("−$"));
    let ends: Vec<f32> = amounts
        .map(|shown| shown.x + BUILT_IN.width(&shown.text, 9.0, typeface::Weight::Regular, true))
        .collect();
    assert_eq!(ends.len(), 30);
    assert!(ends.iter().all(|end| (end - ends[0]).abs() < 0.01), "{ends:?}");
}

#[test]
fn a_row_longer_than_a_page_goes_on_over_the_page() {
    let mut document = document(2);
    document.rows[0].description = "words and words ".repeat(600);
    let pages = reader::read(&pdf(&document, &BUILT_IN));
    let words: usize = pages
        .iter()
        .flatten()
        .map(|shown| shown.text.split_whitespace().filter(|word| *word == "words").count())
        .sum();
    assert_eq!(words, 1_200);
    assert!(pages.len() > 1);
}

#[test]
fn what_no_font_has_can_still_be_searched_for() {
    let mut document = document(1);
    document.customer = Contact { name: "株式会社".into(), lines: vec![] };
    let file = pdf(&document, &BUILT_IN);
    assert!(reader::contents(&file).iter().any(|content| {
        // UTF-16 of the first two signs.
        content.windows(4).any(|window| window == [0x68, 0x2a, 0x5f, 0x0f])
            || String::from_utf8_lossy(content).to_uppercase().contains("682A5F0F")
    }));
}

#[test]
fn names_are_no_markup() {
    let mut document = document(1);
    let evil = "</td><script>alert(1)</script><img src=x onerror='a'> \"&amp;\"";
    document.customer.name = evil.into();
    document.rows[0].description = evil.into();
    document.rows[0].detail = Some(evil.into());
    document.sums[0].label = evil.into();
    document.notes[0].text = evil.into();
    document.number = evil.into();
    let page = html::render(&document);
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)") && page.contains("&quot;&amp;amp;&quot;"));
}

#[test]
fn the_page_keeps_its_own_policy() {
    use base64::Engine;
    let page = html::render(&document(1));
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let hash = base64::engine::general_purpose::STANDARD.encode(digest(&SHA256, style.as_bytes()));
    assert!(html::POLICY.contains(&format!("style-src 'sha256-{hash}'")), "{}", *html::POLICY);
    for attribute in [" style=", " onclick", "http:", "https:", "url(", "@import"] {
        assert!(!page.contains(attribute), "{attribute}");
    }
}

#[test]
fn there_are_no_columns_for_what_nothing_has() {
    let mut document = document(3);
    for row in &mut document.rows {
        (row.quantity, row.unit_price) = (None, None);
    }
    let pages = reader::read(&pdf(&document, &BUILT_IN));
    let heads = pages[0].iter().filter(|shown| {
        ["Description", "Quantity", "Unit price", "Amount"].contains(&shown.text.as_str())
    });
    let heads: Vec<&str> = heads.map(|shown| shown.text.as_str()).collect();
    assert_eq!(heads, ["Description", "Amount"]);
    assert!(!html::render(&document).contains("Unit price"));
}

#[test]
fn what_follows_the_table_never_has_a_page_of_its_own() {
    for rows in 1..60 {
        let pages = reader::read(&pdf(&document(rows), &BUILT_IN));
        let last = pages.last().unwrap();
        let has = |text: &str| last.iter().any(|shown| shown.text == text);
        assert!(has(&format!("Meter number-{rows}")) && has("How to pay"), "{rows} rows");
    }
}

#[test]
fn a_footer_of_any_length_leaves_room_for_the_rest() {
    let mut document = document(40);
    document.footer = Some("words and words ".repeat(60));
    let (_, height) = document.paper.size();
    let pages = reader::read(&pdf(&document, &BUILT_IN));
    for shown in pages.iter().flatten() {
        assert!(shown.y > 15.0 && shown.y < height - 15.0, "{shown:?}");
    }
    let rows = pages.iter().flatten().filter(|shown| shown.text.starts_with("Meter")).count();
    assert_eq!(rows, 40);
}

#[test]
fn files_are_called_by_their_number() {
    for (number, name) in [
        ("INV-000042", "INV-000042.pdf"),
        ("INV/2026_42", "INV-2026-42.pdf"),
        ("Draft for 2026-03\"\r\n", "Draft-for-2026-03---.pdf"),
    ] {
        let document = Document { number: number.into(), ..document(1) };
        assert_eq!(document.file_name("pdf"), name);
    }
}

#[test]
fn an_invoice_for_nobody_about_nothing_is_a_page() {
    let empty = Document {
        issuer: Contact::default(),
        customer: Contact::default(),
        facts: vec![],
        remark: None,
        rows: vec![],
        sums: vec![],
        notes: vec![],
        footer: None,
        stamp: None,
        ..document(0)
    };
    assert_eq!(reader::read(&pdf(&empty, &BUILT_IN)).len(), 1);
    assert!(html::render(&empty).contains("Invoice"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the texts are: all of the signs are there, and none leaves the paper.
    #[test]
    fn nothing_stands_outside_of_the_paper(
        name in "[A-Za-zäÖß ]{0,300}", description in "[a-z0-9 ]{0,200}",
        amount in "[0-9]{1,14}", rows in 0_usize..60, sums in 1_usize..30,
    ) {
        let mut document = document(rows);
        document.issuer.name.clone_from(&name);
        document.customer.name = name;
        for row in &mut document.rows {
            row.description.clone_from(&description);
            row.amount.clone_from(&amount);
        }
        let sum = document.sums[0].clone();
        document.sums = vec![sum; sums];
        let (width, height) = document.paper.size();
        let pages = reader::read(&pdf(&document, &BUILT_IN));
        for shown in pages.iter().flatten() {
            prop_assert!(shown.x >= 20.0 && shown.x < width - 20.0, "{shown:?}");
            prop_assert!(shown.y >= 20.0 && shown.y < height - 20.0, "{shown:?}");
        }
        let amounts = pages.iter().flatten().filter(|shown| shown.text == amount).count();
        prop_assert_eq!(amounts, rows);
    }
}
