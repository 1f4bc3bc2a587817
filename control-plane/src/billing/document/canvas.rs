//! Pages to put text and lines on, as a PDF file. Lengths are points, from the top left corner. Text
//! can be selected and searched; each font is embedded with just the glyphs that are used.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Timelike, Utc};
use miniz_oxide::deflate::compress_to_vec_zlib;
use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Content, Date, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use ring::digest::{SHA256, digest};
use subsetter::GlyphRemapper;

use super::typeface::{Fonts, Run, Typeface, Weight};

/// Red, green and blue, each of 255.
pub type Ink = [u8; 3];

#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub size: f32,
    pub weight: Weight,
    pub ink: Ink,
    /// Figures that stand in columns.
    pub tabular: bool,
}

/// What the file says of itself.
pub struct Description<'a> {
    pub title: &'a str,
    pub author: &'a str,
    pub dated: DateTime<Utc>,
}

pub struct Canvas<'f> {
    fonts: &'f Fonts,
    used: Vec<Used>,
    width: f32,
    height: f32,
    pages: Vec<Content>,
    current: usize,
}

/// The glyphs of a font that the pages show.
#[derive(Default)]
struct Used {
    glyphs: GlyphRemapper,
    /// Of each glyph, by its new number: the width and the character that it stands for.
    shown: BTreeMap<u16, (f32, char)>,
}

const IDENTITY: SystemInfo<'static> =
    SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

impl<'f> Canvas<'f> {
    pub fn new(fonts: &'f Fonts, (width, height): (f32, f32)) -> Self {
        let used = fonts.faces().iter().map(|_| Used::default()).collect();
        Self { fonts, used, width, height, pages: vec![], current: 0 }
    }

