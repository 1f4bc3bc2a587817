//! A party as the lines of an address field.

use super::Contact;
use crate::billing::country;
use crate::billing::party::{Address, Party};

/// Name, address, e-mail address and tax id, as far as they are known.
pub fn contact(party: &Party) -> Contact {
    let Party { name, email, address, tax_id } = party;
    let mut lines: Vec<String> =
        [&address.line1, &address.line2].into_iter().flatten().cloned().collect();
    lines.extend(place(address));
    let named = |code: &String| country::name(code).map_or_else(|| code.clone(), str::to_owned);
    lines.extend(address.country.as_ref().map(named));
    lines.extend(email.clone());
    lines.extend(tax_id.as_ref().map(|id| format!("Tax ID {id}")));
    Contact { name: name.clone(), lines }
}

/// City, state and postal code, in the order of the country.
fn place(address: &Address) -> Option<String> {
    /// Where the postal code comes last.
    const LAST: [&str; 6] = ["US", "CA", "AU", "GB", "IE", "NZ"];
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let (city, state, code) =
        (part(&address.city), part(&address.state), part(&address.postal_code));
    let country = address.country.as_deref().unwrap_or_default();
    let (left, right) = if LAST.contains(&country) {
        (city, joined(" ", &[state, code]))
    } else {
        (joined(" ", &[code, city]), state)
    };
    let place = joined(", ", &[left, right]);
    (!place.is_empty()).then_some(place)
}

fn joined(separator: &str, parts: &[String]) -> String {
    let parts: Vec<&str> =
        parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    parts.join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_their_countries_do() {
        let address = |country: &str, state: Option<&str>| Address {
            line1: Some("1 Main Street".into()),
            postal_code: Some("94103".into()),
            city: Some("San Francisco".into()),
            state: state.map(Into::into),
            country: (!country.is_empty()).then(|| country.into()),
            ..Address::default()
        };
        let lines = |address: Address| {
            contact(&Party { name: "Acme".into(), address, ..Party::default() }).lines.join("|")
        };
        assert_eq!(
            lines(address("US", Some("CA"))),
            "1 Main Street|San Francisco, CA 94103|United States"
        );
        assert_eq!(lines(address("DE", None)), "1 Main Street|94103 San Francisco|Germany");
        assert_eq!(lines(address("", Some("CA"))), "1 Main Street|94103 San Francisco, CA");
        assert_eq!(lines(Address::default()), "");
    }
}
