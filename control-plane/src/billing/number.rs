//! Numbers without gaps: taken in the transaction that uses them, so that one that rolls back gives
//! its number back. Takers of a series wait for each other.

use crate::db::Tx;
use crate::error::Result;
use crate::fetch_one;

/// The next number of a series, as `PREFIX000001`.
pub async fn next(tx: &mut Tx, prefix: &str) -> Result<String> {
    let (number,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "insert into number_series (name, last) values ($1, 1) \
             on conflict (name) do update set last = number_series.last + 1 returning last"
        )
        .bind(prefix)
    )?;
    Ok(format!("{prefix}{number:06}"))
}
