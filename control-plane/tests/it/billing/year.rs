//! A year of two hundred workspaces, turned in a minute: changes of plan and of prices, usage that
//! comes late, payments that fail, an outage, a clock that is set back, and a process that is killed
//! in the middle of every run. At its end every figure equals what `year/model` makes of the same
//! year from nothing but what happened.

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use authsome_control_plane::app::App;
use authsome_control_plane::billing::invoice::settle::{self, By};
use authsome_control_plane::billing::invoice::{Invoice, Status, store};
use authsome_control_plane::billing::price::Kind;
use authsome_control_plane::billing::reconciliation;
use authsome_control_plane::config::{Config, TaxRate};
use authsome_control_plane::period::Period;
use authsome_control_plane::{fetch_all, fetch_one, worker};
use authsome_shared::clock::Clock;
use authsome_shared::id::{EpochId, WorkspaceId};
use authsome_shared::secret::Secret;
use authsome_shared::usage::UsageRecord;
use chrono::{DateTime, Months, TimeDelta, Utc};
use model::{Model, Terms};
use num_bigint::BigInt;
use serde_json::{Value, json};

use super::{invoices, turn_to};
use crate::support::{Client, FakeProxy, TestApp};

const WORKSPACES: usize = 200;

/// Where a killed process finds what it runs on.
const CHILD: &str = "AUTHSOME_TEST_BILLING";

/// Numbers without a pattern, the same at each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // xorshift64*.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn between(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> DateTime<Utc> {
        let millis = (to - from).num_milliseconds().unsigned_abs();
        from + TimeDelta::milliseconds(i64::try_from(self.roll(millis)).unwrap())
    }
}

/// When a record reaches the control plane.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comes {
    InTime,
    /// While the month's invoice is a draft.
    WithDraft,
    AfterInvoice,
}

struct Year {
    app: TestApp,
    admin: Client,
    proxy: FakeProxy,
    epoch: EpochId,
    sequence: u64,
    dice: Dice,
    model: Model,
    /// Until their month has ended, or its invoice is issued.
    held: Vec<(Comes, UsageRecord)>,
    kills: usize,
}

fn terms(fee: i64, users: u64, price: i64) -> Value {
    json!({
        "feeMinor": fee, "applications": null, "requestsPerMonth": null, "api": null,
        "rateLimit": { "requests": 1 },
        "activeUsers": { "included": users, "tiers": [
            { "upTo": users + 2, "unitMicros": price },
            { "upTo": users + 3, "unitMicros": price / 2 + 1, "flatMinor": 7 },
            { "upTo": null, "unitMicros": price / 3 },
        ] },
        "storageGb": { "included": 0, "tiers": [] },
        "requests": { "included": 1000, "tiers": [
            { "upTo": 5000, "unitMicros": 1_237 }, { "upTo": null, "unitMicros": 433 },
        ] },
        "bandwidthGb": { "included": 1, "tiers": [{ "upTo": null, "unitMicros": 98_765 }] },
    })
}

impl Year {
    async fn begin() -> Self {
        let app = TestApp::with(|config| {
            config.api.limits = false;
            config.identity.logins_per_minute = 1_000_000;
            config.billing.taxes =
                vec![TaxRate { name: "VAT".into(), percent: "19".into(), country: String::new() }];
        })
        .await;
        app.leave_jobs();
        let admin = app.sign_up_admin("admin").await;
        let mut year = Self {
            proxy: FakeProxy::new(&app),
            app,
            admin,
            epoch: EpochId::new(),
            sequence: 1,
            dice: Dice(0x05EE_D0FA_1EA2),
            model: Model::default(),
            held: vec![],
            kills: 0,
        };
        year.model.publish("free", 1, Terms::free());
        year.reprice("pro", terms(2_500, 2, 1_234_567), "keep").await;
        year.reprice("enterprise", terms(99_999, 3, 777_777), "keep").await;
        for i in 0..WORKSPACES {
            let plan = ["pro", "pro", "pro", "enterprise", "free"][i % 5];
            let id = year.admin.workspace(plan).await;
            year.model.subscribe(id, plan, year.app.now());
        }
        year
    }

