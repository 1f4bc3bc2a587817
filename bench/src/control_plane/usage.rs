//! Usage ingest: several proxies ship batches to `/node/v1/usage`, each one at a time, as fast as
//! they are applied. What they send is made before the clock runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use authsome_e2e::api::http_client;
use authsome_shared::clock::Clock;
use authsome_shared::id::{EpochId, NodeId};
use authsome_shared::usage::{
    Applied, BatchHeader, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, UsageRecord,
};

use super::platform::Platform;
use super::{Arguments, spread};

const WORKSPACES: usize = 20;
const APPLICATIONS: usize = 100;
const KEYS: usize = 10_000;
const ROUTES: u64 = 20;
/// Of each application.
const END_USERS: u64 = 1_000;
/// Of a hundred records.
const WITH_END_USER: u64 = 2;
const FAILED: u64 = 1;
/// The records' times lie within this many milliseconds before now.
const SPAN_MS: u64 = 30_000;
/// Different bodies, sent in turn under other sequence numbers.
const BODIES: u64 = 16;
/// Room for a batch's header.
const HEADER_ROOM: usize = 512;

/// The lines of a batch.
struct Body {
    lines: Vec<u8>,
    count: usize,
}

/// What one proxy has had applied.
#[derive(Default)]
struct Shipped {
    records: usize,
    took: Vec<Duration>,
}

pub async fn measure(platform: &mut Platform, arguments: &Arguments) -> anyhow::Result<()> {
    let mut applications: Vec<spread::Application> = vec![];
    for n in 0..APPLICATIONS {
        let workspace = n.checked_sub(WORKSPACES).map(|n| applications[n].workspace.clone());
        let mut made = spread::application(platform, workspace.as_deref()).await?;
        spread::add_keys(platform, &mut made, KEYS / APPLICATIONS).await?;
        applications.push(made);
    }
    spread::settle(platform).await?;
    let most = arguments.batch.unwrap_or(MAX_BATCH_RECORDS);
    let bodies: Arc<Vec<Body>> =
        Arc::new((0..BODIES).map(|n| body(&applications, n, most)).collect::<Result<_, _>>()?);
    let token = platform.node_token()?;
    let nodes: Vec<Node> = (0..arguments.nodes)
        .map(|n| Node::new(n, &platform.urls.control(), &token, &bodies))
        .collect();

    let (nodes, warm) = ship(nodes, arguments.duration() / 10).await?;
    let before = platform.taken()?;
    let began = Instant::now();
    let (_, shipped) = ship(nodes, arguments.duration()).await?;
    let took = began.elapsed();
    let taken = platform.taken()?.since(before);

    let sum = |shipped: &[Shipped]| shipped.iter().map(|it| it.records).sum::<usize>();
    let records = sum(&shipped);
    check(platform, records + sum(&warm)).await?;
    let mut answers: Vec<Duration> = shipped.into_iter().flat_map(|it| it.took).collect();
    answers.sort();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count(records);
    println!(
        "usage: {:.0} records/s applied ({records} in {:.1} s; {} nodes, batches of {} records, \
         {} bytes a record)",
        count(records) / took.as_secs_f64(),
        took.as_secs_f64(),
        arguments.nodes,
        bodies[0].count,
        bodies[0].lines.len() / bodies[0].count,
    );
    println!(
        "       CPU a record: control plane {:.2} µs, database {:.2} µs; a batch is answered in \
         {:.0} ms (median), {:.0} ms (99 %)",
        each(taken.control_plane),
        each(taken.database),
        answers[answers.len() / 2].as_secs_f64() * 1e3,
        answers[answers.len() * 99 / 100].as_secs_f64() * 1e3,
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
fn count(number: usize) -> f64 {
    number as f64
}

/// Everything that derives from the records must hold all of them, once.
async fn check(platform: &mut Platform, records: usize) -> anyhow::Result<()> {
    const SUMS: [&str; 6] = [
        "select cast(sum(units) as bigint) from usage_totals where subject like 'ws%'",
        "select cast(sum(units) as bigint) from usage_totals where subject like 'app%'",
        "select cast(sum(units) as bigint) from usage_totals where subject like 'key%'",
        "select cast(sum(units) as bigint) from usage_minutes",
        "select cast(sum(requests) as bigint) from usage_series where step_seconds = 60",
        "select cast(sum(applied) as bigint) from ledger_epochs",
    ];
    for sum in SUMS {
        let found = platform.database.number(sum).await?;
        ensure!(found == i64::try_from(records)?, "{records} were confirmed: {sum} is {found}");
    }
    let gaps = platform.database.number("select count(*) from ledger_gaps").await?;
    ensure!(gaps == 0, "there are {gaps} gaps");
    Ok(())
}

/// Lets all nodes ship for a while, and waits for what is under way.
async fn ship(nodes: Vec<Node>, time: Duration) -> anyhow::Result<(Vec<Node>, Vec<Shipped>)> {
    let until = Instant::now() + time;
    let running: Vec<_> = nodes.into_iter().map(|node| tokio::spawn(node.ship(until))).collect();
    let mut ended = (vec![], vec![]);
    for node in running {
        let (node, shipped) = node.await??;
        ended.0.push(node);
        ended.1.push(shipped);
    }
    Ok(ended)
}

/// A proxy, as far as its ledger goes.
struct Node {
    id: NodeId,
    epoch: EpochId,
    url: String,
    token: String,
    bodies: Arc<Vec<Body>>,
    next_body: usize,
    next_record: u64,
    http: reqwest::Client,
}

impl Node {
    fn new(number: usize, url: &str, token: &str, bodies: &Arc<Vec<Body>>) -> Self {
        Self {
            id: NodeId::new(),
            epoch: EpochId::new(),
            url: format!("{url}/node/v1/usage"),
            token: token.to_owned(),
            bodies: bodies.clone(),
            next_body: number,
            next_record: 1,
            http: http_client(),
        }
    }

    async fn ship(mut self, until: Instant) -> anyhow::Result<(Self, Shipped)> {
        let mut shipped = Shipped::default();
        while Instant::now() < until {
            let bodies = self.bodies.clone();
            let body = &bodies[self.next_body % bodies.len()];
            let began = Instant::now();
            self.send(body).await?;
            shipped.took.push(began.elapsed());
            shipped.records += body.count;
            self.next_body += 1;
        }
        Ok((self, shipped))
    }

    async fn send(&mut self, body: &Body) -> anyhow::Result<()> {
        let header = BatchHeader {
            node: self.id.clone(),
            epoch: self.epoch.clone(),
            first: self.next_record,
            count: body.count,
        };
        let mut bytes = Vec::with_capacity(HEADER_ROOM + body.lines.len());
        serde_json::to_writer(&mut bytes, &header)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&body.lines);
        let request = self.http.post(&self.url).bearer_auth(&self.token).body(bytes);
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.bytes().await?);
        ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&text));
        let applied: Applied = serde_json::from_slice(&text).context("an answer")?;
        self.next_record += body.count as u64;
        ensure!(applied.watermark + 1 == self.next_record, "{} is applied", applied.watermark);
        Ok(())
    }
}

