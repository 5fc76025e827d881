//! Who may do what: tokens, certificates, quotas and the audit log, with a real daemon.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod connections;
mod decisions;
mod fixture;
mod log;
mod quotas;
mod streams;
mod tls;
mod tokens;