    /// Another version of a plan.
    async fn reprice(&mut self, plan: &str, terms: Value, existing: &str) {
        let path = format!("/control/v1/admin/plans/{plan}?existing={existing}");
        let added = self.admin.put(&path, terms.clone()).await.json(200);
        let version = added["version"].as_i64().unwrap();
        self.model.publish(plan, version, Terms::read(&terms));
        self.app.run_due().await;
        if existing == "move_now" {
            self.model.move_all(plan, version, self.app.now());
        }
    }

    async fn turn_to(&mut self, at: DateTime<Utc>) {
        turn_to(&self.app, &at.to_rfc3339());
        self.admin = self.admin.be_again().await;
    }

    async fn change_plans(&mut self, count: usize) {
        for _ in 0..count {
            let at = usize::try_from(self.dice.roll(WORKSPACES as u64)).unwrap();
            let plan = ["free", "pro", "enterprise"][usize::try_from(self.dice.roll(3)).unwrap()];
            let id = self.model.workspaces[at].id.clone();
            let path = format!("/control/v1/admin/workspaces/{id}");
            self.admin.patch(&path, json!({ "plan": plan })).await.is(200);
            self.model.change(at, plan, self.app.now());
        }
    }

    /// What everybody used of a month, and when it comes.
    fn use_month(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) {
        for at in 0..WORKSPACES {
            let id: WorkspaceId = self.model.workspaces[at].id.parse().unwrap();
            for _ in 0..2 + self.dice.roll(5) {
                let application = 1 + self.dice.roll(2);
                let user = format!("user-{}", self.dice.roll(7));
                let record = UsageRecord {
                    at: self.dice.between(from, to).timestamp_millis(),
                    workspace: id.clone(),
                    application: format!("app_{at}x{application}").parse().unwrap(),
                    key: format!("key_{at}x{application}").parse().unwrap(),
                    bucket: None,
                    route: "*".into(),
                    status: 200,
                    latency_us: 1_000,
                    bytes_in: self.dice.roll(1 << 20),
                    bytes_out: self.dice.roll(3 << 30),
                    units: u32::try_from(self.dice.roll(3_000)).unwrap(),
                    user: Some(user),
                };
                let comes = match self.dice.roll(10) {
                    0 => Comes::WithDraft,
                    1 => Comes::AfterInvoice,
                    _ => Comes::InTime,
                };
                self.held.push((comes, record));
            }
        }
    }

    async fn ship(&mut self, comes: Comes) {
        let held = std::mem::take(&mut self.held);
        let (now, later): (Vec<_>, Vec<_>) = held.into_iter().partition(|(when, _)| *when == comes);
        self.held = later;
        let records: Vec<UsageRecord> = now.into_iter().map(|(_, record)| record).collect();
        for batch in records.chunks(500) {
            self.proxy.apply(&self.epoch, self.sequence, batch).await;
            // A proxy that never saw the answer ships it again.
            self.proxy.apply(&self.epoch, self.sequence, batch).await;
            self.sequence += batch.len() as u64;
        }
        for record in &records {
            self.model.count(record);
        }
    }

