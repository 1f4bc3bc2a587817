//! A document on paper: where each part of it stands, and where pages break. A row stays whole
//! unless it is longer than a page; sums and notes never stand on a page without a row.

use super::canvas::{Canvas, Description, Ink, Style};
use super::typeface::{Fonts, Weight};
use super::{Contact, Document, Note, Row, Stamp, Sum};

const MARGIN: f32 = 54.0;
/// Where the first line of a page may stand, and the last.
const TOP: f32 = 66.0;
const FOOT: f32 = 76.0;
/// More of the operator's footer is cut off.
const FOOTER_LINES: usize = 6;
/// Between columns.
const GAP: f32 = 20.0;

const BLACK: Ink = [0x1a, 0x1f, 0x2b];
const GREY: Ink = [0x69, 0x73, 0x86];
const LINE: Ink = [0xe3, 0xe8, 0xee];
const WHITE: Ink = [0xff, 0xff, 0xff];

const fn style(size: f32, weight: Weight, ink: Ink) -> Style {
    Style { size, weight, ink, tabular: false }
}

const TITLE: Style = style(24.0, Weight::SemiBold, BLACK);
const ISSUER: Style = style(14.0, Weight::SemiBold, GREY);
const HEADLINE: Style = style(17.0, Weight::SemiBold, BLACK);
const STRONG: Style = style(9.0, Weight::SemiBold, BLACK);
const PLAIN: Style = style(9.0, Weight::Regular, BLACK);
const FAINT: Style = style(9.0, Weight::Regular, GREY);
const SMALL: Style = style(7.5, Weight::Regular, GREY);
const STAMP: Style = style(9.0, Weight::SemiBold, WHITE);
/// Between base lines of text of nine points, and of smaller text.
const LEADING: f32 = 13.5;
const SMALL_LEADING: f32 = 11.0;

const fn tabular(style: Style) -> Style {
    Style { tabular: true, ..style }
}

/// The file of a document.
pub fn render(document: &Document, fonts: &Fonts) -> Vec<u8> {
    let (width, height) = document.paper.size();
    let canvas = Canvas::new(fonts, (width, height));
    let right = width - MARGIN;
    let columns = Columns::of(document, &canvas, right);
    let footer = document.footer.as_deref().unwrap_or_default();
    let mut footer = fonts.wrap(footer, SMALL.size, SMALL.weight, right - MARGIN);
    footer.truncate(FOOTER_LINES);
    let foot = FOOT + rows(footer.len(), SMALL_LEADING);
    let bottom = height - foot;
    let mut sheet = Sheet { canvas, document, right, bottom, y: 0.0, columns, footer };
    sheet.first_page();
    sheet.table();
    sheet.notes();
    sheet.feet();
    let (title, author) = (document.name(), &document.issuer.name);
    sheet.canvas.finish(&Description { title: &title, author, dated: document.dated })
}

/// Right ends of the columns of figures; descriptions have what is left.
struct Columns {
    /// Of quantity and unit price, where anything has one.
    priced: Option<(f32, f32)>,
    description: f32,
}

impl Columns {
    const HEADS: [&'static str; 4] = ["Description", "Quantity", "Unit price", "Amount"];

    fn of(document: &Document, canvas: &Canvas<'_>, right: f32) -> Self {
        let widest = |head: &str, cell: &dyn Fn(&Row) -> Option<String>| {
            let cells = document.rows.iter().filter_map(cell);
            let widths = cells.map(|text| canvas.width_of(&text, tabular(PLAIN)));
            widths.fold(canvas.width_of(head, SMALL), f32::max)
        };
        let amounts = right - widest(Self::HEADS[3], &|row| Some(row.amount.clone()));
        if !document.has_quantities() {
            return Self { priced: None, description: amounts - GAP - MARGIN };
        }
        let unit_price = amounts - GAP;
        let quantity = unit_price - GAP - widest(Self::HEADS[2], &|row| row.unit_price.clone());
        let left = quantity - widest(Self::HEADS[1], &|row| row.quantity.clone());
        let description = (left - GAP - MARGIN).max(120.0);
        Self { priced: Some((quantity, unit_price)), description }
    }
}

struct Sheet<'d> {
    canvas: Canvas<'d>,
    document: &'d Document,
    right: f32,
    /// Nothing but the foot stands lower.
    bottom: f32,
    /// The next base line.
    y: f32,
    columns: Columns,
    /// The operator's, in lines.
    footer: Vec<String>,
}

/// A row in lines that fit.
struct Lines {
    description: Vec<String>,
    detail: Vec<String>,
}

impl Lines {
    fn height(&self) -> f32 {
        rows(self.description.len(), LEADING) + rows(self.detail.len(), SMALL_LEADING) + ROW_GAP
    }
}

/// White space and the line below a row.
const ROW_GAP: f32 = 9.0;

fn rows(count: usize, leading: f32) -> f32 {
    f32::from(u16::try_from(count).unwrap_or(u16::MAX)) * leading
}

