//! Where the planes are reached just now. Shared by everything that calls them, because a
//! restarted platform listens elsewhere.

use std::sync::{Arc, RwLock};

#[derive(Clone, Default)]
pub struct Urls(Arc<RwLock<Now>>);

#[derive(Clone, Default)]
struct Now {
    control: String,
    proxy: String,
    proxy_admin: String,
}

impl Urls {
    pub fn set(&self, control: &str, proxy: &str, proxy_admin: &str) {
        let bare = |url: &str| url.trim_end_matches('/').to_owned();
        *self.0.write().expect("no writer panics") =
            Now { control: bare(control), proxy: bare(proxy), proxy_admin: bare(proxy_admin) };
    }

    pub fn control(&self) -> String {
        self.now().control
    }

    pub fn proxy(&self) -> String {
        self.now().proxy
    }

    pub fn proxy_admin(&self) -> String {
        self.now().proxy_admin
    }

    fn now(&self) -> Now {
        self.0.read().expect("no writer panics").clone()
    }
}