    /// Bills in a process of its own, which is killed once it has got somewhere, and then here.
    async fn bill(&mut self) {
        let config = &self.app.app.config;
        let told = json!({
            "dataDir": config.server.data_dir, "database": config.database.url.expose(),
            "now": self.app.now(), "billing": config.billing,
        });
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "billing::year::bills_until_it_is_killed"])
            .env(CHILD, told.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = self.steps().await;
        let enough = before + 1 + i64::try_from(self.dice.roll(150)).unwrap();
        while child.try_wait().unwrap().is_none() && self.steps().await < enough {
            tokio::task::yield_now().await;
        }
        // SIGKILL.
        let _ = child.kill();
        child.wait().unwrap();
        let after = self.steps().await;
        let rest = self.app.bill().await;
        self.kills += usize::from(after > before && rest > 0);
    }

    /// Grows with every step of billing.
    async fn steps(&self) -> i64 {
        self.app
            .number(
                "select (select count(*) from closed_periods) + \
                 (select count(*) from invoices where number is not null)",
            )
            .await
    }

    /// Settles what is open, each as its owner does: at once, after a refusal, late, or never.
    async fn settle(&mut self, month: usize) {
        let mut tx = self.app.write().await;
        let open: Vec<Invoice> = fetch_all!(
            tx,
            sqlx::query_as(
                "select * from invoices where status in ('pending', 'failed') order by id"
            )
        )
        .unwrap();
        for invoice in open {
            let owner = self.model.place(invoice.workspace_id.as_str());
            let by = By::System("test");
            let pays = match owner % 20 {
                // Never, until the year is over.
                0 => false,
                // A month late.
                1 | 2 => invoice.period != self.model.month(month),
                3..=5 => {
                    settle::failed(&mut tx, by, &invoice.id, "Declined").await.unwrap();
                    true
                }
                _ => true,
            };
            if pays {
                settle::paid(&mut tx, by, &invoice.id, None).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
    }
}

/// The whole year, from March to February.
#[tokio::test]
async fn a_year_of_two_hundred_workspaces_adds_up() {
    let mut year = Year::begin().await;
    for month in 0..12_u32 {
        let start: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().unwrap();
        let from = start.checked_add_months(Months::new(month)).unwrap();
        let end = start.checked_add_months(Months::new(month + 1)).unwrap();
        year.model.months.push(from);
        let began = from.max(year.app.now());
        for (day, changes) in [(11, 12), (17, 12), (23, 12)] {
            year.turn_to(year.app.now().max(from + TimeDelta::days(day))).await;
            year.change_plans(changes).await;
            if (month, day) == (4, 17) {
                year.reprice("pro", terms(3_100, 1, 2_000_001), "keep").await;
            }
            if (month, day) == (8, 17) {
                year.reprice("pro", terms(2_900, 2, 1_500_003), "move_now").await;
            }
        }
        year.use_month(began, end);
        year.ship(Comes::InTime).await;
        // In November nothing runs until December.
        let outage = if month == 8 { TimeDelta::days(9) } else { TimeDelta::zero() };
        year.turn_to(end + outage).await;
        year.bill().await;
        if outage.is_zero() {
            year.ship(Comes::WithDraft).await;
            year.model.issue(month as usize);
        } else {
            year.model.issue(month as usize);
            year.ship(Comes::WithDraft).await;
        }
        year.turn_to(end + outage + TimeDelta::hours(1)).await;
        year.bill().await;
        year.ship(Comes::AfterInvoice).await;
        year.bill().await;
        year.settle(month as usize).await;
        if month % 3 == 0 {
            let before = year.steps().await;
            year.app.advance(TimeDelta::hours(-30));
            assert_eq!(year.app.bill().await, 0, "a clock that is set back bills nothing");
            year.app.advance(TimeDelta::hours(30));
            assert_eq!(year.app.bill().await, 0);
            assert_eq!(year.steps().await, before);
        }
    }
    assert!(year.kills >= 12, "killed in the middle {} times", year.kills);
    check_invoices(&year).await;
    check_late_usage(&year).await;
    check_standing(&year).await;
    check_reconciliation(&year).await;
}

/// Every invoice against the model: its items, tax, total and number.
async fn check_invoices(year: &Year) {
    let mut numbers = BTreeSet::new();
    let mut seen = 0;
    for workspace in &year.model.workspaces {
        let all = invoices(&year.app, &workspace.id.parse().unwrap()).await;
        let mut expected = year.model.invoices(workspace);
        for invoice in all {
            let mut tx = year.app.read().await;
            let lines = store::lines(&mut tx, &invoice.id).await.unwrap();
            drop(tx);
            let mut own: BTreeMap<String, BigInt> = BTreeMap::new();
            for line in lines.iter().filter(|line| matches!(line.kind, Kind::Fee | Kind::Usage)) {
                *own.entry(line.item.clone()).or_default() += line.amount;
            }
            own.retain(|_, amount| *amount != BigInt::ZERO);
            let of = format!("{} of {} ({:?})", invoice.period, workspace.id, invoice.number);
            assert_eq!(own, expected.remove(&invoice.period).unwrap_or_default(), "{of}");
            let taxable: i64 =
                lines.iter().filter(|line| line.kind != Kind::Tax).map(|line| line.amount).sum();
            assert_eq!(invoice.tax, (taxable * 19 + 50).div_euclid(100), "{of}");
            assert_eq!(invoice.total, taxable + invoice.tax, "{of}");
            assert!(numbers.insert(invoice.number.clone().unwrap()), "{of}");
            seen += 1;
        }
        expected.retain(|_, items| !items.is_empty());
        assert_eq!(expected, BTreeMap::new(), "{} has no invoice for these", workspace.id);
    }
    let expected: BTreeSet<String> = (1..=seen).map(|n| format!("INV-{n:06}")).collect();
    assert_eq!(numbers, expected, "numbers have no gap");
    let told = "select count(*) from events where type = 'invoice.created'";
    assert_eq!(year.app.number(told).await, seen, "each is told once");
}

/// All that was charged of a month, whenever, is its price by everything that was counted.
async fn check_late_usage(year: &Year) {
    let mut tx = year.app.read().await;
    let rows: Vec<(String, String, String, i64)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select workspace_id, period, item, cast(sum(amount) as bigint) from \
             (select invoices.workspace_id, invoices.period, item, amount from invoice_lines \
              join invoices on invoices.id = invoice_id where kind in ('fee', 'usage') \
              union all select workspace_id, period, item, amount from pending_items) as charged \
             group by workspace_id, period, item"
        )
    )
    .unwrap();
    let mut charged: BTreeMap<(String, String, String), BigInt> = rows
        .into_iter()
        .map(|(workspace, period, item, amount)| ((workspace, period, item), amount.into()))
        .collect();
    charged.retain(|_, amount| *amount != BigInt::ZERO);
    assert_eq!(charged, year.model.charged(), "by workspace, month and item");
    let (late,): (i64,) =
        fetch_one!(tx, sqlx::query_as("select count(*) from pending_items")).unwrap();
    assert!(late > 100, "{late} items of late usage");
}

