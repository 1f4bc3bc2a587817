//! Text as glyphs: which ones, how wide, and where lines break. Two weights of one family lie in the
//! binary; further fonts of the operator's take over where those have no glyph. What no font has is
//! drawn as the box that fonts have for it. Scripts that need shaping or run from right to left are
//! not set rightly here: the HTML has them.

use std::fmt;
use std::sync::LazyLock;

use anyhow::{Context, ensure};
use subsetter::{GlyphRemapper, subset};
use ttf_parser::gpos::{PairAdjustment, PositioningSubtable};
use ttf_parser::gsub::{SingleSubstitution, SubstitutionSubtable};
use ttf_parser::opentype_layout::{LayoutTable, Lookup};
use ttf_parser::{Face, GlyphId, RawFace, Tag};
use unicode_normalization::UnicodeNormalization;

const REGULAR: &[u8] = include_bytes!("fonts/Inter-Regular.ttf");
const CFF: Tag = Tag::from_bytes(b"CFF ");
const SEMIBOLD: &[u8] = include_bytes!("fonts/Inter-SemiBold.ttf");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    Regular,
    SemiBold,
}

/// One font: its bytes and what was read of them.
pub struct Typeface {
    data: &'static [u8],
    face: Face<'static>,
    kerning: Vec<PairAdjustment<'static>>,
    figures: Vec<SingleSubstitution<'static>>,
}

/// What a document is set in: regular, semibold, then the operator's.
pub struct Fonts {
    faces: Vec<Typeface>,
}

/// A glyph in its font.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Glyph {
    /// 0 is the box for what there is no glyph for.
    pub id: u16,
    /// In thousandths of the size.
    pub advance: f32,
    /// Added to the advance, because of the glyph that follows.
    pub kern: f32,
    pub character: char,
}

/// Glyphs of one font in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Index of the font.
    pub face: usize,
    pub glyphs: Vec<Glyph>,
}

impl Typeface {
    fn parse(data: &'static [u8]) -> anyhow::Result<Self> {
        let face = Face::parse(data, 0).context("is no TrueType or OpenType font")?;
        ensure!(face.is_outline_embedding_allowed(), "does not allow being embedded in documents");
        let tables = face.tables();
        ensure!(tables.glyf.is_some() || tables.cff.is_some(), "has no outlines");
        let kerning = lookups(tables.gpos, b"kern")
            .flat_map(|lookup| lookup.subtables.into_iter::<PositioningSubtable<'static>>())
            .filter_map(|table| match table {
                PositioningSubtable::Pair(pairs) => Some(pairs),
                _ => None,
            })
            .collect();
        let figures = lookups(tables.gsub, b"tnum")
            .flat_map(|lookup| lookup.subtables.into_iter::<SubstitutionSubtable<'static>>())
            .filter_map(|table| match table {
                SubstitutionSubtable::Single(single) => Some(single),
                _ => None,
            })
            .collect();
        subset(data, 0, &GlyphRemapper::new()).context("can't be embedded")?;
        Ok(Self { data, face, kerning, figures })
    }

    /// What of the font draws just these glyphs, as documents embed it.
    pub fn subset(&self, glyphs: &GlyphRemapper) -> Vec<u8> {
        // It could be cut when it was read; without it a reader takes a font of its own.
        let subset = subset(self.data, 0, glyphs).unwrap_or_default();
        if self.face.tables().cff.is_none() {
            return subset;
        }
        let outlines = RawFace::parse(&subset, 0).ok().and_then(|face| face.table(CFF));
        outlines.map(<[u8]>::to_vec).unwrap_or_default()
    }

    pub fn face(&self) -> &Face<'static> {
        &self.face
    }

    /// Units of the font in thousandths of the size.
    pub fn scale(&self, units: impl Into<f32>) -> f32 {
        units.into() * 1000.0 / f32::from(self.face.units_per_em())
    }

    fn glyph(&self, character: char) -> Option<GlyphId> {
        self.face.glyph_index(character)
    }

    pub fn advance(&self, glyph: GlyphId) -> f32 {
        self.scale(self.face.glyph_hor_advance(glyph).unwrap_or_default())
    }

    /// The figure of the width that all figures share.
    fn tabular(&self, glyph: GlyphId) -> GlyphId {
        let substitute = self.figures.iter().find_map(|table| match table {
            SingleSubstitution::Format1 { coverage, delta } => {
                coverage.get(glyph).map(|_| GlyphId(glyph.0.wrapping_add_signed(*delta)))
            }
            SingleSubstitution::Format2 { coverage, substitutes } => {
                coverage.get(glyph).and_then(|index| substitutes.get(index))
            }
        });
        substitute.unwrap_or(glyph)
    }

    fn kern(&self, left: GlyphId, right: GlyphId) -> f32 {
        let units = self.kerning.iter().find_map(|table| match table {
            PairAdjustment::Format1 { coverage, sets } => {
                let set = sets.get(coverage.get(left)?)?;
                set.get(right).map(|(first, _)| first.x_advance)
            }
            PairAdjustment::Format2 { coverage, classes, matrix } => {
                coverage.get(left)?;
                let pair = (classes.0.get(left), classes.1.get(right));
                matrix.get(pair).map(|(first, _)| first.x_advance).filter(|units| *units != 0)
            }
        });
        self.scale(units.unwrap_or_default())
    }
}

fn lookups<'a>(
    table: Option<LayoutTable<'a>>,
    feature: &[u8; 4],
) -> impl Iterator<Item = Lookup<'a>> {
    let tag = Tag::from_bytes(feature);
    let found = table.and_then(|table| Some((table.features.find(tag)?, table.lookups)));
    found.into_iter().flat_map(|(feature, lookups)| {
        feature.lookup_indices.into_iter().filter_map(move |index| lookups.get(index))
    })
}

