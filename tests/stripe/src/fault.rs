//! Faults on request: what goes wrong, with which requests, and how often.

use serde::Deserialize;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// This status, without the effect. A 5xx is remembered under the idempotency key, as any
    /// answer is; a 429 is not, because nothing had begun.
    Status(u16),
    /// This status, after the effect.
    StatusAfter(u16),
    /// No effect and no answer: the connection breaks.
    Cut,
    /// The effect, and no answer.
    Lost,
    /// No answer for as long as the fault stands, and no effect.
    HangBefore,
    /// The effect, and no answer for as long as the fault stands.
    HangAfter,
}

/// A fault of the requests that fit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// `POST /v1/invoices/*/pay`: method and path, where `*` is one segment. Empty: every request.
    #[serde(default)]
    pub of: String,
    /// So many that fit are let pass first.
    #[serde(default)]
    pub skip: usize,
    /// So many fail; 0: all, until the stand-in recovers.
    #[serde(default = "one")]
    pub times: usize,
    pub kind: Kind,
}

fn one() -> usize {
    1
}

impl Fault {
    /// Of the next request that fits.
    pub fn once(of: &str, kind: Kind) -> Self {
        Self { of: of.to_owned(), skip: 0, times: 1, kind }
    }

    /// Of every request, until the stand-in recovers.
    pub fn outage(kind: Kind) -> Self {
        Self { of: String::new(), skip: 0, times: 0, kind }
    }

    fn fits(&self, method: &str, path: &str) -> bool {
        let Some((wanted, pattern)) = self.of.split_once(' ') else { return self.of.is_empty() };
        let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
        wanted == method
            && loop {
                match (pattern.next(), path.next()) {
                    (None, None) => break true,
                    (Some(part), Some(given)) if part == "*" || part == given => {}
                    _ => break false,
                }
            }
    }
}

/// Takes the fault of this request off the list, if there is one.
pub fn take(faults: &mut Vec<Fault>, method: &str, path: &str) -> Option<Kind> {
    let place = faults.iter_mut().position(|fault| {
        if !fault.fits(method, path) {
            return false;
        }
        let now = fault.skip == 0;
        fault.skip = fault.skip.saturating_sub(1);
        now
    })?;
    let kind = faults[place].kind;
    match faults[place].times {
        0 => {}
        1 => drop(faults.remove(place)),
        _ => faults[place].times -= 1,
    }
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_meets_the_requests_that_fit_as_often_as_it_should() {
        let kind = Kind::Status(500);
        let mut faults = vec![Fault { skip: 1, times: 2, ..Fault::once("POST /v1/a/*/pay", kind) }];
        let mut met = |method, path| take(&mut faults, method, path).is_some();
        assert!(!met("GET", "/v1/a/1/pay") && !met("POST", "/v1/a/1"));
        assert!(!met("POST", "/v1/a/1/pay"), "skipped");
        assert!(met("POST", "/v1/a/1/pay") && met("POST", "/v1/a/2/pay"));
        assert!(!met("POST", "/v1/a/1/pay"), "used up");
        let mut faults = vec![Fault::outage(kind)];
        assert!((0..9).all(|_| take(&mut faults, "GET", "/v1/x") == Some(kind)));
    }
}
