//! `/control/v1/auth`.

mod cookies;
mod login;
mod logout;
mod me;
mod refresh;
mod register;
