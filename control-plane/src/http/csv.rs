//! Tables for spreadsheets: records of RFC 4180.

/// A record. What a spreadsheet would take for a formula is led by an apostrophe.
pub fn line<S: AsRef<str>>(cells: &[S]) -> String {
    let quoted: Vec<String> = cells
        .iter()
        .map(|cell| {
            let cell = cell.as_ref();
            let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            let lead = if formula { "'" } else { "" };
            format!("\"{lead}{}\"", cell.replace('"', "\"\""))
        })
        .collect();
    quoted.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        let line = line(&["=1+1", "a\"b", "x,\ny"]);
        assert_eq!(line, "\"'=1+1\",\"a\"\"b\",\"x,\ny\"\r\n");
    }
}
