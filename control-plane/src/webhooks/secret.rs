//! Secrets and signatures of webhooks, by the Standard Webhooks specification: HMAC-SHA-256 over
//! `{id}.{timestamp}.{body}`, in base64 behind `v1,`, one for each secret that stands.

use authsome_shared::id::WebhookId;
use authsome_shared::secret::Secret;
use base64::Engine;
use base64::alphabet::STANDARD as STANDARD_ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use ring::hmac::{HMAC_SHA256, Key, sign as hmac};

use crate::sealed::Sealer;

pub const RULE: &str = "`secret` must have 16 to 256 printable characters";

const PREFIX: &str = "whsec_";

/// May this be somebody's own secret?
pub fn is_fit(text: &str) -> bool {
    (16..=256).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// As lenient as the receivers' libraries: padded or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD_ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What signs: the base64 behind `whsec_`, else the text's own bytes.
fn key(text: &str) -> Key {
    let decoded = text.strip_prefix(PREFIX).and_then(|rest| LENIENT.decode(rest).ok());
    Key::new(HMAC_SHA256, decoded.as_deref().unwrap_or(text.as_bytes()))
}

/// The value of `webhook-signature`.
pub fn signature(secrets: &[Secret<String>], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let tag = hmac(&key(secret.expose()), signed.as_bytes());
            format!("v1,{}", STANDARD.encode(tag.as_ref()))
        })
        .collect();
    signatures.join(" ")
}

fn purpose(id: &WebhookId) -> String {
    format!("webhook secret {id}")
}

pub fn seal(sealer: &Sealer, id: &WebhookId, secret: &Secret<String>) -> String {
    sealer.seal(&purpose(id), secret.expose().as_bytes())
}

pub fn open(sealer: &Sealer, id: &WebhookId, sealed: &str) -> anyhow::Result<Secret<String>> {
    Ok(Secret::new(String::from_utf8(sealer.open(&purpose(id), sealed)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn signatures_are_those_of_the_specification() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let body = r#"{"test": 2432232314}"#;
        let value = signature(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(value, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_standing_secret_signs() {
        let secrets = ["whsec_bmV3LW5ldy1uZXctbmV3LW5ldw==", "an older secret"];
        let secrets = secrets.map(|text| Secret::new(text.to_owned()));
        let both = signature(&secrets, "evt_1", 1, "{}");
        let each: Vec<String> = secrets
            .iter()
            .map(|one| signature(std::slice::from_ref(one), "evt_1", 1, "{}"))
            .collect();
        assert_eq!(both, each.join(" "));
        assert_ne!(each[0], each[1]);
    }

    #[test]
    fn what_is_no_base64_signs_as_it_is() {
        let tag = |text: &str| hmac(&key(text), b"x").as_ref().to_vec();
        let raw = |bytes: &[u8]| hmac(&Key::new(HMAC_SHA256, bytes), b"x").as_ref().to_vec();
        assert_eq!(tag("whsec_your-secret"), raw(b"whsec_your-secret"));
        assert_eq!(tag("c2VjcmV0c2VjcmV0"), raw(b"c2VjcmV0c2VjcmV0"));
        assert_eq!(tag("whsec_c2VjcmV0c2VjcmV0"), raw(b"secretsecret"));
        assert_eq!(tag("whsec_c2VjcmV0LXNlY3JldA"), raw(b"secret-secret"));
        assert_eq!(tag("whsec_c2VjcmV0LXNlY3JldA=="), raw(b"secret-secret"));
    }

    #[test]
    fn secrets_have_sixteen_characters_or_more() {
        for fit in ["whsec_your-secret", "sixteen letters!", &"é".repeat(256)] {
            assert!(is_fit(fit), "{fit}");
        }
        for unfit in ["", "fifteen letters", "a line\nand another one", &"x".repeat(257)] {
            assert!(!is_fit(unfit), "{unfit}");
        }
    }
}
