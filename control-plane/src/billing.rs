//! What workspaces are charged, and how they are told.

pub mod document;
