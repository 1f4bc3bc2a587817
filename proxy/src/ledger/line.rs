//! One admitted request as it is written to the journal: the JSON that [`UsageRecord`] is read from,
//! put together from what is at hand without copying any of it first.

use std::io::Write as _;

use authsome_shared::id::{ApplicationId, KeyId, WorkspaceId};
use authsome_shared::usage::UsageRecord;

/// The fields of [`UsageRecord`], which says what they are.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    pub at: i64,
    pub workspace: &'a WorkspaceId,
    pub application: &'a ApplicationId,
    pub key: &'a KeyId,
    pub bucket: Option<&'a KeyId>,
    pub route: &'a str,
    pub status: u16,
    pub latency_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub units: u32,
    pub user: Option<&'a str>,
}

impl<'a> From<&'a UsageRecord> for Line<'a> {
    fn from(record: &'a UsageRecord) -> Self {
        Self {
            at: record.at,
            workspace: &record.workspace,
            application: &record.application,
            key: &record.key,
            bucket: record.bucket.as_ref(),
            route: &record.route,
            status: record.status,
            latency_us: record.latency_us,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            units: record.units,
            user: record.user.as_deref(),
        }
    }
}

impl Line<'_> {
    /// Appends the record as one JSON object.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"at\":");
        number(out, self.at);
        text(out, b",\"workspace\":", self.workspace.as_str());
        text(out, b",\"application\":", self.application.as_str());
        text(out, b",\"key\":", self.key.as_str());
        if let Some(bucket) = self.bucket {
            text(out, b",\"bucket\":", bucket.as_str());
        }
        text(out, b",\"route\":", self.route);
        for (name, value) in [
            (&b",\"status\":"[..], u64::from(self.status)),
            (b",\"latencyUs\":", self.latency_us),
            (b",\"bytesIn\":", self.bytes_in),
            (b",\"bytesOut\":", self.bytes_out),
            (b",\"units\":", u64::from(self.units)),
        ] {
            out.extend_from_slice(name);
            number(out, value);
        }
        if let Some(user) = self.user {
            text(out, b",\"user\":", user);
        }
        out.push(b'}');
    }
}

fn number(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn text(out: &mut Vec<u8>, name: &[u8], text: &str) {
    out.extend_from_slice(name);
    let plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        write!(out, "{}", serde_json::Value::from(text)).expect("memory takes everything");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_the_record_and_just_as_serde_writes_it(
            (at, status, units) in (any::<i64>(), any::<u16>(), any::<u32>()),
            numbers in any::<[u64; 3]>(),
            (route, user) in (any::<String>(), any::<Option<String>>()),
            rotated in any::<bool>(),
        ) {
            let record = UsageRecord {
                at,
                workspace: "ws_1".parse().expect("an id"),
                application: "app_1".parse().expect("an id"),
                key: "key_2".parse().expect("an id"),
                bucket: rotated.then(|| "key_1".parse().expect("an id")),
                route,
                status,
                latency_us: numbers[0],
                bytes_in: numbers[1],
                bytes_out: numbers[2],
                units,
                user,
            };
            let mut line = Vec::new();
            Line::from(&record).write(&mut line);
            let text = String::from_utf8(line).expect("text");
            prop_assert_eq!(&text, &serde_json::to_string(&record).expect("JSON"));
        }
    }
}
