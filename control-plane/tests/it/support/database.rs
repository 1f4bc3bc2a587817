//! A database per test: an SQLite file, or, with `TEST_DATABASE_URL` (a `postgres://` URL of a
//! superuser on a throw-away server), a PostgreSQL database. Those are copies of a migrated template
//! and are used again, emptied, by later tests: copying takes far longer. An advisory lock says
//! that one is in use; the server drops it with the test's connection, however the test ends.
//! Template and copies are named by what the migrations hold.

use std::fmt::Write;
use std::path::{Path, PathBuf};

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
    Postgres {
        url: Url,
        /// Holds the lock.
        _holder: PgConnection,
    },
}

/// First halves of the advisory locks: for making the template, and for using a copy.
const MAKING: i32 = 2_026_112_200;
const USING: i32 = 2_026_112_201;

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
        let mut holder = connect(&server).await;
        let mut number = 0;
        while !lock(&mut holder, USING, number).await {
            number += 1;
        }
        let name = format!("{template}_{number}");
        if exists(&mut holder, &name).await {
            disconnect(&mut holder, &name).await;
            empty(&at(&server, &name)).await;
        } else {
            let sql = format!("create database {name} template {template}");
            sqlx::query(AssertSqlSafe(sql)).execute(&mut holder).await.unwrap();
        }
        Self::Postgres { url: at(&server, &name), _holder: holder }
    }

    /// What goes into the settings; empty for SQLite.
    pub fn url(&self) -> Secret<String> {
        Secret::new(match self {
            Self::Sqlite(_) => String::new(),
            Self::Postgres { url, .. } => url.to_string(),
        })
    }

    /// How many jobs are left in it. For a destructor, so on a thread and a connection of its own.
    pub fn jobs(&self) -> i64 {
        const COUNT: &str = "select count(*) from jobs";
        let count = async {
            match self {
                Self::Sqlite(path) => {
                    let mut connection = open_file(path).await;
                    sqlx::query_scalar(COUNT).fetch_one(&mut connection).await.unwrap()
                }
                Self::Postgres { url, .. } => {
                    let mut connection = connect(url).await;
                    sqlx::query_scalar(COUNT).fetch_one(&mut connection).await.unwrap()
                }
            }
        };
        std::thread::scope(|scope| scope.spawn(|| block_on(count)).join()).unwrap_or(0)
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
            Self::Postgres { url, .. } => {
                let mut connection = connect(url).await;
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

async fn lock(connection: &mut PgConnection, kind: i32, number: i32) -> bool {
    sqlx::query_scalar("select pg_try_advisory_lock($1, $2)")
        .bind(kind)
        .bind(number)
        .fetch_one(connection)
        .await
        .unwrap()
}

async fn exists(connection: &mut PgConnection, name: &str) -> bool {
    sqlx::query_scalar("select exists (select 1 from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(connection)
        .await
        .unwrap()
}

/// Ends every connection to a database and waits until it has ended.
async fn disconnect(connection: &mut PgConnection, name: &str) {
    sqlx::query("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1")
        .bind(name)
        .execute(connection)
        .await
        .unwrap();
}

/// The migrations' own rows: the plans, which tests change.
fn seeds() -> String {
    const FOUNDATION: &str =
        include_str!("../../../../migrations/20261122000000_create_foundation.sql");
    let begin = FOUNDATION.find("insert into plans").expect("it has the plans");
    let seeds = &FOUNDATION[begin..];
    let seeds = &seeds[..seeds.find("create table workspaces").expect("the plans end")];
    let table = seeds.find("-- What a plan includes").expect("the versions' table");
    let rows = seeds.find("insert into plan_versions").expect("the versions");
    format!("{} {}", &seeds[..table], &seeds[rows..])
}

/// Removes every row but the migrations' own, which are as they were made.
async fn empty(url: &Url) {
    let mut connection = connect(url).await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables where table_schema = 'public' \
         and table_name <> '_sqlx_migrations'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    // Without foreign keys being looked after, the order does not matter.
    let mut sql = "set session_replication_role = replica".to_owned();
    for table in tables {
        write!(sql, "; delete from {table}").unwrap();
    }
    write!(sql, "; {}", seeds()).unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}

/// The name of a database with today's schema.
async fn make_template(server: &Url) -> String {
    let name = format!("authsome_it_{}", &migrations_digest()[..12]);
    let mut connection = connect(server).await;
    // Another test process waits here; released with the connection.
    sqlx::query("select pg_advisory_lock($1, 0)")
        .bind(MAKING)
        .execute(&mut connection)
        .await
        .unwrap();
    if exists(&mut connection, &name).await {
        return name;
    }
    // Renamed once whole, so that a run that was killed leaves no half-made template.
    let draft = format!("{name}_draft_{}", Uuid::now_v7().simple());
    let sql = format!("create database {draft}");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    let location = Location::Postgres(at(server, &draft).into());
    let db = Db::open(&location, 2, Clock::system()).await.unwrap();
    db.close().await;
    // The server notices closed connections a moment later.
    disconnect(&mut connection, &draft).await;
    let sql = format!("alter database {draft} rename to {name}");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
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
