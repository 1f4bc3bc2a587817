//! Reads back just what `canvas` writes: where each text stands, as a reader's search would find it.
//! The end-to-end tests have other people's readers look at the same files.

use std::collections::BTreeMap;

use miniz_oxide::inflate::decompress_to_vec_zlib;

#[derive(Debug)]
pub struct Shown {
    pub x: f32,
    /// From the bottom.
    pub y: f32,
    pub text: String,
}

struct Object {
    dictionary: String,
    stream: Vec<u8>,
}

/// The texts of each page.
pub fn read(file: &[u8]) -> Vec<Vec<Shown>> {
    let objects = objects(file);
    let pages = objects.values().filter(|object| object.dictionary.contains("/Type /Page\n"));
    pages
        .map(|page| {
            let content = &objects[&reference(&page.dictionary, "/Contents")];
            let fonts: BTreeMap<String, BTreeMap<u16, char>> = (0..9)
                .map(|n| format!("/F{n}"))
                .filter(|name| page.dictionary.contains(&format!("{name} ")))
                .map(|name| {
                    let font = &objects[&reference(&page.dictionary, &name)];
                    let map = &objects[&reference(&font.dictionary, "/ToUnicode")];
                    (name, characters(&map.stream))
                })
                .collect();
            texts(&content.stream, &fonts)
        })
        .collect()
}

/// What each stream of drawing holds.
pub fn contents(file: &[u8]) -> Vec<Vec<u8>> {
    objects(file).into_values().map(|object| object.stream).collect()
}

fn objects(file: &[u8]) -> BTreeMap<u32, Object> {
    let mut found = BTreeMap::new();
    let mut at = 0;
    while let Some(begin) = find(file, b" 0 obj\n", at) {
        let digits = file[..begin].iter().rposition(|byte| !byte.is_ascii_digit()).unwrap() + 1;
        let number = std::str::from_utf8(&file[digits..begin]).unwrap().parse().unwrap();
        let body = begin + 7;
        let end = find(file, b"endobj", body).unwrap();
        let stream = find(file, b"\nstream\n", body).filter(|stream| *stream < end);
        let until = stream.unwrap_or(end);
        let dictionary = String::from_utf8_lossy(&file[body..until]).into_owned();
        let (mut data, mut next) = (vec![], end);
        if let Some(stream) = stream {
            let length = dictionary.split("/Length ").nth(1).unwrap();
            let length = length.split_whitespace().next().unwrap().parse::<usize>().unwrap();
            let packed = &file[stream + 8..stream + 8 + length];
            data = decompress_to_vec_zlib(packed).unwrap();
            next = stream + 8 + length;
        }
        found.insert(number, Object { dictionary, stream: data });
        at = next;
    }
    found
}

fn find(file: &[u8], what: &[u8], from: usize) -> Option<usize> {
    file[from..].windows(what.len()).position(|window| window == what).map(|at| at + from)
}

fn reference(dictionary: &str, key: &str) -> u32 {
    let rest = dictionary.split(&format!("{key} ")).nth(1).unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

fn characters(map: &[u8]) -> BTreeMap<u16, char> {
    let text = String::from_utf8_lossy(map);
    let pairs = text.lines().filter_map(|line| line.strip_prefix('<')?.split_once("> <"));
    pairs
        .filter_map(|(glyph, character)| {
            let glyph = u16::from_str_radix(glyph, 16).ok()?;
            let code = u32::from_str_radix(character.strip_suffix('>')?, 16).ok()?;
            Some((glyph, char::from_u32(code)?))
        })
        .collect()
}

fn texts(content: &[u8], fonts: &BTreeMap<String, BTreeMap<u16, char>>) -> Vec<Shown> {
    let mut shown = vec![];
    let (mut operands, mut at) = (vec![], 0);
    let mut font = String::new();
    while let Some(token) = token(content, &mut at) {
        match token {
            Token::Glyphs(bytes) => {
                let map = &fonts[&font];
                let Some(Shown { text, .. }) = shown.last_mut() else { continue };
                text.extend(bytes.chunks(2).map(|pair| {
                    let glyph = u16::from_be_bytes([pair[0], pair[1]]);
                    map.get(&glyph).copied().unwrap_or('\u{fffd}')
                }));
            }
            Token::Word(word) => match word.as_str() {
                "Tm" => {
                    let number = |n: usize| -> f32 {
                        let operand: &String = &operands[operands.len() - n];
                        operand.parse().unwrap()
                    };
                    shown.push(Shown { x: number(2), y: number(1), text: String::new() });
                }
                "Tf" => font.clone_from(&operands[operands.len() - 2]),
                // Properties of what follows, not glyphs.
                "BT" => operands.clear(),
                _ => operands.push(word),
            },
        }
    }
    shown
}

enum Token {
    Word(String),
    Glyphs(Vec<u8>),
}

fn token(content: &[u8], at: &mut usize) -> Option<Token> {
    let ignored = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'[' | b']');
    while content.get(*at).is_some_and(|byte| ignored(*byte)) {
        *at += 1;
    }
    let first = *content.get(*at)?;
    // The dictionary of a marked part: one line, up to its operator.
    if content[*at..].starts_with(b"<<") {
        let end = find(content, b"BDC", *at)?;
        *at = end;
        return Some(Token::Word("properties".into()));
    }
    if first == b'<' {
        let end = find(content, b">", *at)?;
        let digits = &content[*at + 1..end];
        *at = end + 1;
        return Some(Token::Glyphs(hex::decode(digits).ok()?));
    }
    if first == b'(' {
        *at += 1;
        return Some(Token::Glyphs(literal(content, at)));
    }
    let begin = *at;
    while content.get(*at).is_some_and(|byte| !ignored(*byte) && !matches!(byte, b'<' | b'(')) {
        *at += 1;
    }
    Some(Token::Word(String::from_utf8_lossy(&content[begin..*at]).into_owned()))
}

/// A string in brackets, with its escapes undone.
fn literal(content: &[u8], at: &mut usize) -> Vec<u8> {
    let (mut bytes, mut depth) = (vec![], 1);
    while let Some(byte) = content.get(*at) {
        *at += 1;
        match byte {
            b'\\' => {
                let escaped = content[*at];
                *at += 1;
                bytes.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'f' => 12,
                    b'0'..=b'7' => {
                        let digits = std::str::from_utf8(&content[*at - 1..*at + 2]).unwrap();
                        *at += 2;
                        u8::from_str_radix(digits, 8).unwrap()
                    }
                    other => other,
                });
            }
            b'(' => {
                depth += 1;
                bytes.push(b'(');
            }
            b')' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
                bytes.push(b')');
            }
            other => bytes.push(*other),
        }
    }
    bytes
}
