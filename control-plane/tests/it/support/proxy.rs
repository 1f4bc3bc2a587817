//! A proxy, as the control plane sees it.

use authsome_shared::id::{EpochId, NodeId};
use authsome_shared::log::LogBatch;
use authsome_shared::node::{Ack, Frame, StoreState};
use authsome_shared::snapshot::Change;
use authsome_shared::snapshot::encoding::{Decoded, decode};
use authsome_shared::usage::{Applied, BatchHeader, UsageRecord};
use axum::body::{Body, BodyDataStream};
use axum::http::Method;
use futures_util::StreamExt;
use serde_json::Value;

use super::app::{TestApp, within};
use super::client::{Client, Response};

pub struct FakeProxy {
    pub id: NodeId,
    pub client: Client,
}

impl FakeProxy {
    pub fn new(app: &TestApp) -> Self {
        Self { id: NodeId::new(), client: app.node() }
    }

    pub async fn snapshot(&self) -> Decoded {
        let response = self.client.get("/node/v1/snapshot").await;
        response.is(200);
        decode(&response.body).unwrap()
    }

    /// Says what it decides by; counts as connected from then on.
    pub async fn ack(&self, revision: i64) {
        let ack = Ack {
            node: self.id.clone(),
            version: "0.1.0".into(),
            revision: revision.cast_unsigned(),
            quarantined: 0,
            unshipped: 0,
            strict: StoreState::Off,
            leaving: false,
        };
        self.report(&ack).await;
    }

    /// Says that it answers no more requests.
    pub async fn leave(&self) {
        let last = Ack {
            node: self.id.clone(),
            version: "0.1.0".into(),
            revision: 0,
            quarantined: 0,
            unshipped: 0,
            strict: StoreState::Off,
            leaving: true,
        };
        self.report(&last).await;
    }

    async fn report(&self, ack: &Ack) {
        let body = serde_json::to_value(ack).unwrap();
        self.client.post("/node/v1/ack", body).await.is(204);
    }

    /// Follows the log of the platform from a revision on.
    pub async fn stream(&self, platform: &str, revision: i64) -> Stream {
        let id = &self.id;
        let path = format!("/node/v1/stream?node={id}&revision={revision}&platform={platform}");
        let request = self.client.request(Method::GET, &path).body(Body::empty()).unwrap();
        let response = self.client.open(request).await;
        assert_eq!(response.status(), 200);
        Stream { body: response.into_body().into_data_stream(), rest: vec![] }
    }

    /// From the newest snapshot on; the greeting is read.
    pub async fn follow(&self) -> Stream {
        let header = self.snapshot().await.header;
        let mut stream = self.stream(header.platform.as_str(), header.revision.cast_signed()).await;
        assert!(matches!(stream.next().await, Some(Frame::Hello { .. })));
        stream
    }

    pub async fn ship(&self, epoch: &EpochId, first: u64, records: &[UsageRecord]) -> Response {
        let header = BatchHeader {
            node: self.id.clone(),
            epoch: epoch.clone(),
            first,
            count: records.len(),
        };
        let mut body = serde_json::to_string(&header).unwrap();
        for record in records {
            body.push('\n');
            body.push_str(&serde_json::to_string(record).unwrap());
        }
        self.client.send_text(Method::POST, "/node/v1/usage", "application/x-ndjson", body).await
    }

    /// Ships lines of applications' logs.
    pub async fn log(&self, batch: &LogBatch) -> Response {
        self.client.post("/node/v1/logs", serde_json::to_value(batch).unwrap()).await
    }

    /// Ships, and reads the answer.
    pub async fn apply(&self, epoch: &EpochId, first: u64, records: &[UsageRecord]) -> Applied {
        let answer = self.ship(epoch, first, records).await.json(200);
        serde_json::from_value(answer).unwrap()
    }
}

/// The frames of a stream.
pub struct Stream {
    body: BodyDataStream,
    rest: Vec<u8>,
}

impl Stream {
    /// The next frame but pings, totals and the number of proxies; `None` at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            match self.next_of_any().await? {
                Frame::Ping { .. } | Frame::Totals { .. } | Frame::Fleet { .. } => {}
                frame => return Some(frame),
            }
        }
    }

    /// The number of proxies, when it is told next.
    pub async fn fleet(&mut self) -> u32 {
        // Pings come for as long as one waits.
        within(async {
            loop {
                if let Some(Frame::Fleet { proxies }) = self.next_of_any().await {
                    return proxies;
                }
            }
        })
        .await
    }

    pub async fn next_of_any(&mut self) -> Option<Frame> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            self.rest.extend(within(self.body.next()).await?.unwrap());
        }
    }

    /// The next delta: its revision and changes.
    pub async fn delta(&mut self) -> (i64, Vec<Change>) {
        match self.next().await {
            Some(Frame::Delta { revision, changes }) => (
                revision.cast_signed(),
                changes.into_iter().map(|change| serde_json::from_value(change).unwrap()).collect(),
            ),
            other => panic!("not a delta: {other:?}"),
        }
    }
}

/// Makes usage records of one application and key.
#[derive(Clone)]
pub struct Record(UsageRecord);

impl From<UsageRecord> for Record {
    fn from(record: UsageRecord) -> Self {
        Self(record)
    }
}

impl Record {
    /// `application` as the API answered it; `key` is an id.
    pub fn of(app: &TestApp, application: &Value, key: &str) -> Self {
        let id = |name: &str| serde_json::from_value(application[name].clone()).unwrap();
        Self(UsageRecord {
            at: app.now().timestamp_millis(),
            workspace: serde_json::from_value(application["workspaceId"].clone()).unwrap(),
            application: id("id"),
            key: key.parse().unwrap(),
            bucket: None,
            route: "*".into(),
            status: 200,
            latency_us: 1_500,
            bytes_in: 10,
            bytes_out: 100,
            units: 1,
            user: None,
        })
    }

    pub fn with(&self, change: impl FnOnce(&mut UsageRecord)) -> UsageRecord {
        let mut record = self.0.clone();
        change(&mut record);
        record
    }

    pub fn times(&self, count: usize) -> Vec<UsageRecord> {
        vec![self.0.clone(); count]
    }
}
