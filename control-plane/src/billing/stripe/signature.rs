//! Is a webhook from Stripe? The header `Stripe-Signature` holds the time of sending and one or more
//! signatures of time and body: `t=1492774577,v1=5257a8…,v1=…,v0=…`. Only `v1` counts: HMAC-SHA256
//! under the endpoint's secret, in hex. While a secret is rolled there are two.

use ring::hmac;

/// Checks the bytes of a body as they came. The error is for the sender.
pub fn verify(
    header: &str,
    body: &[u8],
    secret: &str,
    now: i64,
    tolerance_seconds: i64,
) -> Result<(), &'static str> {
    let mut time = None;
    let mut signatures = Vec::new();
    for (name, value) in header.split(',').filter_map(|pair| pair.trim().split_once('=')) {
        match name {
            "t" => time = Some(value),
            "v1" => signatures.push(value),
            _ => {}
        }
    }
    let Some(time) = time else { return Err("The `Stripe-Signature` header has no time") };
    let Ok(sent_at) = time.parse::<i64>() else {
        return Err("The time in the `Stripe-Signature` header is no number");
    };
    if signatures.is_empty() {
        return Err("The `Stripe-Signature` header has no `v1` signature");
    }
    // Of the text as it came: `+5` and `5` are one number and two messages.
    let message = [time.as_bytes(), b".", body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    // `hmac::verify` takes as long for a near miss as for a far one.
    let is_right = |signature: &&str| {
        hex::decode(signature).is_ok_and(|tag| hmac::verify(&key, &message, &tag).is_ok())
    };
    if !signatures.iter().any(is_right) {
        return Err("No signature in the `Stripe-Signature` header is of this body and secret");
    }
    if sent_at.abs_diff(now) > tolerance_seconds.unsigned_abs() {
        return Err("The webhook was sent too long ago, or the clocks differ");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "whsec_test_secret";
    const BODY: &[u8] = b"{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\"\n}";
    const AT: i64 = 1_700_000_000;

    fn sign(secret: &str, time: &str, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hex::encode(hmac::sign(&key, &[time.as_bytes(), b".", body].concat()))
    }

    /// Computed by Stripe's own Python library 16.1.0 (`WebhookSignature._compute_signature`).
    const BY_STRIPES_LIBRARY: &str =
        "4f1cd7feda9826e746b7d482c4badebb657398df1099e1046364f6196a230150";

    #[test]
    fn a_signature_of_stripes_own_library_is_right() {
        let header = format!("t={AT},v1={BY_STRIPES_LIBRARY}");
        assert_eq!(verify(&header, BODY, SECRET, AT, 300), Ok(()));
    }

    #[test]
    fn only_a_signature_of_this_body_time_and_secret_within_the_tolerance_is_right() {
        let good = sign(SECRET, "1700000000", BODY);
        let of_another = sign("whsec_other", "1700000000", BODY);
        let at_another = sign(SECRET, "1700000001", BODY);
        let upper = good.to_uppercase();
        for (header, now, right) in [
            (format!("t={AT},v1={good}"), AT, true),
            (format!("v1={good},t={AT}"), AT, true),
            (format!("t={AT}, v1={good}"), AT, true),
            // While the secret is rolled.
            (format!("t={AT},v1={of_another},v1={good}"), AT, true),
            (format!("t={AT},v1={good},v0={of_another}"), AT, true),
            (format!("t={AT},v1={upper}"), AT, true),
            (format!("t={AT},v1={good}"), AT + 300, true),
            (format!("t={AT},v1={good}"), AT - 300, true),
            (format!("t={AT},v1={good}"), AT + 301, false),
            (format!("t={AT},v1={good}"), AT - 301, false),
            (format!("t={AT},v1={good}"), i64::MAX, false),
            (format!("t={AT},v1={of_another}"), AT, false),
            (format!("t={AT},v1={at_another}"), AT, false),
            (format!("t=+{AT},v1={good}"), AT, false),
            (format!("t={AT},v0={good}"), AT, false),
            (format!("t={AT},v1={}", &good[..62]), AT, false),
            (format!("t={AT},v1=zz"), AT, false),
            (format!("t={AT},v1="), AT, false),
            (format!("t={AT}"), AT, false),
            (format!("v1={good}"), AT, false),
            (format!("t=soon,v1={good}"), AT, false),
            (format!("t=,v1={good}"), AT, false),
            (String::new(), AT, false),
            (",,==,t,v1".to_owned(), AT, false),
        ] {
            assert_eq!(verify(&header, BODY, SECRET, now, 300).is_ok(), right, "{header} at {now}");
        }
        let header = format!("t={AT},v1={good}");
        assert!(verify(&header, b"{}", SECRET, AT, 300).is_err(), "another body");
        let compact = br#"{"id":"evt_test_webhook","object":"event"}"#;
        assert!(verify(&header, compact, SECRET, AT, 300).is_err(), "the same JSON is not enough");
    }

    proptest! {
        #[test]
        fn no_header_is_right_by_chance(header in ".{0,200}", body in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(verify(&header, &body, SECRET, AT, 300).is_err());
        }
    }
}
