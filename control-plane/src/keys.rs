//! API keys: issued (shown once), listed masked, rotated with an overlap, revoked. Only a digest of
//! a key is stored. Each change is published to the proxies in the same transaction.

mod store;

use authsome_shared::api_key::{self, KeyDigest, KeyType};
use authsome_shared::code::Code;
use authsome_shared::id::{ApplicationId, KeyId, UserId};
use authsome_shared::log::Level;
use authsome_shared::secret::Secret;
use authsome_shared::snapshot::{self, Change};
use chrono::{DateTime, Datelike, DurationRound, TimeDelta, Utc};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::types::Json;

use crate::actor::Access;
use crate::applications::config::{RateLimitConfig, SCOPE_RULE, is_scope};
use crate::applications::{Application, log};
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::events::{self, EventType, Subject};
use crate::page::{Page, PageParams};
use crate::{merge, revisions};
pub use store::{count, lines_with_quota, public_keys_of, touch};

const MAX_SCOPES: usize = 100;
const MAX_NETWORKS: usize = 100;

/// Later times are not ordered as text, which is how SQLite keeps them.
const MAX_YEAR: i32 = 9999;

/// An overlap may last this long.
const MAX_OVERLAP: TimeDelta = TimeDelta::days(90);

/// What a key carries beside its identity.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    pub scopes: Vec<String>,
    pub allowed_ips: Vec<IpNet>,
    pub rate_limit: Option<RateLimitConfig>,
    /// Request units per calendar month.
    pub quota: Option<u64>,
    pub metadata: Map<String, Value>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Key {
    pub id: KeyId,
    pub application_id: ApplicationId,
    pub name: String,
    #[sqlx(rename = "type")]
    pub key_type: KeyType,
    /// SHA-256 in hexadecimal.
    pub digest: String,
    /// The whole public key, or the recognisable part of a secret one.
    pub display: String,
    pub settings: Json<Settings>,
    /// First key of the line of rotations.
    pub bucket_id: KeyId,
    pub replaces: Option<KeyId>,
    pub created_by: Option<UserId>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
}

impl Key {
    /// What the audit log says of it: never more than its masked form.
    fn audited(&self) -> Value {
        json!({
            "name": self.name, "type": self.key_type, "key": self.display,
            "settings": self.settings.0, "replaces": self.replaces, "expiresAt": self.expires_at,
            "revokedAt": self.revoked_at,
        })
    }

    /// Tells the application's webhooks; `replaced` is the key that it succeeds, with its new end.
    async fn tell(
        &self,
        tx: &mut Tx,
        application: &Application,
        kind: EventType,
        replaced: Option<&Self>,
    ) -> Result<()> {
        let mut data = json!({
            "keyId": self.id, "applicationId": application.id,
            "workspaceId": application.workspace_id, "name": self.name, "type": self.key_type,
            "key": self.display, "expiresAt": self.expires_at,
        });
        if let Some(replaced) = replaced {
            data["replaces"] = json!(replaced.id);
            data["replacedExpiresAt"] = json!(replaced.expires_at);
        }
        let subject = Subject::Application(&application.workspace_id, &application.id);
        events::emit(tx, kind, subject, data).await?;
        Ok(())
    }

    /// What proxies must know of it.
    fn to_wire(&self) -> Result<snapshot::Key> {
        let digest = KeyDigest::from_hex(&self.digest)
            .ok_or_else(|| Error::internal(anyhow::anyhow!("{} has a broken digest", self.id)))?;
        let settings = &self.settings.0;
        Ok(snapshot::Key {
            id: self.id.clone(),
            application: self.application_id.clone(),
            digest,
            key_type: self.key_type,
            scopes: settings.scopes.clone(),
            expires_at: self.expires_at,
            allowed_ips: settings.allowed_ips.clone(),
            rate_limit: settings.rate_limit.map(RateLimitConfig::to_wire),
            quota: settings.quota,
            bucket: self.bucket_id.clone(),
        })
    }

