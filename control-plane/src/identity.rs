//! People and their sign-ins: accounts, passwords, sessions, tokens. What a person may do in a
//! workspace is not decided here.

pub mod jwt;
pub mod password;
pub mod session;
pub mod throttle;
pub mod token;
pub mod user;

pub use session::{Session, SignIn};
pub use user::User;
