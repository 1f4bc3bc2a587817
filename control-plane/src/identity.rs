//! People and their sign-ins: accounts, passwords, identity providers, second factors, sessions,
//! tokens. What a person may do in a workspace is not decided here.

pub mod account;
pub mod admin;
pub mod device;
pub mod gate;
pub mod jwt;
pub mod linked;
pub mod mail_token;
pub mod mfa;
pub mod notice;
pub mod oauth;
pub mod password;
pub mod session;
pub mod throttle;
pub mod token;
pub mod totp;
pub mod user;

pub use device::Device;
pub use session::{Session, SignIn};
pub use user::User;

use crate::error::Error;

/// The one answer to whoever is not an admin of the platform.
pub fn not_an_admin() -> Error {
    Error::Forbidden("This is for the platform's admins")
}