    fn change(&self) -> Result<Change> {
        Ok(Change::Key(Box::new(self.to_wire()?)))
    }

    /// Tells the application's owner.
    async fn log(&self, tx: &mut Tx, message: &str) -> Result<()> {
        let mut fields = json!({ "key": self.id, "name": self.name, "type": self.key_type });
        if let Some(replaced) = &self.replaces {
            fields["replaces"] = json!(replaced);
        }
        log::write(tx, &self.application_id, Level::Info, message, fields).await
    }
}

/// A key with its clear text, which exists only in this answer.
#[derive(Debug)]
pub struct Issued {
    pub key: Key,
    pub clear: Secret<String>,
}

/// A key to be made.
#[derive(Debug)]
pub struct NewKey {
    pub name: String,
    pub key_type: KeyType,
    pub expires_at: Option<DateTime<Utc>>,
    pub settings: Settings,
}

impl NewKey {
    fn check(&self, now: DateTime<Utc>) -> Result<()> {
        let mut checks = Checks::default();
        checks.name("name", &self.name);
        checks.check(
            self.expires_at.is_none_or(|at| at > now && at.year() <= MAX_YEAR),
            "expiresAt",
            format!("`expiresAt` must lie in the future, and not after the year {MAX_YEAR}"),
        );
        let settings = &self.settings;
        if self.key_type == KeyType::Public {
            checks.check(
                settings.scopes.is_empty(),
                "scopes",
                "a public key has no scopes: it may call public routes only",
            );
        }
        checks.check(
            settings.scopes.len() <= MAX_SCOPES,
            "scopes",
            format!("there may be at most {MAX_SCOPES} scopes"),
        );
        for (i, scope) in settings.scopes.iter().enumerate() {
            checks.check(is_scope(scope), &format!("scopes[{i}]"), SCOPE_RULE);
        }
        checks.check(
            settings.allowed_ips.len() <= MAX_NETWORKS,
            "allowedIps",
            format!("there may be at most {MAX_NETWORKS} networks"),
        );
        if let Some(limit) = &settings.rate_limit {
            limit.check(&mut checks, "rateLimit");
        }
        merge::check_metadata(&mut checks, &settings.metadata);
        checks.finish()
    }
}

/// The keys that every application begins with.
pub fn first_keys() -> [NewKey; 2] {
    let secret = Settings { scopes: vec!["*".into()], ..Settings::default() };
    [
        ("Default public key", KeyType::Public, Settings::default()),
        ("Default secret key", KeyType::Secret, secret),
    ]
    .map(|(name, key_type, settings)| NewKey {
        name: name.into(),
        key_type,
        expires_at: None,
        settings,
    })
}

/// Makes a key.
pub async fn issue(
    tx: &mut Tx,
    access: &Access,
    application: &Application,
    new: NewKey,
) -> Result<Issued> {
    let now = tx.now();
    new.check(now)?;
    let id = KeyId::new();
    let (clear, display) = mint(application, new.key_type);
    let key = Key {
        bucket_id: id.clone(),
        id,
        application_id: application.id.clone(),
        name: new.name.trim().to_owned(),
        key_type: new.key_type,
        digest: KeyDigest::of(clear.expose()).to_hex(),
        display,
        settings: Json(new.settings),
        replaces: None,
        created_by: Some(access.actor().user_id.clone()),
        created_at: now,
        expires_at: new.expires_at.map(whole_microseconds),
        revoked_at: None,
        last_used_at: None,
    };
    store::insert(tx, &key).await?;
    tx.audit(access.audit("key.created").on("key", &key.id).after(key.audited()));
    key.tell(tx, application, EventType::KeyCreated, None).await?;
    key.log(tx, "A key was created").await?;
    store::note_more(tx, &application.id, 1).await?;
    revisions::append(tx, vec![key.change()?]).await?;
    Ok(Issued { key, clear })
}

/// What both databases store without loss.
fn whole_microseconds(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(at)
}

