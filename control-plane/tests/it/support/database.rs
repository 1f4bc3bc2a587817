//! A database per test: an SQLite file, or, with `TEST_DATABASE_URL` (a `postgres://` URL of a
//! superuser on a throw-away server), a PostgreSQL database copied from a migrated template. The
//! template is made once, under a lock, and named by what the migrations hold; it stays on the
//! server for the next run.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use authsome_control_plane::db::{Db, Location};
use authsome_shared::clock::Clock;
use authsome_shared::secret::Secret;
use ring::digest::{SHA256, digest};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

static TEMPLATE: OnceCell<String> = OnceCell::const_new();

pub enum Database {
    Sqlite(PathBuf),
    Postgres { server: Url, name: String },
}

/// The server to test against, if any.
fn server() -> Option<Url> {
    #[expect(clippy::disallowed_methods, reason = "tests have no settings but this")]
    let url = std::env::var("TEST_DATABASE_URL").ok()?;
    (!url.is_empty()).then(|| Url::parse(&url).expect("TEST_DATABASE_URL is a URL"))
}

impl Database {
    pub async fn create(data_dir: &Path) -> Self {
        let Some(server) = server() else {
            return Self::Sqlite(data_dir.join("control-plane.db"));
        };
        let template = TEMPLATE.get_or_init(|| make_template(&server)).await;
        let name = format!("authsome_it_{}", Uuid::now_v7().simple());
        let mut connection = connect(&server).await;
        let sql = format!("create database {name} template {template}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        Self::Postgres { server, name }
    }

    /// What goes into the settings; empty for SQLite.
    pub fn url(&self) -> Secret<String> {
        Secret::new(match self {
            Self::Sqlite(_) => String::new(),
            Self::Postgres { server, name } => at(server, name).into(),
        })
    }

    /// Removes the database; answers the number of jobs left in it when asked to count. From a
    /// destructor, so on a thread and a connection of its own.
    pub fn close(&self, count_jobs: bool) -> i64 {
        let close = async {
            let count = "select count(*) from jobs";
            match self {
                Self::Sqlite(path) if count_jobs => {
                    let mut connection = open_file(path).await;
                    sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap()
                }
                Self::Sqlite(_) => 0,
                Self::Postgres { server, name } => {
                    let jobs = if count_jobs {
                        let mut connection = connect(&at(server, name)).await;
                        sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap()
                    } else {
                        0
                    };
                    let sql = format!("drop database if exists {name} with (force)");
                    let mut connection = connect(server).await;
                    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
                    jobs
                }
            }
        };
        std::thread::scope(|scope| scope.spawn(|| block_on(close)).join()).unwrap_or(0)
    }

    /// Every value of every table, as text.
    pub async fn dump(&self) -> String {
        let mut dump = String::new();
        match self {
            Self::Sqlite(path) => {
                let mut connection = open_file(path).await;
                let tables: Vec<String> =
                    sqlx::query_scalar("select name from sqlite_master where type = 'table'")
                        .fetch_all(&mut connection)
                        .await
                        .unwrap();
                for table in tables {
                    let columns: Vec<String> =
                        sqlx::query_scalar("select name from pragma_table_info($1)")
                            .bind(&table)
                            .fetch_all(&mut connection)
                            .await
                            .unwrap();
                    let columns: Vec<String> =
                        columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
                    let sql = format!("select {} from {table}", columns.join(" || ' ' || "));
                    let rows = sqlx::query(AssertSqlSafe(sql));
                    for row in rows.fetch_all(&mut connection).await.unwrap() {
                        writeln!(dump, "{table}: {}", row.get::<String, _>(0)).unwrap();
                    }
                }
            }
            Self::Postgres { server, name } => {
                let mut connection = connect(&at(server, name)).await;
                let tables: Vec<String> = sqlx::query_scalar(
                    "select table_name::text from information_schema.tables \
                     where table_schema = 'public'",
                )
                .fetch_all(&mut connection)
                .await
                .unwrap();
                for table in tables {
                    let sql = format!("select row_to_json(t)::text from {table} t");
                    let rows = sqlx::query(AssertSqlSafe(sql));
                    for row in rows.fetch_all(&mut connection).await.unwrap() {
                        writeln!(dump, "{table}: {}", row.get::<String, _>(0)).unwrap();
                    }
                }
            }
        }
        dump
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn open_file(path: &Path) -> SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn connect(url: &Url) -> PgConnection {
    PgConnection::connect(url.as_str()).await.expect("TEST_DATABASE_URL leads to a server")
}

fn at(server: &Url, name: &str) -> Url {
    let mut url = server.clone();
    url.set_path(name);
    url
}

/// The name of a database with today's schema.
async fn make_template(server: &Url) -> String {
    let name = format!("authsome_it_template_{}", &migrations_digest()[..12]);
    let mut connection = connect(server).await;
    // Held until the connection closes; another test process waits here.
    sqlx::query("select pg_advisory_lock(20261122)").execute(&mut connection).await.unwrap();
    let made: bool =
        sqlx::query_scalar("select exists (select 1 from pg_database where datname = $1)")
            .bind(&name)
            .fetch_one(&mut connection)
            .await
            .unwrap();
    if made {
        return name;
    }
    // Renamed once whole, so that a run that was killed leaves no half-made template.
    let draft = format!("{name}_{}", Uuid::now_v7().simple());
    let sql = format!("create database {draft}");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    let location = Location::Postgres(at(server, &draft).into());
    let db = Db::open(&location, 2, Clock::system()).await.unwrap();
    db.close().await;
    let sql = format!("alter database {draft} rename to {name}");
    for attempt in 0.. {
        match sqlx::query(AssertSqlSafe(sql.clone())).execute(&mut connection).await {
            Ok(_) => break,
            // The server notices a closed connection a moment later.
            Err(_) if attempt < 100 => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    }
    name
}

fn migrations_digest() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let sql: Vec<u8> = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect();
    hex::encode(digest(&SHA256, &sql))
}
