//! The Rust client and the commands built on it, against real daemons in processes of their own.
#![allow(clippy::unwrap_used, missing_docs)]

mod background;
mod commands;
mod daemon;
mod fixture;
mod sdk;
