//! The chain: entries of one log are numbered from 1 without gaps, and each holds the hash of the
//! one before. Whoever changes, removes or inserts an entry in the database breaks the chain there.
//! Whoever computes all hashes anew from there on, or cuts the end off, is found by a checkpoint:
//! the newest hash of each log, sealed under the master key every hour.
//!
//! The hash of an entry is SHA-256, in lower-case hex, of the compact JSON array of its fields in
//! the order of [`Row::hashed`]; an absent value is `null`. `docs/audit.md` shows how to check an
//! export without us.

use authsome_shared::id::AuditEntryId;
use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::{ActorKind, Entry};
use crate::db::Tx;
use crate::error::Result;
use crate::sealed::Sealer;
use crate::{execute, fetch_all, fetch_one, fetch_optional};

const PURPOSE: &str = "audit checkpoint";

/// Entries read at once.
const BATCH: i64 = 1_000;

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Row {
    /// The workspace's id, or `platform`.
    pub chain: String,
    pub sequence: i64,
    pub id: AuditEntryId,
    pub created_at: DateTime<Utc>,
    pub actor_kind: ActorKind,
    pub actor_id: String,
    pub actor_email: Option<String>,
    pub address: Option<String>,
    pub request_id: Option<String>,
    pub action: String,
    pub resource_type: String,
    pub resource_id: String,
    /// JSON, byte for byte as hashed.
    pub before_state: Option<String>,
    pub after_state: Option<String>,
    /// Empty for the first entry.
    pub previous_hash: String,
    pub hash: String,
}

impl Row {
    /// The text that is hashed.
    fn hashed(&self) -> String {
        json!([
            self.chain,
            self.sequence,
            self.id,
            self.created_at.timestamp_micros(),
            self.actor_kind,
            self.actor_id,
            self.actor_email,
            self.address,
            self.request_id,
            self.action,
            self.resource_type,
            self.resource_id,
            self.before_state,
            self.after_state,
            self.previous_hash,
        ])
        .to_string()
    }

    fn compute_hash(&self) -> String {
        hex::encode(digest(&SHA256, self.hashed().as_bytes()))
    }
}

/// Writes a transaction's entries, as the last thing before its commit: the end of each log is held
/// from here until then.
pub async fn append(tx: &mut Tx, mut entries: Vec<Entry>) -> sqlx::Result<()> {
    // Always in the same order, so that two transactions never wait for each other.
    entries.sort_by(|a, b| a.chain().cmp(b.chain()));
    for of_one in entries.chunk_by(|a, b| a.chain() == b.chain()) {
        append_to(tx, of_one[0].chain(), of_one).await?;
    }
    Ok(())
}

async fn append_to(tx: &mut Tx, chain: &str, entries: &[Entry]) -> sqlx::Result<()> {
    let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    let (last, mut hash): (i64, String) = fetch_one!(
        tx,
        sqlx::query_as(
            "insert into audit_heads (chain, sequence, hash) values ($1, $2, '') \
             on conflict (chain) do update set sequence = audit_heads.sequence + $2 \
             returning sequence, hash"
        )
        .bind(chain)
        .bind(count)
    )?;
    let now = tx.now();
    for (sequence, entry) in (last - count + 1..).zip(entries) {
        let mut row = Row {
            chain: chain.to_owned(),
            sequence,
            id: AuditEntryId::new(),
            created_at: now,
            actor_kind: entry.actor_kind,
            actor_id: entry.actor_id.clone(),
            actor_email: entry.actor_email.clone(),
            address: entry.origin.address.map(|address| address.to_string()),
            request_id: entry.origin.request_id.as_ref().map(|id| id.as_str().to_owned()),
            action: entry.action.to_owned(),
            resource_type: entry.resource_type.to_owned(),
            resource_id: entry.resource_id.clone(),
            before_state: entry.before.as_ref().map(ToString::to_string),
            after_state: entry.after.as_ref().map(ToString::to_string),
            previous_hash: hash,
            hash: String::new(),
        };
        row.hash = row.compute_hash();
        insert(tx, &row).await?;
        hash = row.hash;
    }
    let update = "update audit_heads set hash = $1 where chain = $2";
    execute!(tx, sqlx::query(update).bind(hash).bind(chain))?;
    Ok(())
}

async fn insert(tx: &mut Tx, row: &Row) -> sqlx::Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into audit_entries (chain, sequence, id, created_at, actor_kind, actor_id, \
             actor_email, address, request_id, action, resource_type, resource_id, before_state, \
             after_state, previous_hash, hash) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
        )
        .bind(&row.chain)
        .bind(row.sequence)
        .bind(&row.id)
        .bind(row.created_at)
        .bind(row.actor_kind)
        .bind(&row.actor_id)
        .bind(&row.actor_email)
        .bind(&row.address)
        .bind(&row.request_id)
        .bind(&row.action)
        .bind(&row.resource_type)
        .bind(&row.resource_id)
        .bind(&row.before_state)
        .bind(&row.after_state)
        .bind(&row.previous_hash)
        .bind(&row.hash)
    )?;
    Ok(())
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
struct Head {
    chain: String,
    sequence: i64,
    hash: String,
}

