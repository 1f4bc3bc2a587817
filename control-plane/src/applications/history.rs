//! What becomes of an application, for its owner: each change of its status is kept (its uptime is
//! computed from that) and told in its log, and so is a change of its settings, by the names of the
//! fields alone. Written by whoever changes the application's row, in the same transaction.

use authsome_shared::id::ApplicationId;
use authsome_shared::log::Level;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{Application, Status, log};
use crate::db::Tx;
use crate::error::Result;
use crate::{execute, fetch_all, fetch_optional};

/// Most fields of one change that are named.
const MAX_FIELDS: usize = 50;

/// Since when an application was in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Stay {
    pub at: DateTime<Utc>,
    pub status: Status,
}

/// Keeps and tells the application's status, if it has changed.
pub(super) async fn note(tx: &mut Tx, application: &Application) -> Result<()> {
    let last: Option<Stay> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select at, status from application_states where application_id = $1 \
             order by at desc limit 1"
        )
        .bind(&application.id)
    )?;
    let before = last.map(|stay| stay.status);
    if before == Some(application.status) {
        return Ok(());
    }
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into application_states (application_id, at, status) values ($1, $2, $3) \
             on conflict (application_id, at) do update set status = excluded.status"
        )
        .bind(&application.id)
        .bind(now)
        .bind(application.status)
    )?;
    let (level, message) = told(before, application);
    let mut fields = json!({ "status": application.status });
    if let Some(before) = before {
        fields["before"] = json!(before);
    }
    log::write(tx, &application.id, level, &message, fields).await
}

/// How a change of status is told.
fn told(before: Option<Status>, application: &Application) -> (Level, String) {
    let reason = application.status_reason.as_deref().unwrap_or("no reason is known");
    let message = match (before, application.status) {
        (None, _) => "The application was created; it is being provisioned".to_owned(),
        (Some(Status::Deleted), _) => {
            "The application was restored; it is being provisioned".to_owned()
        }
        (Some(Status::Restarting), Status::Active) => "The application has restarted".to_owned(),
        (_, Status::Active) => "The application is active".to_owned(),
        (_, Status::Provisioning) => "The application is being provisioned anew".to_owned(),
        (_, Status::Restarting) => "The application is restarting".to_owned(),
        (Some(Status::Restarting), Status::Failed) => format!("The restart failed: {reason}"),
        (_, Status::Failed) => format!("Provisioning failed: {reason}"),
        (_, Status::Suspended) => "The application was suspended".to_owned(),
        (_, Status::Deleted) => match application.purge_at {
            Some(at) => format!("The application was deleted; it can be restored until {at}"),
            None => "The application was deleted".to_owned(),
        },
    };
    let level = match application.status {
        Status::Failed => Level::Error,
        Status::Suspended => Level::Warn,
        _ => Level::Info,
    };
    (level, message)
}

/// Tells which settings were changed, by name.
pub(super) async fn changed(tx: &mut Tx, id: &ApplicationId, fields: Vec<String>) -> Result<()> {
    if fields.is_empty() {
        return Ok(());
    }
    let fields = json!({ "changed": fields });
    log::write(tx, id, Level::Info, "The settings were changed", fields).await
}

/// The names of the fields that a change sets or removes, such as `config.upstream.urls`.
pub(super) fn changed_fields(
    name: Option<&str>,
    config: Option<&Map<String, Value>>,
) -> Vec<String> {
    let mut fields = vec![];
    if name.is_some() {
        fields.push("name".to_owned());
    }
    if let Some(config) = config {
        collect(config, "config", &mut fields);
    }
    fields
}

fn collect(map: &Map<String, Value>, path: &str, fields: &mut Vec<String>) {
    for (name, value) in map {
        let path = format!("{path}.{name}");
        match value {
            Value::Object(inner) if !inner.is_empty() => collect(inner, &path, fields),
            _ if fields.len() < MAX_FIELDS => fields.push(path),
            _ => return,
        }
    }
}

/// The states from the one at `from` on, oldest first, and when it was first active.
pub async fn since(
    tx: &mut Tx,
    id: &ApplicationId,
    from: DateTime<Utc>,
) -> Result<(Vec<Stay>, Option<DateTime<Utc>>)> {
    let stays = fetch_all!(
        tx,
        sqlx::query_as(
            "select at, status from application_states where application_id = $1 and at >= \
             coalesce((select max(at) from application_states \
                       where application_id = $1 and at <= $2), $2) order by at"
        )
        .bind(id)
        .bind(from)
    )?;
    let first: Option<Stay> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select at, status from application_states where application_id = $1 and status = $2 \
             order by at limit 1"
        )
        .bind(id)
        .bind(Status::Active)
    )?;
    Ok((stays, first.map(|stay| stay.at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_fields_are_named_and_their_values_are_not() {
        let config = json!({
            "upstream": { "urls": ["http://secret.example"], "healthCheck": null, "tls": {} },
            "quota": { "requests": 1 },
        });
        let Value::Object(config) = config else { unreachable!() };
        let mut fields = changed_fields(Some("New name"), Some(&config));
        fields.sort();
        assert_eq!(
            fields,
            [
                "config.quota.requests",
                "config.upstream.healthCheck",
                "config.upstream.tls",
                "config.upstream.urls",
                "name",
            ]
        );
        assert_eq!(changed_fields(None, None), Vec::<String>::new());
        let many: Map<String, Value> = (0..200).map(|n| (format!("f{n}"), json!(n))).collect();
        assert_eq!(changed_fields(None, Some(&many)).len(), MAX_FIELDS);
    }
}