/// What every document can be set in.
pub static BUILT_IN: LazyLock<Fonts> =
    LazyLock::new(|| Fonts::with(vec![]).expect("the built-in fonts are fonts"));

impl fmt::Debug for Fonts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fonts({})", self.faces.len())
    }
}

impl Fonts {
    /// The built-in family, and `others` for what it lacks.
    pub fn with(others: Vec<(String, Vec<u8>)>) -> anyhow::Result<Self> {
        let mut faces = vec![Typeface::parse(REGULAR)?, Typeface::parse(SEMIBOLD)?];
        for (name, data) in others {
            // Read once, at the start, and needed until the end.
            let face = Typeface::parse(data.leak());
            faces.push(face.with_context(|| format!("the font {name}"))?);
        }
        Ok(Self { faces })
    }

    pub fn faces(&self) -> &[Typeface] {
        &self.faces
    }

    /// The text as glyphs; `tabular` figures are all equally wide.
    pub fn shape(&self, text: &str, weight: Weight, tabular: bool) -> Vec<Run> {
        let own = match weight {
            Weight::Regular => 0,
            Weight::SemiBold => 1,
        };
        let mut runs: Vec<Run> = vec![];
        for character in text.nfc().map(visible).filter(|c| !is_hidden(*c)) {
            let mut order = std::iter::once(own).chain(2..self.faces.len());
            let found = order
                .find_map(|face| Some((face, self.faces[face].glyph(character)?)))
                .unwrap_or((own, GlyphId(0)));
            let (face, mut id) = found;
            let typeface = &self.faces[face];
            if tabular && character.is_ascii_digit() {
                id = typeface.tabular(id);
            }
            let glyph = Glyph { id: id.0, advance: typeface.advance(id), kern: 0.0, character };
            match runs.last_mut() {
                Some(run) if run.face == face => {
                    if let Some(last) = run.glyphs.last_mut() {
                        last.kern = typeface.kern(GlyphId(last.id), id);
                    }
                    run.glyphs.push(glyph);
                }
                _ => runs.push(Run { face, glyphs: vec![glyph] }),
            }
        }
        runs
    }

    /// How wide the text is, in points.
    pub fn width(&self, text: &str, size: f32, weight: Weight, tabular: bool) -> f32 {
        let runs = self.shape(text, weight, tabular);
        runs.iter().map(Run::width).sum::<f32>() * size / 1000.0
    }

