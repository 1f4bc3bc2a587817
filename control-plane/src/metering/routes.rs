//! Sums by application, time and route: of minutes, and of the hours that these are added up to when
//! they are old (`retention`). What a record counts as is for `summary`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::totals::Increment;
use crate::db::Tx;
use crate::db::rows::{Column, Rows};
use crate::error::Result;

/// By application, when it begins, and route; with the workspace. Ordered: rows are always touched
/// in the same order.
pub type Routes<'a> = BTreeMap<(&'a str, DateTime<Utc>, &'a str), (&'a str, Increment)>;

/// Where sums are kept, and what their time is called there.
#[derive(Debug, Clone, Copy)]
pub struct Table(&'static str, &'static str);

pub const MINUTES: Table = Table("usage_minutes", "minute");
pub const HOURS: Table = Table("usage_hours", "hour");

/// Adds to what is there.
pub async fn add(tx: &mut Tx, table: Table, routes: &Routes<'_>) -> Result<()> {
    let count = |of: fn(&Increment) -> i64| {
        Column::Integer(routes.values().map(|(_, increment)| of(increment)).collect())
    };
    let rows = Rows::new([
        ("application_id", Column::Text(routes.keys().map(|key| key.0).collect())),
        ("begins_at", Column::Time(routes.keys().map(|key| key.1).collect())),
        ("route", Column::Text(routes.keys().map(|key| key.2).collect())),
        ("workspace_id", Column::Text(routes.values().map(|value| value.0).collect())),
        ("requests", count(|it| it.requests)),
        ("units", count(|it| it.units)),
        ("errors", count(|it| it.errors)),
        ("bytes_in", count(|it| it.bytes_in)),
        ("bytes_out", count(|it| it.bytes_out)),
    ]);
    let Table(table, time) = table;
    let insert = format!(
        "insert into {table} (application_id, {time}, route, workspace_id, requests, units, \
         errors, bytes_in, bytes_out) \
         select application_id, begins_at, route, workspace_id, requests, units, errors, \
         bytes_in, bytes_out from {{rows}} where true \
         on conflict (application_id, {time}, route) do update set \
         requests = {table}.requests + excluded.requests, \
         units = {table}.units + excluded.units, \
         errors = {table}.errors + excluded.errors, \
         bytes_in = {table}.bytes_in + excluded.bytes_in, \
         bytes_out = {table}.bytes_out + excluded.bytes_out"
    );
    rows.execute(tx, &insert).await?;
    Ok(())
}