    pub fn fonts(&self) -> &'f Fonts {
        self.fonts
    }

    /// Begins a page and goes on there.
    pub fn add_page(&mut self) {
        self.current = self.pages.len();
        self.pages.push(Content::new());
    }

    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Goes on at a page, counted from 0.
    pub fn turn_to(&mut self, page: usize) {
        self.current = page;
    }

    fn content(&mut self) -> &mut Content {
        &mut self.pages[self.current]
    }

    /// How wide the text will be.
    pub fn width_of(&self, text: &str, style: Style) -> f32 {
        self.fonts.width(text, style.size, style.weight, style.tabular)
    }

    /// Text from `x` on, on the base line `y`.
    pub fn text(&mut self, x: f32, y: f32, text: &str, style: Style) {
        let runs = self.fonts.shape(text, style.weight, style.tabular);
        let y = self.height - y;
        // A box for what no font has says nothing to who searches or listens.
        let boxed = runs.iter().flat_map(|run| &run.glyphs).any(|glyph| glyph.id == 0);
        if boxed {
            let mut span = self.content().begin_marked_content_with_properties(Name(b"Span"));
            span.properties().actual_text(TextStr(text));
        }
        let [red, green, blue] = style.ink.map(|part| f32::from(part) / 255.0);
        self.content()
            .begin_text()
            .set_fill_rgb(red, green, blue)
            .set_text_matrix([1.0, 0.0, 0.0, 1.0, x, y]);
        for run in &runs {
            self.show(run, style.size);
        }
        self.content().end_text();
        if boxed {
            self.content().end_marked_content();
        }
    }

    fn show(&mut self, run: &Run, size: f32) {
        let used = &mut self.used[run.face];
        let mut parts: Vec<(Vec<u8>, f32)> = vec![(vec![], 0.0)];
        for glyph in &run.glyphs {
            let id = used.glyphs.remap(glyph.id);
            let shown = used.shown.entry(id).or_insert((glyph.advance, glyph.character));
            // Of the characters that share a glyph, the plainest.
            shown.1 = shown.1.min(glyph.character);
            if let Some(last) = parts.last_mut() {
                last.0.extend(id.to_be_bytes());
                last.1 = -glyph.kern;
            }
            if glyph.kern != 0.0 {
                parts.push((vec![], 0.0));
            }
        }
        let name = font_name(run.face);
        let content = self.content();
        content.set_font(Name(name.as_bytes()), size);
        let mut shown = content.show_positioned();
        let mut items = shown.items();
        for (glyphs, adjustment) in &parts {
            if !glyphs.is_empty() {
                items.show(Str(glyphs));
            }
            if *adjustment != 0.0 {
                items.adjust(*adjustment);
            }
        }
    }

    /// Text that ends at `x`.
    pub fn text_to(&mut self, x: f32, y: f32, text: &str, style: Style) {
        self.text(x - self.width_of(text, style), y, text, style);
    }

    /// A level line.
    pub fn rule(&mut self, from: f32, to: f32, y: f32, thickness: f32, ink: Ink) {
        let [red, green, blue] = ink.map(|part| f32::from(part) / 255.0);
        let y = self.height - y;
        let content = self.content();
        content.set_stroke_rgb(red, green, blue).set_line_width(thickness);
        content.move_to(from, y).line_to(to, y).stroke();
    }

    /// A filled box with round ends; `y` is its top.
    pub fn pill(&mut self, x: f32, y: f32, width: f32, height: f32, ink: Ink) {
        /// Of a quarter of a circle, by a cubic curve.
        const CURVE: f32 = 0.552_285;
        let [red, green, blue] = ink.map(|part| f32::from(part) / 255.0);
        let radius = height / 2.0;
        let (left, right) = (x, x + width);
        let (top, bottom) = (self.height - y, self.height - y - height);
        let middle = bottom + radius;
        let reach = radius * CURVE;
        let content = self.content();
        content.set_fill_rgb(red, green, blue).move_to(left + radius, top);
        content.line_to(right - radius, top);
        content.cubic_to(right - radius + reach, top, right, middle + reach, right, middle);
        content.cubic_to(
            right,
            middle - reach,
            right - radius + reach,
            bottom,
            right - radius,
            bottom,
        );
        content.line_to(left + radius, bottom);
        content.cubic_to(left + radius - reach, bottom, left, middle - reach, left, middle);
        content.cubic_to(left, middle + reach, left + radius - reach, top, left + radius, top);
        content.close_path().fill_nonzero();
    }

    /// The file.
    pub fn finish(self, description: &Description<'_>) -> Vec<u8> {
        let mut ids = (1..).map(Ref::new);
        let mut next = || ids.next().expect("there are numbers enough");
        let (catalog, tree, info) = (next(), next(), next());
        let mut pdf = Pdf::new();
        pdf.set_version(1, 7);

        let fonts: Vec<(usize, Ref)> = self
            .used
            .iter()
            .enumerate()
            .filter(|(_, used)| !used.shown.is_empty())
            .map(|(face, _)| (face, next()))
            .collect();
        let pages: Vec<Ref> = self.pages.iter().map(|_| next()).collect();
        let mut identity = vec![];
        for (page, id) in self.pages.into_iter().zip(&pages) {
            let stream = page.finish();
            identity.extend_from_slice(digest(&SHA256, &stream).as_ref());
            let content = next();
            pdf.stream(content, &compress_to_vec_zlib(&stream, LEVEL)).filter(Filter::FlateDecode);
            let mut written = pdf.page(*id);
            written.parent(tree).contents(content);
            written.media_box(Rect::new(0.0, 0.0, self.width, self.height));
            let mut resources = written.resources();
            let mut dictionary = resources.fonts();
            for (face, font) in &fonts {
                dictionary.pair(Name(font_name(*face).as_bytes()), *font);
            }
        }
        pdf.pages(tree).count(i32::try_from(pages.len()).unwrap_or(i32::MAX)).kids(pages);
        for (face, id) in fonts {
            let typeface = &self.fonts.faces()[face];
            embed(&mut pdf, &mut next, id, typeface, &self.used[face]);
        }
        let mut root = pdf.catalog(catalog);
        root.pages(tree).lang(TextStr("en"));
        root.viewer_preferences().display_doc_title(true);
        root.finish();
        let mut about = pdf.document_info(info);
        about.title(TextStr(description.title)).author(TextStr(description.author));
        about.creator(TextStr("AuthSome Cloud")).creation_date(date(description.dated));
        about.finish();
        // As the file itself: the same for the same document.
        let id = digest(&SHA256, &identity).as_ref()[..16].to_vec();
        pdf.set_file_id((id.clone(), id));
        pdf.finish()
    }
}

