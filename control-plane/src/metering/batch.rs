//! A batch of usage records as it comes in: read and checked, and added up at once. Nothing is kept
//! of a record but what it adds; the text is, for a batch that was applied in part.

use std::borrow::Cow;

use authsome_shared::usage::BatchHeader;
use chrono::{DateTime, Datelike};
use serde::Deserialize;

use super::summary::{Counting, Summary};
use crate::error::{Error, Result};

/// So that sequence numbers and their sums fit the databases' integers.
const MAX_SEQUENCE: u64 = 1 << 62;

/// Of one body: 1 PiB.
const MAX_BYTES: u64 = 1 << 50;

/// Length of a route.
const MAX_ROUTE: usize = 1024;

/// A line of a batch: `authsome_shared::usage::UsageRecord`, in the text that it was read from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record<'a> {
    pub at: i64,
    pub workspace: &'a str,
    pub application: &'a str,
    pub key: &'a str,
    #[serde(default)]
    pub bucket: Option<&'a str>,
    #[serde(borrow)]
    pub route: Cow<'a, str>,
    pub status: u16,
    pub latency_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub units: u32,
    #[serde(default)]
    pub user: Option<Cow<'a, str>>,
}

impl Record<'_> {
    /// What no proxy of ours writes, and no database could store or add up.
    fn fault(&self) -> Option<&'static str> {
        let ids = [self.workspace, self.application, self.key, self.bucket.unwrap_or(self.key)];
        if !ids.into_iter().all(is_id) {
            return Some("its ids are none");
        }
        if !DateTime::from_timestamp_millis(self.at)
            .is_some_and(|at| (1970..=9999).contains(&at.year()))
        {
            return Some("its time is none");
        }
        if self.bytes_in > MAX_BYTES || self.bytes_out > MAX_BYTES {
            return Some("it counts more bytes than a body can have");
        }
        (self.route.len() > MAX_ROUTE || self.route.contains('\0')).then_some("its route is none")
    }
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn bad(field: String, message: String) -> Error {
    Error::invalid(field, "invalid_value", message)
}

/// A batch, added up.
#[derive(Debug)]
pub struct Batch {
    pub header: BatchHeader,
    /// Of all its records.
    pub summary: Summary,
    body: Vec<u8>,
}

impl Batch {
    /// Reads a batch. Takes milliseconds of processor time: not for a thread that others wait for.
    pub fn read(body: Vec<u8>) -> Result<Self> {
        let (header, lines) = split(&body)?;
        let header: BatchHeader = serde_json::from_str(header)
            .map_err(|error| bad("body".into(), format!("the batch's header: {error}")))?;
        if !is_id(header.node.as_str()) || !is_id(header.epoch.as_str()) {
            return Err(bad("body".into(), "the header's ids are none".into()));
        }
        let (summary, count) = add_up(lines, 0)?;
        if header.first == 0 || header.first > MAX_SEQUENCE || count != header.count || count == 0 {
            let message = format!(
                "the header announces {} records from {}, the batch holds {count}",
                header.count, header.first,
            );
            return Err(bad("body".into(), message));
        }
        Ok(Self { header, summary, body })
    }

    /// Sequence numbers of the first and the last record.
    pub fn range(&self) -> (i64, i64) {
        let first = self.header.first.cast_signed();
        (first, first + i64::try_from(self.header.count).unwrap_or(i64::MAX) - 1)
    }

    /// Of what comes after the first `skip` records.
    pub fn rest(&self, skip: usize) -> Result<Summary> {
        Ok(add_up(split(&self.body)?.1, skip)?.0)
    }
}

/// The header's line and those of the records.
fn split(body: &[u8]) -> Result<(&str, &str)> {
    let text = std::str::from_utf8(body).map_err(|error| bad("body".into(), error.to_string()))?;
    let text = text.trim_start_matches('\n');
    if text.is_empty() {
        return Err(bad("body".into(), "the batch is empty".into()));
    }
    Ok(text.split_once('\n').unwrap_or((text, "")))
}

/// What the records after the first `skip` come to, and how many records there are.
fn add_up(lines: &str, skip: usize) -> Result<(Summary, usize)> {
    let mut counting = Counting::default();
    let mut count = 0;
    for line in lines.split('\n').filter(|line| !line.is_empty()) {
        let field = || format!("records[{count}]");
        let record: Record<'_> =
            serde_json::from_str(line).map_err(|error| bad(field(), error.to_string()))?;
        if let Some(fault) = record.fault() {
            return Err(bad(field(), fault.to_owned()));
        }
        if count >= skip {
            counting.add(record);
        }
        count += 1;
    }
    Ok((counting.finish(), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"at":1,"workspace":"ws_1","application":"app_1","key":"key_1","route":"*","status":200,"latencyUs":1,"bytesIn":0,"bytesOut":0,"units":1}"#;

    fn header(count: usize) -> String {
        format!(r#"{{"node":"node_1","epoch":"epo_1","first":1,"count":{count}}}"#)
    }

    #[test]
    fn a_batch_must_hold_what_its_header_announces() {
        let batch = Batch::read(format!("{}\n{RECORD}\n", header(1)).into_bytes()).unwrap();
        assert_eq!((batch.range(), batch.summary.totals.len()), ((1, 1), 3));
        for body in [
            String::new(),
            "{}".to_owned(),
            header(0),
            header(1),
            format!("{}\n{RECORD}", header(2)),
            format!("{}\n{{}}", header(1)),
        ] {
            let read = Batch::read(body.clone().into_bytes());
            assert!(matches!(read, Err(Error::Invalid(_))), "{body}");
        }
    }

    #[test]
    fn what_proxies_write_is_read_whatever_its_texts_hold() {
        let mut record: authsome_shared::usage::UsageRecord = serde_json::from_str(RECORD).unwrap();
        record.route = "GET /\"a\"\\\u{1f980}\n*".into();
        record.user = Some("\"ann\"\t\u{e9}".into());
        record.bucket = Some("key_2".parse().unwrap());
        let line = serde_json::to_string(&record).unwrap();
        let read: Record<'_> = serde_json::from_str(&line).unwrap();
        assert_eq!((read.at, read.workspace, read.application), (1, "ws_1", "app_1"));
        assert_eq!((read.key, read.bucket), ("key_1", Some("key_2")));
        assert_eq!(
            (read.route.as_ref(), read.user.as_deref()),
            (record.route.as_str(), record.user.as_deref())
        );
        let batch = Batch::read(format!("{}\n{line}\n", header(1)).into_bytes()).unwrap();
        assert_eq!(batch.summary.users.len(), 1);
    }

    #[test]
    fn the_rest_of_a_batch_leaves_out_what_came_before() {
        let body = format!("{}\n{RECORD}\n{RECORD}\n{RECORD}\n", header(3));
        let batch = Batch::read(body.into_bytes()).unwrap();
        let requests = |summary: &Summary| summary.routes[0].increment.requests;
        assert_eq!(requests(&batch.summary), 3);
        assert_eq!(requests(&batch.rest(2).unwrap()), 1);
    }
}
