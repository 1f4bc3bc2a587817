//! Text that people search for, on both databases alike.

/// A `like … escape '\'` pattern for what contains the text, in lower case: a `%` that somebody
/// searches for is just that.
pub fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.trim().to_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// PostgreSQL refuses the character NUL in text: nothing contains it.
pub fn is_searchable(text: &str) -> bool {
    text.len() <= 200 && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_themselves() {
        assert_eq!(pattern(" 50%_A\\b "), "%50\\%\\_a\\\\b%");
        assert_eq!(pattern(""), "%%");
    }

    #[test]
    fn what_no_database_holds_is_not_searched_for() {
        assert!(is_searchable("acme"));
        assert!(!is_searchable("a\0b"));
        assert!(!is_searchable(&"x".repeat(201)));
    }
}