/// How hard to compress; what more costs is not worth it.
const LEVEL: u8 = 6;

fn font_name(face: usize) -> String {
    format!("F{face}")
}

fn date(at: DateTime<Utc>) -> Date {
    let small = |part: u32| u8::try_from(part).unwrap_or_default();
    Date::new(u16::try_from(at.year()).unwrap_or_default())
        .month(small(at.month()))
        .day(small(at.day()))
        .hour(small(at.hour()))
        .minute(small(at.minute()))
        .second(small(at.second()))
        .utc_offset_hour(0)
        .utc_offset_minute(0)
}

/// Writes a font with the glyphs that are used.
fn embed(pdf: &mut Pdf, next: &mut impl FnMut() -> Ref, id: Ref, typeface: &Typeface, used: &Used) {
    let (cid, descriptor, file, map) = (next(), next(), next(), next());
    let face = typeface.face();
    let is_cff = face.tables().cff.is_some();
    let subset = typeface.subset(&used.glyphs);
    let name = postscript_name(typeface, &subset);
    let name = Name(name.as_bytes());

    let mut font = pdf.type0_font(id);
    font.base_font(name).encoding_predefined(Name(b"Identity-H"));
    font.descendant_font(cid).to_unicode(map);
    font.finish();

    let mut font = pdf.cid_font(cid);
    font.subtype(if is_cff { CidFontType::Type0 } else { CidFontType::Type2 });
    font.base_font(name).system_info(IDENTITY).font_descriptor(descriptor).default_width(0.0);
    if !is_cff {
        font.cid_to_gid_map_predefined(Name(b"Identity"));
    }
    let mut widths = font.widths();
    for (glyph, (width, _)) in &used.shown {
        widths.same(*glyph, *glyph, *width);
    }
    widths.finish();
    font.finish();

    let scale = |units: i16| typeface.scale(units);
    let bounds = face.global_bounding_box();
    let mut written = pdf.font_descriptor(descriptor);
    written.name(name).flags(FontFlags::NON_SYMBOLIC).italic_angle(0.0);
    written.bbox(Rect::new(
        scale(bounds.x_min),
        scale(bounds.y_min),
        scale(bounds.x_max),
        scale(bounds.y_max),
    ));
    written.ascent(scale(face.ascender())).descent(scale(face.descender()));
    written.cap_height(scale(face.capital_height().unwrap_or_else(|| face.ascender())));
    // Nobody knows it of a font; readers use it for fonts that are absent.
    written.stem_v(if face.is_bold() { 140.0 } else { 80.0 });
    if is_cff {
        written.font_file3(file);
    } else {
        written.font_file2(file);
    }
    written.finish();

    let packed = compress_to_vec_zlib(&subset, LEVEL);
    let mut stream = pdf.stream(file, &packed);
    stream.filter(Filter::FlateDecode);
    if is_cff {
        stream.pair(Name(b"Subtype"), Name(b"CIDFontType0C"));
    } else {
        stream.pair(Name(b"Length1"), i32::try_from(subset.len()).unwrap_or(i32::MAX));
    }
    stream.finish();

    let mut characters = UnicodeCmap::new(Name(b"Custom"), IDENTITY);
    for (glyph, (_, character)) in &used.shown {
        if *glyph != 0 {
            characters.pair(*glyph, *character);
        }
    }
    let packed = compress_to_vec_zlib(&characters.finish(), LEVEL);
    pdf.cmap(map, &packed).filter(Filter::FlateDecode);
}

/// The font's name behind six letters that tell its subsets apart.
fn postscript_name(typeface: &Typeface, subset: &[u8]) -> String {
    let names = typeface.face().names();
    let own = names
        .into_iter()
        .filter(|name| name.name_id == ttf_parser::name_id::POST_SCRIPT_NAME)
        .find_map(|name| name.to_string())
        .unwrap_or_else(|| "Font".to_owned());
    let own = own.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>();
    let hash = digest(&SHA256, subset);
    let tag: String = hash.as_ref()[..6].iter().map(|byte| char::from(b'A' + byte % 26)).collect();
    format!("{tag}+{own}")
}
