//! The database behind the control plane, asked and filled past it. What is asked is the same on
//! both, values included in the text.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};
use std::path::Path;
use std::time::Duration;

pub enum Database {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// How long a writer waits for the control plane's own.
const BUSY: Duration = Duration::from_secs(30);

impl Database {
    /// At a URL, or else the file of the data folder.
    pub async fn connect(url: Option<&str>, data: &Path) -> anyhow::Result<Self> {
        Ok(match url {
            Some(url) => Self::Postgres(PgConnection::connect(url).await?),
            None => {
                let file = data.join("control-plane.db");
                let options = SqliteConnectOptions::new().filename(file).busy_timeout(BUSY);
                Self::Sqlite(SqliteConnection::connect_with(&options).await?)
            }
        })
    }

    pub async fn execute(&mut self, sql: String) -> anyhow::Result<()> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Self::Postgres(connection) => {
                sql.execute(connection).await?;
            }
            Self::Sqlite(connection) => {
                sql.execute(connection).await?;
            }
        }
        Ok(())
    }

    /// The one number that a query gives.
    pub async fn number(&mut self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(match self {
            Self::Postgres(connection) => sqlx::query(sql).fetch_one(connection).await?.get(0),
            Self::Sqlite(connection) => sqlx::query(sql).fetch_one(connection).await?.get(0),
        })
    }
}