fn mint(application: &Application, key_type: KeyType) -> (Secret<String>, String) {
    let clear = api_key::generate(key_type, application.environment.key_mode());
    let display = match key_type {
        KeyType::Public => clear.expose().clone(),
        KeyType::Secret => api_key::mask(clear.expose()),
    };
    (clear, display)
}

/// Keys that are not revoked, oldest first; expired ones too.
pub async fn list(
    tx: &mut Tx,
    _access: &Access,
    application: &Application,
    page: PageParams,
) -> Result<Page<Key>> {
    store::list(tx, &application.id, page).await
}

/// Makes a successor that shares bucket, quota and usage. The old key works until the overlap ends,
/// or its own expiry if that comes first.
pub async fn rotate(
    tx: &mut Tx,
    access: &Access,
    application: &Application,
    id: &KeyId,
    overlap: TimeDelta,
) -> Result<Issued> {
    if overlap < TimeDelta::zero() || overlap > MAX_OVERLAP {
        return Err(Error::invalid("overlap", "invalid_value", "`overlap` may be at most 90d"));
    }
    let now = tx.now();
    let mut old = store::standing(tx, &application.id, id).await?;
    if old.expires_at.is_some_and(|at| at <= now) {
        let message = "The key has expired: create a new one instead";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    let (clear, display) = mint(application, old.key_type);
    let successor = Key {
        id: KeyId::new(),
        digest: KeyDigest::of(clear.expose()).to_hex(),
        display,
        replaces: Some(old.id.clone()),
        created_by: Some(access.actor().user_id.clone()),
        created_at: now,
        last_used_at: None,
        ..old.clone()
    };
    let end = now + overlap;
    let ended = if overlap.is_zero() {
        old.expires_at = Some(now);
        old.revoked_at = Some(now);
        Change::RemoveKey(old.id.clone())
    } else {
        old.expires_at = Some(old.expires_at.map_or(end, |at| at.min(end)));
        old.change()?
    };
    store::end(tx, &old).await?;
    store::insert(tx, &successor).await?;
    let entry = access.audit("key.rotated").on("key", &old.id);
    tx.audit(entry.before(old.audited()).after(successor.audited()));
    successor.tell(tx, application, EventType::KeyRotated, Some(&old)).await?;
    successor.log(tx, "A key was rotated").await?;
    if old.revoked_at.is_none() {
        store::note_more(tx, &application.id, 1).await?;
    }
    revisions::append(tx, vec![ended, successor.change()?]).await?;
    Ok(Issued { key: successor, clear })
}

/// Revokes a key and returns the revision that carries it to the proxies.
pub async fn revoke(
    tx: &mut Tx,
    access: &Access,
    application: &Application,
    id: &KeyId,
) -> Result<i64> {
    let mut key = store::standing(tx, &application.id, id).await?;
    let before = key.audited();
    key.revoked_at = Some(tx.now());
    store::end(tx, &key).await?;
    tx.audit(access.audit("key.revoked").on("key", id).change(before, key.audited()));
    key.tell(tx, application, EventType::KeyRevoked, None).await?;
    key.log(tx, "A key was revoked").await?;
    store::note_more(tx, &application.id, -1).await?;
    Ok(revisions::append(tx, vec![Change::RemoveKey(key.id)]).await?)
}

/// Publishes all keys of a restored application again.
pub async fn publish_all(tx: &mut Tx, _access: &Access, application: &Application) -> Result<()> {
    let keys = store::standing_of(tx, &application.id).await?;
    let changes = keys.iter().map(Key::change).collect::<Result<Vec<_>>>()?;
    if !changes.is_empty() {
        revisions::append(tx, changes).await?;
    }
    Ok(())
}

/// Every key that proxies must know. A broken row is left out and reported.
pub async fn for_snapshot(tx: &mut Tx) -> Result<Vec<snapshot::Key>> {
    let mut wires = Vec::new();
    for key in store::all_standing(tx).await? {
        match key.to_wire() {
            Ok(wire) => wires.push(wire),
            Err(error) => tracing::error!(key = %key.id, %error, "unreadable key"),
        }
    }
    Ok(wires)
}
