//! How the events of a month make one figure. Pure: a total and an event give the next total, and
//! the order in which events come does not matter.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One unit, in the millionths that quantities are kept in.
pub const UNIT: i64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Aggregation {
    /// All values together.
    Sum,
    /// The greatest value.
    Max,
    /// The value of the latest event, by its time; of two at once that of the greater id.
    Last,
    /// The number of distinct keys.
    Unique,
}

/// What a subject's events of a month come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Total {
    /// Millionths of a unit.
    pub value: i64,
    pub events: i64,
    /// Time and id of the event that counts when the last one does.
    pub last: Option<(DateTime<Utc>, String)>,
}

/// What an event adds.
#[derive(Debug, Clone, Copy)]
pub struct Addend<'a> {
    pub id: &'a str,
    pub at: DateTime<Utc>,
    /// Millionths of a unit, never negative.
    pub value: i64,
    /// Its key has not been met before; asked of a count of distinct keys only.
    pub new_key: bool,
}

/// The month's total would be more than can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuch;

impl Aggregation {
    pub fn add(self, total: &mut Total, event: Addend<'_>) -> Result<(), TooMuch> {
        match self {
            Self::Sum => {
                total.value = total.value.checked_add(event.value).ok_or(TooMuch)?;
            }
            Self::Max => total.value = total.value.max(event.value),
            Self::Last => {
                let earlier = total
                    .last
                    .as_ref()
                    .is_none_or(|(at, id)| (*at, id.as_str()) < (event.at, event.id));
                if earlier {
                    total.value = event.value;
                    total.last = Some((event.at, event.id.to_owned()));
                }
            }
            Self::Unique => {
                let more = if event.new_key { UNIT } else { 0 };
                total.value = total.value.checked_add(more).ok_or(TooMuch)?;
            }
        }
        total.events += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Aggregation; 3] = [Aggregation::Sum, Aggregation::Max, Aggregation::Last];

    proptest! {
        #[test]
        fn the_order_of_events_does_not_matter(
            events in prop::collection::vec((0_i64..5, 0_i64..1_000_000_000), 0..20),
            seed in any::<u64>(),
        ) {
            let ids: Vec<String> = (0..events.len()).map(|n| format!("event-{n}")).collect();
            let total = |aggregation: Aggregation, order: &[usize]| {
                let mut total = Total::default();
                for &n in order {
                    let (at, value) = events[n];
                    let at = DateTime::from_timestamp(at, 0).unwrap();
                    let event = Addend { id: &ids[n], at, value, new_key: false };
                    aggregation.add(&mut total, event).unwrap();
                }
                total
            };
            let order: Vec<usize> = (0..events.len()).collect();
            let mut shuffled = order.clone();
            shuffled.sort_by_key(|n| (*n as u64).wrapping_mul(seed | 1).rotate_left(17));
            for aggregation in ALL {
                prop_assert_eq!(total(aggregation, &order), total(aggregation, &shuffled));
            }
        }
    }

    #[test]
    fn what_is_too_much_changes_nothing() {
        let mut total = Total { value: i64::MAX, ..Total::default() };
        let event = Addend { id: "a", at: DateTime::UNIX_EPOCH, value: 1, new_key: true };
        for aggregation in [Aggregation::Sum, Aggregation::Unique] {
            assert_eq!(aggregation.add(&mut total, event), Err(TooMuch));
        }
        assert_eq!(total, Total { value: i64::MAX, ..Total::default() });
    }
}
