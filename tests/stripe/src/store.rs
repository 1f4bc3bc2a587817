//! What the stand-in remembers: objects by kind in the order of their creation, events, and the
//! deliveries that they lead to. Fresh objects begin as the official fixtures.

use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;

use authsome_shared::clock::Clock;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::VERSION;
use crate::cards::Outcome;
use crate::form::Params;
use crate::refusal::Refusal;

static FIXTURES: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../fixtures.json")).expect("the fixtures are JSON")
});

/// A webhook that waits to be sent.
#[derive(Debug, Clone)]
pub struct Queued {
    pub url: String,
    pub secret: String,
    /// The event as it will be sent.
    pub body: String,
}

#[derive(Debug)]
pub struct Store {
    clock: Clock,
    /// How far the stand-in's clock is ahead.
    ahead: TimeDelta,
    next: u64,
    objects: BTreeMap<&'static str, Vec<Value>>,
    /// What becomes of charges, by payment method.
    pub outcomes: BTreeMap<String, Outcome>,
    /// Signing secrets, by webhook endpoint.
    pub secrets: BTreeMap<String, String>,
    pub queue: VecDeque<Queued>,
    /// Of the request in hand.
    pub idempotency_key: Option<String>,
}

impl Store {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            ahead: TimeDelta::zero(),
            next: 0,
            objects: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            secrets: BTreeMap::new(),
            queue: VecDeque::new(),
            idempotency_key: None,
        }
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        (self.clock.now() + self.ahead).timestamp()
    }

    /// Turns the stand-in's clock alone.
    pub fn advance(&mut self, by: TimeDelta) {
        self.ahead += by;
    }

    pub fn id(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}_1StandIn{:012}", self.next)
    }

    /// The official example of a kind, with an id and a time of its own.
    pub fn fresh(&mut self, kind: &str, prefix: &str) -> Value {
        let mut object = FIXTURES["resources"][kind].clone();
        assert!(object.is_object(), "there is no fixture of {kind}");
        object["id"] = self.id(prefix).into();
        if object.get("created").is_some() {
            object["created"] = self.now().into();
        }
        object
    }

    pub fn insert(&mut self, kind: &'static str, object: Value) {
        self.objects.entry(kind).or_default().push(object);
    }

    pub fn all(&self, kind: &str) -> &[Value] {
        self.objects.get(kind).map_or(&[], Vec::as_slice)
    }

    pub fn find(&self, kind: &str, id: &str) -> Option<&Value> {
        self.all(kind).iter().find(|object| object["id"] == id)
    }

    /// The object, or what Stripe says when there is none. `param` names who asked for it.
    pub fn get(&self, kind: &str, id: &str, param: &str) -> Result<Value, Refusal> {
        let found = self.find(kind, id).filter(|object| object["deleted"] != true);
        found.cloned().ok_or_else(|| Refusal::missing(kind, id, param))
    }

    /// Stores a changed object.
    pub fn put(&mut self, kind: &'static str, object: &Value) {
        let all = self.objects.entry(kind).or_default();
        if let Some(place) = all.iter_mut().find(|kept| kept["id"] == object["id"]) {
            *place = object.clone();
        }
    }

    pub fn remove(&mut self, kind: &'static str, id: &str) {
        self.objects.entry(kind).or_default().retain(|object| object["id"] != id);
    }

    /// Any object by its id, for `expand`.
    pub fn anything(&self, id: &str) -> Option<&Value> {
        self.objects.values().flatten().find(|object| object["id"] == id)
    }

    /// A page of the objects that fit, the newest first.
    pub fn page(
        &self,
        kind: &str,
        url: &str,
        params: &Params<'_>,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value, Refusal> {
        let limit = params.integer("limit")?.unwrap_or(10);
        if !(1..=100).contains(&limit) {
            let message = "Invalid limit: must be between 1 and 100";
            return Err(Refusal::invalid(message).param("limit"));
        }
        let limit = usize::try_from(limit).unwrap_or(10);
        let mut within = Vec::new();
        for object in self.all(kind).iter().rev() {
            if object["deleted"] != true && created(params, object)? && fits(object) {
                within.push(object);
            }
        }
        let place = |id: &str, param: &str| {
            let place = within.iter().position(|object| object["id"] == id);
            place.ok_or_else(|| Refusal::missing(kind, id, param))
        };
        let (mut from, mut to) = (0, within.len());
        if let Some(id) = params.text("starting_after") {
            from = place(id, "starting_after")? + 1;
        }
        let mut has_more = to > from + limit;
        if let Some(id) = params.text("ending_before") {
            to = place(id, "ending_before")?;
            from = to.saturating_sub(limit);
            has_more = from > 0;
        }
        let data: Vec<&Value> = within[from..to].iter().take(limit).copied().collect();
        Ok(json!({ "object": "list", "data": data, "has_more": has_more, "url": url }))
    }

    /// Remembers what happened and queues it for the endpoints that listen.
    pub fn emit(&mut self, kind: &str, object: &Value) {
        let mut event = self.fresh("event", "evt");
        event["api_version"] = VERSION.into();
        event["type"] = kind.into();
        event["data"]["object"] = object.clone();
        event["request"]["idempotency_key"] = json!(self.idempotency_key);
        let listeners: Vec<Value> = self
            .all("webhook_endpoint")
            .iter()
            .filter(|endpoint| {
                let enabled = endpoint["enabled_events"].as_array();
                enabled.into_iter().flatten().any(|name| name == "*" || name == kind)
            })
            .cloned()
            .collect();
        event["pending_webhooks"] = listeners.len().into();
        // As Stripe sends it: with line breaks, so that only the bytes as they came verify.
        let body = serde_json::to_string_pretty(&event).expect("JSON");
        self.insert("event", event);
        for endpoint in listeners {
            let id = endpoint["id"].as_str().unwrap_or_default();
            let secret = self.secrets.get(id).cloned().unwrap_or_default();
            let url = endpoint["url"].as_str().unwrap_or_default().to_owned();
            self.queue.push_back(Queued { url, secret, body: body.clone() });
        }
    }
}

/// The filter `created`: a time, or an interval.
fn created(params: &Params<'_>, object: &Value) -> Result<bool, Refusal> {
    let at = object["created"].as_i64().or_else(|| object["date"].as_i64()).unwrap_or_default();
    let exact = params.integer("created")?.is_none_or(|time| at == time);
    let gt = params.integer("created.gt")?.is_none_or(|time| at > time);
    let gte = params.integer("created.gte")?.is_none_or(|time| at >= time);
    let lt = params.integer("created.lt")?.is_none_or(|time| at < time);
    let lte = params.integer("created.lte")?.is_none_or(|time| at <= time);
    Ok(exact && gt && gte && lt && lte)
}
