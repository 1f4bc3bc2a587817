//! `/control/v1/ingest`.

mod meters;
mod storage;
mod token;
