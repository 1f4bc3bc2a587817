//! One admitted request as it is written to the journal: the JSON that [`UsageRecord`] is read from,
//! put together from what is at hand without copying any of it first.

use authsome_shared::id::{ApplicationId, KeyId, WorkspaceId};
use authsome_shared::usage::UsageRecord;

use crate::json::{number, text};

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
        number(out, "{\"at\":", self.at);
        text(out, ",\"workspace\":", self.workspace.as_bytes());
        text(out, ",\"application\":", self.application.as_bytes());
        text(out, ",\"key\":", self.key.as_bytes());
        if let Some(bucket) = self.bucket {
            text(out, ",\"bucket\":", bucket.as_bytes());
        }
        text(out, ",\"route\":", self.route.as_bytes());
        number(out, ",\"status\":", self.status);
        number(out, ",\"latencyUs\":", self.latency_us);
        number(out, ",\"bytesIn\":", self.bytes_in);
        number(out, ",\"bytesOut\":", self.bytes_out);
        number(out, ",\"units\":", self.units);
        if let Some(user) = self.user {
            text(out, ",\"user\":", user.as_bytes());
        }
        out.push(b'}');
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
