//! Tables for spreadsheets: records of RFC 4180.

/// A record. What a spreadsheet would take for a formula is led by an apostrophe.
pub fn line<S: AsRef<str>>(cells: &[S]) -> String {
    let quoted: Vec<String> = cells
        .iter()
        .map(|cell| {
            let cell = cell.as_ref();
            let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number(cell);
            let lead = if formula { "'" } else { "" };
            format!("\"{lead}{}\"", cell.replace('"', "\"\""))
        })
        .collect();
    quoted.join(",") + "\r\n"
}

/// A plain decimal, which is what it is also with a sign before it.
fn is_number(cell: &str) -> bool {
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    all(whole) && all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        let line = line(&["=1+1", "a\"b", "x,\ny"]);
        assert_eq!(line, "\"'=1+1\",\"a\"\"b\",\"x,\ny\"\r\n");
    }

    #[test]
    fn a_number_below_zero_is_a_number() {
        let line = line(&["-12.50", "-1", "-1+1", "-", "--1", "-1.", "-.5"]);
        let expected = "\"-12.50\",\"-1\",\"'-1+1\",\"'-\",\"'--1\",\"'-1.\",\"'-.5\"\r\n";
        assert_eq!(line, expected);
    }
}
