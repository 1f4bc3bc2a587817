//! A database of a platform's own on the PostgreSQL server that the script started.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::env;

static NEXT: AtomicU32 = AtomicU32::new(1);

pub struct Database {
    server: String,
    name: String,
    /// The server's URL as the processes get it, when that is another.
    way: Option<String>,
}

impl Database {
    /// `None` when the tests run on SQLite.
    pub fn create() -> Option<Self> {
        env::get(env::DATABASE_URL).map(Self::create_on)
    }

    /// On the server that this URL leads to.
    pub fn create_on(server: String) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e_{}_{number}", std::process::id());
        let database = Self { server, name, way: None };
        psql(&database.server, &format!("create database {}", database.name));
        database
    }

    /// The processes reach it by another host and port.
    pub fn by_way_of(mut self, address: &str) -> Self {
        self.way = Some(self.server.replace(self.address(), address));
        self
    }

    /// The server's host and port.
    pub fn address(&self) -> &str {
        let after = self.server.split("://").last().expect("a URL");
        let place = after.split('/').next().expect("a host");
        place.rsplit('@').next().expect("a host")
    }

    pub fn url(&self) -> String {
        self.database_on(self.way.as_deref().unwrap_or(&self.server))
    }

    fn database_on(&self, server: &str) -> String {
        let (server, _) = server.rsplit_once('/').expect("…/database");
        format!("{server}/{}", self.name)
    }

    /// The one value that this query gives.
    pub fn ask(&self, sql: &str) -> String {
        psql(&self.database_on(&self.server), sql)
    }
}

/// The one value that this query gives in a database file.
pub fn ask_sqlite(file: &Path, sql: &str) -> String {
    const ASK: &str = "import sqlite3, sys\n\
        print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])";
    output(Command::new("python3").args(["-c", ASK]).arg(file).arg(sql))
}

fn psql(url: &str, sql: &str) -> String {
    let options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"];
    output(Command::new("psql").args(options).args(["-d", url, "-c", sql]))
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {failed}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            psql(&self.server, &format!("drop database {} with (force)", self.name));
        }
    }
}
