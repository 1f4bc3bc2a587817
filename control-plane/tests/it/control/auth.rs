//! `/control/v1/auth`.

mod cookies;
mod email;
mod login;
mod logout;
mod me;
mod oauth;
mod password;
mod refresh;
mod register;
mod sessions;
mod totp;