async fn check_standing(year: &Year) {
    let mut tx = year.app.read().await;
    let rows: Vec<(String, String)> =
        fetch_all!(tx, sqlx::query_as("select id, status from workspaces")).unwrap();
    let open: Vec<(String,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select distinct workspace_id from invoices where status in ('pending', 'failed') \
             and period < '2027-01'"
        )
    )
    .unwrap();
    let open: BTreeSet<String> = open.into_iter().map(|(id,)| id).collect();
    for (id, status) in rows {
        let expected = if open.contains(&id) { "suspended" } else { "active" };
        assert_eq!(status, expected, "{id} at {}", year.model.place(&id));
    }
    assert_eq!(open.len(), WORKSPACES / 20, "those who never pay");
    let paid = fetch_one!(
        tx,
        sqlx::query_as::<_, (i64,)>("select count(*) from invoices where status = $1")
            .bind(Status::Paid)
    );
    assert!(paid.unwrap().0 > 1_000);
}

/// The platform's own way of adding up finds nothing either.
async fn check_reconciliation(year: &Year) {
    for month in 0..12 {
        let period = Period::parse(&year.model.month(month)).unwrap();
        let reports = reconciliation::of_platform(&year.app.app, period, None).await.unwrap();
        assert_eq!(reports.len(), WORKSPACES);
        for report in reports {
            assert_eq!(report.differences, [], "{period} {}", report.workspace_id);
        }
    }
    let mut tx = year.app.read().await;
    let settings = &year.app.app.config.billing;
    assert_eq!(reconciliation::numbers(&mut tx, settings).await.unwrap(), []);
}

/// Not a test by itself: the process that [`Year::bill`] kills.
#[tokio::test]
#[ignore = "is run by the year, in a process of its own"]
async fn bills_until_it_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "told by the test that starts it")]
    let Ok(told) = std::env::var(CHILD) else { return };
    let told: Value = serde_json::from_str(&told).unwrap();
    let mut config = Config::default();
    config.server.data_dir = told["dataDir"].as_str().unwrap().into();
    config.database.url = Secret::new(told["database"].as_str().unwrap().to_owned());
    config.billing = serde_json::from_value(told["billing"].clone()).unwrap();
    config.applications.default_upstream = "echo".into();
    let now: DateTime<Utc> = serde_json::from_value(told["now"].clone()).unwrap();
    let app = App::open(config, Clock::manual(now)).await.unwrap();
    worker::run_billing(&app).await.unwrap();
}