impl Sheet<'_> {
    fn first_page(&mut self) {
        self.canvas.add_page();
        self.y = 72.0;
        let title = self.document.title;
        self.canvas.text(MARGIN, self.y, title, TITLE);
        if let Some(stamp) = self.document.stamp {
            self.stamp(MARGIN + self.canvas.width_of(title, TITLE) + 12.0, stamp);
        }
        self.letterhead();
        self.y += 30.0;
        self.facts();
        self.y += 14.0;
        self.parties();
        self.y += 26.0;
        for line in self.wrapped(&self.document.headline, HEADLINE, self.right - MARGIN) {
            self.canvas.text(MARGIN, self.y, &line, HEADLINE);
            self.y += 22.0;
        }
        if let Some(remark) = &self.document.remark {
            self.y -= 4.0;
            self.paragraph(MARGIN, remark, FAINT, self.right - MARGIN);
        }
        self.y += 20.0;
    }

    fn wrapped(&self, text: &str, style: Style, width: f32) -> Vec<String> {
        self.canvas.fonts().wrap(text, style.size, style.weight, width)
    }

    /// The beginning of a text that is longer than the line.
    fn one_line(&self, text: &str, style: Style, width: f32) -> String {
        let mut lines = self.wrapped(text, style, width).into_iter();
        let first = lines.next().unwrap_or_default();
        if lines.next().is_some() { format!("{first} …") } else { first }
    }

    fn stamp(&mut self, x: f32, stamp: Stamp) {
        let ink = match stamp {
            Stamp::Draft | Stamp::Void => GREY,
            Stamp::Paid => [0x10, 0x7c, 0x41],
            Stamp::PastDue | Stamp::Failed => [0xb4, 0x23, 0x18],
        };
        let width = self.canvas.width_of(stamp.text(), STAMP);
        self.canvas.pill(x, self.y - 17.7, width + 18.0, 18.0, ink);
        self.canvas.text(x + 9.0, self.y - 5.4, stamp.text(), STAMP);
    }

    /// Whose paper it is, at the top right.
    fn letterhead(&mut self) {
        let name = &self.document.issuer.name;
        let lines = self.wrapped(name, ISSUER, 220.0);
        let mut y = self.y;
        for line in lines.iter().take(3) {
            self.canvas.text_to(self.right, y, line, ISSUER);
            y += 18.0;
        }
    }

    fn facts(&mut self) {
        let facts = &self.document.facts;
        let widths = facts.iter().map(|(label, _)| self.canvas.width_of(label, STRONG));
        let second = MARGIN + widths.fold(0.0, f32::max) + GAP;
        for (label, value) in facts {
            self.canvas.text(MARGIN, self.y, label, STRONG);
            self.paragraph(second, value, PLAIN, 230.0);
        }
    }

    fn parties(&mut self) {
        let half = (self.right - MARGIN - GAP) / 2.0;
        let top = self.y;
        self.contact(MARGIN, half, None, &self.document.issuer);
        let below = self.y;
        self.y = top;
        self.contact(MARGIN + half + GAP, half, Some("Bill to"), &self.document.customer);
        self.y = self.y.max(below);
    }

    fn contact(&mut self, x: f32, width: f32, heading: Option<&str>, contact: &Contact) {
        if let Some(heading) = heading {
            self.canvas.text(x, self.y, heading, STRONG);
            self.y += LEADING;
        }
        let first = if heading.is_some() { PLAIN } else { STRONG };
        self.paragraph(x, &contact.name, first, width);
        for line in &contact.lines {
            self.paragraph(x, line, PLAIN, width);
        }
    }

    /// Sets text in lines of the width and goes on below them.
    fn paragraph(&mut self, x: f32, text: &str, style: Style, width: f32) {
        for line in self.wrapped(text, style, width) {
            self.canvas.text(x, self.y, &line, style);
            self.y += LEADING;
        }
    }

    fn next_page(&mut self) {
        self.canvas.add_page();
        let name = self.document.name();
        self.canvas.text(MARGIN, 48.0, &name, SMALL);
        let room = self.right - MARGIN - self.canvas.width_of(&name, SMALL) - GAP;
        let issuer = self.one_line(&self.document.issuer.name, SMALL, room);
        self.canvas.text_to(self.right, 48.0, &issuer, SMALL);
        self.y = TOP + 14.0;
    }

    fn table(&mut self) {
        self.heads();
        let rows = &self.document.rows;
        let sums = self.sums_height();
        let page = self.bottom - TOP - 40.0;
        for (n, row) in rows.iter().enumerate() {
            let lines = self.lines(row);
            let mut room = lines.height();
            if n + 1 == rows.len() {
                // What follows is not left alone on a page either, if there is any choice.
                let all = room + sums + self.notes_height();
                room = if all <= page { all } else { room + sums };
            }
            if self.y + room > self.bottom && room <= page {
                self.next_page();
                self.heads();
            }
            self.row(row, &lines);
        }
        if self.y + sums > self.bottom {
            self.next_page();
        }
        self.sums();
    }

    fn lines(&self, row: &Row) -> Lines {
        let width = self.columns.description;
        let detail = row.detail.as_deref().unwrap_or_default();
        Lines {
            description: self.wrapped(&row.description, PLAIN, width),
            detail: self.wrapped(detail, SMALL, width),
        }
    }

    fn heads(&mut self) {
        let [description, second, third, amount] = Columns::HEADS;
        self.canvas.text(MARGIN, self.y, description, SMALL);
        if let Some((quantity, unit_price)) = self.columns.priced {
            self.canvas.text_to(quantity, self.y, second, SMALL);
            self.canvas.text_to(unit_price, self.y, third, SMALL);
        }
        self.canvas.text_to(self.right, self.y, amount, SMALL);
        self.y += 7.0;
        self.canvas.rule(MARGIN, self.right, self.y, 0.8, BLACK);
        self.y += 16.0;
    }

    fn row(&mut self, row: &Row, lines: &Lines) {
        if let Some((quantity, unit_price)) = self.columns.priced {
            for (text, x) in [(&row.quantity, quantity), (&row.unit_price, unit_price)] {
                let text = text.as_deref().unwrap_or_default();
                self.canvas.text_to(x, self.y, text, tabular(PLAIN));
            }
        }
        self.canvas.text_to(self.right, self.y, &row.amount, tabular(PLAIN));
        for line in &lines.description {
            self.turn_if_full();
            self.canvas.text(MARGIN, self.y, line, PLAIN);
            self.y += LEADING;
        }
        for line in &lines.detail {
            self.turn_if_full();
            self.canvas.text(MARGIN, self.y - 1.0, line, SMALL);
            self.y += SMALL_LEADING;
        }
        self.y -= 5.0;
        self.canvas.rule(MARGIN, self.right, self.y, 0.5, LINE);
        self.y += 5.0 + ROW_GAP;
    }

    /// Only in what is longer than a page.
    fn turn_if_full(&mut self) {
        if self.y > self.bottom {
            self.next_page();
            self.heads();
        }
    }

    fn sums_height(&self) -> f32 {
        rows(self.document.sums.len(), SUM_LEADING) + 8.0
    }

    fn sums(&mut self) {
        let amounts = self.document.sums.iter().map(|sum| &sum.amount);
        let widest = amounts.map(|text| self.canvas.width_of(text, tabular(STRONG)));
        let amounts = self.right - widest.fold(0.0, f32::max) - GAP;
        let labels = self.document.sums.iter().map(|sum| self.canvas.width_of(&sum.label, STRONG));
        let left = (amounts - labels.fold(0.0, f32::max)).min(self.right - 215.0).max(MARGIN);
        self.y += 6.0;
        for (n, Sum { label, amount, strong }) in self.document.sums.iter().enumerate() {
            if n > 0 {
                self.canvas.rule(left, self.right, self.y - 13.0, 0.5, LINE);
            }
            let style = if *strong { STRONG } else { PLAIN };
            let label = self.one_line(label, style, amounts - left);
            self.canvas.text(left, self.y, &label, style);
            self.canvas.text_to(self.right, self.y, amount, tabular(style));
            self.y += SUM_LEADING;
        }
    }

    fn notes_height(&self) -> f32 {
        let lines = |note: &Note| self.wrapped(&note.text, FAINT, self.right - MARGIN).len();
        let notes = self.document.notes.iter();
        let height: f32 = notes.map(|note| rows(lines(note) + 1, LEADING) + 9.0).sum();
        if height > 0.0 { height + 22.0 } else { 0.0 }
    }

    fn notes(&mut self) {
        self.y += 22.0;
        for Note { title, text } in &self.document.notes {
            let lines = self.wrapped(text, FAINT, self.right - MARGIN);
            if self.y + LEADING * 2.0 > self.bottom {
                self.next_page();
            }
            self.canvas.text(MARGIN, self.y, title, STRONG);
            self.y += LEADING + 1.0;
            for line in lines {
                if self.y > self.bottom {
                    self.next_page();
                }
                self.canvas.text(MARGIN, self.y, &line, FAINT);
                self.y += LEADING;
            }
            self.y += 8.0;
        }
    }

    fn feet(&mut self) {
        let pages = self.canvas.page_count();
        let left = format!("{} · {}", self.document.number, self.document.headline);
        for page in 0..pages {
            self.canvas.turn_to(page);
            let mut y = self.bottom + 24.0;
            self.canvas.rule(MARGIN, self.right, y, 0.5, LINE);
            y += 14.0;
            let number = format!("Page {} of {pages}", page + 1);
            let room = self.right - MARGIN - self.canvas.width_of(&number, SMALL) - GAP;
            let left = self.one_line(&left, SMALL, room - GAP);
            self.canvas.text(MARGIN, y, &left, SMALL);
            self.canvas.text_to(self.right, y, &number, SMALL);
            for line in &self.footer {
                y += SMALL_LEADING;
                self.canvas.text(MARGIN, y, line, SMALL);
            }
        }
    }
}

const SUM_LEADING: f32 = 19.0;