/// A batch of requests that came to one proxy, in the order of their times.
fn body(applications: &[spread::Application], number: u64, most: usize) -> anyhow::Result<Body> {
    let mut dice = Dice(number + 1);
    let now = Clock::system().now().timestamp_millis();
    let from = now - i64::try_from(SPAN_MS - number * SPAN_MS / BODIES)?;
    let step = SPAN_MS / BODIES;
    let mut body = Body { lines: vec![], count: 0 };
    while body.count < most {
        let application = dice.one_of(applications);
        let progress = step * body.count as u64 / most as u64;
        let record = UsageRecord {
            at: from + i64::try_from(progress)?,
            workspace: application.workspace.parse()?,
            application: application.id.parse()?,
            key: dice.one_of(&application.keys).parse()?,
            bucket: None,
            route: format!("GET /resources-{}/*", dice.below(ROUTES)),
            status: if dice.below(100) < FAILED { 503 } else { 200 },
            latency_us: 800 + (1 << dice.below(17)) + dice.below(1_000),
            bytes_in: dice.below(2_000),
            bytes_out: dice.below(20_000),
            units: 1,
            user: (dice.below(100) < WITH_END_USER)
                .then(|| format!("user-{}", dice.below(END_USERS))),
        };
        let line = serde_json::to_vec(&record)?;
        if body.lines.len() + line.len() + 1 + HEADER_ROOM > MAX_BATCH_BYTES {
            break;
        }
        body.lines.extend_from_slice(&line);
        body.lines.push(b'\n');
        body.count += 1;
    }
    Ok(body)
}

/// The same numbers in every run (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let place = usize::try_from(self.below(of.len() as u64)).expect("an index");
        &of[place]
    }
}
