//! Distinct end users of an application's month: what monthly active users are counted from.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::db::Tx;
use crate::db::rows::{Column, Rows};
use crate::error::Result;

/// When each was last seen, by application, period and user, with the workspace.
pub type Seen<'a> = BTreeMap<(&'a str, &'a str, &'a str), (&'a str, DateTime<Utc>)>;

/// A workspace's month.
type Month = (String, String);

/// Notes end users; answers how many of them are new to the month of each workspace. When one was
/// last seen is not written for less than a minute. The workspaces' months must be held.
pub async fn add(tx: &mut Tx, users: &Seen<'_>) -> Result<BTreeMap<Month, i64>> {
    let names = || {
        [
            ("application_id", Column::Text(users.keys().map(|key| key.0).collect())),
            ("period", Column::Text(users.keys().map(|key| key.1).collect())),
            ("end_user", Column::Text(users.keys().map(|key| key.2).collect())),
        ]
    };
    let [application, period, user] = names();
    let rows = Rows::new([
        application,
        period,
        user,
        ("workspace_id", Column::Text(users.values().map(|value| value.0).collect())),
        ("seen", Column::Time(users.values().map(|value| value.1).collect())),
    ]);
    let added: Vec<(String, String, String)> = rows
        .fetch_all(
            tx,
            "insert into usage_users (application_id, period, end_user, workspace_id, \
             last_seen_at) \
             select application_id, period, end_user, workspace_id, seen from {rows} where true \
             on conflict (application_id, period, end_user) do nothing \
             returning workspace_id, period, end_user",
        )
        .await?;
    let [application, period, user] = names();
    let minute = TimeDelta::minutes(1);
    let rows = Rows::new([
        application,
        period,
        user,
        ("seen", Column::Time(users.values().map(|value| value.1).collect())),
        ("earlier", Column::Time(users.values().map(|value| value.1 - minute).collect())),
    ]);
    rows.execute(
        tx,
        "update usage_users set last_seen_at = given.seen from {rows} \
         where usage_users.application_id = given.application_id \
         and usage_users.period = given.period and usage_users.end_user = given.end_user \
         and usage_users.last_seen_at < given.earlier",
    )
    .await?;
    new_to_workspaces(tx, added).await
}

/// Of the end users that were new to applications (workspace, period and user of each), those whom
/// no other application of the workspace knew.
async fn new_to_workspaces(
    tx: &mut Tx,
    added: Vec<(String, String, String)>,
) -> Result<BTreeMap<Month, i64>> {
    // By how many applications each was met for the first time just now.
    let mut met: BTreeMap<&(String, String, String), i64> = BTreeMap::new();
    for user in &added {
        *met.entry(user).or_default() += 1;
    }
    let rows = Rows::new([
        ("workspace_id", Column::Text(met.keys().map(|key| key.0.as_str()).collect())),
        ("period", Column::Text(met.keys().map(|key| key.1.as_str()).collect())),
        ("end_user", Column::Text(met.keys().map(|key| key.2.as_str()).collect())),
        ("met", Column::Integer(met.values().copied().collect())),
    ]);
    let months: Vec<(String, String, i64)> = rows
        .fetch_all(
            tx,
            "select workspace_id, period, count(*) from {rows} where met = \
             (select count(*) from usage_users where usage_users.workspace_id = given.workspace_id \
              and usage_users.period = given.period and usage_users.end_user = given.end_user) \
             group by workspace_id, period",
        )
        .await?;
    Ok(months.into_iter().map(|(workspace, period, users)| ((workspace, period), users)).collect())
}
