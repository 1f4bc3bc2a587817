//! The four query macros, and the two helpers that portable SQL needs.
//!
//! Each macro takes a transaction and one `sqlx::query…` expression, and expands it once per
//! driver; only one arm runs, so arguments may be moved into it.

/// Runs a query and returns its only row; `RowNotFound` when there is none.
#[macro_export]
macro_rules! fetch_one {
    ($tx:expr, $query:expr $(,)?) => {
        match $tx.connection() {
            $crate::db::Connection::Sqlite(connection) => $query.fetch_one(connection).await,
            $crate::db::Connection::Postgres(connection) => $query.fetch_one(connection).await,
        }
    };
}

/// Runs a query and returns its first row, if any.
#[macro_export]
macro_rules! fetch_optional {
    ($tx:expr, $query:expr $(,)?) => {
        match $tx.connection() {
            $crate::db::Connection::Sqlite(connection) => $query.fetch_optional(connection).await,
            $crate::db::Connection::Postgres(connection) => $query.fetch_optional(connection).await,
        }
    };
}

/// Runs a query and returns all its rows.
#[macro_export]
macro_rules! fetch_all {
    ($tx:expr, $query:expr $(,)?) => {
        match $tx.connection() {
            $crate::db::Connection::Sqlite(connection) => $query.fetch_all(connection).await,
            $crate::db::Connection::Postgres(connection) => $query.fetch_all(connection).await,
        }
    };
}

/// Runs a statement and returns the number of rows that it touched.
#[macro_export]
macro_rules! execute {
    ($tx:expr, $query:expr $(,)?) => {
        match $tx.connection() {
            $crate::db::Connection::Sqlite(connection) => {
                $query.execute(connection).await.map(|done| done.rows_affected())
            }
            $crate::db::Connection::Postgres(connection) => {
                $query.execute(connection).await.map(|done| done.rows_affected())
            }
        }
    };
}

/// `$3, $4, $5` for `placeholders(3, 3)`: the inside of an `in (…)`.
pub fn placeholders(first: usize, count: usize) -> String {
    let names: Vec<String> = (first..first + count).map(|n| format!("${n}")).collect();
    names.join(", ")
}

/// Did the statement meet a row that already holds a unique value?
pub fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
