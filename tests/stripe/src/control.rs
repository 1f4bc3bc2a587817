//! `/_control/…`: what a test asks of the stand-in itself, as JSON. The same as the methods of
//! [`crate::StandIn`], for tests in other processes and languages.

use chrono::TimeDelta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cards::{self, Outcome};
use crate::fault::Fault;
use crate::payments;
use crate::refusal::Refusal;
use crate::server::{Shared, done};
use crate::webhooks::{Manner, take};

#[derive(Deserialize)]
struct Card {
    id: String,
    outcome: Option<Outcome>,
    last4: Option<String>,
    exp_year: Option<i64>,
}

#[derive(Deserialize)]
struct Clock {
    advance_seconds: i64,
}

#[derive(Deserialize)]
struct Invoice {
    id: String,
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, Refusal> {
    serde_json::from_str(body).map_err(|error| Refusal::invalid(error.to_string()))
}

/// Carries out one command.
pub fn call(shared: &Shared, what: &str, body: &str) -> Result<Value, Refusal> {
    match what {
        "faults" => shared.faults.lock().push(read::<Fault>(body)?),
        "recover" => recover(shared),
        "clock" => {
            let Clock { advance_seconds } = read(body)?;
            shared.store.lock().advance(TimeDelta::seconds(advance_seconds));
        }
        "webhooks" => {
            *shared.manner.lock() = read::<Manner>(body)?;
            shared.posted.notify_one();
        }
        "webhooks/take" => {
            let taken = take(shared)
                .into_iter()
                .map(|delivery| json!({ "body": delivery.body, "signature": delivery.signature }));
            return Ok(taken.collect());
        }
        "cards" => {
            let Card { id, outcome, last4, exp_year } = read(body)?;
            let mut store = shared.store.lock();
            if let Some(outcome) = outcome {
                store.outcomes.insert(id.clone(), outcome);
            }
            if let (Some(last4), Some(exp_year)) = (last4, exp_year) {
                cards::replace(&mut store, &id, &last4, exp_year)?;
            }
            shared.posted.notify_one();
        }
        "invoices/retry" => {
            let Invoice { id } = read(body)?;
            let tried = payments::retry(&mut shared.store.lock(), &id);
            shared.posted.notify_one();
            tried?;
        }
        "requests" => {
            let seen = shared.seen.lock();
            let seen = seen.iter().map(|seen| {
                json!({
                    "method": seen.method, "path": seen.path, "params": seen.params,
                    "idempotencyKey": seen.idempotency_key, "replayed": seen.replayed,
                    "status": seen.status,
                })
            });
            return Ok(seen.collect());
        }
        other => return Err(Refusal::invalid(format!("There is no control {other}"))),
    }
    Ok(done())
}

/// Ends every fault; requests that hang break off.
pub fn recover(shared: &Shared) {
    shared.faults.lock().clear();
    shared.recovered.send_modify(|recovered| *recovered += 1);
}
