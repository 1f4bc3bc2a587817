//! What a batch of records comes to, as it will be stored. Pure: adding up is apart from storing, so
//! that batches are read side by side and only the sums wait for each other.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use authsome_shared::api_key::KeyDigest;
use authsome_shared::clock::period_of;
use chrono::{DateTime, Utc};

use super::batch::Record;
use super::series::{Sample, Step};
use super::totals::Increment;

const MINUTE_MS: i64 = 60_000;

/// Length of an end user's name.
const MAX_USER: usize = 200;

/// A subject's part of a month.
#[derive(Debug, Clone)]
pub struct Total {
    pub subject: String,
    pub period: String,
    pub workspace: String,
    pub increment: Increment,
}

/// A route's part of a minute.
#[derive(Debug, Clone)]
pub struct RouteMinute {
    pub application: String,
    pub minute: DateTime<Utc>,
    pub route: String,
    pub workspace: String,
    pub increment: Increment,
}

/// An application's end user in a month.
#[derive(Debug, Clone)]
pub struct EndUser {
    pub application: String,
    pub period: String,
    pub user: String,
    pub workspace: String,
    pub seen: DateTime<Utc>,
}

/// Sums of records; each name may come more than once.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// In order.
    pub totals: Vec<Total>,
    pub routes: Vec<RouteMinute>,
    pub series: Vec<(String, Step, DateTime<Utc>, Sample)>,
    pub users: Vec<EndUser>,
    pub last_used: Vec<(String, DateTime<Utc>)>,
}

/// Places in `Counting`'s lists.
type Place = usize;

struct Minute {
    application: Place,
    month: Place,
    start: DateTime<Utc>,
    sample: Sample,
}

/// A presented key, the line that it belongs to, and what it was used for in a month.
#[derive(PartialEq, Eq, Hash)]
struct KeyMonth<'a> {
    application: Place,
    month: Place,
    key: &'a str,
    line: &'a str,
}

/// Adds records up, in the text that they were read from.
#[derive(Default)]
pub(super) struct Counting<'a> {
    /// With their workspaces.
    applications: Vec<(&'a str, &'a str)>,
    places: HashMap<(&'a str, &'a str), Place>,
    months: Vec<String>,
    minutes: Vec<Minute>,
    /// By application and number since the epoch.
    minute_places: HashMap<(Place, i64), Place>,
    /// By minute.
    routes: HashMap<(Place, Cow<'a, str>), Increment>,
    /// With when they were last used.
    keys: HashMap<KeyMonth<'a>, (Increment, i64)>,
    users: HashMap<(Place, Place, Cow<'a, str>), i64>,
}

impl<'a> Counting<'a> {
    pub fn add(&mut self, record: Record<'a>) {
        let increment = Increment::of(&record);
        let Record { at, workspace, application, key, bucket, route, status, latency_us, .. } =
            record;
        let application = match self.places.entry((application, workspace)) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(new) => {
                self.applications.push((application, workspace));
                *new.insert(self.applications.len() - 1)
            }
        };
        let minute = self.minute(application, at.div_euclid(MINUTE_MS));
        self.minutes[minute].sample.add(status, latency_us);
        let month = self.minutes[minute].month;
        self.routes.entry((minute, route)).or_default().add(increment);
        let used = KeyMonth { application, month, key, line: bucket.unwrap_or(key) };
        let (sum, last) = self.keys.entry(used).or_insert((Increment::default(), at));
        sum.add(increment);
        *last = at.max(*last);
        if let Some(user) = record.user {
            let seen = self.users.entry((application, month, end_user(user))).or_insert(at);
            *seen = at.max(*seen);
        }
    }

    fn minute(&mut self, application: Place, number: i64) -> Place {
        if let Some(place) = self.minute_places.get(&(application, number)) {
            return *place;
        }
        let start = DateTime::from_timestamp_millis(number * MINUTE_MS).unwrap_or_default();
        let period = period_of(start);
        let month = self.months.iter().position(|it| *it == period).unwrap_or_else(|| {
            self.months.push(period);
            self.months.len() - 1
        });
        self.minutes.push(Minute { application, month, start, sample: Sample::default() });
        self.minute_places.insert((application, number), self.minutes.len() - 1);
        self.minutes.len() - 1
    }

    pub fn finish(self) -> Summary {
        let Self { applications, months, minutes, routes, keys, users, .. } = self;
        let of = |place: Place| applications[place];
        let mut totals: HashMap<(&str, Place), (&str, Increment)> = HashMap::new();
        let mut last_used: HashMap<&str, i64> = HashMap::new();
        for (used, (increment, at)) in keys {
            let (application, workspace) = of(used.application);
            for subject in [workspace, application, used.line] {
                let total = totals.entry((subject, used.month));
                total.or_insert((workspace, Increment::default())).1.add(increment);
            }
            let last = last_used.entry(used.key).or_insert(at);
            *last = at.max(*last);
        }
        let mut series: HashMap<(&str, Step, DateTime<Utc>), Sample> = HashMap::new();
        for minute in &minutes {
            for step in Step::ALL {
                let key = (of(minute.application).0, step, step.start_of(minute.start));
                series.entry(key).or_default().merge(&minute.sample);
            }
        }
        let time = |ms| DateTime::from_timestamp_millis(ms).unwrap_or_default();
        let mut totals: Vec<Total> = totals
            .into_iter()
            .map(|((subject, month), (workspace, increment))| Total {
                subject: subject.to_owned(),
                period: months[month].clone(),
                workspace: workspace.to_owned(),
                increment,
            })
            .collect();
        totals.sort_unstable_by(|a, b| (&a.subject, &a.period).cmp(&(&b.subject, &b.period)));
        Summary {
            totals,
            routes: routes
                .into_iter()
                .map(|((minute, route), increment)| {
                    let Minute { application, start, .. } = minutes[minute];
                    let (application, workspace) = of(application);
                    RouteMinute {
                        application: application.to_owned(),
                        minute: start,
                        route: route.into_owned(),
                        workspace: workspace.to_owned(),
                        increment,
                    }
                })
                .collect(),
            series: series
                .into_iter()
                .map(|((application, step, start), sample)| {
                    (application.to_owned(), step, start, sample)
                })
                .collect(),
            users: users
                .into_iter()
                .map(|((application, month, user), seen)| {
                    let (application, workspace) = of(application);
                    EndUser {
                        application: application.to_owned(),
                        period: months[month].clone(),
                        user: user.into_owned(),
                        workspace: workspace.to_owned(),
                        seen: time(seen),
                    }
                })
                .collect(),
            last_used: last_used.into_iter().map(|(key, at)| (key.to_owned(), time(at))).collect(),
        }
    }
}

/// What stands for an end user: the name that the upstream gave, or, where that is longer than an
/// index can bear or no text to the database, its digest.
fn end_user(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.len() <= MAX_USER && !name.contains('\0') {
        return name;
    }
    Cow::Owned(format!("sha256:{}", KeyDigest::of(&*name).to_hex()))
}
