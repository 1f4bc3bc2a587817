//! Many rows for one statement. The statement names them as a table, `{rows}`, with the columns'
//! names: `insert into t (a, b) select a, b from {rows} where true on conflict …`. PostgreSQL gets
//! an array for each column, SQLite one JSON text, which is the only difference.
//!
//! Rows are met in the order in which they are given: sort them by the key of what they touch, so
//! that two transactions can't wait for each other.

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow, Postgres};

use super::{Connection, Tx};

/// The values of one column, as many as there are rows.
#[derive(Debug)]
pub enum Column<'a> {
    Text(Vec<&'a str>),
    Integer(Vec<i64>),
    Time(Vec<DateTime<Utc>>),
}

impl Column<'_> {
    fn postgres_type(&self) -> &'static str {
        match self {
            Self::Text(_) => "text[]",
            Self::Integer(_) => "bigint[]",
            Self::Time(_) => "timestamptz[]",
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Integer(values) => values.len(),
            Self::Time(values) => values.len(),
        }
    }

    fn json(&self, row: usize) -> serde_json::Value {
        match self {
            Self::Text(values) => values[row].into(),
            Self::Integer(values) => values[row].into(),
            // As the driver writes a time.
            Self::Time(values) => values[row].to_rfc3339_opts(SecondsFormat::AutoSi, false).into(),
        }
    }
}

/// Rows by their columns, each with its name.
#[derive(Debug)]
pub struct Rows<'a>(Vec<(&'static str, Column<'a>)>);

impl<'a> Rows<'a> {
    /// # Panics
    /// When the columns differ in length.
    pub fn new<const N: usize>(columns: [(&'static str, Column<'a>); N]) -> Self {
        let rows = Self(columns.into());
        assert!(rows.0.iter().all(|(_, column)| column.len() == rows.len()), "ragged rows");
        rows
    }

    fn len(&self) -> usize {
        self.0.first().map_or(0, |(_, column)| column.len())
    }

    /// Runs the statement; answers how many rows it touched.
    pub async fn execute(self, tx: &mut Tx, sql: &str) -> sqlx::Result<u64> {
        if self.len() == 0 {
            return Ok(0);
        }
        match tx.connection() {
            Connection::Sqlite(connection) => {
                let query = sqlx::query(AssertSqlSafe(sql.replace("{rows}", &self.sqlite())));
                Ok(query.bind(self.json()).execute(connection).await?.rows_affected())
            }
            Connection::Postgres(connection) => {
                let sql = sql.replace("{rows}", &self.postgres());
                let mut query = sqlx::query::<Postgres>(AssertSqlSafe(sql));
                for (_, column) in self.0 {
                    query = match column {
                        Column::Text(values) => query.bind(values),
                        Column::Integer(values) => query.bind(values),
                        Column::Time(values) => query.bind(values),
                    };
                }
                Ok(query.execute(connection).await?.rows_affected())
            }
        }
    }

    /// Runs the statement; answers what it returns, in no order.
    pub async fn fetch_all<T>(self, tx: &mut Tx, sql: &str) -> sqlx::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        if self.len() == 0 {
            return Ok(vec![]);
        }
        match tx.connection() {
            Connection::Sqlite(connection) => {
                let query = sqlx::query_as(AssertSqlSafe(sql.replace("{rows}", &self.sqlite())));
                query.bind(self.json()).fetch_all(connection).await
            }
            Connection::Postgres(connection) => {
                let sql = sql.replace("{rows}", &self.postgres());
                let mut query = sqlx::query_as::<Postgres, T>(AssertSqlSafe(sql));
                for (_, column) in self.0 {
                    query = match column {
                        Column::Text(values) => query.bind(values),
                        Column::Integer(values) => query.bind(values),
                        Column::Time(values) => query.bind(values),
                    };
                }
                query.fetch_all(connection).await
            }
        }
    }

    fn postgres(&self) -> String {
        let arrays = self.0.iter().enumerate();
        let arrays =
            arrays.map(|(n, (_, column))| format!("${}::{}", n + 1, column.postgres_type()));
        let names: Vec<&str> = self.0.iter().map(|(name, _)| *name).collect();
        format!("unnest({}) as given ({})", arrays.collect::<Vec<_>>().join(", "), names.join(", "))
    }

    fn sqlite(&self) -> String {
        let columns = self.0.iter().enumerate();
        let columns: Vec<String> =
            columns.map(|(n, (name, _))| format!("value ->> {n} as {name}")).collect();
        format!("(select {} from json_each($1)) as given", columns.join(", "))
    }

    fn json(&self) -> String {
        let row = |row| self.0.iter().map(|(_, column)| column.json(row)).collect();
        serde_json::Value::Array((0..self.len()).map(row).collect()).to_string()
    }
}