    /// The text in lines that are at most `width` points wide. A word that is wider is broken.
    pub fn wrap(&self, text: &str, size: f32, weight: Weight, width: f32) -> Vec<String> {
        // Words are measured one by one: what kerning over a space would save is not worth a thing.
        let measure = |text: &str| self.width(text, size, weight, false);
        let space = measure(" ");
        let mut lines = vec![];
        for paragraph in text.lines() {
            let (mut line, mut used) = (String::new(), 0.0);
            for word in paragraph.split_whitespace() {
                let own = measure(word);
                let wanted = if line.is_empty() { own } else { used + space + own };
                if wanted <= width {
                    if !line.is_empty() {
                        line.push(' ');
                    }
                    line.push_str(word);
                    used = wanted;
                    continue;
                }
                if !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                    used = 0.0;
                }
                if own <= width {
                    word.clone_into(&mut line);
                    used = own;
                    continue;
                }
                for character in word.chars() {
                    let own = measure(character.encode_utf8(&mut [0; 4]));
                    if used + own > width && !line.is_empty() {
                        lines.push(std::mem::take(&mut line));
                        used = 0.0;
                    }
                    line.push(character);
                    used += own;
                }
            }
            lines.push(line);
        }
        lines
    }
}

impl Run {
    /// In thousandths of the size.
    pub fn width(&self) -> f32 {
        self.glyphs.iter().map(|glyph| glyph.advance + glyph.kern).sum()
    }
}

/// Spaces of every kind are a space: fonts lack some of them.
fn visible(character: char) -> char {
    if character.is_whitespace() { ' ' } else { character }
}

/// What has an effect on its neighbours only, and no glyph of its own.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ad}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: f32 = 10.0;

    #[test]
    fn tabular_figures_are_equally_wide() {
        let width = |text| BUILT_IN.width(text, SIZE, Weight::Regular, true);
        assert!((width("111,111.11") - width("888,888.88")).abs() < 0.001);
        let proportional = |text| BUILT_IN.width(text, SIZE, Weight::Regular, false);
        assert!(proportional("1111") < proportional("8888"));
    }

    #[test]
    fn letters_are_kerned() {
        let apart = BUILT_IN.width("A", SIZE, Weight::Regular, false)
            + BUILT_IN.width("V", SIZE, Weight::Regular, false);
        assert!(BUILT_IN.width("AV", SIZE, Weight::Regular, false) < apart);
    }

    #[test]
    fn the_built_in_fonts_have_the_scripts_of_europe_and_the_signs_of_currencies() {
        for text in [
            "Gödel & Søns Ōkami Łódź ąčęëįšųūž Nguyễn Văn",
            "Здравствуйте Їжак",
            "Ελλάδα ΰ",
            "€ $ £ ¥ ₩ ₹ ₺ ₽ ₪ ₫ ₴ ₦ − – — · × % № “quoted” ‘it’ …",
        ] {
            for weight in [Weight::Regular, Weight::SemiBold] {
                for run in BUILT_IN.shape(text, weight, false) {
                    let missing: Vec<_> = run.glyphs.iter().filter(|glyph| glyph.id == 0).collect();
                    assert!(missing.is_empty(), "{missing:?}");
                }
            }
        }
    }

    #[test]
    fn composed_and_decomposed_letters_are_the_same() {
        let shape = |text| BUILT_IN.shape(text, Weight::Regular, false);
        assert_eq!(shape("Amélie"), shape("Ame\u{301}lie"));
    }

    #[test]
    fn lines_fit_their_width_and_lose_nothing() {
        let long = format!("{} and some more words to set here", "x".repeat(100));
        for text in [long.as_str(), "", "one", "two\nlines", "Donaudampfschifffahrtsgesellschaft"] {
            let lines = BUILT_IN.wrap(text, SIZE, Weight::Regular, 80.0);
            for line in &lines {
                assert!(BUILT_IN.width(line, SIZE, Weight::Regular, false) <= 80.1, "{line}");
            }
            let letters =
                |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(text));
        }
    }

    #[test]
    fn what_is_no_font_is_refused_by_name() {
        let error = Fonts::with(vec![("logo.png".into(), b"nonsense".to_vec())]).err().unwrap();
        assert!(format!("{error:#}").contains("logo.png"), "{error:#}");
    }
}