/// Seals the present end of every log that has grown since its last checkpoint.
pub async fn checkpoint(tx: &mut Tx, sealer: &Sealer) -> Result<u64> {
    let grown: Vec<Head> = fetch_all!(
        tx,
        sqlx::query_as(
            "select chain, sequence, hash from audit_heads where not exists \
             (select 1 from audit_checkpoints where audit_checkpoints.chain = audit_heads.chain \
              and audit_checkpoints.sequence = audit_heads.sequence) order by chain"
        )
    )?;
    let now = tx.now();
    for head in &grown {
        let seal = sealer.seal(PURPOSE, sealed_text(head).as_bytes());
        // Another replica may be doing the same.
        execute!(
            tx,
            sqlx::query(
                "insert into audit_checkpoints (chain, sequence, seal, created_at) \
                 values ($1, $2, $3, $4) on conflict (chain, sequence) do nothing"
            )
            .bind(&head.chain)
            .bind(head.sequence)
            .bind(seal)
            .bind(now)
        )?;
    }
    Ok(u64::try_from(grown.len()).unwrap_or(u64::MAX))
}

fn sealed_text(head: &Head) -> String {
    format!("{} {} {}", head.chain, head.sequence, head.hash)
}

/// What a verification found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub chains: u64,
    pub entries: u64,
    pub checkpoints: u64,
    /// In words; none when nothing was touched.
    pub problems: Vec<String>,
}

/// Checks every entry of every log against its hash, its neighbour, the log's end and the sealed
/// checkpoints.
pub async fn verify(tx: &mut Tx, sealer: &Sealer) -> Result<Report> {
    let mut report = Report::default();
    // A log whose end was removed altogether still has its entries or its checkpoints.
    let chains: Vec<(String,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select chain from audit_heads union select chain from audit_entries \
             union select chain from audit_checkpoints order by chain"
        )
    )?;
    for (chain,) in chains {
        report.chains += 1;
        verify_chain(tx, sealer, &chain, &mut report).await?;
    }
    Ok(report)
}

async fn verify_chain(
    tx: &mut Tx,
    sealer: &Sealer,
    chain: &str,
    report: &mut Report,
) -> Result<()> {
    let seals = checkpoints(tx, sealer, chain, report).await?;
    let mut seals = seals.iter().peekable();
    let mut last = Head { chain: chain.to_owned(), sequence: 0, hash: String::new() };
    loop {
        let rows: Vec<Row> = fetch_all!(
            tx,
            sqlx::query_as(
                "select * from audit_entries where chain = $1 and sequence > $2 \
                 order by sequence limit $3"
            )
            .bind(chain)
            .bind(last.sequence)
            .bind(BATCH)
        )?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            report.entries += 1;
            let mut say = |what: String| {
                report.problems.push(format!("{chain}, entry {}: {what}", row.sequence));
            };
            if row.sequence != last.sequence + 1 {
                say(format!("entries {} to {} are missing", last.sequence + 1, row.sequence - 1));
            } else if row.previous_hash != last.hash {
                say("it does not follow from the entry before it".to_owned());
            }
            if row.compute_hash() != row.hash {
                say(format!("it was changed after it was written ({})", row.id.as_str()));
            }
            last = Head { sequence: row.sequence, hash: row.hash, ..last };
            while let Some(seal) = seals.next_if(|seal| seal.sequence <= last.sequence) {
                if seal.sequence == last.sequence && seal.hash != last.hash {
                    say("its hash is not the one that was sealed at the time".to_owned());
                }
            }
        }
    }
    if let Some(seal) = seals.last() {
        report.problems.push(format!(
            "{chain}: it ends with entry {}, but entry {} was sealed",
            last.sequence, seal.sequence
        ));
    }
    let head: Option<Head> = fetch_optional!(
        tx,
        sqlx::query_as("select chain, sequence, hash from audit_heads where chain = $1")
            .bind(chain)
    )?;
    if head.as_ref() != Some(&last) {
        report.problems.push(format!("{chain}: the end of the log is not the one recorded"));
    }
    Ok(())
}

/// The sealed ends of a log, oldest first; one that does not open is a problem.
async fn checkpoints(
    tx: &mut Tx,
    sealer: &Sealer,
    chain: &str,
    report: &mut Report,
) -> Result<Vec<Head>> {
    let rows: Vec<(i64, String)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select sequence, seal from audit_checkpoints where chain = $1 order by sequence"
        )
        .bind(chain)
    )?;
    let mut heads = Vec::new();
    for (sequence, seal) in rows {
        report.checkpoints += 1;
        let text = sealer.open(PURPOSE, &seal).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let hash = text.as_deref().and_then(|text| text.rsplit(' ').next()).unwrap_or_default();
        let head = Head { chain: chain.to_owned(), sequence, hash: hash.to_owned() };
        if text.as_deref() == Some(&sealed_text(&head)) {
            heads.push(head);
        } else {
            report.problems.push(format!("{chain}: the checkpoint of entry {sequence} is forged"));
        }
    }
    Ok(heads)
}
