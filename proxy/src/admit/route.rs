//! Routes: which entry of an application's table a request falls under, and the table of those
//! that declare none (design section 4). Tables are sorted by specificity when they are made.

use std::sync::Arc;

use authsome_shared::route::RoutePattern;
use authsome_shared::snapshot as wire;

#[derive(Debug, Clone)]
pub struct Route {
    pub pattern: RoutePattern,
    /// The pattern as it is written in usage records.
    pub text: Arc<str>,
    pub scope: Option<Box<str>>,
    pub public: bool,
    pub cost: u32,
}

impl Route {
    pub fn new(route: wire::Route) -> Self {
        Self {
            text: route.pattern.to_string().into(),
            pattern: route.pattern,
            scope: route.scope.map(String::into_boxed_str),
            public: route.public,
            cost: route.cost,
        }
    }
}

/// The first, and so most specific, route that covers the request. `HEAD` is what `GET` is.
pub fn find<'a>(routes: &'a [Route], method: &str, path: &str) -> Option<&'a Route> {
    routes.iter().find(|route| {
        route.pattern.matches(method, path)
            || (method == "HEAD" && route.pattern.matches("GET", path))
    })
}

/// The table for applications that declare no routes.
pub fn defaults() -> Arc<[Route]> {
    let route = |pattern: &str, scope: Option<&str>, public: bool| {
        let pattern: RoutePattern = pattern.parse().expect("the table is well-formed");
        Route::new(wire::Route { pattern, scope: scope.map(str::to_owned), public, cost: 1 })
    };
    let mut routes = vec![route("POST /auth/*", None, true), route("GET /session", None, true)];
    for resource in ["users", "organizations"] {
        let (read, write) = (format!("{resource}:read"), format!("{resource}:write"));
        for path in [format!("/{resource}"), format!("/{resource}/*")] {
            routes.push(route(&format!("GET {path}"), Some(&read), false));
            routes.push(route(&format!("* {path}"), Some(&write), false));
        }
    }
    for path in ["/audit", "/audit/*"] {
        routes.push(route(&format!("GET {path}"), Some("audit:read"), false));
    }
    for path in ["/sessions", "/sessions/*"] {
        routes.push(route(&format!("* {path}"), Some("sessions:manage"), false));
    }
    routes.sort_by(|a, b| a.pattern.specificity(&b.pattern));
    routes.into()
}
