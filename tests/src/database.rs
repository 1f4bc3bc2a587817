//! A database of a platform's own on the PostgreSQL server that the script started.

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
        let server = env::get(env::DATABASE_URL)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let database = Self { server, name: format!("e2e_{}_{number}", std::process::id()) };
        database.psql(&format!("create database {}", database.name));
        Some(database)
    }

    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("…/database");
        format!("{server}/{}", self.name)
    }

    fn psql(&self, sql: &str) {
        let output = Command::new("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.server, "-c", sql])
            .output()
            .expect("psql runs");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.psql(&format!("drop database {} with (force)", self.name));
        }
    }
}
