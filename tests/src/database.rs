//! A database of a platform's own on the PostgreSQL server that the script started.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::env;

static NEXT: AtomicU32 = AtomicU32::new(1);

pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// `None` when the tests run on SQLite.
    pub fn create() -> Option<Self> {
        env::get(env::DATABASE_URL).map(Self::create_on)
    }

    /// On the server that this URL leads to.
    pub fn create_on(server: String) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let database = Self { server, name: format!("e2e_{}_{number}", std::process::id()) };
        psql(&database.server, &format!("create database {}", database.name));
        database
    }

    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("…/database");
        format!("{server}/{}", self.name)
    }

    /// The one value that this query gives.
    pub fn ask(&self, sql: &str) -> String {
        psql(&self.url(), sql)
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
