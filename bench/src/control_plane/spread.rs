//! The customers that usage is spread over, in the database as they are in life: workspaces,
//! applications and keys.

use authsome_shared::clock::Clock;
use serde_json::json;

use super::database::Database;
use super::platform::Platform;

/// Keys inserted by one statement.
const CHUNK: usize = 1_000;

/// An application and its keys.
pub struct Application {
    pub workspace: String,
    pub id: String,
    pub keys: Vec<String>,
}

/// An application, in a workspace of its own on the largest plan if none is given.
pub async fn application(
    platform: &mut Platform,
    workspace: Option<&str>,
) -> anyhow::Result<Application> {
    let workspace = match workspace {
        Some(id) => id.to_owned(),
        None => {
            let id = platform.owner.workspace("pro").await;
            let update = format!("update workspaces set plan = 'enterprise' where id = '{id}'");
            platform.database.execute(update).await?;
            id
        }
    };
    let path = format!("/control/v1/workspaces/{workspace}/applications");
    let made = platform.owner.post(&path, json!({ "name": "An application" })).await.expect(202);
    Ok(Application { workspace, id: made.text("/id"), keys: vec![] })
}

/// Gives an application this many keys more, past the API.
pub async fn add_keys(
    platform: &mut Platform,
    application: &mut Application,
    count: usize,
) -> anyhow::Result<()> {
    let id = &application.id;
    let tag = &id["app_".len()..];
    for from in (0..count).step_by(CHUNK) {
        let to = count.min(from + CHUNK);
        let now = Clock::system().now().format("%Y-%m-%dT%H:%M:%S%.6f+00:00");
        // Whole rows as the API makes them, but for digests of nothing.
        let insert = format!(
            "with recursive numbers (n) as \
             (select {from} union all select n + 1 from numbers where n + 1 < {to}) \
             insert into keys (id, application_id, name, type, digest, display, settings, \
             bucket_id, created_at) \
             select 'key_{tag}' || n, '{id}', 'Key ' || n, 'secret', '{tag}' || n, \
             'sk_live_abc123***', '{{\"scopes\": [\"*\"], \"allowedIps\": [], \
             \"rateLimit\": null, \"quota\": null, \"metadata\": {{}}}}', 'key_{tag}' || n, \
             '{now}' from numbers"
        );
        platform.database.execute(insert).await?;
        application.keys.extend((from..to).map(|n| format!("key_{tag}{n}")));
    }
    let note = format!(
        "update key_counts set standing = standing + {count} where application_id = '{id}'"
    );
    platform.database.execute(note).await
}

/// What the database knows of its rows when it has been up for a while.
pub async fn settle(platform: &mut Platform) -> anyhow::Result<()> {
    let vacuum = match &platform.database {
        Database::Postgres(_) => "vacuum analyze",
        Database::Sqlite(_) => "analyze",
    };
    platform.database.execute(vacuum.to_owned()).await
}
